"""One source of colours: even steps to the eye, and the same in the page, the pictures and the terminal."""

from itertools import pairwise

import pytest

from minibert.lens.drawing import RAMP
from minibert.palette import SCALES, TERMINAL, shades, terminal_ramp, to_color, to_oklab


def test_lightness_goes_one_way() -> None:
    for theme, direction in (("light", -1), ("dark", 1)):
        lightness = [to_oklab(color)[0] for color in shades("amount", theme)]
        steps = [direction * (b - a) for a, b in pairwise(lightness)]
        assert min(steps) > -0.004 and direction * (lightness[-1] - lightness[0]) > 0.6
        ends = [to_oklab(color)[0] for color in shades("sign", theme)]
        middle = ends[128]
        assert all(direction * (x - middle) >= -0.005 for x in ends)


def test_oklab_there_and_back() -> None:
    for color in ((0, 0, 0), (255, 255, 255), (31, 95, 208), (200, 10, 99), *TERMINAL[::17]):
        assert to_color(*to_oklab(color)) == color
    assert to_oklab((255, 255, 255)) == pytest.approx((1, 0, 0), abs=1e-6)


def test_the_terminal_has_the_nearest_colours() -> None:
    assert RAMP == terminal_ramp(10) and len(set(RAMP)) == 10
    for number, color in zip(RAMP, shades("amount", "dark", 10), strict=True):
        shown = TERMINAL[number - 16]
        assert max(abs(x - y) for x, y in zip(to_oklab(shown), to_oklab(color), strict=True)) < 0.1


def test_a_picture_has_the_pages_colours() -> None:
    pytest.importorskip("matplotlib")
    import torch

    from minibert import draw_attention

    values = torch.rand(1, 1, 5, 5)
    figure = draw_attention({"encoder.layer.0.attention.self.probabilities": values})
    (image,) = figure.axes[0].images
    drawn = [tuple(round(255 * channel) for channel in color[:3]) for color in image.get_cmap().colors]
    assert drawn == list(shades("amount", "light"))
    assert set(SCALES) == {"light", "dark"} and {*SCALES["light"]} == {*SCALES["dark"]} == {"amount", "sign"}
