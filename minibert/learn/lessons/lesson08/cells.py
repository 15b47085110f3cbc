# %% reviews
good = [
    "배우들 연기가 정말 좋았다", "다시 보고 싶은 영화", "감동적이고 재밌다", "최고의 영화였다",
    "음악이 아름답다", "끝까지 재미있게 봤다", "눈물이 나게 감동적이다", "강력 추천합니다",
    "정말 웃기고 즐거웠다", "여운이 오래 남는다", "완벽한 작품이다", "가족과 함께 보기 좋다",
]  # fmt: skip
bad = [
    "시간이 아깝다", "너무 지루해서 잤다", "돈이 아까운 영화", "스토리가 엉망이다", "연기가 어색하다",
    "왜 만들었는지 모르겠다", "기대했는데 실망했다", "절대 보지 마세요", "재미가 하나도 없다",
    "내용이 너무 뻔하다", "최악의 영화다", "보다가 나왔다",
]  # fmt: skip
good_test = [
    "연기도 좋고 음악도 좋다", "또 보고 싶다", "정말 감동적인 이야기", "올해 최고다", "재밌게 잘 봤습니다",
    "추천하고 싶은 영화", "아름다운 영화", "마음이 따뜻해진다",
]  # fmt: skip
bad_test = [
    "정말 재미없다", "지루하고 실망스럽다", "시간 낭비였다", "돈 주고 볼 영화는 아니다",
    "스토리가 너무 엉성하다", "배우가 아깝다", "졸려서 혼났다", "기대 이하였다",
]  # fmt: skip
len(good), len(bad), len(good_test), len(bad_test)

# %% batch
import torch

from minibert import BertForSequenceClassification, BertTokenizer

tokenizer = BertTokenizer.from_pretrained("minibert-demo")
train = tokenizer([*good, *bad], padding=True, return_tensors="pt")
test = tokenizer([*good_test, *bad_test], padding=True, return_tensors="pt")
labels, test_labels = torch.tensor([1] * 12 + [0] * 12), torch.tensor([1] * 8 + [0] * 8)
tuple(train["input_ids"].shape), tuple(test["input_ids"].shape)


