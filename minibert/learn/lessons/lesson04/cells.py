# %% setup
import math

import torch
import torch.nn.functional as F

from minibert import BertConfig, BertForMaskedLM, BertModel, BertTokenizer, fill_mask, show_bars, show_curves, trace

torch.set_grad_enabled(False)  # until gradients are the subject
torch.set_printoptions(precision=3, sci_mode=False, linewidth=100)

# %% run
tokenizer = BertTokenizer.from_pretrained("minibert-demo")
model = BertModel.from_pretrained("minibert-demo")
values = trace(model, tokenizer("나는 배를 타고 여행을 간다.", return_tensors="pt"))
layer = model.encoder.layer[0]
for name, part in layer.named_children():
    print(f"{name:12} {type(part).__name__}")

# %% mix
x = values["embeddings"][0]  # (T, H), what goes into layer 0
context = values["encoder.layer.0.attention.self.context"][0]  # (T, H), the heads side by side
W, b = layer.attention.output.dense.weight, layer.attention.output.dense.bias
o = context @ W.T + b  # (T, H)
parts = {f"head {n}": context[:, 64 * n : 64 * n + 64] @ W[:, 64 * n : 64 * n + 64].T for n in range(4)}
print(f"max |Δ| = {(sum(parts.values()) + b - o).abs().max():.6f}")
show_bars({head: part.norm(dim=1).mean().item() for head, part in parts.items()}, label="mean norm")

# %% residual
u = x + o
for name, value in {"x": x, "o": o, "u = x + o": u}.items():
    print(f"{name:10} norm {value.norm(dim=1).mean():5.1f}   cosine with x {F.cosine_similarity(value, x).mean():.2f}")

# %% pencil-norm
row = torch.tensor([1.0, 3.0, 5.0, 7.0])
mean = row.mean()
variance = ((row - mean) ** 2).mean()
print(mean, variance, variance.sqrt())
(row - mean) / variance.sqrt()

# %% exercise: layernorm
norm = layer.attention.output.LayerNorm  # norm.weight (H,), norm.bias (H,), norm.eps
answer = ...  # (T, H), from u
check("layernorm", answer)

# %% solution: layernorm
norm = layer.attention.output.LayerNorm
mean = u.mean(dim=1, keepdim=True)
variance = ((u - mean) ** 2).mean(dim=1, keepdim=True)  # or u.var(dim=1, correction=0, keepdim=True)
answer = (u - mean) / torch.sqrt(variance + norm.eps) * norm.weight + norm.bias

# %% norms
for number in range(4):
    point = f"encoder.layer.{number}.output"
    before, after = (values[f"{point}.{name}"][0].norm(dim=1) for name in ("residual", "LayerNorm"))  # (T,) each
    print(f"{point}   {before.min():5.1f} … {before.max():5.1f}  →  {after.min():5.1f} … {after.max():5.1f}")

# %% feed-forward
a = values["encoder.layer.0.attention.output"][0]  # (T, H)
W_I, b_I = layer.intermediate.dense.weight, layer.intermediate.dense.bias  # (I, H), (I,)
W_O, b_O = layer.output.dense.weight, layer.output.dense.bias  # (H, I), (H,)
f = F.gelu(a @ W_I.T + b_I)  # (T, I)
g = f @ W_O.T + b_O  # (T, H)
print(tuple(a.shape), tuple(f.shape), tuple(g.shape))
print(f"max |Δ| = {(g - values['encoder.layer.0.output.dense'][0]).abs().max():.6f}")

# %% exercise: tokens
changed_by_attention = ...  # how many of the 12 tokens get another o
changed_by_feed_forward = ...  # how many get another g
check("tokens", (changed_by_attention, changed_by_feed_forward))

# %% solution: tokens
x_other, a_other = x.clone(), a.clone()
x_other[2] += 1.0
a_other[2] += 1.0
o_other = layer.attention.self(x_other[None])[0][0] @ W.T + b
g_other = F.gelu(a_other @ W_I.T + b_I) @ W_O.T + b_O
changed_by_attention = ((o_other - o).abs().amax(dim=1) > 1e-4).sum().item()
changed_by_feed_forward = ((g_other - g).abs().amax(dim=1) > 1e-4).sum().item()

# %% share
counts = {name: sum(p.numel() for p in part.parameters()) for name, part in layer.named_children()}
print(counts)
print(f"{(counts['intermediate'] + counts['output']) / sum(counts.values()):.3f}")

# %% collapse
two_steps = (a @ W_I.T) @ W_O.T
one_matrix = W_O @ W_I  # (H, H)
print(tuple(one_matrix.shape))
print(f"max |Δ| = {(two_steps - a @ one_matrix.T).abs().max():.5f}")

# %% exercise: collapse
answer = ...  # how many numbers
check("collapse", answer)

# %% solution: collapse
answer = 768 * 768

# %% width
t = torch.linspace(-3, 3, 61, dtype=torch.float64)[:, None]  # 61 tokens with H = 1
target = torch.sin(2 * t) + 0.5 * t
curves = {"target": target[:, 0]}
for width in (1, 4, 16):
    bends = torch.linspace(-4, 3, width, dtype=torch.float64)  # each unit bends at another place
    units = F.gelu(4 * (t - bends))  # (T, I)
    fitted = units @ torch.linalg.lstsq(units, target).solution  # the best second matrix
    curves[f"I = {width}"] = fitted[:, 0]
    print(f"I = {width:2}   max |Δ| = {(fitted - target).abs().max():.3f}")
show_curves(curves, x=t[:, 0])

