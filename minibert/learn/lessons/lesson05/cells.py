# %% setup
import torch
from torch import nn

from minibert import BertConfig, BertModel, BertTokenizer, show_curves, trace

torch.set_grad_enabled(False)
torch.set_printoptions(precision=3, sci_mode=False, linewidth=100)

# %% config
config = BertConfig.from_pretrained("minibert-demo")
letters = {"L": config.num_hidden_layers, "H": config.hidden_size, "N": config.num_attention_heads}
print(letters | {"I": config.intermediate_size, "V": config.vocab_size})
config.hidden_act, config.hidden_dropout_prob, config.layer_norm_eps, config.max_position_embeddings

# %% own-config
small = BertConfig(
    vocab_size=50,
    hidden_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=16,
)
print(BertModel(small))

# %% base
with torch.device("meta"):  # shapes without numbers: nothing is allocated
    base = BertModel(BertConfig.from_pretrained("bert-base-multilingual-uncased"))
lines = str(base).splitlines()
print(len(lines), *lines[:8], "        …", *lines[-5:], sep="\n")

# %% load
tokenizer = BertTokenizer.from_pretrained("minibert-demo")
model = BertModel.from_pretrained("minibert-demo")
inputs = tokenizer(["나는 배를 타고 여행을 간다.", "I love Paris"], padding=True, return_tensors="pt")
names = [name for name, _ in model.named_modules()]
print(len(names), len(list(base.named_modules())))
names[:12]

# %% hooks
seen = {}


def remember(name):
    def hook(module, arguments, output):
        seen[name] = output[0] if isinstance(output, tuple) else output  # attention returns a pair

    return hook


handles = [module.register_forward_hook(remember(name)) for name, module in model.named_modules()]
model(**inputs, output_attentions=True)
for handle in handles:
    handle.remove()

# %% shapes
seen = {name: output for name, output in seen.items() if isinstance(output, torch.Tensor)}
print(len(seen))
for name, output in seen.items():
    if "layer." not in name or "layer.0." in name:
        print(f"{name:42} {tuple(output.shape)}")

# %% between
points = [point for point in model.points() if point.name.startswith("encoder.layer.0")]
for point in points:
    if point.name not in seen:
        print(f"{point.name:44} {point.formula:36} {point.shape}")

# %% trace
values = trace(model, inputs, points=["embeddings", "encoder.layer.*", "pooler", "encoder.layer.0.attention.self.*"])
print(max((values[name] - seen[name]).abs().max().item() for name in values if name in seen))
values

# %% outputs
outputs = model(**inputs, output_hidden_states=True, output_attentions=True)
for name, value in outputs.items():
    print(name, f"{len(value)} × {tuple(value[0].shape)}" if isinstance(value, tuple) else tuple(value.shape))

# %% four-ways
by_attribute = outputs.last_hidden_state
by_key = outputs["last_hidden_state"]
by_index = outputs[0]
unpacked, pooler_output, hidden_states, attentions = outputs
print(by_attribute is by_key is by_index is unpacked)

# %% absent
plain = model(**inputs)
print(plain.keys(), len(plain), plain.hidden_states)
type(model(**inputs, return_dict=False))

# %% exercise: unpack
headless = BertModel.from_pretrained("minibert-demo", add_pooling_layer=False)
record = headless(**inputs, output_attentions=True)
answer = ...  # record[answer] is the attentions
check("unpack", answer)

# %% solution: unpack
headless = BertModel.from_pretrained("minibert-demo", add_pooling_layer=False)
record = headless(**inputs, output_attentions=True)
answer = record.keys().index("attentions")

# %% hidden-states
values = trace(model, inputs, points=["embeddings", "encoder.layer.*"])
for number, (name, value) in enumerate(values.items()):
    print(number, f"{name:16}", torch.equal(value, hidden_states[number]))
print(hidden_states[-1] is outputs.last_hidden_state)

# %% meta-states
ids = torch.ones(1, 7, dtype=torch.long, device="meta")
last_hidden_state, pooler_output, states = base(ids, output_hidden_states=True)
last_hidden_state.shape, pooler_output.shape, len(states)

