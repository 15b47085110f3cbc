# %% load
import torch
import torch.nn.functional as F

from minibert import BertForPreTraining, BertTokenizer
from minibert.pretraining.examples import continuing_pieces, ordinary_pieces
from minibert.pretraining.masking import Masking

tokenizer = BertTokenizer.from_pretrained("minibert-demo")
model = BertForPreTraining.from_pretrained("minibert-demo")
masking = Masking(tokenizer.mask_token_id, ordinary_pieces(tokenizer), continuing_pieces(tokenizer))

# %% mask
text = "He opened the door of the old house and went in, and the captain of the ship sat down by the window to write."
input_ids = tokenizer(text, return_tensors="pt")["input_ids"]  # (1, T)
random = masking.draw(seed=97, epoch=0, numbers=[0], lengths=[input_ids.shape[1]], T=input_ids.shape[1])  # (1, 3, T)
masked, labels = masking.mask(input_ids, random)
for place in (labels[0] != -100).nonzero()[:, 0].tolist():
    before, after, label = (tokenizer.convert_ids_to_tokens(int(ids[0, place])) for ids in (input_ids, masked, labels))
    print(f"position {place:2}  {before:8} → {after:8} to be predicted: {label}")
print(int(masking.ordinary[input_ids].sum()), "pieces without [CLS] and [SEP]")

# %% counts
many = input_ids.repeat(2000, 1)
T = many.shape[1]
masked_many, labels_many = masking.mask(many, masking.draw(0, 0, list(range(2000)), [T] * 2000, T))
chosen = labels_many != -100
became_mask = (masked_many == tokenizer.mask_token_id)[chosen].double().mean()
stayed = (masked_many == many)[chosen].double().mean()
print(f"chosen {chosen.sum() / masking.ordinary[many].sum():.3f}")
print(f"of these: [MASK] {became_mask:.2f}, another piece {1 - became_mask - stayed:.2f}, unchanged {stayed:.2f}")

# %% exercise: share
answer = ...  # of 1,000 pieces
check("share", answer)

# %% solution: share
answer = 1000 * 0.15 * 0.8


# %% three-inputs
def probabilities(text, draws=30):
    """The probability of the right piece where it was hidden, unchanged or replaced, in draws of the text."""
    ids = tokenizer(text, return_tensors="pt")["input_ids"].repeat(draws, 1)
    masked, labels = masking.mask(ids, masking.draw(0, 0, list(range(draws)), [ids.shape[1]] * draws, ids.shape[1]))
    with torch.no_grad():
        logits = model(masked).prediction_logits  # (draws, T, V)
    p = logits.softmax(dim=-1).gather(-1, ids[:, :, None])[:, :, 0]
    chosen, is_mask = labels != -100, masked == tokenizer.mask_token_id
    return [p[chosen & is_mask], p[chosen & (masked == ids)], p[chosen & (masked != ids) & ~is_mask]]


texts = [
    text,
    "보는 내내 눈물이 났다. 배우들 연기가 정말 좋았다. 다시 보고 싶은 영화.",
    "打开一个新的文档，然后单击保存按钮。",
]
kinds = zip(*(probabilities(text) for text in texts), strict=True)
for name, values in zip(["hidden by [MASK]", "unchanged", "another piece there"], kinds, strict=True):
    print(f"{name:20}{torch.cat(values).mean():.2f}")

# %% nothing-hidden
found = []
for text in texts:
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        p = model(ids).prediction_logits.softmax(dim=-1).gather(-1, ids[:, :, None])[0, 1:-1, 0]  # without [CLS], [SEP]
    found.append(p)
print(f"{torch.cat(found).mean():.2f}")

# %% draws
draws = torch.rand(2, T, generator=torch.Generator().manual_seed(105))
is_chosen = (draws[0] < 0.15) & masking.ordinary[input_ids[0]]  # (T) bool
fate = draws[1]  # (T) in [0, 1)
random_pieces = torch.randint(999, 16000, (T,), generator=torch.Generator().manual_seed(2))
is_chosen.nonzero()[:, 0].tolist(), fate[is_chosen]

# %% exercise: eighty
answer = ...  # (T) ids, from input_ids[0], is_chosen, fate, random_pieces
check("eighty", answer)

# %% solution: eighty
answer = input_ids[0].clone()
answer[is_chosen & (fate < 0.8)] = tokenizer.mask_token_id
replaced = is_chosen & (fate >= 0.8) & (fate < 0.9)
answer[replaced] = random_pieces[replaced]


# %% whole-words
def of_last(sentence, pieces, hidden):
    """The probability of the last of some pieces when the pieces with these numbers are hidden."""
    tokens = ["[CLS]", *tokenizer.tokenize(sentence), "[SEP]"]
    first = next(k for k in range(len(tokens)) if tokens[k : k + len(pieces)] == pieces)
    shown = ["[MASK]" if k - first in hidden else token for k, token in enumerate(tokens)]
    with torch.no_grad():
        logits = model(torch.tensor([tokenizer.convert_tokens_to_ids(shown)])).prediction_logits[0]
    return logits[first + len(pieces) - 1].softmax(dim=-1)[tokenizer.convert_tokens_to_ids(pieces[-1])].item()


for sentence, pieces in [
    ("She moved from New York to San Francisco, and never came back.", ["Francis", "##co"]),
    ("The documentation describes the configuration file.", ["describ", "##es"]),
    ("이 영화를 보고 눈물을 흘렸습니다.", ["흘", "##렸", "##습니다"]),
]:
    count = len(pieces)
    last, whole = of_last(sentence, pieces, [count - 1]), of_last(sentence, pieces, range(count))
    print(pieces, f"last piece hidden {last:.3f}, whole word hidden {whole:.3f}")

