"""Pictures with matplotlib (the extra ``plot``): figures, fonts, colours, file formats, and writing."""

import io
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from minibert.errors import InputError, MissingExtraError, reason_of
from minibert.palette import shades

FORMATS = ("png", "svg", "pdf")
# Tried in this order before any other font of the machine: good-looking ones that many machines have.
FONTS = (
    "Noto Sans CJK KR", "Noto Sans KR", "NanumGothic", "Malgun Gothic", "Apple SD Gothic Neo", "AppleGothic",
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "PingFang SC", "Microsoft YaHei", "WenQuanYi Zen Hei",
    "Noto Sans CJK JP", "Hiragino Sans", "Yu Gothic", "Droid Sans Fallback", "Arial Unicode MS", "Unifont",
)  # fmt: skip


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


def colour_map() -> Any:
    """The colours of amounts (palette.py), from 0 to the largest."""
    return need_matplotlib().colors.ListedColormap([[channel / 255 for channel in shade] for shade in shades("amount")])


def fonts_for(letters: str) -> list[str]:
    """Font families that together have all ``letters``: matplotlib's own, then installed ones that add some.

    Warns about letters that no installed font has; they are drawn as boxes.
    """
    matplotlib = need_matplotlib()
    files = {font.name: font.fname for font in reversed(matplotlib.font_manager.fontManager.ttflist)}
    families = ["DejaVu Sans"]
    missing = {letter for letter in letters if letter.isprintable() and not letter.isspace()}
    missing -= _drawn_by(matplotlib, files["DejaVu Sans"], missing)
    for name in (*(name for name in FONTS if name in files), *sorted(files)):
        if not missing:
            break
        added = _drawn_by(matplotlib, files[name], missing)
        if added:
            families.append(name)
            missing -= added
    if missing:
        some = "".join(sorted(missing)[:10])
        warnings.warn(
            f"No font on this machine has {some}{' and more' if len(missing) > 10 else ''}, so the picture shows boxes "
            "there; install a font for Korean and Chinese, such as Noto Sans CJK.",
            UserWarning,
            stacklevel=4,
        )
    return families


def _drawn_by(matplotlib: Any, file: str, letters: set[str]) -> set[str]:
    """Those of ``letters`` that the font in ``file`` has; none if it cannot be read."""
    try:
        font = matplotlib.font_manager.get_font(file)
    except (OSError, RuntimeError):
        return set()
    return {letter for letter in letters if font.get_char_index(ord(letter))}


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
