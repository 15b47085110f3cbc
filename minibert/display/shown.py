"""What a function of this room returns: HTML for a notebook, text for everything else."""

from collections.abc import Callable
from typing import Any

from minibert.display.elements import Html


class Printed:
    """What IPython and a notebook show as text is what ``print`` shows, also of a dataclass."""

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        printer.text(str(self))


class Display(Printed):
    """A picture in a notebook; printed, the same values as text."""

    def __init__(self, html: Html, text: Callable[[], str]) -> None:
        self._html, self._text = html, text

    def _repr_html_(self) -> str:
        return str(self._html)

    def __str__(self) -> str:
        return self._text()

    __repr__ = __str__
