"""walk: step through a forward pass, one value at a time.

    for step in walk(model, inputs):
        print(step.name, step.formula, step.value.shape)
        if step.name == "encoder.layer.0.attention.self.context_heads":
            step.value = zero_head(3)(step.value)

A forward pass is one call that cannot return halfway, so it runs in a thread of its own, which waits between steps.
Only one of the two threads runs at any time.  Start with Walk.
"""

import contextvars
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from queue import SimpleQueue
from typing import Any, Self

import torch
from torch import Tensor, nn

from minibert.errors import InputError
from minibert.lens.editing import check_replacement
from minibert.lens.printing import step_html
from minibert.lens.tracing import Inputs, Stop, as_arguments, watchable
from minibert.outputs import ModelOutput
from minibert.points import Point, select
from minibert.pretrained import BertPreTrainedModel
from minibert.watch import Watch

PATIENCE = 5.0  # seconds to wait for the thread of an abandoned walk to end


class Step:
    """One value of the run; the model waits meanwhile."""

    def __init__(self, number: int, point: Point, value: Tensor) -> None:
        self.number, self.point = number, point  # the first step is number 1
        self._value = value

    @property
    def name(self) -> str:
        """The point's name."""
        return self.point.name

    @property
    def formula(self) -> str:
        """How it was computed."""
        return self.point.formula

    @property
    def value(self) -> Tensor:
        """The value.  Set it, and the model continues with the new one; InputError if it does not fit."""
        return self._value

    @value.setter
    def value(self, new: Tensor) -> None:
        self._value = check_replacement(self.name, self._value, new)

    def __repr__(self) -> str:
        return f"Step({self.number}, {self.name!r}, shape {tuple(self.value.shape)})"

    def _repr_html_(self) -> str:
        return step_html(self.number, self.point, self.value)


class Walk(Iterator[Step]):
    """An iterator over the steps of one run; afterwards ``outputs`` is what the model returned.

    ``send(tensor)`` is ``step.value = tensor`` and ``next`` in one.  Leaving a walk early (``break``, an exception,
    ``close()``, the end of a ``with`` block, the last reference deleted) ends the run and its thread.
    """

    outputs: ModelOutput | None = None

    def __init__(self, run: Callable[["_Modes", "_Exchange"], None], points: dict[str, Point]) -> None:
        """See :func:`walk`."""
        self._run, self._points = run, points
        self._exchange = _Exchange()
        self._thread: threading.Thread | None = None
        self._close: Callable[[], object] = lambda: None
        self._step: Step | None = None
        self._over = False

    def __next__(self) -> Step:
        if self._over:
            raise StopIteration
        if self._thread is None or self._thread.ident is None:
            self._start()
        number = 0
        if self._step is not None:
            number = self._step.number
            self._exchange.answer(number, self._step.value)
        name = self._exchange.wait_beyond(number)
        if name is None:
            self._end()
            raise StopIteration
        point = self._points.get(name, Point(name))
        self._step = Step(number + 1, point, self._exchange.offered[2])
        return self._step

    def send(self, value: Tensor | None) -> Step:
        """Continue with ``value`` in place of the last step's (None: keep it); returns the next step."""
        if value is not None:
            if self._step is None:
                raise InputError("There is no step to change: take one with next() first.")
            self._step.value = value
        return next(self)

    def close(self) -> None:
        """End the run where it is.  A second call does nothing."""
        self._over = True
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _start(self) -> None:
        self._exchange = _Exchange()
        arguments = (self._run, _Modes(), self._exchange)
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=arguments, name="minibert walk", daemon=True)
        self._close = weakref.finalize(self, _abandon, self._exchange, self._thread)  # also at the interpreter's exit
        self._thread.start()

    def _end(self) -> None:
        self.close()
        ending = self._exchange.take_ending()
        if isinstance(ending, BaseException):
            try:
                raise ending
            finally:
                del ending  # the traceback refers to this frame: without this, a reference cycle
        self.outputs = ending


