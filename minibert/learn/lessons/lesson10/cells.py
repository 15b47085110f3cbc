# %% load
import copy

import torch
import torch.nn.functional as F

from minibert import BertForMaskedLM, BertForPreTraining, BertModel, BertTokenizer, MinibertError, show_bars
from minibert.verify import explain, verify, verify_models

torch.set_grad_enabled(False)  # nothing is trained here
tokenizer = BertTokenizer.from_pretrained("minibert-demo")
model = BertModel.from_pretrained("minibert-demo")
inputs = tokenizer(["She sat by the window.", "배를 타고 여행을 간다."], padding=True, return_tensors="pt")

# %% looks-right
gap = tokenizer("She was very [MASK] to see him.", return_tensors="pt")
for eps in (1e-12, 1e-5):
    guesser = BertForMaskedLM.from_pretrained("minibert-demo", layer_norm_eps=eps)
    best = guesser(**gap).logits[0, 4].softmax(dim=-1).topk(5)
    shares = [f"{share:.1%}" for share in best.values.tolist()]
    print(eps, dict(zip(tokenizer.convert_ids_to_tokens(best.indices.tolist()), shares, strict=True)))

# %% is-wrong
other_eps = BertModel.from_pretrained("minibert-demo", layer_norm_eps=1e-5)
right, wrong = (each(**inputs, output_hidden_states=True).hidden_states for each in (model, other_eps))
[f"{float((a - b).abs().max()):.4f}" for a, b in zip(right, wrong, strict=True)]

# %% float
(0.1 + 0.2) + 0.3, 0.1 + (0.2 + 0.3)


# %% ulp
def ulp(number):
    """The distance from a float32 to the next one."""
    number = torch.tensor(number)
    return float(torch.nextafter(number, torch.tensor(torch.inf)) - number)


{number: f"{ulp(number):.3g}" for number in (0.01, 1.0, 1.9, 2.0, 1000.0)}

# %% exercise: ulps
answer = ...  # how many ulps of float32 lie between 10.5 and 10.50001, as a number
check("ulps", answer)

# %% solution: ulps
answer = (10.50001 - 10.5) / ulp(10.5)

# %% two-orders
torch.manual_seed(0)
a, b, c = torch.rand(3, 1000)
one_order, other_order = (a + b) + c, a + (b + c)
int((one_order != other_order).sum()), float((one_order - other_order).abs().max())

# %% two-ways
eager = BertModel.from_pretrained("minibert-demo", attn_implementation="eager")
fused = BertModel.from_pretrained("minibert-demo", attn_implementation="sdpa")
report = verify_models(eager, fused, inputs)
report.verdict, report.first_difference

# %% bounds
bounds = {result.point: f"{result.bound:.1e}" for result in report.results}
{point: bounds[point] for point in ("embeddings", "encoder.layer.0.output", "encoder.layer.3.output", "pooler")}

# %% golden
from pathlib import Path

import minibert

golden = Path(minibert.__file__).parent / "goldens" / "minibert-demo.safetensors"
checked = verify("minibert-demo", golden)
for result in checked.results:
    print(f"{result.batch}  {result.point:24} {result.bound:.1e}  {result.difference <= result.bound}")

# %% somebody
from minibert.learn.lessons.lesson10.checks import somebodys_model

theirs = somebodys_model()
report = verify_models(model, theirs, inputs)
differing = [result for result in report.results if result.differs]
moved = {result.point.removeprefix("encoder."): result.difference for result in differing}
show_bars(dict(sorted(moved.items(), key=lambda item: -item[1])), label="max |Δ|")

# %% exercise: first
answer = ...  # the name of the point at which to begin the search
check("first", answer)

# %% solution: first
answer = report.first_difference.point

# %% cause
for finding in explain(report):
    print(finding.name, finding.formula, *finding.where, sep="\n")

# %% port-parts
weights = model.state_dict()


def norm(x, weight, bias):
    return F.layer_norm(x, x.shape[-1:], weight, bias)


def scores(query, key):  # (B, N, T, D) each
    return query @ key.transpose(-1, -2)


