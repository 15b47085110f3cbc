# %% load
import torch

from minibert import BertModel, BertTokenizer, show_bars, show_map, show_tokens, trace

torch.set_grad_enabled(False)  # nothing is trained here
tokenizer = BertTokenizer.from_pretrained("minibert-demo")
model = BertModel.from_pretrained("minibert-demo")
inputs = tokenizer("배를 타고 여행을 간다.", return_tensors="pt")
inputs

# %% tokens
show_tokens(tokenizer, "배를 타고 여행을 간다.")

# %% special
{token: tokenizer.convert_tokens_to_ids(token) for token in ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]}

# %% by-hand
marked = "[CLS] 배를 타고 여행을 간다. [SEP]"
by_hand = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(marked))
by_hand, by_hand == inputs.input_ids[0].tolist()

# %% pair
first, second = "배를 타고 여행을 간다.", "추석에 먹은 배가 맛있었다."
pair = tokenizer(first, second, return_tensors="pt")
show_tokens(tokenizer, first, second)

# %% exercise: segments
answer = ...  # A has 3 pieces, B has 2: the segments of the whole row, as a list of 0 and 1
check("segments", answer)

# %% solution: segments
answer = [0, 0, 0, 0, 0, 1, 1, 1]  # [CLS] a a a [SEP] b b [SEP]

# %% tables
embeddings = model.embeddings
embeddings

# %% lookup
words = embeddings.word_embeddings.weight  # (V, H)
ids = pair.input_ids[0]  # (T,)
words[ids].shape, torch.equal(words[ids], embeddings.word_embeddings(ids))

# %% same-row
pieces = pair.tokens()
boat, pear = [place for place, piece in enumerate(pieces) if piece == "배"]
boat, pear, torch.equal(words[ids[boat]], words[ids[pear]])


# %% order
def difference(a, b):
    """The largest difference of two tensors, rounded."""
    return round(float((a - b).abs().max()), 4)


dog = tokenizer("The dog bit the man.", return_tensors="pt").input_ids
man = tokenizer("The man bit the dog.", return_tensors="pt").input_ids
nowhere = torch.zeros_like(dog)  # position 0 for every token
same_place = [model(row, position_ids=nowhere).last_hidden_state[0, 0] for row in (dog, man)]  # [CLS] of each
own_place = [model(row).last_hidden_state[0, 0] for row in (dog, man)]
difference(*same_place), difference(*own_place)

# %% positions
positions = embeddings.position_embeddings.weight  # (128, H)
unit = positions[1:17] / positions[1:17].norm(dim=-1, keepdim=True)
show_map(unit @ unit.T, range(1, 17), range(1, 17), label="cosine of two positions")

# %% too-long
try:
    model(torch.zeros(1, 129, dtype=torch.long))
except ValueError as error:
    print(error)

# %% one-token
place = 1  # 배
segments = embeddings.token_type_embeddings.weight  # (2, H)
total = words[ids[place]] + segments[0] + positions[place]  # (H,)
by_hand = embeddings.LayerNorm(total)
state = model(**pair, output_hidden_states=True).hidden_states[0]  # (1, T, H)
float((by_hand - state[0, place]).abs().max())

# %% exercise: embeddings
answer = ...  # (T, H): hidden state 0 of every token of the pair
check("embeddings", answer)

# %% solution: embeddings
total = words[ids] + segments[pair.token_type_ids[0]] + positions[: len(ids)]
answer = embeddings.LayerNorm(total)

# %% one-hot
table = torch.cat([words, segments, positions])  # (V + 2 + 128, H)
one_hot = torch.zeros(len(table))
one_hot[torch.tensor([ids[place], len(words), len(words) + 2 + place])] = 1
difference(one_hot @ table, words[ids[place]] + segments[0] + positions[place])

# %% all-ones
single = tokenizer("The dog bit the man.", return_tensors="pt")
as_first = model(single.input_ids).last_hidden_state[0]  # (T, H), all segments 0
ones = torch.ones_like(single.input_ids)
as_second = model(single.input_ids, token_type_ids=ones).last_hidden_state[0]
cosines = torch.cosine_similarity(as_first, as_second, dim=-1)  # (T,)
show_bars({f"{n} {piece}": float(cosines[n]) for n, piece in enumerate(single.tokens())}, label="cosine")

# %% guesses
from minibert import BertForMaskedLM

guesser = BertForMaskedLM.from_pretrained("minibert-demo")
film = tokenizer("이 영화 정말 [MASK]", return_tensors="pt")
for segment in (0, 1):
    logits = guesser(film.input_ids, token_type_ids=torch.full_like(film.input_ids, segment)).logits
    print(segment, tokenizer.convert_ids_to_tokens(logits[0, 4].topk(4).indices.tolist()))

# %% exercise: trap
answer = ...  # a number: how far model(single.input_ids, ones)[0] is from model(single.input_ids)[0] at most
check("trap", answer)

# %% solution: trap
answer = difference(model(single.input_ids, ones)[0], model(single.input_ids)[0])

# %% padded
paris = tokenizer("I love Paris", padding="max_length", max_length=8, return_tensors="pt")
print(paris.tokens())
paris

# %% batch
batch = tokenizer(["I love Paris", first], padding=True, return_tensors="pt")
batch

# %% scores
values = trace(model, paris)
layer = "encoder.layer.0.attention.self"
scores = values[f"{layer}.scores"][0, 0]  # (T, T): the first head
masked_scores = values[f"{layer}.masked_scores"][0, 0]
[f"{number:.3g}" for number in scores[1].tolist()], [f"{number:.3g}" for number in masked_scores[1].tolist()]

# %% probabilities
show_map(values[f"{layer}.probabilities"][0, 0], paris.tokens(), paris.tokens(), label="probabilities, layer 0, head 0")

# %% exercise: mask
answer = ...  # a tensor to add to scores (T, T), so that softmax(dim=-1) gives the picture above
check("mask", answer)

# %% solution: mask
answer = torch.where(paris.attention_mask[0].bool(), 0.0, torch.finfo(torch.float32).min)  # (T,)

# %% infinity
lowest = torch.finfo(torch.float32).min
torch.full((4,), -torch.inf).softmax(dim=0), torch.full((4,), lowest).softmax(dim=0)

# %% with-and-without
alone = model(**tokenizer("I love Paris", return_tensors="pt"))[0][0]  # (6, H), no padding
{
    "padded, with the mask": difference(model(**paris)[0][0, :6], alone),
    "padded, without the mask": difference(model(paris.input_ids)[0][0, :6], alone),
}

# %% mean
padded = model(**paris)[0][0]  # (8, H)
mask = paris.attention_mask[0, :, None]  # (T, 1)
right = (padded * mask).sum(dim=0) / mask.sum()
{
    "length of [PAD]'s vector": round(float(padded[7].norm()), 2),
    "mean of the 6 tokens, from alone": difference(right, alone.mean(dim=0)),
    "mean of all 8, from alone": difference(padded.mean(dim=0), alone.mean(dim=0)),
}

# %% kcbert
from minibert.learn import lesson_model

published = [[2, 19017, 8482, 3, 0, 0, 0, 0, 0, 0], [2, 15830, 5, 3, 0, 0, 0, 0, 0, 0]]
folder = lesson_model("kcbert-base")
if folder:
    kcbert = BertTokenizer.from_pretrained(folder)
    published = kcbert(["안녕하세요", "하이!"], max_length=10, padding="max_length", truncation=True).input_ids
published
