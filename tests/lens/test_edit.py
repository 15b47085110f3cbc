"""Edits: those that change nothing change nothing; those that do act where they should, and there alone."""

import warnings

import pytest
import torch

import minibert
from minibert import InputError, edit, force_attention, mean_head, patch, trace, zero_head
from minibert.watch import Watch
from tests.support.small_models import ALL, assert_no_trace, assert_same_bits, eager, inputs_for, labels_for, small

SCORES = "encoder.layer.1.attention.self.scores"
PROBABILITIES = "encoder.layer.1.attention.self.probabilities"
CONTEXT = "encoder.layer.1.attention.self.context_heads"


@pytest.mark.parametrize(("name", "chunk"), [*((name, 0) for name in ALL), ("BertModel", 4)])
def test_an_edit_that_changes_nothing_leaves_every_bit(name: str, chunk: int) -> None:
    model = small(name, chunk_size_feed_forward=chunk)
    inputs = inputs_for(name) | labels_for(name)
    everything = {"output_attentions": True, "output_hidden_states": True}
    expected = eager(model, inputs | everything)
    with torch.no_grad():
        for point in model.points():
            with edit(model, point.name, lambda value: value.clone()):
                assert_same_bits(model(**inputs, **everything), expected)
        for change in (lambda value: None, lambda value: value, torch.clone):
            with edit(model, "**", change):
                assert_same_bits(model(**inputs, **everything), expected)
    assert_no_trace(model)


def test_the_output_is_what_was_asked_for() -> None:
    model, inputs = small(), inputs_for()
    with edit(model, SCORES, lambda value: value):
        outputs = model(**inputs)
        assert outputs.attentions is None and outputs.hidden_states is None
        assert isinstance(model(**inputs, return_dict=False), tuple)
        assert model.config.attn_implementation == "sdpa"
    plain = eager(model, inputs)
    with edit(model, "/pooler_output", lambda value: value + 1):
        assert torch.equal(model(**inputs, return_dict=False)[1], plain.pooler_output + 1)


@pytest.mark.parametrize(("name", "chunk"), [*((name, 0) for name in ALL), ("BertModel", 4)])
def test_all_of_one_run_patched_into_another_gives_that_run(name: str, chunk: int) -> None:
    model = small(name, chunk_size_feed_forward=chunk)
    a, b = inputs_for(name, 1), inputs_for(name, 2)
    a["attention_mask"] = torch.ones_like(a["attention_mask"])
    other, own = trace(model, b), trace(model, a)
    assert not torch.equal(other["/" + other.outputs.keys()[0]], own["/" + own.outputs.keys()[0]])
    with edit(model, other):
        patched = trace(model, a)
    assert_same_bits(patched.outputs, other.outputs)
    assert list(patched) == list(other)
    assert all(torch.equal(patched[point], other[point]) for point in other)


def test_one_late_point_is_enough() -> None:
    """A layer's output holds all that the layers after it read; a mask still acts in them."""
    model, a, b = small(), inputs_for(seed=1), inputs_for(seed=2)
    other = trace(model, b)
    for point in (
        "embeddings.sum",
        "embeddings",
        "encoder.layer.0",
        "encoder.layer.1.output.LayerNorm",
        "encoder.layer.2",
    ):
        with edit(model, point, other[point]), torch.no_grad():
            assert_same_bits(model(**a), other.outputs)
    with edit(model, CONTEXT, other[CONTEXT]), torch.no_grad():  # the residual stream still is a's
        assert not torch.equal(model(**a).last_hidden_state, other.outputs.last_hidden_state)


@pytest.mark.parametrize("name", ALL)
def test_every_point_can_be_edited(name: str) -> None:
    """Whatever is put at a point is what comes after it, and changes the output."""
    model = small(name)
    inputs = inputs_for(name) | labels_for(name)
    plain = trace(model, inputs)
    order = list(plain)
    for point in order:
        with edit(model, point, lambda value: value * 1.5 + 0.25):
            found = trace(model, inputs)
        assert torch.equal(found[point], plain[point] * 1.5 + 0.25), point
        assert all(torch.equal(found[before], plain[before]) for before in order[: order.index(point)]), point
        changed = [other for other in plain if other.startswith("/") and not torch.equal(found[other], plain[other])]
        not_read = (
            point == "bert/last_hidden_state" and "bert/pooler_output" in plain and "cls.predictions" not in plain
        )
        assert bool(changed) != not_read, point
    assert_no_trace(model)


def test_edits_nest_in_the_order_they_were_opened() -> None:
    model, inputs = small(), inputs_for()
    plain = trace(model, inputs)["pooler"]
    for point in ("pooler", "embeddings.sum"):
        with (
            edit(model, point, lambda value: value * 2),
            edit(model, point, lambda value: value + 1),
            edit(model, point, lambda value: value.square()),
        ):
            found = trace(model, inputs)[point]
        assert torch.equal(found, (trace(model, inputs)[point] * 2 + 1).square())
    with edit(model, {"pooler": lambda value: value * 2, "pool*": lambda value: value + 1}):
        assert torch.equal(trace(model, inputs)["pooler"], plain * 2 + 1)
    assert torch.equal(trace(model, inputs)["pooler"], plain)


