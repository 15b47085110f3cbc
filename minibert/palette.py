"""The colour scales of all heat maps: on the page, in the pictures of ``--png`` and in the terminal.

A scale interpolates a few colours in OKLab (Björn Ottosson, 2020), mainly in lightness, so that equal steps look equal
and the scale works in grey and for colour-blind readers.  Its low end, or the middle of a signed scale, is close to
the background: white in the light theme, near-black in the dark one.  The page's script gets the same stops
(explorer/content.py).
"""

import math
from functools import cache

Stop = tuple[float, float, float]  # OKLCh: lightness 0 to 1, chroma, hue in degrees
Color = tuple[int, int, int]  # sRGB, 0 to 255

# "amount" goes from 0 to the maximum, "sign" from −maximum to maximum with 0 in the middle.
SCALES: dict[str, dict[str, tuple[Stop, ...]]] = {
    "light": {
        "amount": ((0.985, 0.005, 210), (0.87, 0.075, 200), (0.68, 0.12, 215), (0.48, 0.13, 255), (0.28, 0.11, 285)),
        "sign": ((0.4, 0.14, 258), (0.68, 0.11, 250), (0.975, 0, 0), (0.74, 0.13, 55), (0.48, 0.14, 40)),
    },
    "dark": {
        "amount": ((0.21, 0.012, 260), (0.38, 0.1, 275), (0.55, 0.13, 230), (0.76, 0.13, 175), (0.96, 0.09, 105)),
        "sign": ((0.86, 0.1, 235), (0.56, 0.13, 252), (0.25, 0.005, 260), (0.6, 0.14, 45), (0.88, 0.11, 75)),
    },
}
# Of lines in one chart; each has its own dash as well.  At least 3:1 against white, or against near-black.
LINES: dict[str, tuple[Stop, ...]] = {
    "light": ((0.5, 0.17, 258), (0.58, 0.15, 45), (0.52, 0.12, 160), (0.52, 0.2, 350), (0.55, 0.1, 220), (0.5, 0, 0)),
    "dark": (
        (0.74, 0.12, 255),
        (0.77, 0.13, 60),
        (0.78, 0.13, 160),
        (0.74, 0.15, 350),
        (0.82, 0.09, 210),
        (0.76, 0, 0),
    ),
}
SHADES = 256


@cache
def shades(kind: str = "amount", theme: str = "light", count: int = SHADES) -> tuple[Color, ...]:
    """``count`` colours at equal steps of a scale, from its low end to its high end."""
    stops = [to_lab(stop) for stop in SCALES[theme][kind]]
    colors = []
    for step in range(count):
        place = step / (count - 1) * (len(stops) - 1)
        first = min(len(stops) - 2, math.floor(place))
        part = place - first
        lightness, a, b = (x + part * (y - x) for x, y in zip(stops[first], stops[first + 1], strict=True))
        colors.append(to_color(lightness, a, b))
    return tuple(colors)


@cache
def lines(theme: str = "light") -> tuple[Color, ...]:
    """The colours of the lines of a chart, in their order."""
    return tuple(to_color(*to_lab(stop)) for stop in LINES[theme])


@cache
def terminal_ramp(count: int) -> tuple[int, ...]:
    """The dark scale as numbers of a terminal's 256 colours: the nearest in the colour cube and the greys (16–255)."""
    known = [to_oklab(color) for color in TERMINAL]
    return tuple(
        16 + min(range(len(known)), key=lambda n: math.dist(known[n], to_oklab(color)))
        for color in shades("amount", "dark", count)
    )


LEVELS = (0, 95, 135, 175, 215, 255)  # xterm's colour cube
TERMINAL: tuple[Color, ...] = (
    *((r, g, b) for r in LEVELS for g in LEVELS for b in LEVELS),
    *((8 + 10 * n,) * 3 for n in range(24)),
)


def to_lab(stop: Stop) -> tuple[float, float, float]:
    """OKLCh to OKLab."""
    lightness, chroma, hue = stop
    return lightness, chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))


def to_color(lightness: float, a: float, b: float) -> Color:
    """OKLab to sRGB; a colour outside sRGB is clipped channel by channel."""
    l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3  # noqa: E741
    m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3
    linear = (
        4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
        -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
        -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
    )
    red, green, blue = (to_channel(min(1.0, max(0.0, x))) for x in linear)
    return red, green, blue


def to_channel(linear: float) -> int:
    """Linear light, 0 to 1, to a channel of sRGB, 0 to 255; halves are rounded up, as in JavaScript."""
    encoded = 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
    return math.floor(255 * encoded + 0.5)


def to_oklab(color: Color) -> tuple[float, float, float]:
    """OKLab of an sRGB colour."""
    r, g, b = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in (c / 255 for c in color))
    l = math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b)  # noqa: E741
    m = math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b)
    s = math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b)
    return (
        0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s,
        1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
        0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s,
    )
