"""trace: what it takes, what it keeps, what it leaves."""

import pytest
import torch

import minibert
from minibert import InputError, trace
from tests.support.small_models import assert_no_trace, assert_same_bits, eager, inputs_for, small


def test_takes_what_the_tokenizer_returned() -> None:
    folder = minibert.__path__[0] + "/goldens/random-bert"
    tokenizer = minibert.BertTokenizer.from_pretrained(folder)
    model = minibert.BertForMaskedLM.from_pretrained(folder)
    whole = trace(model, tokenizer("She sat by the bank.", return_tensors="pt"))
    assert_same_bits(whole.outputs, eager(model, dict(tokenizer("She sat by the bank.", return_tensors="pt"))))
    lists = trace(model, tokenizer("She sat by the bank."))
    batch = trace(model, tokenizer(["She sat by the bank.", "She sat."], padding=True))
    alone = trace(model, tokenizer("She sat by the bank.", return_tensors="pt")["input_ids"])
    for found in (lists, alone):
        assert all(torch.equal(found[name], whole[name]) for name in whole)
    assert batch["/logits"].shape == (2, 8, 46)
    with pytest.raises(InputError, match="input_ids is no rectangle of numbers; tokenize with padding=True"):
        trace(model, tokenizer(["She sat by the bank.", "She sat."]))
    with pytest.raises(InputError, match="The inputs are of type str; expected what the tokenizer returned"):
        trace(model, "She sat.")
    with pytest.raises(InputError, match="expected exactly one|exactly one of input_ids"):
        trace(model, {})


def test_keeps_the_order_of_computation_and_the_outputs() -> None:
    model, inputs = small("BertForQuestionAnswering"), inputs_for()
    found = trace(model, inputs)
    assert next(iter(found)) == "bert.embeddings.word_embeddings" and list(found)[-1] == "/end_logits"
    assert torch.equal(found["/end_logits"], found.outputs.end_logits)
    assert type(found.outputs) is minibert.QuestionAnsweringOutput
    assert all(not value.requires_grad for value in found.values())
    assert found.points["/end_logits"].shape == "(B, T)"
    model.config.return_dict = False
    assert_same_bits(trace(model, inputs).outputs, found.outputs)


def test_only_some_points_and_an_early_end() -> None:
    model, inputs = small(), inputs_for()
    whole = trace(model, inputs)
    found = trace(model, inputs, points=["encoder.layer.*", "embeddings"])
    assert list(found) == ["embeddings", "encoder.layer.0", "encoder.layer.1", "encoder.layer.2"]
    assert all(torch.equal(found[name], whole[name]) for name in found)
    assert_same_bits(found.outputs, whole.outputs)
    ran = []
    handle = model.encoder.layer[1].register_forward_hook(lambda *_: ran.append(1))
    found = trace(model, inputs, points=["encoder.layer.0", "embeddings.sum"], stop=True)
    assert list(found) == ["embeddings.sum", "encoder.layer.0"] and found.outputs is None and ran == []
    handle.remove()
    assert_no_trace(model)


def test_an_unknown_name_is_a_sentence_with_the_one_that_was_meant() -> None:
    found = trace(small(), inputs_for(), points=["embeddings", "encoder.layer.0.output"])
    with pytest.raises(
        InputError, match=r"'encoder.layer.0.outputs' is no point of this model\. Did you mean .*output'"
    ):
        found["encoder.layer.0.outputs"]
    with pytest.raises(KeyError, match=r"'encoder.layer.1' was not kept in this trace"):
        found["encoder.layer.1"]
    with pytest.raises(InputError, match=r"3 is no point of this model"):
        found[3]
    assert found.get("nothing") is None and "nothing" not in found


def test_gradients_where_asked_for() -> None:
    for chunk in (0, 4):
        model, inputs = small(chunk_size_feed_forward=chunk), inputs_for()
        found = trace(model, inputs, grad=True)
        points = ["embeddings.sum", "encoder.layer.1.attention.self.probabilities", "encoder.layer.1.intermediate"]
        gradients = torch.autograd.grad(found["/pooler_output"].sum(), [found[point] for point in points])
        assert all(gradient.abs().max() > 0 for gradient in gradients)
        with torch.no_grad():
            assert not trace(model, inputs, grad=True)["pooler"].requires_grad
        assert not trace(model, inputs)["pooler"].requires_grad
        with torch.inference_mode():
            assert trace(model, inputs)["pooler"].is_inference()


def test_the_mode_stays() -> None:
    model, inputs = small().train(), inputs_for()
    found = trace(model, inputs)
    assert model.training
    assert (found["embeddings.dropout"] == 0).float().mean() > 0.02
    assert not torch.equal(
        found["encoder.layer.0.attention.self.dropout"], found["encoder.layer.0.attention.self.probabilities"]
    )


def test_of_a_compiled_model_the_model() -> None:
    model, inputs = small(), inputs_for()
    expected = trace(model, inputs)
    found = trace(torch.compile(model, backend="eager"), inputs)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    model.compile(backend="eager")
    with pytest.raises(InputError, match=r"compiled in place, by compile\(\), cannot be looked into"):
        trace(model, inputs)


def test_other_models_are_a_sentence() -> None:
    with pytest.raises(InputError, match="torch.nn.modules.linear.Linear has no points to look at"):
        trace(torch.nn.Linear(2, 2), {"input_ids": torch.zeros(1, 2)})


def test_an_error_of_the_model_leaves_no_trace() -> None:
    model = small()
    with pytest.raises(InputError, match="input_ids holds 60"):
        trace(model, {"input_ids": torch.tensor([[60]])})
    assert_no_trace(model)


def test_a_trace_does_not_change_with_a_later_edit() -> None:
    model, inputs = small(), inputs_for()
    found = trace(model, inputs)
    copies = {name: value.clone() for name, value in found.items()}
    with minibert.edit(model, "**", lambda value: value * 2):
        model(**inputs)
    assert all(torch.equal(found[name], copies[name]) for name in found)


def test_in_half_precision_and_under_autocast() -> None:
    model, inputs = small().to(torch.bfloat16), inputs_for()
    assert trace(model, inputs)["encoder.layer.0"].dtype == torch.bfloat16
    model = small()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = trace(model, inputs)
    assert found["encoder.layer.0.attention.self.query"].dtype == torch.bfloat16
    assert found["encoder.layer.0"].dtype == torch.float32