# %% exercise: chance
answer = ...  # in nats
check("chance", answer)

# %% solution: chance
import math

answer = math.log(16000)

# %% world
from itertools import product

animals = "cow field grass, cat house fish, bear forest honey, duck lake bread, mouse wall cheese, monkey tree fruit"
animals = [each.split() for each in f"{animals}, horse stable hay, bird garden seeds".split(", ")]
names, times = ["Anna", "Tom", "Mary", "Peter"], ["morning", "afternoon", "evening", "night"]
documents = [
    f"{name} has a {animal} in the {place} .\nIn the {time} it eats {food} ."
    for (animal, place, food), name, time in product(animals, names, times)
]
order = torch.randperm(len(documents), generator=torch.Generator().manual_seed(0)).tolist()
heldout, training = [documents[k] for k in order[:16]], [documents[k] for k in order[16:]]
words = sorted({word for document in documents for word in document.split()})
vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
small = BertTokenizer({word: number for number, word in enumerate(vocabulary)}, do_lower_case=False)
print(training[0])
len(training), len(heldout), len(small)

# %% examples
from minibert.pretraining.documents import read_documents
from minibert.pretraining.examples import PretrainingExamples

examples = PretrainingExamples.of(read_documents([training]), small, max_length=40, step_tokens=512)
batch = examples.collate(examples.steps(0)[0][:4], epoch=0)
for ids, label in zip(batch["input_ids"], batch["next_sentence_label"], strict=True):
    print("isNext " if label == 0 else "notNext", " ".join(small.convert_ids_to_tokens(ids.tolist())))

# %% rate
from minibert import show_curves
from minibert.training.optimizer import make_optimizer, scheduled_learning_rate
from minibert.training.settings import Settings

settings = Settings(learning_rate=3e-3, steps=360, warmup=0.1)
rates = [scheduled_learning_rate(settings, step, settings.steps) for step in range(settings.steps)]
show_curves({"learning rate": rates}, x_label="step")

# %% exercise: warmup
answer = ...  # the learning rate
check("warmup", answer)

# %% solution: warmup
answer = 1e-4 * 2500 / 10000

# %% train
from minibert import BertConfig

config = BertConfig(
    vocab_size=len(small), hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=256,
    max_position_embeddings=64, initializer_range=0.1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
)  # fmt: skip
torch.manual_seed(0)
learner = BertForPreTraining(config).double()  # float64: rounding does not decide how 360 steps go
optimizer = make_optimizer(learner, settings)
losses, epoch, steps = {"masked words": [], "next sentences": []}, 0, []
learner.train()
for step, rate in enumerate(rates):
    if not steps:
        steps, epoch = examples.steps(epoch), epoch + 1
    batch = examples.collate(steps.pop(0), epoch - 1)
    outputs = learner(**batch)
    mlm = F.cross_entropy(outputs.prediction_logits.flatten(0, 1).detach(), batch["labels"].flatten())
    losses["masked words"].append(mlm.item())
    losses["next sentences"].append(outputs.loss.item() - mlm.item())
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    outputs.loss.backward()
    torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
    optimizer.step()
    if (step + 1) % 40 == 0:
        print(f"{step + 1:4}", *(f"{name} {sum(values[-40:]) / 40:.2f} " for name, values in losses.items()))

# %% curve
every = range(0, 360, 10)
show_curves(
    {name: [sum(values[k : k + 10]) / 10 for k in every] for name, values in losses.items()},
    x=[k + 10 for k in every], x_label="step", y_label="loss (nats)",
)  # fmt: skip

# %% unigram
import math

counts = torch.bincount(examples.text.pieces.long(), minlength=len(small)).double()
p = counts[counts > 0] / counts.sum()
print(f"all alike {math.log(len(small)):.2f}, by frequency {-(p * p.log()).sum():.2f}")

# %% heldout
learner.eval()
unseen = PretrainingExamples.of(read_documents([heldout]), small, max_length=40, step_tokens=512)
batch = unseen.collate(list(range(len(unseen))), epoch=0)
with torch.no_grad():
    outputs = learner(**batch)
pairs = batch["next_sentence_label"] >= 0
right = (outputs.seq_relationship_logits.argmax(dim=-1) == batch["next_sentence_label"])[pairs]
mlm = F.cross_entropy(outputs.prediction_logits.flatten(0, 1), batch["labels"].flatten())
print(f"masked words {mlm:.2f}; next sentences {right.sum()} of {len(right)}")
for a, b in [
    ("Tom has a cow in the field .", "In the night it eats [MASK] ."),
    ("Anna has a [MASK] in the tree .", "In the evening it eats fruit ."),
]:
    encoded = small(a, b, return_tensors="pt")
    with torch.no_grad():
        logits = learner(**encoded).prediction_logits[0]
    values, ids = logits[encoded["input_ids"][0] == small.mask_token_id][0].softmax(dim=-1).topk(3)
    print(a, b, *(f" {small.convert_ids_to_tokens(int(n))} {v:.2f}" for v, n in zip(values, ids, strict=True)))

# %% demo-curve
import json

from minibert.source import DEMO_FOLDER

rows = [json.loads(line) for line in (DEMO_FOLDER / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
rows = [row for row in rows if "mlm" in row]
show_curves(
    {"masked words": [row["mlm"] for row in rows], "next sentences": [row["nsp"] for row in rows]},
    x=[100 * (k + 1) for k in range(len(rows))], x_label="step", y_label="loss (nats)",
)  # fmt: skip
