# %% setup
import math

import torch
import torch.nn.functional as F

from minibert import BertModel, BertTokenizer, show_attention, show_curves, show_map, trace

torch.set_printoptions(precision=3, sci_mode=False, linewidth=100)

# %% sentence
tokens = ["red", "boat", "sails"]
features = ["noun", "adjective", "verb", "colour"]
x = torch.tensor(
    [
        [0.0, 1.0, 0.0, 1.0],  # red: an adjective, a colour
        [1.0, 0.0, 0.0, 0.0],  # boat: a noun
        [0.0, 0.0, 1.0, 0.0],  # sails: a verb
    ]
)  # (T, H)
show_map(x, tokens, features, label="x")

# %% likeness
x @ x.T

# %% weights
W_Q = torch.tensor(  # row: what a token is; column: what it asks for
    [
        [0.0, 2.0, 1.0, 0.0],  # a noun asks for adjectives, and half as much for verbs
        [3.0, 0.0, 0.0, 0.0],  # an adjective asks for nouns
        [2.0, 0.0, 0.0, 0.0],  # a verb asks for nouns
        [0.0, 0.0, 0.0, 0.0],
    ]
)
W_K = 2 * torch.eye(4)  # a key says what the token is, twice as loud
W_V = torch.tensor(  # row: what a token is; column: what it passes on
    [[0.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0], [2.0, 0.0, 0.0, 0.0]]
)

# %% projections
q, k, v = x @ W_Q, x @ W_K, x @ W_V  # (T, D) each; with one head, D = H = 4
print("q", q, "k", k, "v", v, sep="\n")

# %% exercise: score
answer = ...  # one number
check("score", answer)

# %% solution: score
answer = (0 * 0 + 2 * 2 + 1 * 0 + 0 * 2) / math.sqrt(4)

# %% scores
D = 4
scores = q @ k.T / math.sqrt(D)  # (T, T)
show_map(scores, tokens, tokens, label="q · k / √D")

# %% row
powers = scores[1].exp()  # e², e⁰, e¹
print(powers, powers.sum())
powers / powers.sum()

# %% exercise: softmax
answer = ...  # (T, T)
check("softmax", answer)

# %% solution: softmax
answer = scores.exp() / scores.exp().sum(dim=1, keepdim=True)

# %% probabilities
probabilities = torch.softmax(scores, dim=-1)
show_attention(probabilities, tokens)

# %% context
passed_on = ["colour", "quality", "motion", "thing"]
context = probabilities @ v  # (T, D)
show_map(context, tokens, passed_on, label="p v")

# %% padding
row = torch.tensor([2.0, 0.0, 1.0, 0.0])  # the last token is [PAD]
mask = torch.tensor([0.0, 0.0, 0.0, torch.finfo(torch.float32).min])
print(torch.softmax(row, dim=-1))
print(torch.softmax(row + mask, dim=-1))

# %% root
torch.manual_seed(0)
print("   D    std     max p  max p, √D")
for D in (4, 16, 64, 256, 1024):
    raw = torch.randn(1000, D) @ torch.randn(16, D).T  # 1000 queries, 16 keys
    largest, largest_scaled = (torch.softmax(s, dim=-1).amax(dim=-1).mean() for s in (raw, raw / math.sqrt(D)))
    print(f"{D:4} {raw.std():6.2f} {largest:10.3f} {largest_scaled:10.3f}")

# %% gradient
steps = torch.linspace(-8, 8, 33)
p = torch.sigmoid(steps)  # softmax over two scores, of which the first is larger by this much
show_curves({"p": p, "slope of p": p * (1 - p)}, x=steps, x_label="s₁ - s₂")

# %% exercise: scale
answer = ...  # one number
check("scale", answer)

# %% solution: scale
answer = math.sqrt(768 / 12)

# %% two-heads
N, D = 2, 2
q_heads, k_heads, v_heads = (y.view(3, N, D).transpose(0, 1) for y in (q, k, v))  # (N, T, D)
p_heads = torch.softmax(q_heads @ k_heads.transpose(1, 2) / math.sqrt(D), dim=-1)  # (N, T, T)
print(p_heads)
show_attention(p_heads, tokens)

