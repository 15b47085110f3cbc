"""How a model is looked into while it runs: the marks in model.py, and who watches them.

Torch's own forward hooks see what a module returns.  What lies between modules (scores, probabilities, residual sums)
is marked in the model as ``value = self.point("scores", value)``.  Both lead to a :class:`Watch`: an observer that is
handed every value with its name and returns the value to go on with.  A model nobody watches pays one look at a class
attribute for each mark, and its tree, parameters and hooks are those of a model without marks.

Who watches stands in a context variable: another thread or task that runs the same model neither sees nor is changed.
minibert.lens is built on this; start with Watch.
"""

from collections.abc import Callable, Collection, Iterable
from contextvars import ContextVar
from threading import Lock
from typing import Any, Protocol, Self, TypeVar

from torch import Tensor, nn

Observer = Callable[[str, Tensor], Tensor]  # a point's name and value; the value to go on with


class _Record(Protocol):
    """A model's output (outputs.py): fields that are read by name."""

    def items(self) -> Iterable[tuple[str, Any]]:
        """Pairs of name and value."""
        ...


Record = TypeVar("Record", bound=_Record)


class Observable(nn.Module):
    """A module with points inside: values that no submodule returns, but that have a name."""

    watchers = 0  # how many watches include this module; an attribute of the instance only while there are some
    returns_record = False  # a model's own output is a record or a tuple: its fields are the points

    def point(self, name: str, value: Tensor) -> Tensor:
        """``value``, or what those who watch put in its place."""
        return value if not self.watchers else _show(self, f".{name}", value)

    def point_fields(self, record: Record) -> Record:
        """The record, each tensor in it a point: ``encoder/last_hidden_state``."""
        if self.watchers:
            for field, value in record.items():
                if isinstance(value, Tensor):
                    setattr(record, field, _show(self, f"/{field}", value))
        return record

    def is_watched(self) -> bool:
        """Whether somebody watches the run that is going on; what others watch elsewhere does not count."""
        return bool(self.watchers) and any(self in watch.names for watch in _open_watches())


class Watch:
    """An observer of one model, from ``with`` to the end of its block, in this thread or task alone.

    The observer is called at each point in the order of computation, after the observers of the watches opened
    before.  It returns the value as it is or another; it does not change it in place.  While it runs, its own watch
    is suspended: it may run the model itself.  Watched attention is written out (eager), so that there are scores to
    see, and a watched layer does not chunk its feed-forward; the numbers are those of the eager model without chunks,
    to the last bit.
    """

    def __init__(self, model: nn.Module, observer: Observer, wanted: Collection[str] | None = None) -> None:
        """``wanted``: the names to be called for; default all."""
        self.names = {module: name for name, module in model.named_modules()}
        self._observer, self._wanted = observer, wanted
        self._handles: list[Any] = []
        self._counted: list[Observable] = []
        self.is_open = False

    def __enter__(self) -> Self:
        try:
            with _LOCK:
                self.is_open = True
                self._register()
        except BaseException:  # an interrupt from the keyboard, too, leaves nothing behind
            self.close()
            raise
        _WATCHES.set((*_WATCHES.get(), self))
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
        _WATCHES.set(tuple(watch for watch in _WATCHES.get() if watch is not self))

    def close(self) -> None:
        """Take everything back from the model; again does nothing."""
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
            if self._wanted is None or name in self._wanted:
                self._handles.append(module.register_forward_hook(self._see_output))

    def _see_output(self, module: nn.Module, _arguments: Any, output: Any) -> Any:
        """The forward hook: the module's output, or the first of several, is its point."""
        value = output[0] if isinstance(output, tuple) else output
        watches = _open_watches()
        if self not in watches or not isinstance(value, Tensor):
            return None
        taken = self._take(self.names[module], value, watches)
        if taken is value:
            return None
        return (taken, *output[1:]) if isinstance(output, tuple) else taken

    def _take(self, name: str, value: Tensor, watches: tuple["Watch", ...]) -> Tensor:
        """What the observer returns for ``value``, called with only the watches before this one open."""
        if self._wanted is not None and name not in self._wanted:
            return value
        token = _WATCHES.set(watches[: watches.index(self)])
        try:
            return self._observer(name, value)
        finally:
            _WATCHES.reset(token)


_WATCHES: ContextVar[tuple[Watch, ...]] = ContextVar("minibert_watches", default=())  # in the order of their opening
_LOCK = Lock()  # counts and hooks on a model that several threads watch


def _open_watches() -> tuple[Watch, ...]:
    """The watches of this context; a copied context may hold some that have been closed since."""
    return tuple(watch for watch in _WATCHES.get() if watch.is_open)


def _show(module: Observable, suffix: str, value: Tensor) -> Tensor:
    """Hand a value between modules to all who watch, the first opened first."""
    watches = _open_watches()
    for watch in watches:
        name = watch.names.get(module)
        if name is not None:
            value = watch._take((name + suffix).removeprefix("."), value, watches)
    return value
