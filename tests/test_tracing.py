"""What torch does with whole models: trace, export, compile, map over, differentiate, copy and pickle them."""

import copy
import io
import pickle
import warnings

import pytest
import torch

import minibert
from tests.parity.compare import assert_same_outputs
from tests.parity.tolerances import COMPILED_FLOAT32, EAGER_AGAINST_SDPA, EXACT
from tests.support.small_models import ALL

SETTINGS = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}


def make(name: str, attention: str = "sdpa") -> minibert.BertPreTrainedModel:
    torch.manual_seed(0)
    return getattr(minibert, name)(minibert.BertConfig(**SETTINGS, attn_implementation=attention)).eval()


def inputs_for(name: str, B: int = 2, T: int = 7) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(B * 100 + T)
    shape = (B, 3, T) if name == "BertForMultipleChoice" else (B, T)
    ids = torch.randint(60, shape, generator=draw)
    mask = torch.ones(shape, dtype=torch.long)
    mask[0, ..., T // 2 :] = 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": (ids % 2)}


@pytest.mark.parametrize(("name", "attention"), [*((name, "sdpa") for name in ALL), ("BertForMaskedLM", "eager")])
def test_trace(name: str, attention: str) -> None:
    """The record is a tuple under a trace; lengths and batches other than the example's give the model's values."""
    model = make(name, attention)
    assert model.config.return_dict
    example = {key: torch.ones_like(value) for key, value in inputs_for(name).items()}  # no padding in the example
    with warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit.TracerWarning)
        traced = torch.jit.trace(model, example_kwarg_inputs=example)
    buffer = io.BytesIO()
    torch.jit.save(traced, buffer)
    loaded = torch.jit.load(io.BytesIO(buffer.getvalue()))
    for B, T in ((2, 7), (1, 4), (5, 13)):
        inputs = inputs_for(name, B, T)
        expected = model(**inputs).to_tuple()
        for found in (traced(**inputs), loaded(**inputs)):
            assert isinstance(found, tuple)
            assert len(found) == len(expected)
            assert all(torch.equal(mine, theirs) for mine, theirs in zip(found, expected, strict=True))


def test_trace_by_position_and_with_everything_asked_for() -> None:
    model = make("BertModel", "eager")
    model.config.output_hidden_states = model.config.output_attentions = True
    ids = inputs_for("BertModel")["input_ids"]
    found = torch.jit.trace(model, (ids,))(ids)
    expected = model(ids).to_tuple()
    assert [type(value) for value in found] == [torch.Tensor, torch.Tensor, tuple, tuple]
    assert torch.equal(found[0], expected[0])
    assert all(torch.equal(a, b) for a, b in zip(found[2] + found[3], expected[2] + expected[3], strict=True))


@pytest.mark.parametrize("name", ["BertModel", "BertForPreTraining", "BertForMultipleChoice"])
def test_export_with_any_batch_and_length(name: str) -> None:
    model = make(name)
    inputs = inputs_for(name)
    tokens = len(inputs["input_ids"].shape) - 1
    sizes = {0: torch.export.Dim("batch", min=1, max=64), tokens: torch.export.Dim("tokens", min=2, max=40)}
    program = torch.export.export(model, (), inputs, dynamic_shapes=dict.fromkeys(inputs, sizes), strict=False)
    other = inputs_for(name, 4, 11)
    found = program.module()(**other)
    assert type(found) is type(model(**other))
    assert_same_outputs(found, model(**other), EAGER_AGAINST_SDPA)


@pytest.mark.parametrize(
    "name", ["BertForSequenceClassification", pytest.param("BertForQuestionAnswering", marks=pytest.mark.slow)]
)
def test_compile_a_training_step_as_one_graph(name: str) -> None:
    model = make(name)
    inputs = inputs_for(name)
    labels = {
        "BertForSequenceClassification": {"labels": torch.tensor([0, 1])},
        "BertForQuestionAnswering": {"start_positions": torch.tensor([0, 2]), "end_positions": torch.tensor([1, 9])},
    }[name]
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")(**inputs, **labels)
    assert_same_outputs(compiled, model(**inputs, **labels), COMPILED_FLOAT32)
    compiled.loss.backward()
    assert model.bert.embeddings.word_embeddings.weight.grad.isfinite().all()


def test_map_over_texts_with_masks() -> None:
    """torch.func.vmap cannot branch on a mask's values, and need not."""
    model = make("BertModel", "eager")
    inputs = inputs_for("BertModel", 3, 6)
    one_by_one = torch.func.vmap(lambda ids, mask: model(ids[None], attention_mask=mask[None]).last_hidden_state[0])(
        inputs["input_ids"], inputs["attention_mask"]
    )
    together = model(inputs["input_ids"], inputs["attention_mask"]).last_hidden_state
    assert (one_by_one - together).abs().max() <= EAGER_AGAINST_SDPA


def test_differentiate_a_loss_with_torch_func() -> None:
    model = make("BertForSequenceClassification")
    inputs = inputs_for("BertForSequenceClassification")
    labels = torch.tensor([1, 0])

    def loss(parameters):
        return torch.func.functional_call(model, parameters, (), {**inputs, "labels": labels}).loss

    found = torch.func.grad(loss)(dict(model.named_parameters()))
    model(**inputs, labels=labels).loss.backward()
    for name, parameter in model.named_parameters():
        assert torch.equal(found[name], parameter.grad), name


@pytest.mark.parametrize("name", ALL)
def test_copies_and_pickles(name: str, tmp_path) -> None:
    model = make(name)
    model.gradient_checkpointing_enable()
    inputs = inputs_for(name)
    expected = model(**inputs, output_hidden_states=True)
    torch.save(model, tmp_path / "model.pt")
    twins = (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        torch.load(tmp_path / "model.pt", weights_only=False),
    )
    for twin in twins:
        assert_same_outputs(twin(**inputs, output_hidden_states=True), expected, EXACT)
        assert twin.is_gradient_checkpointing
        with torch.no_grad():  # nothing of the copy is the original's
            for parameter in twin.parameters():
                parameter.zero_()
        assert_same_outputs(model(**inputs, output_hidden_states=True), expected, EXACT)
        if hasattr(twin, "cls") and hasattr(twin.cls, "predictions"):
            assert twin.cls.predictions.decoder.weight is twin.bert.embeddings.word_embeddings.weight
    with torch.no_grad():
        output = model(**inputs, output_hidden_states=True)
    for again in (copy.copy(output), copy.deepcopy(output), pickle.loads(pickle.dumps(output))):
        assert type(again) is type(output)
        assert_same_outputs(again, output, EXACT)