# %% head
def new_model(seed=0):
    torch.manual_seed(seed)  # of the head
    model = BertForSequenceClassification.from_pretrained(
        "minibert-demo", num_labels=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    return model.double()  # float64: rounding does not decide how the training goes


model = new_model()
print(model.classifier)
print(f"{sum(p.numel() for p in model.bert.parameters()):,} parameters from the checkpoint")

# %% exercise: head
answer = ...  # a whole number
check("head", answer)

# %% solution: head
answer = 256 * 2 + 2


# %% before
@torch.no_grad()
def right(model):
    """How many test reviews are told right."""
    return int((model.eval()(**test).logits.argmax(dim=-1) == test_labels).sum())


with torch.no_grad():
    print(f"loss {model(**train, labels=labels).loss:.2f}, {right(model)} of 16 right")

# %% exercise: chance
answer = ...  # in nats
check("chance", answer)

# %% solution: chance
import math

answer = math.log(5)

# %% learn
from minibert.training.optimizer import make_optimizer
from minibert.training.settings import Settings


def learn(model, inputs, labels, rate, epochs=8, seed=0):
    """Train in steps of 8 texts; the losses."""
    optimizer = make_optimizer(model, Settings(learning_rate=rate))
    order, losses = torch.Generator().manual_seed(seed), []
    model.train()
    for _ in range(epochs):
        for numbers in torch.randperm(len(labels), generator=order).split(8):
            part = {name: values[numbers] for name, values in inputs.items()}
            loss = model(**part, labels=labels[numbers]).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


losses = {"fine-tuned": learn(model, train, labels, rate=3e-4)}
found = [right(model)]
for seed in (1, 2):
    model = new_model(seed)
    learn(model, train, labels, rate=3e-4, seed=seed)
    found.append(right(model))
print("right of 16:", found)

# %% scratch
found = []
for seed in range(3):
    torch.manual_seed(seed)
    scratch = BertForSequenceClassification(model.config).double()  # the same shape, random weights
    losses["from random weights"] = learn(scratch, train, labels, rate=3e-4, seed=seed)
    found.append(right(scratch))
print("right of 16:", found)

# %% frozen
found = []
for seed in range(3):
    frozen = new_model(seed)
    frozen.bert.requires_grad_(False)
    losses["frozen"] = learn(frozen, train, labels, rate=1e-2, seed=seed)
    found.append(right(frozen))
print(sum(p.numel() for p in frozen.parameters() if p.requires_grad), "parameters trained; right of 16:", found)

# %% curves
from minibert import show_curves

show_curves(losses, x_label="step", y_label="loss (nats)")


# %% features
def features(inputs):
    """(B, H): the mean of the last hidden state without padding, from the checkpoint as it is."""
    with torch.no_grad():
        states = new_model().bert(**inputs).last_hidden_state
    weights = inputs["attention_mask"][:, :, None].double()
    return (states * weights).sum(dim=1) / weights.sum(dim=1)


x, x_test = features(train), features(test)
linear = torch.nn.Linear(256, 2).double()
torch.nn.init.zeros_(linear.weight)
torch.nn.init.zeros_(linear.bias)
optimizer = torch.optim.AdamW(linear.parameters(), lr=1e-2, weight_decay=0.1)
for _ in range(100):
    loss = torch.nn.functional.cross_entropy(linear(x), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"{(linear(x_test).argmax(dim=-1) == test_labels).sum()} of 16 right")

# %% exercise: runs
answer = ...  # how many times a text goes through the encoder in training
check("runs", answer)

# %% solution: runs
answer = 24

# %% entities
KINDS = ["O", "PERSON", "PLACE"]
frames = [
    "P lived in L .", "L is where P was born .", "P and P went to L .", '" I know , " said P .',
    "The king of L wrote to P .", "He came from L last year .", "P opened the door .", "The old house was empty .",
]  # fmt: skip
persons = [
    "Mary", "Anna", "John", "Kate", "George", "Elizabeth", "Henry", "Jane", "William", "Peter", "Lucy", "Robert",
]  # fmt: skip
places = [
    "London", "France", "Paris", "Scotland", "Germany", "Rome", "America", "England", "Spain", "China",
    "Russia", "Egypt",
]  # fmt: skip


def fill(frames, persons, places, rounds, seed):
    """Lists of words, and of the numbers of their kinds."""
    draw, words, kinds = torch.Generator().manual_seed(seed), [], []
    for frame in frames * rounds:
        lists = {"P": persons, "L": places}
        chosen = [lists.get(each, [each]) for each in frame.split()]
        words.append([names[int(torch.randint(len(names), (1,), generator=draw))] for names in chosen])
        kinds.append([{"P": 1, "L": 2}.get(each, 0) for each in frame.split()])
    return words, kinds


words, kinds = fill(frames, persons, places, rounds=4, seed=0)
print(len(words), "sentences")
words[0], kinds[0]

# %% pieces
encoded = tokenizer(words, is_split_into_words=True, padding=True, return_tensors="pt")
number = 1
print(encoded.tokens(number))
print(encoded.word_ids(number))

# %% exercise: tags
answer = ...  # a list: a label for every token of that sentence, padding too
check("tags", answer)

# %% solution: tags
word_ids = encoded.word_ids(number)
answer = [
    -100 if word is None or word == before else kinds[number][word]
    for word, before in zip(word_ids, [None, *word_ids], strict=False)
]

# %% tagger
from minibert import BertForTokenClassification


def labels_of(encoded, kinds):
    """(B, T): the kind of a word at its first piece; -100 elsewhere."""
    labels = torch.full_like(encoded["input_ids"], -100)
    for row, of_words in enumerate(kinds):
        word_ids = encoded.word_ids(row)
        for place, word in enumerate(word_ids):
            if word is not None and word != word_ids[place - 1]:
                labels[row, place] = of_words[word]
    return labels


torch.manual_seed(0)
tagger = BertForTokenClassification.from_pretrained(
    "minibert-demo", num_labels=3, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
).double()
tag_losses = learn(tagger, encoded, labels_of(encoded, kinds), rate=2e-4, epochs=10)
print(f"loss {tag_losses[0]:.2f} → {tag_losses[-1]:.2f}")

# %% tagged
other = ["P went to L by ship .", "In L we met P .", '" Come , " said P .', "The people of L liked P ."]
other.append("The door was open .")
new_persons, new_places = ["Charles", "Emma", "Thomas", "Sarah"], ["Italy", "Ireland", "India", "Boston"]
words_test, kinds_test = fill(other, new_persons, new_places, rounds=4, seed=1)
encoded_test = tokenizer(words_test, is_split_into_words=True, padding=True, return_tensors="pt")
expected = labels_of(encoded_test, kinds_test)


@torch.no_grad()
def tag(model):
    """(B, T): the kind of every token; printed: how many of the names are found."""
    guessed = model.eval()(**encoded_test).logits.argmax(dim=-1)
    found, right = (guessed[expected > 0] > 0).sum(), (guessed == expected)[expected > 0].sum()
    print(f"of {(expected > 0).sum()} names {found} found, {right} with the right kind;", end=" ")
    print(f"of {(expected == 0).sum()} other words {(guessed[expected == 0] > 0).sum()} taken for names")
    return guessed


guessed = tag(tagger)
for row, text in enumerate(words_test[:5]):
    at_first = guessed[row][expected[row] != -100].tolist()
    print(" ".join(f"{w}:{KINDS[k]}" if k else w for w, k in zip(text, at_first, strict=True)))

# %% tagger-scratch
torch.manual_seed(0)
scratch = BertForTokenClassification(tagger.config).double()
scratch_losses = learn(scratch, encoded, labels_of(encoded, kinds), rate=2e-4, epochs=10)
print(f"loss {scratch_losses[0]:.2f} → {scratch_losses[-1]:.2f}")
guessed = tag(scratch)
