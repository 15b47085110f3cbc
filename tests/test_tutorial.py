"""The code cells of a tutorial written for transformers, with only the import changed.

Tokenizing Korean with the multilingual vocabulary, padding to a length, thirteen hidden states, hooks on modules.
"""

import pytest
import torch

import minibert

CELLS = """
from minibert import BertTokenizer, BertModel, BertConfig   # transformers in the original

# 1. the tokenizer
tokenizer = BertTokenizer.from_pretrained(name)
vocabulary = list(tokenizer.vocab.keys())
slice_of_vocabulary = vocabulary[20000:20020]

text = "임베딩을 시도할 문장이다."
marked_text = "[CLS] " + text + " [SEP]"
tokenized_text = tokenizer.tokenize(marked_text)

text = "배를 타고 여행을 간다.추석에 먹은 배가 맛있었다."
marked_text = "[CLS] " + text + " [SEP]"
pieces = tokenizer.tokenize(marked_text)
indexed_tokens = tokenizer.convert_tokens_to_ids(pieces)
pairs = [(tup[0], tup[1]) for tup in zip(pieces, indexed_tokens)]
segments_ids = [1] * len(pieces)

# 2. tensors
import torch
tokens_tensor = torch.tensor([indexed_tokens])
segments_tensors = torch.tensor([segments_ids])

# 3. the model
torch.manual_seed(0)
config = BertConfig.from_pretrained(name, num_hidden_layers=12, hidden_size=24, intermediate_size=48)
BertModel(config).save_pretrained(folder)
model = BertModel.from_pretrained(folder, output_hidden_states=True)
model.eval()
with torch.no_grad():
    outputs = model(tokens_tensor, segments_tensors)
    hidden_states = outputs[2]

token_embeddings = torch.stack(hidden_states, dim=0)
token_embeddings = torch.squeeze(token_embeddings, dim=1)
token_embeddings = token_embeddings.permute(1, 0, 2)
token_vecs_cat = [torch.cat((t[-1], t[-2], t[-3], t[-4]), dim=0) for t in token_embeddings]
token_vecs_sum = [torch.sum(t[-4:], dim=0) for t in token_embeddings]
sentence_embedding = torch.mean(hidden_states[-2][0], dim=0)

# 4. padding to a length, and unpacking
enc = tokenizer("나는 배를 타고 간다", max_length=20, padding="max_length", truncation=True, return_tensors="pt")
ids, mask = enc["input_ids"], enc.attention_mask
last_hidden_state, pooler_output, all_states = model(ids, attention_mask=mask)

# 5. hooks
shapes = {}
def hook(name):
    def fn(module, inputs, output):
        shapes[name] = tuple((output[0] if isinstance(output, tuple) else output).shape)
    return fn
for module_name, module in model.named_modules():
    if module_name.startswith(("embeddings.", "encoder.layer.")):
        module.register_forward_hook(hook(module_name))
model(**enc)
both = tokenizer.encode_plus("배", "여행", add_special_tokens=True)
batch = tokenizer.batch_encode_plus(["배", "여행을 간다"], padding=True)
back = tokenizer.decode(indexed_tokens, skip_special_tokens=True)
print(config)
print(model)
"""


@pytest.fixture(scope="module")
def cells(shared, tmp_path_factory):
    name = shared / "vocab" / "bert-base-multilingual-uncased"
    namespace: dict = {"name": name, "folder": tmp_path_factory.mktemp("model")}
    exec(compile(CELLS, "tutorial", "exec"), namespace)
    return namespace


def test_what_the_tutorial_prints(cells, shared) -> None:
    import json

    published = json.loads((shared / "reference" / "published_values.json").read_text(encoding="utf-8"))
    expected = published["tokenization"]["google-bert/bert-base-multilingual-uncased"]
    assert cells["slice_of_vocabulary"] == expected["vocab_slice"]["tokens"]
    assert cells["tokenized_text"] == expected["tokenize"]["tokens"]
    assert cells["pieces"] == expected["encode"]["tokens"]
    assert cells["indexed_tokens"] == expected["encode"]["ids"]


def test_shapes(cells) -> None:
    tokens = len(cells["pieces"])
    assert len(cells["hidden_states"]) == 13
    assert cells["token_embeddings"].shape == (tokens, 13, 24)
    assert cells["token_vecs_cat"][0].shape == (96,)
    assert cells["token_vecs_sum"][0].shape == (24,)
    assert cells["sentence_embedding"].shape == (24,)
    assert cells["ids"].shape == (1, 20)
    assert cells["last_hidden_state"].shape == (1, 20, 24)
    assert len(cells["all_states"]) == 13
    assert cells["shapes"]["encoder.layer.11.attention.self"] == (1, 20, 24)
    assert cells["shapes"]["encoder.layer.0.intermediate"] == (1, 20, 48)
    assert cells["both"]["token_type_ids"][-1] == 1
    assert len(cells["batch"]["input_ids"]) == 2


def test_the_same_cells_run_on_transformers_with_the_same_numbers(cells, tmp_path) -> None:
    """The cells are really transformers': there they run unchanged, and the hidden states are the same bits."""
    transformers = pytest.importorskip("transformers")
    theirs = transformers.BertModel.from_pretrained(cells["folder"], output_hidden_states=True).eval()
    with torch.no_grad():
        expected = theirs(cells["tokens_tensor"], cells["segments_tensors"])
    for ours, reference in zip(cells["hidden_states"], expected.hidden_states, strict=True):
        assert torch.equal(ours, reference)
    reference_tokenizer = transformers.BertTokenizer.from_pretrained(cells["name"])
    text = "나는 배를 타고 간다"
    options = {"max_length": 20, "padding": "max_length", "truncation": True, "return_tensors": "pt"}
    assert torch.equal(reference_tokenizer(text, **options)["input_ids"], cells["ids"])
    assert cells["back"] == reference_tokenizer.decode(cells["indexed_tokens"], skip_special_tokens=True)
    assert isinstance(cells["tokenizer"], minibert.BertTokenizer)


def test_positional_segments_go_where_the_reference_puts_them(cells) -> None:
    """``model(ids, segments)``: the second positional argument is the mask, a trap the original tutorial falls into."""
    model = cells["model"]
    mask = torch.ones_like(cells["tokens_tensor"])
    assert torch.equal(model(cells["tokens_tensor"], mask)[0], model(cells["tokens_tensor"])[0])