def linear(x, name):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def normalised(x, name):
    return norm(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


# %% port-attention
def attention(x, mask, layer):
    parts = [linear(x, f"{layer}.attention.self.{part}") for part in ("query", "key", "value")]
    query, key, value = (part.unflatten(-1, (4, 64)).transpose(1, 2) for part in parts)
    context = (scores(query, key) + mask).softmax(dim=-1) @ value
    return linear(context.transpose(1, 2).flatten(2), f"{layer}.attention.output.dense")


# %% port
def port(input_ids, attention_mask, token_type_ids):
    x = weights["embeddings.word_embeddings.weight"][input_ids]
    x = x + weights["embeddings.token_type_embeddings.weight"][token_type_ids]
    x = normalised(x + weights["embeddings.position_embeddings.weight"][: x.shape[1]], "embeddings.LayerNorm")
    mask = (1.0 - attention_mask[:, None, None].float()) * torch.finfo(torch.float32).min
    for number in range(4):
        layer = f"encoder.layer.{number}"
        x = normalised(x + attention(x, mask, layer), f"{layer}.attention.output.LayerNorm")
        wide = F.gelu(linear(x, f"{layer}.intermediate.dense"))
        x = normalised(x + linear(wide, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    return x, torch.tanh(linear(x[:, 0], "pooler.dense"))


# %% port-looks
found, expected = port(**inputs), model(**inputs)
print(found[0].shape, found[1].shape)
print(torch.cosine_similarity(found[1], expected.pooler_output))

# %% port-verified
report = verify_models(model, port, inputs)
for finding in explain(report):
    print(finding.name, "|", finding.formula, "|", len(finding.where), "|", finding.where[0])

# %% exercise: mend
answer = [..., ...]  # your two functions: norm and scores
check("mend", answer)


# %% solution: mend
def norm(x, weight, bias):
    return F.layer_norm(x, x.shape[-1:], weight, bias, eps=1e-12)


def scores(query, key):
    return query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5


answer = [norm, scores]


# %% maskless
def maskless(input_ids, attention_mask, token_type_ids):
    return model(input_ids, token_type_ids=token_type_ids).to_tuple()


window = tokenizer("She sat by the window.", return_tensors="pt")
verify_models(model, maskless, window).verdict

# %% exercise: blind
answer = ...  # texts for one batch, as a list, on which maskless is caught
check("blind", answer)

# %% solution: blind
answer = ["She sat by the window.", "배를 타고 여행을 간다."]  # of different lengths, so one is padded

# %% google-names
from minibert.checkpoint.names import read_name, write_name

for name in (
    "bert/embeddings/LayerNorm/gamma",
    "bert/encoder/layer_3/attention/self/query/kernel",
    "bert/encoder/layer_3/attention/self/query/bias",
    "cls/predictions/output_bias",
):
    print(read_name(name).ours, read_name(name).transposed)

# %% google-file
from tempfile import TemporaryDirectory

from safetensors.torch import save_file

whole, tensors = BertForPreTraining.from_pretrained("minibert-demo"), {}
for name, tensor in whole.state_dict().items():
    there = write_name(name, "Google")
    tensors[there] = (tensor.T if read_name(there).transposed else tensor).clone(memory_format=torch.contiguous_format)
with TemporaryDirectory() as folder:
    whole.config.save_pretrained(folder)
    save_file(tensors, f"{folder}/model.safetensors")
    again = BertForPreTraining.from_pretrained(folder)
print(str(again.load_report).partition(": ")[2])
print(float((again(**inputs).prediction_logits - whole(**inputs).prediction_logits).abs().max()))

# %% not-transposed
careless = copy.deepcopy(model)
for layer in careless.encoder.layer:
    layer.attention.self.query.weight.copy_(layer.attention.self.query.weight.T.clone())
verify_models(model, careless, inputs, explain=False).first_difference.point

# %% exercise: kernel
answer = (..., ...)  # name and shape in minibert of bert/encoder/layer_0/intermediate/dense/kernel, (256, 1024)
check("kernel", answer)

# %% solution: kernel
answer = (read_name("bert/encoder/layer_0/intermediate/dense/kernel").ours, (1024, 256))

# %% refused
from minibert import BertForSequenceClassification

try:
    BertForSequenceClassification.from_pretrained("minibert-demo")
except MinibertError as error:
    print(str(error).rpartition("/")[2])

# %% published
from minibert.learn import lesson_model

printed = torch.tensor([[0.4249, 0.1008, 0.7531], [0.3771, 0.1188, 0.7467], [0.4152, 0.1098, 0.7108]])
ids = torch.tensor([[0, 345, 232, 328, 740, 140, 1695, 69, 6078, 1588, 2]])
mask = (ids != 0).long()
folder = lesson_model("bert-base-uncased")
if folder and (folder / "model.safetensors").is_file():
    base = BertModel.from_pretrained(folder)
    print(float((base(ids, attention_mask=mask)[0][0, 1:4, 1:4] - printed).abs().max()) < 1e-4)
printed
