"""Pictures with matplotlib: figures, file formats, and writing.  matplotlib comes with the extra ``plot``."""

import io
from functools import cache
from pathlib import Path
from typing import Any

from minibert.errors import InputError, MissingExtraError, reason_of

FORMATS = ("png", "svg", "pdf")


def need_matplotlib() -> Any:
    """The module matplotlib; MissingExtraError when it is not installed."""
    try:
        import matplotlib.colors
        import matplotlib.figure
        import matplotlib.font_manager
    except ImportError as error:
        raise MissingExtraError.of("matplotlib is not installed; for pictures", "plot") from error
    return matplotlib


def new_figure(size: tuple[float, float]) -> Any:
    """An empty matplotlib figure of ``size`` inches; a notebook shows it with or without ``%matplotlib``."""
    return _figure_class()(figsize=size, layout="constrained")


@cache
def _figure_class() -> Any:
    """The class Figure of matplotlib, with a representation for notebooks, which otherwise needs pyplot."""
    base: Any = need_matplotlib().figure.Figure

    class Figure(base):  # type: ignore[misc]
        def _repr_png_(self) -> bytes:
            picture = io.BytesIO()
            self.savefig(picture, format="png")
            return picture.getvalue()

    return Figure


def check_picture(path: str | Path) -> None:
    """Raise InputError for a path to which no picture can be written."""
    path = Path(path)
    if path.suffix.removeprefix(".").lower() not in FORMATS:
        raise InputError(f"{path} ends in {path.suffix or 'nothing'}; a picture ends in .png, .svg or .pdf.")
    if not path.absolute().parent.is_dir():
        raise InputError(f"The folder {path.absolute().parent} is not there; make it, or write elsewhere.")


def write_picture(figure: Any, path: str | Path) -> None:
    """Write a matplotlib figure; the same figure gives the same bytes.  Raises InputError when it cannot be written."""
    path = Path(path)
    extension = path.suffix.removeprefix(".").lower()
    picture = io.BytesIO()  # in memory first: an error leaves no half a file
    with need_matplotlib().rc_context({"svg.hashsalt": "minibert"}):
        figure.savefig(picture, format=extension, dpi=200, metadata={"Date": None} if extension == "svg" else None)
    try:
        path.write_bytes(picture.getvalue())
    except OSError as error:
        raise InputError(f"{path} cannot be written: {reason_of(error)}.") from error