class _Exchange:
    """What the two threads share.  It refers to neither, so that an unreferenced walk can be collected.

    Each side writes its numbered state and then wakes the other, which reads the state and does not count wake-ups: so
    an interrupt between any two lines here, followed by another ``next``, does no harm.
    """

    def __init__(self) -> None:
        self.offered: tuple[int, str | None, Any] = (0, None, None)  # number, name, value; name None: how it ended
        self.answered: tuple[int, Tensor | None] = (0, None)
        self.abandoned = False
        self._wake_consumer: SimpleQueue[None] = SimpleQueue()
        self._wake_model: SimpleQueue[None] = SimpleQueue()

    def offer(self, name: str | None, value: object) -> int:
        """In the model's thread: offer a value, or the end of the run."""
        number = self.offered[0] + 1
        self.offered = (number, name, value)
        self._wake_consumer.put(None)
        return number

    def hand_over(self, name: str, value: Tensor) -> Tensor:
        """In the model's thread: offer a value and wait for the one to continue with."""
        number = self.offer(name, value)
        while not self.abandoned and self.answered[0] != number:
            self._wake_model.get()
        new = self.answered[1]
        if self.abandoned or new is None:
            raise Stop
        return new

    def wait_beyond(self, number: int) -> str | None:
        """In the consumer's thread: wait for the value after ``number``; its name."""
        while self.offered[0] == number:
            self._wake_consumer.get()
        return self.offered[1]

    def take_ending(self) -> ModelOutput | BaseException:
        """In the consumer's thread: take the end of the run (the frames of an error refer to this object)."""
        number, name, ending = self.offered
        self.offered = (number, name, None)
        assert isinstance(ending, ModelOutput | BaseException)
        return ending

    def answer(self, number: int, value: Tensor) -> None:
        """In the consumer's thread: let the model continue after ``number`` with ``value``."""
        self.answered = (number, value)
        self._wake_model.put(None)

    def abandon(self) -> None:
        """Stop the model where it is."""
        self.abandoned = True
        self._wake_model.put(None)


def _abandon(exchange: _Exchange, thread: threading.Thread) -> None:
    """End the run of a walk.  Does not wait if the garbage collector calls this in the thread itself."""
    exchange.abandon()
    if thread is not threading.current_thread() and thread.ident is not None:
        thread.join(PATIENCE)


def walk(model: nn.Module, inputs: Inputs, *, points: str | Iterable[str] | None = None, grad: bool = False) -> Walk:
    """Step through a run of ``model`` on ``inputs``: an iterator over :class:`Step`, in the order of computation.

    Args:
        model: any model of minibert; its mode is kept.
        inputs: what the tokenizer returned.
        points: where to stop, with ``*`` and ``**`` as in :func:`minibert.points.select`; default everywhere.
        grad: run in the grad mode of the first ``next``; default without gradients.

    Edits that are open at the first step act on the run.  Between steps the model may be run otherwise; such runs are
    not part of the walk.  An error in the model is raised by ``next``.  The transforms of torch.func are bound to one
    thread: use ``edit`` there.  Raises InputError.
    """
    model = watchable(model)
    arguments = as_arguments(model, inputs)
    names = None if points is None else frozenset(select(model, points))
    run = partial(_compute, model, arguments, names, grad)
    return Walk(run, model.points().by_name)


def _compute(
    model: BertPreTrainedModel,
    arguments: dict[str, Any],
    names: frozenset[str] | None,
    grad: bool,
    modes: "_Modes",
    exchange: _Exchange,
) -> None:
    """The run, in its thread; at the end it offers the outputs or the error."""
    try:
        with modes.restore(grad), Watch(model, exchange.hand_over, names):
            outputs = model(**arguments, return_dict=True)
        exchange.offer(None, outputs)
    except BaseException as error:
        if not exchange.abandoned:
            exchange.offer(None, error)


class _Modes:
    """The thread-local modes of torch, to be set again in another thread."""

    def __init__(self) -> None:
        self.grad, self.inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        devices = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
        self.autocast = {name: torch.get_autocast_dtype(name) for name in devices if torch.is_autocast_enabled(name)}

    def restore(self, grad: bool) -> ExitStack:
        """A context manager that sets them; without gradients if ``grad`` is False."""
        modes = ExitStack()
        modes.enter_context(torch.inference_mode(self.inference))
        modes.enter_context(torch.set_grad_enabled(self.grad and grad))
        for device, dtype in self.autocast.items():
            modes.enter_context(torch.autocast(device, dtype=dtype))
        return modes
