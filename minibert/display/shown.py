"""What a function of this room returns: HTML for a notebook, text for everything else."""

from collections.abc import Callable

from minibert.display.elements import Html


class Display:
    """A picture in a notebook; printed, the same values as text."""

    def __init__(self, html: Html, text: Callable[[], str]) -> None:
        self._html, self._text = html, text

    def _repr_html_(self) -> str:
        return str(self._html)

    def __str__(self) -> str:
        return self._text()

    __repr__ = __str__
