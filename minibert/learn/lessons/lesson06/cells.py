# %% load
import torch
import torch.nn.functional as F

from minibert import BertModel, BertTokenizer

tokenizer = BertTokenizer.from_pretrained("minibert-demo")
model = BertModel.from_pretrained("minibert-demo", output_hidden_states=True)
boat = tokenizer("나는 배를 타고 여행을 간다.", return_tensors="pt")
pear = tokenizer("추석에 먹은 배가 맛있었다.", return_tensors="pt")
print(boat.tokens())
print(pear.tokens())

# %% one-vector
table = model.embeddings.word_embeddings.weight  # (V, H)
i, j = boat.tokens().index("배"), pear.tokens().index("배")
first, second = table[boat["input_ids"][0, i]], table[pear["input_ids"][0, j]]  # (H) each
print("positions", i, j, " ids", boat["input_ids"][0, i].item(), pear["input_ids"][0, j].item())
F.cosine_similarity(first, second, dim=0).item(), (first - second).abs().max().item()

# %% stack
with torch.no_grad():
    hidden_states = model(**pear).hidden_states
print(len(hidden_states), "×", tuple(hidden_states[0].shape))  # L + 1 tensors of (B, T, H)
stacked = torch.stack(hidden_states)  # (L + 1, B, T, H)
by_token = stacked[:, 0].permute(1, 0, 2)  # (T, L + 1, H)
tuple(stacked.shape), tuple(by_token.shape)

# %% exercise: stack
answer = ...  # the L + 1 vectors of 배 in `pear`, as (L + 1, H)
check("stack", answer)

# %% solution: stack
answer = by_token[j]


# %% as-written
@torch.no_grad()
def word_states(encoding, place, shift=0):
    position_ids = torch.arange(encoding["input_ids"].shape[1])
    position_ids[1:] += shift  # [CLS] stays at 0
    outputs = model(**encoding, position_ids=position_ids[None])
    return torch.stack(outputs.hidden_states)[:, 0, place]  # (L + 1, H)


pear_states = word_states(pear, j)
as_written = F.cosine_similarity(word_states(boat, i), pear_states, dim=-1)  # (L + 1)
as_written

# %% exercise: shift
answer = ...  # a whole number
check("shift", answer)

# %% solution: shift
answer = j - i

# %% matched
from minibert import show_curves

matched = F.cosine_similarity(word_states(boat, i, shift=j - i), pear_states, dim=-1)
print(matched)
show_curves(
    {"as written": as_written.tolist(), "positions matched": matched.tolist()}, x_label="hidden state", y_label="cosine"
)

# %% own-sentence
from minibert import show_bars

with torch.no_grad():
    last = model(**boat).last_hidden_state[0]  # (T, H)
cosines = F.cosine_similarity(last[i], last, dim=-1)  # (T)
show_bars(dict(zip(boat.tokens(), cosines.tolist(), strict=True)), label="cosine with 배, last hidden state")

# %% ten-sentences
from minibert import Embedder, show_map, word_similarity

boats = [
    "나는 배를 타고 여행을 간다.",
    "그는 배를 타고 섬에 갔다.",
    "선장은 배에 올랐다.",
    "바다에 배가 떠 있다.",
    "배가 항구를 떠났다.",
]
pears = [
    "추석에 먹은 배가 맛있었다.",
    "사과와 배를 먹었다.",
    "나는 배를 깎아 먹었다.",
    "달콤한 배를 샀다.",
    "배를 한 개 먹었다.",
]
embedder = Embedder(model, tokenizer)
found = word_similarity(embedder, "배", [*boats, *pears], match_positions=True)
names = [f"boat {n}" for n in range(1, 6)] + [f"pear {n}" for n in range(1, 6)]
show_map(found.matrix(4), names, names, label="cosine of 배 with 배, last hidden state")


# %% nearest
def same_sense(embedder, word, senses, match_positions):
    """For each hidden state, how many places of the word have a nearest neighbour of the same sense."""
    texts = [text for texts in senses for text in texts]
    found = word_similarity(embedder, word, texts, match_positions=match_positions)
    sense = torch.tensor([number for number, texts in enumerate(senses) for _ in texts])
    nearest = [found.matrix(k).fill_diagonal_(-1).argmax(dim=1) for k in range(5)]
    return [int((sense[places] == sense).sum()) for places in nearest]


print("as written       ", same_sense(embedder, "배", [boats, pears], match_positions=False))
print("positions matched", same_sense(embedder, "배", [boats, pears], match_positions=True))

# %% control
for seed in range(3):
    torch.manual_seed(seed)
    untrained = Embedder(BertModel(model.config).eval(), tokenizer)
    print("random weights", seed, same_sense(untrained, "배", [boats, pears], match_positions=True))

