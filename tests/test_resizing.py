"""The vocabulary grows and shrinks as in transformers, number for number under one seed; gradient checkpointing too."""

import copy
import pickle
from pathlib import Path

import numpy
import pytest
import torch
from torch import nn

import minibert
from minibert import InputError
from minibert.gradient_checkpointing import CheckpointedForward
from tests.parity.cases import random_settings
from tests.parity.compare import assert_same_gradients, assert_same_outputs, largest_difference, twins
from tests.parity.tolerances import EXACT

RANDOM_BERT = Path(minibert.__file__).parent / "goldens" / "random-bert"
IDS = torch.tensor([[2, 7, 11, 3], [2, 5, 3, 0]])


def pair(name: str, settings: dict):
    transformers = pytest.importorskip("transformers")
    return twins(name, getattr(transformers, name), settings, "sdpa")


def wide_enough(**changes) -> dict:
    """More rows than dimensions, so that the rows have a covariance to draw from."""
    return random_settings(3) | {"vocab_size": 211, "hidden_size": 16, "num_attention_heads": 2} | changes


@pytest.mark.parametrize("name", ["BertModel", "BertForMaskedLM", "BertForPreTraining", "BertForTokenClassification"])
@pytest.mark.parametrize(
    "arguments",
    [
        {"new_num_tokens": 220},
        {"new_num_tokens": 220, "mean_resizing": False},
        {"new_num_tokens": 213, "pad_to_multiple_of": 8},
        {"pad_to_multiple_of": 64},
        {"new_num_tokens": 100},
        {"new_num_tokens": numpy.int64(219)},
        {"new_num_tokens": 211},
        {},
    ],
)
def test_as_transformers(name: str, arguments: dict) -> None:
    for tied in (True, False) if name == "BertForMaskedLM" else (True,):
        ours, reference = pair(name, wide_enough(tie_word_embeddings=tied))
        torch.manual_seed(3)
        found = ours.resize_token_embeddings(**arguments)
        torch.manual_seed(3)
        expected = reference.resize_token_embeddings(**arguments)
        assert found is ours.get_input_embeddings()
        assert found.num_embeddings == expected.num_embeddings == ours.config.vocab_size == reference.config.vocab_size
        theirs = reference.state_dict()
        assert {n: value.shape for n, value in ours.state_dict().items()} == {n: v.shape for n, v in theirs.items()}
        for parameter, value in ours.state_dict().items():
            if parameter == "cls.predictions.bias" and not tied and found.num_embeddings == 211:
                continue  # nobody reads it there, and transformers ties it to the decoder's all the same
            assert largest_difference(value, theirs[parameter]) == EXACT, parameter
        assert_same_outputs(ours(IDS), reference(IDS), EXACT)
        decoder = ours.get_output_embeddings()
        assert (decoder is None) == (reference.get_output_embeddings() is None)
        if decoder is not None:
            assert (decoder.weight is found.weight) is tied
            assert decoder.out_features == found.num_embeddings == len(decoder.bias)
            assert decoder.bias is ours.cls.predictions.bias or found.num_embeddings == 211


def test_new_rows_lie_around_the_mean_and_the_old_are_untouched() -> None:
    model = minibert.BertForMaskedLM.from_pretrained(RANDOM_BERT)
    before = copy.deepcopy(model.state_dict())
    table = model.get_input_embeddings().weight
    rows = len(table)
    new = model.resize_token_embeddings(rows + 5).weight
    assert new is table  # the parameter that an optimizer or a tie knows
    assert torch.equal(new[:rows], before["bert.embeddings.word_embeddings.weight"])
    assert (new[rows:] - new[:rows].mean(dim=0)).abs().max() < 1e-4
    assert torch.equal(model.cls.predictions.bias[rows:], torch.zeros(5))
    model.resize_token_embeddings(rows)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_it_trains_saves_and_loads_with_the_tokenizers_new_pieces(tmp_path) -> None:
    model = minibert.BertForMaskedLM.from_pretrained(RANDOM_BERT)
    tokenizer = minibert.BertTokenizer.from_pretrained(RANDOM_BERT)
    tokenizer.add_tokens(["<gene>"])
    model.resize_token_embeddings(len(tokenizer))
    inputs = tokenizer("the <gene> pear", return_tensors="pt")
    new = tokenizer.convert_tokens_to_ids("<gene>")
    assert new in inputs["input_ids"]
    outputs = model(**inputs, labels=inputs["input_ids"])
    outputs.loss.backward()
    assert model.get_input_embeddings().weight.grad[new].abs().max() > 0
    torch.optim.SGD(model.parameters(), 0.1).step()
    model.save_pretrained(tmp_path)
    loaded = minibert.BertForMaskedLM.from_pretrained(tmp_path)
    assert loaded.config.vocab_size == len(tokenizer)
    assert_same_outputs(loaded(**inputs), model.eval()(**inputs), EXACT)


