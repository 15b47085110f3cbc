"""How wide texts are in a picture, and numbers as a reader writes them."""

import math
import unicodedata

from minibert.terminal import visible

NARROW, WIDE, PICTURE = 0.62, 1.04, 1.4  # of the font size: a letter of a monospaced font, a Chinese one, an emoji


def text_width(text: str, size: float) -> float:
    """The width of a text in a monospaced font of ``size``; its wide characters come from another font."""
    return size * sum(map(_width, visible(text)))


def _width(letter: str) -> float:
    if unicodedata.combining(letter):
        return 0.0
    if ord(letter) >= 0x1F000 and unicodedata.east_asian_width(letter) in "WF":
        return WIDE if ord(letter) >= 0x20000 else PICTURE
    return WIDE if unicodedata.east_asian_width(letter) in "WF" else NARROW


def fitting(text: str, size: float, room: float) -> str:
    """``text``, or its beginning and an ellipsis, not wider than ``room``."""
    text = visible(text)
    if text_width(text, size) <= room:
        return text
    while text and text_width(text + "…", size) > room:
        text = text[:-1]
    return text + "…"


def number_text(value: float, digits: int = 4) -> str:
    """A number with ``digits`` significant digits."""
    return f"{value:.{digits}g}" if math.isfinite(value) else str(value)


def cell_text(value: float) -> str:
    """A number for the cell of a map: two decimals, or three digits where it is large."""
    if not math.isfinite(value):
        return str(value)
    written = f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}" if abs(value) < 100000 else f"{value:.0e}"
    return written.replace("-", "−") if float(written) else written.lstrip("-")


def nice_steps(low: float, high: float, count: int = 5, *, whole: bool = False) -> list[float]:
    """About ``count`` round numbers from ``low`` to ``high``; whole ones, if wished."""
    if not high > low:
        return [low]
    rough = max((high - low) / count, 1.0 if whole else 0.0)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(
        power * factor for factor in (1, 2, *(() if whole else (2.5,)), 5, 10) if power * factor >= rough * 0.999
    )
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]