# %% two-contexts
context_heads = p_heads @ v_heads  # (N, T, D)
merged = context_heads.transpose(0, 1).flatten(start_dim=1)  # (T, H): the heads side by side
print("one head ", context[1])
print("two heads", merged[1])

# %% model
tokenizer = BertTokenizer.from_pretrained("minibert-demo")
model = BertModel.from_pretrained("minibert-demo")
inputs = tokenizer("나는 배를 타고 여행을 간다.", return_tensors="pt")
pieces = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0].tolist())
values = trace(model, inputs)  # every value of one run, by name
x = values["embeddings"][0]  # (T, H)
print(pieces)
x.shape

# %% real-projections
attention = model.encoder.layer[0].attention.self
with torch.no_grad():
    q = x @ attention.query.weight.T + attention.query.bias  # (T, H)
    k = x @ attention.key.weight.T + attention.key.bias
    v = x @ attention.value.weight.T + attention.value.bias
print(attention)
q.shape

# %% exercise: split
T, H = q.shape
N = model.config.num_attention_heads
D = H // N
answer = ...  # (N, T, D)
check("split", answer)

# %% solution: split
T, H = q.shape
N = model.config.num_attention_heads
D = H // N
answer = q.view(T, N, D).transpose(0, 1)

# %% by-hand
T, H, N, D = 12, 256, 4, 64
q_heads, k_heads, v_heads = (y.view(T, N, D).transpose(0, 1) for y in (q, k, v))  # (N, T, D)
scores = q_heads @ k_heads.transpose(1, 2) / math.sqrt(D)  # (N, T, T)
probabilities = torch.softmax(scores, dim=-1)  # (N, T, T)
context = (probabilities @ v_heads).transpose(0, 1).flatten(start_dim=1)  # (T, H)

# %% compare
mine = {"query_heads": q_heads, "scores": scores, "probabilities": probabilities, "context": context}
for name, value in mine.items():
    theirs = values[f"encoder.layer.0.attention.self.{name}"][0]
    print(f"{name:13} {tuple(value.shape)!s:13} max |Δ| = {(value - theirs).abs().max():.6f}")

# %% fused
fused = F.scaled_dot_product_attention(q_heads[None], k_heads[None], v_heads[None])[0]
print(f"{(fused - probabilities @ v_heads).abs().max():.6f}")

# %% maps
show_attention(probabilities, pieces)

# %% next-token
sentences = ["나는 배를 타고 여행을 간다.", "He opened the door and went in.", "您可以选择一个文件。"]
for sentence in sentences:
    p = trace(model, tokenizer(sentence, return_tensors="pt"))["encoder.layer.0.attention.self.probabilities"][0]
    itself, following = p.diagonal(0, 1, 2).mean(dim=1), p.diagonal(1, 1, 2).mean(dim=1)  # (N,): means over the tokens
    print(sentence, "itself", itself, "next", following, sep="\n")

# %% positions
embeddings = model.embeddings
with torch.no_grad():
    same_word = embeddings.word_embeddings.weight.mean(dim=0)  # (H,), the same at all positions
    no_words = same_word + embeddings.token_type_embeddings.weight[0] + embeddings.position_embeddings.weight[:T]
    _, p = attention(embeddings.LayerNorm(no_words)[None], output_attentions=True)
p[0].diagonal(1, 1, 2).mean(dim=1)

# %% order
order = torch.randperm(T, generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    shuffled, _ = attention(x[order][None])
print(f"{(shuffled[0] - context[order]).abs().max():.6f}")

# %% biases
for layer in model.encoder.layer:
    biases = {name: getattr(layer.attention.self, name).bias for name in ("query", "key", "value")}
    print({name: round(bias.norm().item(), 1) for name, bias in biases.items()})

# %% exercise: bias
answer = ...  # "query", "key" or "value"
check("bias", answer)

# %% solution: bias
changes = {}
for name in ("query", "key", "value"):
    without = BertModel.from_pretrained("minibert-demo")
    with torch.no_grad():
        for layer in without.encoder.layer:
            getattr(layer.attention.self, name).bias.zero_()
        changes[name] = (without(**inputs).last_hidden_state - values.outputs.last_hidden_state).abs().max().item()
answer = min(changes, key=changes.get)