def test_a_padding_row_that_is_cut_off() -> None:
    model = minibert.BertModel(minibert.BertConfig(**random_settings(0) | {"pad_token_id": 50}))
    embedding = model.resize_token_embeddings(20)
    assert embedding.padding_idx is None
    assert model.config.pad_token_id is None
    model.config.validate()
    assert minibert.BertModel(model.config)(IDS).last_hidden_state.shape[:2] == (2, 4)


def test_half_precision_and_frozen_tables() -> None:
    model = minibert.BertForMaskedLM(minibert.BertConfig(**wide_enough(tie_word_embeddings=False))).to(torch.bfloat16)
    model.get_input_embeddings().weight.requires_grad_(False)
    model.get_output_embeddings().weight.requires_grad_(False)
    model.resize_token_embeddings(215)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert not model.get_input_embeddings().weight.requires_grad
    assert not model.get_output_embeddings().weight.requires_grad


@pytest.mark.parametrize("name", ["BertForMaskedLM", "BertForPreTraining"])
def test_getting_and_setting_embeddings(name: str) -> None:
    ours, reference = pair(name, wide_enough())
    assert ours.get_position_embeddings() is ours.bert.embeddings.position_embeddings
    for model in (ours, reference):
        torch.manual_seed(0)
        table, decoder = nn.Embedding(211, 16, padding_idx=0), nn.Linear(16, 211)
        model.set_input_embeddings(table)
        model.set_output_embeddings(decoder)
        assert model.get_input_embeddings() is table
        assert model.get_output_embeddings() is decoder
        assert model.cls.predictions.bias is decoder.bias
        assert decoder.weight is not table.weight
    assert_same_outputs(ours(IDS), reference(IDS), EXACT)
    for model in (ours, reference):
        model.tie_weights()
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert_same_outputs(ours(IDS), reference(IDS), EXACT)


def test_embeddings_that_cannot_be_set() -> None:
    model = minibert.BertForMaskedLM(minibert.BertConfig(**wide_enough()))
    with pytest.raises(InputError, match=r"takes an nn\.Linear with a bias"):
        model.set_output_embeddings(nn.Linear(16, 211, bias=False))
    with pytest.raises(InputError, match="BertModel has no decoder"):
        model.bert.set_output_embeddings(nn.Linear(16, 211))
    with pytest.raises(InputError, match="takes a module with a weight, such as nn.Embedding; got a Identity"):
        model.set_input_embeddings(nn.Identity())
    model.set_input_embeddings(nn.Linear(3, 3))
    with pytest.raises(InputError, match="The word embeddings are a Linear"):
        model.resize_token_embeddings(5)
    for wrong in (0, -1, 1.5, "30", True, 10**9):
        with pytest.raises(InputError, match="new_num_tokens is .*; expected a whole number"):
            model.bert.from_config(model.config).resize_token_embeddings(wrong)


# ── gradient checkpointing ───────────────────────────────────────────────────────────────────────


def gradients(model, seed: int = 5, **inputs) -> dict[str, torch.Tensor]:
    model.zero_grad()
    torch.manual_seed(seed)  # dropout is on: the same masks are drawn, and drawn again
    model(IDS, attention_mask=(IDS > 0).long(), labels=IDS, **inputs).loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("settings", [None, {"use_reentrant": False}, {"use_reentrant": True}])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_gradients_are_the_same_bits(attention: str, settings: dict | None) -> None:
    config = minibert.BertConfig(**random_settings(4), attn_implementation=attention)
    model = minibert.BertForMaskedLM(config).train()
    plain = gradients(model)
    assert not model.is_gradient_checkpointing
    model.gradient_checkpointing_enable(settings)
    assert model.is_gradient_checkpointing
    assert model.bert.is_gradient_checkpointing
    found = gradients(model)
    assert list(found) == list(plain)
    assert all(torch.equal(found[name], plain[name]) for name in plain)
    found = gradients(model, output_attentions=True, output_hidden_states=True)
    assert found.keys() == plain.keys()
    model.gradient_checkpointing_disable()
    assert not model.is_gradient_checkpointing
    assert all("forward" not in vars(layer) for layer in model.bert.encoder.layer)
    again = gradients(model)
    assert all(torch.equal(again[name], plain[name]) for name in plain)