# %% exercise: count
how_many = ...  # hidden states of BERT-base, which has 12 layers
number = ...  # hidden_states[number] is the output of encoder.layer.5
check("count", (how_many, number))

# %% solution: count
how_many = 12 + 1
number = 5 + 1

# %% stack
stacked = torch.stack(hidden_states)  # (L + 1, B, T, H)
by_token = stacked.permute(1, 2, 0, 3)  # (B, T, L + 1, H)
print(tuple(stacked.shape), tuple(by_token.shape))
pieces = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0].tolist())
cosines = torch.cosine_similarity(by_token[0], by_token[0, :, :1], dim=-1)  # (T, L + 1), each with its own state 0
show_curves({pieces[i]: cosines[i] for i in (0, 2, 6, 10)}, x_label="hidden state", y_label="cosine with 0")

# %% pooler
first = outputs.last_hidden_state[:, 0]  # (B, H), the vectors of [CLS]
by_hand = torch.tanh(first @ model.pooler.dense.weight.T + model.pooler.dense.bias)
print(f"{(by_hand - outputs.pooler_output).abs().max():.6f}")


# %% chunks
def run(model):
    shapes = []
    hook = model.encoder.layer[0].intermediate.register_forward_hook
    hook(lambda module, arguments, output: shapes.append(tuple(output.shape)))
    return model(**inputs).last_hidden_state, shapes


for size in (0, 6, 5):
    last, shapes = run(BertModel.from_pretrained("minibert-demo", chunk_size_feed_forward=size))
    print(f"{size}   max |Δ| = {(last - plain.last_hidden_state).abs().max():.6f}  ", *shapes)

# %% exercise: memory
answer = ...  # megabytes, of 1,000,000 bytes
check("memory", answer)

# %% solution: memory
answer = 16 * 64 * 3072 * 2 / 1e6


# %% modes
def difference_of_two_runs():
    return (model(**inputs).last_hidden_state - model(**inputs).last_hidden_state).abs().mean().item()


torch.manual_seed(0)
print(model.training, f"{difference_of_two_runs():.3f}")
model.train()
print(model.training, f"{difference_of_two_runs():.3f}")
model.eval()
sum(isinstance(module, nn.Dropout) for module in model.modules())

# %% dropout
torch.manual_seed(0)
dropped = nn.Dropout(0.1)(torch.ones(10_000))  # a new module is in training mode
print((dropped == 0).sum(), (dropped != 0).sum())
print(f"{dropped.mean():.2f}")

# %% exercise: dropout
answer = ...  # the value of a number that was 1 and survives, p = 0.1
check("dropout", answer)

# %% solution: dropout
answer = 1 / (1 - 0.1)

# %% no-grad
with torch.enable_grad():
    print(model.training, model(**inputs).last_hidden_state.requires_grad)
with torch.no_grad():
    print(model.training, model(**inputs).last_hidden_state.requires_grad)

# %% parameters
for name, parameter in model.named_parameters():
    if "layer." not in name or "layer.0." in name:
        print(f"{name:52} {tuple(parameter.shape)}")

# %% exercise: parameters
answer = ...  # one layer of BERT-base: H = 768, I = 3072
check("parameters", answer)

# %% solution: parameters
H, wide = 768, 3072
attention = 4 * (H * H + H)  # query, key, value, attention.output.dense
feed_forward = (H * wide + wide) + (wide * H + H)
layer_norms = 2 * (H + H)
answer = attention + feed_forward + layer_norms

# %% sizes
print("                      L     H   N     I   D   parameters")
for name in ("bert-tiny", "bert-mini", "bert-small", "bert-medium", "bert-base-uncased", "bert-large-uncased"):
    c = BertConfig.from_pretrained(name)
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in BertModel(c).parameters())
    D = c.hidden_size // c.num_attention_heads
    sizes = f"{c.num_hidden_layers:3} {c.hidden_size:5} {c.num_attention_heads:3} {c.intermediate_size:5} {D:3}"
    print(f"{name:19} {sizes} {count:12,}")