# %% bellies
bellies = [
    "나는 배가 고프다.",
    "배가 아파서 병원에 갔다.",
    "너무 웃어서 배가 아프다.",
    "배가 불러서 못 먹겠다.",
    "배를 따뜻하게 해라.",
]

# %% exercise: belly
answer = ...  # of 15, in the last hidden state, positions matched
check("belly", answer)

# %% solution: belly
answer = same_sense(embedder, "배", [boats, pears, bellies], match_positions=True)[-1]

# %% bank
text = "After stealing money from the bank vault, the bank robber was seen fishing on the Mississippi river bank."
pairs = ["vault, robber", "vault, river", "robber, river"]
for match_positions in (False, True):
    cosines = word_similarity(embedder, "bank", text, match_positions=match_positions).cosines  # (L + 1, 3)
    print("positions matched" if match_positions else "as written")
    for pair, column in zip(pairs, cosines.T, strict=True):
        print(f"  {pair:14}", *(f"{value:.4f}" for value in column))

# %% choices
states = found.vectors  # (10, L + 1, H)
choices = {
    "embeddings": states[:, 0],
    "last": states[:, -1],
    "second to last": states[:, -2],
    "sum of all": states.sum(dim=1),
    "sum of the last four": states[:, -4:].sum(dim=1),
    "last four concatenated": states[:, -4:].flatten(start_dim=1),
}
same = torch.eye(2, dtype=torch.bool).repeat_interleave(5, 0).repeat_interleave(5, 1)  # pairs with one sense
for name, vectors in choices.items():
    cosines = F.cosine_similarity(vectors[:, None], vectors, dim=-1)
    within, across = cosines[same & ~torch.eye(10, dtype=torch.bool)].mean(), cosines[~same].mean()
    print(f"{name:23}{tuple(vectors.shape)!s:12} same {within:.4f}  other {across:.4f}  gap {within - across:.4f}")

# %% exercise: concat
answer = ...  # (T, 4 · H) from `hidden_states`
check("concat", answer)

# %% solution: concat
answer = torch.cat(hidden_states[-4:], dim=-1)[0]

# %% sentences
meanings = [
    ("The weather is lovely today.", "오늘은 날씨가 정말 좋다.", "今天天气很好。"),
    ("This film was boring.", "이 영화는 지루했다.", "这部电影很无聊。"),
    ("The file could not be saved.", "파일을 저장할 수 없습니다.", "无法保存文件。"),
    ("Click the button to close the window.", "단추를 눌러 창을 닫으십시오.", "单击按钮关闭窗口。"),
    ("The story moved me to tears.", "이야기가 감동적이어서 눈물이 났다.", "这个故事让我感动得流泪。"),
    ("My mother is in the kitchen.", "어머니는 부엌에 계신다.", "我母亲在厨房里。"),
    ("The moon is bright tonight.", "오늘 밤 달이 밝다.", "今晚月亮很亮。"),
    ("Enter your name and password.", "이름과 암호를 입력하십시오.", "请输入用户名和密码。"),
]
texts = [text for meaning in meanings for text in meaning]
batch = tokenizer(texts, padding=True, return_tensors="pt")
with torch.no_grad():
    outputs = model(**batch)
tuple(outputs.last_hidden_state.shape), tuple(outputs.pooler_output.shape)

# %% exercise: mean
answer = ...  # (B, H) from `outputs` and `batch`
check("mean", answer)

# %% solution: mean
weights = batch["attention_mask"][:, :, None].float()  # (B, T, 1)
answer = (outputs.last_hidden_state * weights).sum(dim=1) / weights.sum(dim=1)

# %% poolings
meaning = torch.arange(len(meanings)).repeat_interleave(3)
for pooling in ("mean", "cls", "pooler", "max", "embeddings", "second_to_last", "concat_last4"):
    vectors = torch.as_tensor(embedder.encode(texts, pooling=pooling))
    nearest = F.cosine_similarity(vectors[:, None], vectors, dim=-1).fill_diagonal_(-1).argmax(dim=1)
    print(f"{pooling:15}{(meaning[nearest] == meaning).sum():3} of {len(texts)}")

# %% next-sentence
from minibert import BertForPreTraining

pretrained = BertForPreTraining.from_pretrained("minibert-demo")
for a, b in [
    ("He opened the door and went in.", "The room was dark and cold."),
    ("He opened the door and went in.", "Click the button to save the file."),
    ("이 영화 정말 재미있다.", "배우들 연기도 좋았다."),
    ("이 영화 정말 재미있다.", "파일을 저장할 수 없습니다."),
    ("Select the text that you want to change.", "Then choose Format - Character."),
]:
    with torch.no_grad():
        logits = pretrained(**tokenizer(a, b, return_tensors="pt")).seq_relationship_logits  # (1, 2)
    print(f"{logits.softmax(dim=-1)[0, 0]:.2f}  {a}  {b}")
