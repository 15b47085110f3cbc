# %% load
import torch

from minibert import BertModel, BertTokenizer, edit, show_map

tokenizer = BertTokenizer.from_pretrained("minibert-demo")
model = BertModel.from_pretrained("minibert-demo", output_hidden_states=True)
inputs = tokenizer("She moved from New York to San Francisco, and never came back.", return_tensors="pt")
tokens = inputs.tokens()
T, H, L = len(tokens), model.config.hidden_size, model.config.num_hidden_layers
place = tokens.index("York")
print(place, tokens)

# %% noise
noise = torch.zeros(1, T, H)
noise[0, place] = 0.1 * torch.randn(H, generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    clean = model(**inputs).hidden_states
    with edit(model, "embeddings", lambda value: value + noise):
        noisy = model(**inputs).hidden_states
change = torch.stack([(b - a)[0].norm(dim=-1) for a, b in zip(clean, noisy, strict=True)]) / noise.norm()  # (L + 1, T)
show_map(change, [f"hidden state {k}" for k in range(L + 1)], tokens, label="change per unit of noise")

# %% exercise: reach
answer = ...  # a whole number
check("reach", answer)

# %% solution: reach
answer = int((change[1] > 0).sum())

# %% sensitivity
from minibert import sensitivity

result = sensitivity(model, inputs, std=0.1, samples=4)
print(tuple(result.maps.shape), result.points)
show_map(result.maps[0], tokens, tokens, label="layer 1: noise at the row, change at the column")

# %% all-layers
others = ~torch.eye(T, dtype=torch.bool)
end = result.maps[3]  # layer 4
sends = (end * others).sum(dim=1) / (T - 1)  # how far a token moves the others
receives = (end * others).sum(dim=0) / (T - 1)  # how far the others move a token
show_map(torch.stack([sends, receives]), ["moves others", "is moved"], tokens, label="mean over the others, layer 4")

# %% one-layer
starts = ["embeddings", "encoder.layer.0", "encoder.layer.1", "encoder.layer.2"]  # the input of each layer
last = "encoder.layer.3"
response = []
for start in starts:
    found = sensitivity(model, inputs, std=0.1, samples=4, at=start, points=last).maps[0]  # (T, T)
    response.append(found.diagonal().mean().item())  # noise and change at the same token
response

# %% exercise: afresh
answer = ...  # a number, from `response`
check("afresh", answer)

# %% solution: afresh
answer = sum(each**2 for each in response) ** 0.5


# %% every-layer
@torch.no_grad()
def change_at_end(place, fresh, seed):
    """The change of one token in the last layer, with noise at the input of every layer."""
    draw = torch.Generator().manual_seed(seed)
    noises = [0.1 * torch.randn(H, generator=draw) for _ in starts]
    at_place = torch.eye(T)[place][:, None]  # (T, 1): 1 at the place
    changes = {
        start: lambda value, noise=noises[k if fresh else 0]: value + at_place * noise for k, start in enumerate(starts)
    }
    with edit(model, changes):
        end = model(**inputs).last_hidden_state
    return (end - clean[-1])[0, place].norm() / noises[0].norm()


for fresh in (False, True):
    changed = [change_at_end(place, fresh, seed) for place in range(T) for seed in range(2)]
    print("fresh noise" if fresh else "the same noise", f"{torch.stack(changed).mean().item():.2f}")
print(f"sum of the responses {sum(response):.2f}, root of their squares {sum(r * r for r in response) ** 0.5:.2f}")

# %% limit
from minibert.lens.jacobian import jacobian_product

direction = noise / noise.norm()
with torch.no_grad():
    derivative = jacobian_product(model, inputs, direction, points=last)[last]  # J · direction, float64
    exact = BertModel.from_pretrained("minibert-demo").double()
    before = exact(**inputs).last_hidden_state
    for size in (10.0, 1.0, 0.1, 0.01, 0.001):
        with edit(exact, "embeddings", lambda value, size=size: value + size * direction.double()):
            step = (exact(**inputs).last_hidden_state - before) / size
        print(
            f"noise of length {size:<6g} relative error {((step - derivative).norm() / derivative.norm()).item():.1e}"
        )

# %% block
from minibert import jacobian_block

block = jacobian_block(model, inputs, "embeddings", place, last, tokens.index("New"), dtype=None)  # (H, H)
print(tuple(block.shape), f"norm {block.norm().item():.3f}")

# %% exercise: norm
answer = ...  # a number, from `block`
check("norm", answer)

# %% solution: norm
answer = block.norm() / H**0.5

# %% estimate
for samples in (4, 16, 64):
    found = sensitivity(model, inputs, std=0.1, samples=samples, positions=[place], points=last)
    value, error = (table[0, 0, tokens.index("New")].item() for table in (found.maps, found.standard_error))
    print(f"{samples:4} samples: {value:.4f} ± {error:.4f}")

# %% texts
texts = [
    "She moved from New York to San Francisco, and never came back.",
    "The old house, empty for years, was sold at last; nobody wept.",
    "Is the bridge really longer than the old one, or does it only look so?",
    "배우들 연기가 좋았고, 음악도 정말 좋았다.",
    "처음에는 지루했지만, 끝까지 보니 감동이 있다!",
    "이 영화, 왜 이제야 봤을까? 정말 아쉽다.",
    "打开文件，然后单击“保存”按钮。",
    "如果没有打印机，请先安装；不然，无法打印。",
    "春天来了，山中花开；我心如水。",
]
cases = []
for text in texts:
    encoded = tokenizer(text, return_tensors="pt")
    once = sensitivity(model, encoded, samples=2).maps  # (L, T, T): noise at the embeddings
    each = sensitivity(model, encoded, samples=2, mode="per_layer").maps  # noise at the input of each layer
    cases.append((encoded.tokens(), once, each))
len(cases), sum(len(names) - 2 for names, _, _ in cases)


# %% punctuation
def spread(maps, i):
    """(L): the mean change of the other tokens for noise at token i."""
    return (maps[:, i].sum(dim=1) - maps[:, i, i]) / (maps.shape[1] - 1)


marks, words = [], []
for names, once, _ in cases:
    for i, name in enumerate(names[1:-1], start=1):
        is_word = any(letter.isalnum() for letter in name)
        (words if is_word else marks).append(spread(once, i))
ratio = torch.stack(marks).mean(dim=0) / torch.stack(words).mean(dim=0)
print(len(marks), "marks,", len(words), "pieces of words; mark / word in layers 1 to 4:")
ratio

# %% locality
shares, alike = [], []
for names, _, each in cases:
    distance = (torch.arange(len(names))[:, None] - torch.arange(len(names))).abs()[1:-1, 1:-1]  # without [CLS], [SEP]
    maps = each[:, 1:-1, 1:-1]
    shares.append((maps * ((distance > 0) & (distance <= 2))).sum(dim=(1, 2)) / (maps * (distance > 0)).sum(dim=(1, 2)))
    alike.append(((distance > 0) & (distance <= 2)).sum() / (distance > 0).sum())
print(torch.stack(shares).mean(dim=0), f"if all moved alike: {torch.stack(alike).mean().item():.4f}")

# %% entities
names, _, each = cases[0]
for i, j in [(4, 5), (5, 4), (7, 8), (8, 7)]:
    outside = 2 * i - j  # as far from i, on the other side
    numbers = " ".join(f"{value:5.2f}" for value in (each[:, i, j] / each[:, i, outside]).tolist())
    print(f"noise at {names[i]:8} {names[j]:>8} / {names[outside]:8} {numbers}")

# %% neighbours
with torch.no_grad():
    attentions = model(**inputs, output_attentions=True).attentions  # L of (B, N, T, T)
for layer in (0, 1):
    for head in range(4):
        p = attentions[layer][0, head]
        shown = {"previous": p.diagonal(-1).mean(), "itself": p.diagonal().mean(), "next": p.diagonal(1).mean()}
        print(f"layer {layer + 1}, head {head}:", *(f"{name} {value.item():.2f} " for name, value in shown.items()))

# %% exercise: neighbour
answer = ...  # the number of the head, from 0
check("neighbour", answer)

# %% solution: neighbour
answer = 2

# %% next-head
from minibert import show_attention

show_attention(attentions, tokens, layer=0, head=2)

# %% ablate
from minibert import BertForMaskedLM, ablate_heads

masked_model = BertForMaskedLM.from_pretrained("minibert-demo")
lines = {
    "보는 내내 [MASK] 났다.": "눈물이",
    "가족과 [MASK] 보기 좋은 영화": "함께",
    "스토리가 [MASK] 지루했어요.": "너무",
    "다시 [MASK] 싶은 영화.": "보고",
    "He opened the [MASK] and went in.": "door",
    "She was very [MASK] to see him.": "happy",
    "Click the [MASK] button to close the window.": "window",
    '"I do not [MASK] what you mean," said she.': "know",
    "您可以选[MASK]一个文件。": "择",
    "打开一个新的文[MASK]。": "档",
    "在窗[MASK]的右边有一个按钮。": "口",
    "打[MASK]机没有纸了。": "印",
}
batch = tokenizer(list(lines), padding=True, return_tensors="pt")
rows, columns = (batch["input_ids"] == tokenizer.mask_token_id).nonzero(as_tuple=True)
expected = torch.tensor(tokenizer.convert_tokens_to_ids(list(lines.values())))


def mean_log_probability(outputs):
    return outputs.logits[rows, columns].log_softmax(dim=-1)[rows, expected].mean()


table = ablate_heads(masked_model, batch, mean_log_probability)  # (L, N)
show_map(table, [f"layer {k + 1}" for k in range(4)], [f"head {n}" for n in range(4)], label="change without the head")

# %% exercise: head
answer = ...  # (row, column) of `table`, both from 0
check("head", answer)

# %% solution: head
answer = divmod(int(table.argmin()), 4)

# %% remove-many
from minibert import show_curves, zero_head


@torch.no_grad()
def without(heads):
    """The mean log-probability without these heads, numbered 0 to 15."""
    changes = {}
    for layer in range(4):
        removed = [head % 4 for head in heads if head // 4 == layer]
        if removed:
            changes[f"bert.encoder.layer.{layer}.attention.self.context_heads"] = zero_head(*removed)
    with edit(masked_model, changes):
        return mean_log_probability(masked_model(**batch)).item()


order = table.flatten().argsort(descending=True).tolist()  # the least important first
curves = {
    "least important first": [without(order[:k]) for k in range(16)],
    "most important first": [without(order[::-1][:k]) for k in range(16)],
}
show_curves(curves, x_label="heads removed", y_label="log-probability of the word")