def test_several_points_and_stars() -> None:
    model, inputs = small(), inputs_for()
    seen = []
    with edit(
        model, ["encoder.layer.*.attention.self.context_heads", "pooler"], lambda value: seen.append(value.shape)
    ):
        model(**inputs)
    assert seen == [(3, 2, 9, 6)] * 3 + [(3, 12)]


def test_a_change_may_run_the_model_itself() -> None:
    model, inputs = small(), inputs_for()

    def other_run(value: torch.Tensor) -> torch.Tensor:
        return trace(model, inputs_for(seed=5))["embeddings"]

    with edit(model, "embeddings", other_run), torch.no_grad():
        assert_same_bits(model(**inputs), eager(model, inputs_for(seed=5)))


def test_zero_head() -> None:
    model, inputs = small(), inputs_for()
    with edit(model, CONTEXT, zero_head(1)):
        found = trace(model, inputs)
    plain = trace(model, inputs)
    assert found[CONTEXT][:, 1].abs().max() == 0
    assert torch.equal(found[CONTEXT][:, 0], plain[CONTEXT][:, 0])
    assert found["encoder.layer.1.attention.self.context"][..., 6:].abs().max() == 0
    assert not torch.equal(found["encoder.layer.1"], plain["encoder.layer.1"])
    with edit(model, CONTEXT, zero_head(0, 1)):
        assert trace(model, inputs)[CONTEXT].abs().max() == 0


def test_mean_head() -> None:
    model, inputs = small(), inputs_for()
    plain = trace(model, inputs)[CONTEXT]
    with edit(model, CONTEXT, mean_head(0)):
        found = trace(model, inputs)[CONTEXT]
    torch.testing.assert_close(found[:, 0], plain[:, 0].mean(dim=(0, 1)).expand(3, 9, 6))
    assert torch.equal(found[:, 1], plain[:, 1])
    mask = inputs["attention_mask"]
    with edit(model, CONTEXT, mean_head(0, attention_mask=mask)):
        found = trace(model, inputs)[CONTEXT]
    torch.testing.assert_close(found[:, 0], plain[:, 0][mask.bool()].mean(dim=0).expand(3, 9, 6))


def test_patch_some_tokens_or_heads() -> None:
    model, inputs = small(), inputs_for()
    plain, other = trace(model, inputs), trace(model, inputs_for(seed=9))
    with edit(model, "encoder.layer.0", patch(other["encoder.layer.0"], tokens=[2, -1])):
        found = trace(model, inputs)["encoder.layer.0"]
    assert torch.equal(found[:, [2, 8]], other["encoder.layer.0"][:, [2, 8]])
    assert torch.equal(found[:, [0, 1, 3, 7]], plain["encoder.layer.0"][:, [0, 1, 3, 7]])
    with edit(model, CONTEXT, patch(other[CONTEXT], tokens=4, heads=1)):
        found = trace(model, inputs)[CONTEXT]
    assert torch.equal(found[:, 1, 4], other[CONTEXT][:, 1, 4])
    found[:, 1, 4] = plain[CONTEXT][:, 1, 4]
    assert torch.equal(found, plain[CONTEXT])
    with edit(model, "pooler", patch(torch.zeros(()))):  # stretches
        assert model(**inputs).pooler_output.abs().max() == 0


def test_force_attention() -> None:
    model, inputs = small(), inputs_for()
    diagonal = torch.eye(9)
    with edit(model, PROBABILITIES, force_attention(diagonal, heads=0)):
        found = trace(model, inputs)
        outputs = model(**inputs, output_attentions=True)
    assert torch.equal(found[CONTEXT][:, 0], found["encoder.layer.1.attention.self.value_heads"][:, 0])
    assert torch.equal(outputs.attentions[1][:, 0], diagonal.expand(3, 9, 9))
    assert torch.equal(
        outputs.attentions[1][:, 1], eager(model, inputs | {"output_attentions": True}).attentions[1][:, 1]
    )
    with pytest.raises(InputError, match="Each row of an attention pattern sums to 1"):
        force_attention(torch.ones(9, 9))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda value: value[:, :1], r"gave shape \(3, 1, 9, 9\), expected \(3, 2, 9, 9\)"),
        (lambda value: value.double(), r"gave dtype torch.float64, expected torch.float32"),
        (lambda value: value.to("meta"), r"gave device meta, expected cpu"),
        (lambda value: 0.0, "gave a float; expected a tensor, or None"),
        (torch.zeros(2), r"gave shape \(2,\)"),
        (zero_head(2), "There is no head 2: the value has heads 0 to 1"),
        (patch(torch.zeros(5)), r"A patch of shape \(5,\) does not fit \(3, 2, 9, 9\)"),
        (patch(torch.zeros(()), tokens=9), "There is no token 9"),
    ],
)
def test_a_change_that_does_not_fit_is_a_sentence_and_leaves_no_trace(change, sentence: str) -> None:
    model, inputs = small(), inputs_for()
    with pytest.raises(InputError, match=sentence), edit(model, SCORES, change):
        model(**inputs)
    assert_no_trace(model)
    assert_same_bits(model(**inputs), small()(**inputs))