def test_gradients_as_transformers_with_checkpointing() -> None:
    ours, reference = pair("BertForMaskedLM", random_settings(3))
    for model in (ours, reference):
        model.train()
        model.activation_checkpointing_enable()
        assert model.is_activation_checkpointing
        torch.manual_seed(1)
        model(IDS, labels=IDS).loss.backward()
    assert assert_same_gradients(ours, reference, EXACT) > 10


def calls_of(model) -> list[int]:
    """How often each layer's intermediate half runs in a step forward and back."""
    counts = [0] * len(model.bert.encoder.layer)
    hooks = []
    for number, layer in enumerate(model.bert.encoder.layer):

        def count(*_arguments, number=number) -> None:
            counts[number] += 1

        hooks.append(layer.intermediate.register_forward_hook(count))
    model(IDS, labels=IDS).loss.backward()
    for hook in hooks:
        hook.remove()
    return counts


def test_what_is_recomputed_and_when() -> None:
    config = minibert.BertConfig(**random_settings(3) | {"num_hidden_layers": 4})
    model = minibert.BertForMaskedLM(config).train()
    assert calls_of(model) == [1, 1, 1, 1]
    model.gradient_checkpointing_enable()
    model.gradient_checkpointing_enable()  # again is once
    assert calls_of(model) == [2, 2, 2, 2]
    assert calls_of(model.eval()) == [1, 1, 1, 1]
    model.train().gradient_checkpointing_enable(every_n_layers=2)
    assert calls_of(model) == [2, 1, 2, 1]
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert calls_of(twin) == [2, 1, 2, 1]
        assert vars(twin.bert.encoder.layer[0])["forward"].layer is twin.bert.encoder.layer[0]
    model.activation_checkpointing_disable()
    assert calls_of(model) == [1, 1, 1, 1]


def test_somebody_elses_forward_comes_back() -> None:
    model = minibert.BertForMaskedLM(minibert.BertConfig(**random_settings(3))).train()
    layer = model.bert.encoder.layer[0]
    own = layer.forward

    def theirs(*arguments):
        return own(*arguments)

    layer.forward = theirs
    model.gradient_checkpointing_enable()
    assert isinstance(layer.forward, CheckpointedForward)
    assert calls_of(model)[0] == 2
    model.gradient_checkpointing_disable()
    assert layer.forward is theirs


def test_frozen_embeddings_still_let_adapters_learn() -> None:
    """Reentrant checkpointing differentiates only where its input has a gradient."""
    model = minibert.BertForMaskedLM(minibert.BertConfig(**random_settings(3))).train()
    model.requires_grad_(False)
    last = model.bert.encoder.layer[-1].attention.self.query.weight.requires_grad_(True)
    model.gradient_checkpointing_enable({"use_reentrant": True})
    model(IDS, labels=IDS).loss.backward()
    assert last.grad.abs().max() > 0
    model.disable_input_require_grads()
    assert not model.get_input_embeddings()(IDS).requires_grad


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"offload": True}, "offload=True is not offered"),
        ({"every_n_layers": 0}, "every_n_layers is 0; expected a whole number of at least 1"),
        ({"gradient_checkpointing_kwargs": "x"}, "takes a dict, such as"),
    ],
)
def test_checkpointing_that_is_not_offered(arguments: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        minibert.BertModel(minibert.BertConfig(**random_settings(0))).gradient_checkpointing_enable(**arguments)


def test_what_libraries_ask_a_model() -> None:
    ours, reference = pair("BertForMaskedLM", wide_enough())
    for trainable in (False, True):
        for without in (False, True):
            assert ours.num_parameters(trainable, exclude_embeddings=without) == reference.num_parameters(
                only_trainable=trainable, exclude_embeddings=without
            )
    assert ours.can_generate() is reference.can_generate() is False
    assert (ours.main_input_name, ours.framework, ours.dtype) == (reference.main_input_name, "pt", reference.dtype)
    assert ours.name_or_path == reference.name_or_path == ""
    assert minibert.BertModel.from_pretrained(RANDOM_BERT).name_or_path == str(RANDOM_BERT)
    torch.manual_seed(0)
    ours.init_weights()
    torch.manual_seed(0)
    again = minibert.BertForMaskedLM(ours.config)
    torch.manual_seed(0)
    again.init_weights()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), again.parameters(), strict=True))
    assert ours.half().dtype == torch.float16
    assert ours.get_output_embeddings().weight is ours.get_input_embeddings().weight