# %% units
print("layer   f > 0   cosine   shared")
for number, each in enumerate(model.encoder.layer):
    f_each = values[f"encoder.layer.{number}.intermediate"][0]  # (T, I)
    kept = torch.zeros_like(f_each).scatter(1, f_each.abs().topk(64, dim=1).indices, 1.0)  # 1 for 64 units per token
    cosine = F.cosine_similarity(each.output.dense(f_each * kept), each.output.dense(f_each)).mean()
    shared = ((kept @ kept.T).sum() - kept.sum()) / 64 / (12 * 11)  # by two different tokens
    print(f"{number:5} {(f_each > 0).float().mean():7.2f} {cosine:8.2f} {shared:8.2f}")

# %% gelu
t = torch.linspace(-4, 4, 81)
show_curves({"gelu": F.gelu(t), "relu": F.relu(t)}, x=t)

# %% exercise: gelu
answer = ...  # gelu(-1), to four digits
check("gelu", answer)

# %% solution: gelu
answer = -1 * 0.5 * (1 + math.erf(-1 / math.sqrt(2)))

# %% slope
with torch.enable_grad():
    t = torch.linspace(-4, 4, 81, requires_grad=True)
    slopes = {name: torch.autograd.grad(act(t).sum(), t)[0] for name, act in {"gelu": F.gelu, "relu": F.relu}.items()}
show_curves(slopes, x=t.detach())

# %% two-gelus
t = torch.linspace(-6, 6, 1201, dtype=torch.float64)
difference = (F.gelu(t) - F.gelu(t, approximate="tanh")).abs()
print(f"max |Δ| = {difference.max():.6f} at ±{t[difference.argmax()].abs():.2f}")


# %% whole
def attend(layer, x):
    context, _ = layer.attention.self(x[None])  # lesson 3
    return layer.attention.output.dense(context[0])  # the heads mixed


def feed_forward(layer, a):
    return layer.output.dense(layer.intermediate(a))  # H → I, GELU, I → H


def post_ln(layer, x):  # BERT's layer
    a = layer.attention.output.LayerNorm(x + attend(layer, x))
    return layer.output.LayerNorm(a + feed_forward(layer, a))


y = post_ln(layer, x)
print(f"max |Δ| = {(y - values['encoder.layer.0'][0]).abs().max():.6f}")

# %% exercise: order
a = values["encoder.layer.0.attention.output"][0]  # (T, H), the attention's half is done
g = feed_forward(layer, a)  # (T, H)
norm = layer.output.LayerNorm
answer = ...  # (T, H), the output of the layer
check("order", answer)

# %% solution: order
a = values["encoder.layer.0.attention.output"][0]
answer = layer.output.LayerNorm(a + feed_forward(layer, a))


# %% guesses
def guesses(model):
    found = fill_mask(model, tokenizer, "He opened the [MASK] and went in.", top_k=3)[0]  # of the first gap
    return [f"{guess.token} {guess.probability:.2f}" for guess in found]


guesses(BertForMaskedLM.from_pretrained("minibert-demo"))


# %% left-out
def without(part, new_arguments):  # in every layer, before `part` runs
    model = BertForMaskedLM.from_pretrained("minibert-demo")
    for layer in model.bert.encoder.layer:
        layer.get_submodule(part).register_forward_pre_hook(lambda _, given: new_arguments(*given))
    return model


print(guesses(without("attention.output", lambda new, old: (new, 0 * old))), "no x + o")
print(guesses(without("output", lambda new, old: (new, 0 * old))), "no a + g")
print(guesses(without("output", lambda new, old: (0 * new, old))), "no f")
no_gelu = BertForMaskedLM.from_pretrained("minibert-demo")
for each in no_gelu.bert.encoder.layer:
    each.intermediate.intermediate_act_fn = torch.nn.Identity()
print(guesses(no_gelu), "no gelu")


# %% others
def no_residual(layer, x):
    a = layer.attention.output.LayerNorm(attend(layer, x))
    return layer.output.LayerNorm(feed_forward(layer, a))


def no_norm(layer, x):
    u = x + attend(layer, x)
    return u + feed_forward(layer, u)


def pre_ln(layer, x):
    u = x + attend(layer, layer.attention.output.LayerNorm(x))
    return u + feed_forward(layer, layer.output.LayerNorm(u))


# %% deep
torch.manual_seed(0)
small = {"vocab_size": 100, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 256}
deep = BertModel(BertConfig(num_hidden_layers=24, initializer_range=0.07, **small)).eval()  # untrained
start = F.layer_norm(torch.randn(16, 64), (64,))  # 16 tokens
depths = (0, 6, 12, 18, 24)
print(" " * 12, *(f" norm {depth:2}" for depth in depths), *(f" cos {depth:2}" for depth in depths))
for arrangement in (post_ln, pre_ln, no_residual, no_norm):
    states = [start]
    for each in deep.encoder.layer:
        states.append(arrangement(each, states[-1]))
    states = states[::6]
    norms = [f"{state.norm(dim=1).mean():8.1f}" for state in states]
    cosines = [f"{F.cosine_similarity(state[0], state[1], dim=0):7.2f}" for state in states]
    print(f"{arrangement.__name__:12}", *norms, *cosines)

# %% gradients
target, gradients = torch.randn(16, 64), {}
with torch.enable_grad():
    for arrangement in (post_ln, pre_ln):
        deep.zero_grad()
        state = start
        for each in deep.encoder.layer:
            state = arrangement(each, state)
        if arrangement is pre_ln:  # it ends in a sum; one more LayerNorm follows
            state = F.layer_norm(state, (64,))
        ((state - target) ** 2).mean().backward()
        weights = [each.intermediate.dense.weight for each in deep.encoder.layer]
        gradients[arrangement.__name__] = [weight.grad.norm().item() for weight in weights]
show_curves(gradients, x_label="layer", y_label="norm of the gradient")