def test_heads_and_tokens_only_where_there_are_some() -> None:
    model, inputs = small(), inputs_for()
    with pytest.raises(InputError, match=r"\(3, 9, 12\) has no heads"), edit(model, "embeddings", zero_head(0)):
        model(**inputs)
    with (
        pytest.raises(InputError, match=r"\(3, 12\) has no tokens"),
        edit(model, "pooler", patch(torch.zeros(()), tokens=0)),
    ):
        model(**inputs)


def test_wrong_arguments_are_sentences() -> None:
    model = small()
    for arguments, sentence in (
        ((model, "pooler"), "There is no change given for pooler"),
        ((model, "nowhere", torch.zeros(1)), "There is no point 'nowhere'"),
        ((torch.nn.Linear(2, 2), "x", torch.zeros(1)), r"torch.nn.modules.linear.Linear has no points to look at"),
        ((torch.compile(model), "pooler", torch.zeros(1)), "A compiled model does not come by its points"),
    ):
        with pytest.raises(InputError, match=sentence), edit(*arguments):
            pytest.fail("nothing to edit")


def test_says_when_a_point_was_never_computed() -> None:
    model = small()
    points = ["embeddings.word_embeddings", "pooler"]
    with (
        pytest.warns(RuntimeWarning, match=r"^embeddings.word_embeddings: edited, but never computed"),
        edit(model, points, lambda value: value),
    ):
        model(inputs_embeds=torch.zeros(1, 4, 12))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(KeyError), edit(model, "pooler", lambda value: value):
            raise KeyError  # an error is enough of a message


def test_an_error_in_the_block_or_the_change_leaves_no_trace() -> None:
    model, inputs = small(), inputs_for()
    expected = model(**inputs)

    def broken(value: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError

    for point in ("pooler", SCORES, "encoder/last_hidden_state"):
        with pytest.raises(ZeroDivisionError), edit(model, "embeddings", torch.clone), edit(model, point, broken):
            model(**inputs)
        assert_no_trace(model)
    with pytest.raises(KeyboardInterrupt), edit(model, SCORES, torch.clone):
        model(**inputs)
        raise KeyboardInterrupt
    assert_no_trace(model)
    assert_same_bits(model(**inputs), expected)


def test_a_watch_that_cannot_be_set_up_leaves_nothing(monkeypatch) -> None:
    model = small()
    hooked = []

    def interrupted(*_arguments, **_options):
        hooked.append(1)
        if len(hooked) == 20:
            raise KeyboardInterrupt
        return original(*_arguments, **_options)

    original = torch.nn.Module.register_forward_hook
    monkeypatch.setattr(torch.nn.Module, "register_forward_hook", interrupted)
    with pytest.raises(KeyboardInterrupt), Watch(model, lambda _name, value: value):
        pytest.fail("not open")
    monkeypatch.undo()
    assert len(hooked) == 20
    assert_no_trace(model)
    assert not model.is_watched()


def test_the_users_own_hooks_stay_and_act_before() -> None:
    model, inputs = small(), inputs_for()
    handle = model.pooler.register_forward_hook(lambda _module, _inputs, output: output + 1)
    with edit(model, "pooler", lambda value: value * 2):
        found = model(**inputs).pooler_output
    assert len(model.pooler._forward_hooks) == 1
    handle.remove()
    assert torch.equal(found, (eager(model, inputs).pooler_output + 1) * 2)


def test_the_model_is_what_it_was() -> None:
    import copy
    import pickle

    model, inputs = small("BertForMaskedLM"), inputs_for()
    before = (repr(model), list(model.state_dict()), [name for name, _ in model.named_modules()])
    inside = {}
    with edit(model, "bert.embeddings", lambda value: value * 2):
        inside["repr"] = (repr(model), list(model.state_dict()), [name for name, _ in model.named_modules()])
        twin = copy.deepcopy(model)
        model(**inputs)
    assert (
        inside["repr"] == before == (repr(model), list(model.state_dict()), [name for name, _ in model.named_modules()])
    )
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), twin):
        assert_same_bits(other(**inputs), model(**inputs))
    assert_no_trace(copy.deepcopy(model))
    assert minibert.BertForMaskedLM.watchers == 0
