"""From a value to a colour of the palette, in the light and the dark theme, and the rules that say so."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from minibert.display.elements import FAINT, Rule, themed
from minibert.palette import Color, shades

STEPS = 32
MISSING = -1  # the step of a value that is not a number
THEMES = ("light", "dark")
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


@dataclass(frozen=True)
class Scale:
    """Values from ``low`` to ``high`` as colours; beyond them, the colour of the end."""

    low: float
    high: float
    signed: bool = False  # 0 is in the middle, and a value's sign has a colour
    beyond: float | None = None  # the largest value, where it is above ``high``

    @classmethod
    def of(cls, values: Iterable[float]) -> "Scale":
        """From 0 to the largest value; from the smallest, where that is above half the largest.

        Where a value is below 0, from −m to m, m the largest amount.
        """
        known = [value for value in values if math.isfinite(value)] or [0.0]
        low, high = min(known), max(map(abs, known)) or 1.0
        if low < 0:
            return cls(-high, high, signed=True)
        return cls(low if high / 2 < low < high else 0.0, high)

    @property
    def kind(self) -> str:
        """The palette's scale."""
        return "sign" if self.signed else "amount"

    def step(self, value: float) -> int:
        """The number of the value's colour."""
        if math.isnan(value):
            return MISSING
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(share * (STEPS - 1))

    def ink(self, value: float) -> str:
        """The class of a text on the value's colour: black or white in the light theme, then in the dark one."""
        if (step := self.step(value)) == MISSING:
            return "mb-ink"
        return "mb-" + "".join(
            "k" if ink_on(shades(self.kind, theme, STEPS)[step]) == BLACK else "w" for theme in THEMES
        )

    def rules(self, *, missing: bool) -> list[Rule]:
        """The fill of every step, class ``mb-fN``, and the four colours of texts on them."""
        light, dark = (shades(self.kind, theme, STEPS) for theme in THEMES)
        rules = [(f".mb-f{step}", themed("fill", light[step], dark[step])) for step in range(STEPS)]
        inks = {"k": BLACK, "w": WHITE}
        rules += [(f"svg .mb-{a}{b}", themed("fill", inks[a], inks[b])) for a in inks for b in inks]
        return [*rules, (f".mb-f{MISSING}", f"fill:{FAINT}")] if missing else rules


def ink_on(color: Color) -> Color:
    """Black or white, whichever reads better on a colour."""
    return BLACK if contrast(color, BLACK) >= contrast(color, WHITE) else WHITE


def contrast(a: Color, b: Color) -> float:
    """The contrast of two colours by WCAG 2, from 1 to 21."""
    high, low = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(color: Color) -> float:
    red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in (c / 255 for c in color))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
