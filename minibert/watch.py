"""Hook points: how the values inside a model are observed and replaced while it runs.

Torch's forward hooks see what a module returns.  Values between modules (scores, probabilities, residual sums) are
marked in the model as ``value = self.point("scores", value)``.  A :class:`Watch` receives both: its observer is called
with each value and its name, and returns the value with which the run continues.  With no watch active, each point
costs one attribute lookup, and the model's tree, parameters and hooks are those of a model without points.

Active watches are held in a context variable: other threads and tasks that run the same model are not affected.
minibert.lens is built on this; start with Watch.
"""

from collections.abc import Callable, Collection, Iterable
from contextvars import ContextVar
from threading import Lock
from typing import Any, Protocol, Self, TypeVar

from torch import Tensor, nn

Observer = Callable[[str, Tensor], Tensor]  # a point's name and its value, to the value that replaces it


class _Record(Protocol):
    """A model's output (outputs.py), whose fields are read by name."""

    def items(self) -> Iterable[tuple[str, Any]]:
        """Pairs of name and value."""
        ...


Record = TypeVar("Record", bound=_Record)


class Observable(nn.Module):
    """A module with points: named values that no submodule returns."""

    watchers = 0  # how many watches include this module; an instance attribute only while there are any
    returns_record = False  # True for a model, which returns a record or a tuple: its fields are the points

    def point(self, name: str, value: Tensor) -> Tensor:
        """``value``, or the value with which a watch replaces it."""
        return value if not self.watchers else _show(self, f".{name}", value)

    def point_fields(self, record: Record) -> Record:
        """The record; each tensor in it is a point, such as ``encoder/last_hidden_state``."""
        if self.watchers:
            for field, value in record.items():
                if isinstance(value, Tensor):
                    setattr(record, field, _show(self, f"/{field}", value))
        return record

    def is_watched(self) -> bool:
        """Whether a watch of this thread or task includes this module."""
        return bool(self.watchers) and any(self in watch.names for watch in _open_watches())


class Watch:
    """An observer of one model, active within its ``with`` block, in this thread or task alone.

    The observer is called at each point in the order of computation, after the observers of watches that were opened
    earlier.  It returns the value or a replacement, and must not change the value in place.  While it runs, its own
    watch is suspended, so it may run the model itself.  Watched attention is eager, so that there are scores to
    observe, and a watched layer does not chunk its feed-forward; the numbers are those of the eager model without
    chunks, bit for bit.
    """

    def __init__(self, model: nn.Module, observer: Observer, points: Collection[str] | None = None) -> None:
        """``points``: the names for which the observer is called; default all."""
        self.names = {module: name for name, module in model.named_modules()}
        self._observer, self._points = observer, points
        self._handles: list[Any] = []
        self._counted: list[Observable] = []
        self.is_open = False

    def __enter__(self) -> Self:
        try:
            with _LOCK:
                self.is_open = True
                self._register()
        except BaseException:  # also KeyboardInterrupt: no hook may stay
            self.close()
            raise
        _WATCHES.set((*_WATCHES.get(), self))
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
        _WATCHES.set(tuple(watch for watch in _WATCHES.get() if watch is not self))

    def close(self) -> None:
        """Remove all hooks from the model.  A second call does nothing."""
        with _LOCK:
            self.is_open = False
            while self._handles:
                self._handles.pop().remove()
            while self._counted:
                module = self._counted.pop()
                if module.watchers > 1:
                    module.watchers -= 1
                else:
                    del module.watchers

    def _register(self) -> None:
        for module, name in self.names.items():
            if isinstance(module, Observable):
                module.watchers += 1
                self._counted.append(module)
                if module.returns_record:
                    continue
            if self._points is None or name in self._points:
                self._handles.append(module.register_forward_hook(self._see_output))

    def _see_output(self, module: nn.Module, _arguments: Any, output: Any) -> Any:
        """The forward hook: a module's point is its output, or the first of several outputs."""
        value = output[0] if isinstance(output, tuple) else output
        watches = _open_watches()
        if self not in watches or not isinstance(value, Tensor):
            return None
        taken = self._take(self.names[module], value, watches)
        if taken is value:
            return None
        return (taken, *output[1:]) if isinstance(output, tuple) else taken

    def _take(self, name: str, value: Tensor, watches: tuple["Watch", ...]) -> Tensor:
        """What the observer returns for ``value``; it runs with only the earlier watches active."""
        if self._points is not None and name not in self._points:
            return value
        token = _WATCHES.set(watches[: watches.index(self)])
        try:
            return self._observer(name, value)
        finally:
            _WATCHES.reset(token)


_WATCHES: ContextVar[tuple[Watch, ...]] = ContextVar("minibert_watches", default=())  # in the order of opening
_LOCK = Lock()  # for the counts and hooks of a model that several threads watch


def _open_watches() -> tuple[Watch, ...]:
    """The active watches of this context; a copied context may hold some that were closed since."""
    return tuple(watch for watch in _WATCHES.get() if watch.is_open)


def _show(module: Observable, suffix: str, value: Tensor) -> Tensor:
    """Call all watches with a value between modules, in the order in which they were opened."""
    watches = _open_watches()
    for watch in watches:
        name = watch.names.get(module)
        if name is not None:
            value = watch._take((name + suffix).removeprefix("."), value, watches)
    return value
