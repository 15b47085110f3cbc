"""walk: step by step, changed on the way, left early without a thread or a hook."""

import _thread
import contextvars
import gc
import signal
import subprocess
import sys
import threading
import time
import traceback
import weakref
from contextlib import suppress
from functools import partial
from itertools import islice

import pytest
import torch

import minibert
from minibert import InputError, edit, trace, walk, zero_head
from tests.support.small_models import ALL, assert_no_trace, assert_same_bits, eager, inputs_for, labels_for, small

SCORES = "encoder.layer.1.attention.self.scores"
CONTEXT = "encoder.layer.1.attention.self.context_heads"


def walking() -> int:
    """How many threads of walks there are."""
    return sum(thread.name == "minibert walk" for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def no_thread_is_left():
    assert walking() == 0
    yield
    assert walking() == 0


def test_the_number_of_threads_comes_along(threads: int) -> None:
    model, inputs = small(hidden_size=64, intermediate_size=256), inputs_for()
    steps, found = walk(model, inputs), trace(model, inputs)
    assert all(torch.equal(step.value, found[step.name]) for step in steps)


@pytest.mark.parametrize(("name", "chunk"), [*((name, 0) for name in ALL), ("BertForMaskedLM", 4)])
def test_shows_what_the_trace_shows(name: str, chunk: int) -> None:
    model = small(name, chunk_size_feed_forward=chunk)
    inputs = inputs_for(name) | labels_for(name)
    found = trace(model, inputs)
    steps = walk(model, inputs)
    for number, (step, (point, value)) in enumerate(zip(steps, found.items(), strict=True), start=1):
        assert (step.number, step.name, step.formula) == (number, point, found.points[point].formula)
        assert torch.equal(step.value, value)
    assert_same_bits(steps.outputs, eager(model, inputs))
    with pytest.raises(StopIteration):
        next(steps)
    assert_no_trace(model)


def test_the_model_goes_on_with_what_it_is_given() -> None:
    model, inputs = small(), inputs_for()
    with edit(model, CONTEXT, zero_head(1)), edit(model, "pooler", lambda value: value + 1):
        expected = trace(model, inputs)
    steps = walk(model, inputs)
    seen = {}
    for step in steps:
        if step.name == CONTEXT:
            step.value = zero_head(1)(step.value)
        if step.name == "pooler":
            step.value = step.value + 1
        seen[step.name] = step.value
    assert all(torch.equal(seen[name], expected[name]) for name in expected)
    assert_same_bits(steps.outputs, expected.outputs)


def test_send() -> None:
    model, inputs = small(), inputs_for()
    with walk(model, inputs, points=["embeddings", "encoder.layer.0", "pooler"]) as steps:
        with pytest.raises(InputError, match="There is no step to change"):
            steps.send(torch.zeros(1))
        step = steps.send(None)
        step = steps.send(step.value * 2)
        assert step.name == "encoder.layer.0" and repr(step) == "Step(2, 'encoder.layer.0', shape (3, 9, 12))"
        assert steps.send(None).name == "pooler"
        assert list(steps) == []
    with edit(model, "embeddings", lambda value: value * 2):
        assert_same_bits(steps.outputs, trace(model, inputs).outputs)


def test_a_value_that_does_not_fit_is_refused_at_once() -> None:
    with walk(small(), inputs_for()) as steps:
        step = next(steps)
        before = step.value
        with pytest.raises(InputError, match=r"gave shape \(2,\), expected \(3, 9, 12\)"):
            step.value = torch.zeros(2)
        with pytest.raises(InputError, match="gave a int"):
            steps.send(3)
        assert step.value is before and next(steps).number == 2


@pytest.mark.parametrize("after", [0, 1, 14, 93, 94])
def test_left_early(after: int) -> None:
    model, inputs = small(), inputs_for()
    steps = walk(model, inputs)
    for _ in range(after):
        next(steps)
    assert walking() == (after > 0)
    steps.close()
    steps.close()
    assert walking() == 0 and list(steps) == [] and steps.outputs is None
    assert_no_trace(model)


def test_break_an_exception_and_nobody_holding_it() -> None:
    model, inputs = small(), inputs_for()
    for step in walk(model, inputs):
        if step.name == SCORES:
            break
    assert walking() == 0
    assert_no_trace(model)
    with pytest.raises(ZeroDivisionError):
        for step in walk(model, inputs):
            if step.name == SCORES:
                raise ZeroDivisionError
    assert walking() == 0
    assert_no_trace(model)
    steps = walk(model, inputs)
    next(steps)
    cycle = [steps]
    cycle.append(cycle)
    del steps, cycle
    assert walking() == 1
    gc.collect()
    assert walking() == 0
    assert_no_trace(model)
    never_started = walk(model, inputs)
    del never_started
    with pytest.raises(KeyboardInterrupt), walk(model, inputs) as steps:
        next(steps)
        raise KeyboardInterrupt
    assert walking() == 0
    assert_no_trace(model)


def test_an_error_in_the_model_arrives_with_its_traceback() -> None:
    model, inputs = small(), inputs_for()

    def broken(value: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError("in the middle")

    with edit(model, SCORES, broken):
        steps = walk(model, inputs)
        with pytest.raises(ZeroDivisionError, match="in the middle") as caught:
            list(steps)
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert "broken" in names and names.index("broken") > names.index("__next__")
    assert "feed_forward_chunk" not in names and "_call_impl" in names
    assert list(steps) == [] and walking() == 0
    assert_no_trace(model)
    with pytest.raises(InputError, match="input_ids holds 60"):
        list(walk(model, torch.tensor([[60]])))


def test_an_ended_walk_holds_nothing() -> None:
    """Neither an error nor an early end leaves the run's values to the collector."""
    model, inputs = small(), inputs_for()
    gc.collect()
    gc.disable()
    try:
        for late in (lambda value: value[0], torch.clone):
            held = []
            points = {"embeddings": lambda value, held=held: held.append(weakref.ref(value)), SCORES: late}
            with edit(model, points), suppress(InputError), walk(model, inputs, points="encoder.layer.*") as steps:
                assert [step.name for step in islice(steps, 2)] == ["encoder.layer.0", "encoder.layer.1"]
            del steps
            assert len(held) == 1 and held[0]() is None
    finally:
        gc.enable()


def test_the_model_can_be_run_while_the_walk_waits() -> None:
    model, inputs = small(), inputs_for()
    fused = model(**inputs)
    steps = walk(model, inputs)
    for step in steps:
        if step.number % 20 == 0:
            assert not model.is_watched()
            assert_same_bits(model(**inputs), fused)
            assert torch.equal(trace(model, inputs)[step.name], step.value)
    assert_same_bits(steps.outputs, eager(model, inputs))


def test_two_walks_at_once() -> None:
    model = small()
    a, b = inputs_for(seed=1), inputs_for(seed=2)
    first, second = walk(model, a), walk(model, b)
    for one, other in zip(first, second, strict=True):
        assert one.name == other.name
        if one.name == "encoder.layer.0":
            one.value = one.value * 2
    with edit(model, "encoder.layer.0", lambda value: value * 2):
        assert_same_bits(first.outputs, trace(model, a).outputs)
    assert_same_bits(second.outputs, eager(model, b))
    assert_no_trace(model)


def test_edits_that_are_open_act_and_are_over_when_closed() -> None:
    model, inputs = small(), inputs_for()
    with edit(model, ["embeddings", "pooler"], lambda value: value * 2), walk(model, inputs) as steps:
        first = {step.name: step.value for step in steps}
    with edit(model, ["embeddings", "pooler"], lambda value: value * 2):
        expected = trace(model, inputs)
    assert all(torch.equal(first[name], expected[name]) for name in expected)
    with edit(model, "embeddings", lambda value: value * 2):
        steps = walk(model, inputs, points="embeddings")
        next(steps)
    assert list(steps) == []
    assert_same_bits(steps.outputs, trace_with_embeddings_doubled(model, inputs))
    with edit(model, "embeddings", torch.clone):
        model(**inputs)
        context = contextvars.copy_context()
    assert not context.run(model.is_watched)  # a copied context remembers a watch that is closed


def trace_with_embeddings_doubled(model, inputs):
    with edit(model, "embeddings", lambda value: value * 2):
        return trace(model, inputs).outputs


def test_torchs_modes_come_along() -> None:
    model, inputs = small(), inputs_for()
    with torch.inference_mode():
        assert next(walk(model, inputs)).value.is_inference()
    assert not next(walk(model, inputs)).value.requires_grad
    assert next(walk(model, inputs, grad=True)).value.requires_grad
    with torch.no_grad():
        assert not next(walk(model, inputs, grad=True)).value.requires_grad
    with torch.autocast("cpu", dtype=torch.bfloat16), walk(model, inputs, points="**.query") as steps:
        assert next(steps).value.dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.float16), walk(model, inputs, points="**.query") as steps:
        assert next(steps).value.dtype == torch.float16
    torch.set_default_dtype(torch.float64)
    try:
        made = []
        with edit(model, "embeddings", lambda value: made.append(torch.zeros(1).dtype)):
            list(walk(model, inputs))
        assert made == [torch.float64]
    finally:
        torch.set_default_dtype(torch.float32)
    parameter = model.embeddings.LayerNorm.weight
    steps = walk(model, inputs, grad=True)
    list(steps)
    steps.outputs.pooler_output.sum().backward()
    assert parameter.grad.abs().max() > 0


@pytest.mark.parametrize("by_signal", [True, False])
def test_an_interrupt_while_the_model_computes(by_signal: bool) -> None:
    """By a signal the wait is broken off; without one Python notices when it is over, with the next value in hand."""
    model, inputs = small(), inputs_for()

    def slow(value: torch.Tensor) -> None:
        time.sleep(0.5)

    with edit(model, SCORES, slow):
        steps = walk(model, inputs, points=["embeddings", SCORES, "pooler"])
        assert next(steps).name == "embeddings"
        interrupt = partial(signal.pthread_kill, threading.get_ident(), signal.SIGINT)
        timer = threading.Timer(0.1, interrupt if by_signal else _thread.interrupt_main)
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            next(steps)
        timer.join()
        assert [step.name for step in steps] == [SCORES, "pooler"]
    assert_same_bits(steps.outputs, eager(model, inputs))


def test_the_interpreter_ends_whatever_hangs_about() -> None:
    code = (
        "import minibert, torch, threading\n"
        "from minibert import walk\n"
        "sizes = dict(vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4)\n"
        "model = minibert.BertModel(minibert.BertConfig(**sizes)).eval()\n"
        "kept = [walk(model, torch.zeros(1, 2, dtype=torch.long)) for _ in range(3)]\n"
        "for steps in kept: next(steps)\n"
        "kept[0].cycle = kept\n"
        "print(threading.active_count())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False,
        cwd=minibert.__path__[0] + "/..",
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "4\n", "")
