"""Pictures: the right panels and values, any token as plain text, and a sentence where letters have no font."""

import warnings
from xml.etree import ElementTree

import pytest
import torch

from minibert import InputError, MissingExtraError, draw_attention, draw_sensitivity, sensitivity, trace
from minibert.pictures import fonts_for
from tests.support.small_models import inputs_for, small

HOSTILE = ["[CLS]", "--><script>alert(1)</script>", "$\\frac{1}$", "&amp;]]>", "\x1b[2J\u202e"]
SENTENCE = {"input_ids": torch.tensor([[3, 7, 11, 5, 40]])}
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def drawn(monkeypatch):
    """What is drawn: (title, values, labels of the rows) of each panel, as matplotlib has it."""
    pytest.importorskip("matplotlib")
    from matplotlib.axes import Axes

    panels, kept = [], Axes.imshow

    def imshow(self, values, **settings):
        panels.append((self, torch.tensor(values), settings["vmax"]))
        return kept(self, values, **settings)

    monkeypatch.setattr(Axes, "imshow", imshow)
    return panels


def labels(axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def test_sensitivity(tmp_path, drawn) -> None:
    found = sensitivity(small(), SENTENCE, samples=2)
    draw_sensitivity(found, tmp_path / "maps.png", tokens=list("abcde"))
    assert [axes.get_title() for axes, _, _ in drawn] == list(found.points)
    for number, (axes, values, top) in enumerate(drawn):
        torch.testing.assert_close(values.double(), found.maps[number])
        assert labels(axes) == list("abcde")
        beside = found.maps[:, ~torch.eye(5, dtype=torch.bool)]
        assert top == beside.max().item()
    assert (tmp_path / "maps.png").read_bytes().startswith(b"\x89PNG")
    drawn.clear()
    draw_sensitivity(found, tmp_path / "one.svg", layers=[2])
    assert [axes.get_title() for axes, _, _ in drawn] == [found.points[2]]
    assert labels(drawn[0][0]) == list("01234")


def test_sensitivity_of_one_of_several_texts_and_of_a_group(tmp_path, drawn) -> None:
    found = sensitivity(small(), inputs_for(), samples=2, positions=[(0, 1), 2])
    draw_sensitivity(found, tmp_path / "maps.pdf", text=2, tokens=["a", "b", "c"])
    assert drawn[0][1].shape == (2, 3) and labels(drawn[0][0]) == ["a b", "c"]
    assert (tmp_path / "maps.pdf").read_bytes().startswith(b"%PDF")


def test_attention(tmp_path, drawn) -> None:
    found = trace(small(), inputs_for())
    draw_attention(found, tmp_path / "all.png")
    assert len(drawn) == 6
    drawn.clear()
    draw_attention(found, tmp_path / "layer.png", layer=1)
    assert [axes.get_title() for axes, _, _ in drawn] == ["layer 1, head 0", "layer 1, head 1"]
    drawn.clear()
    draw_attention(found, tmp_path / "head.svg", layer=2, head=1, text=1, tokens=list("abcdefghi"))
    ((axes, values, top),) = drawn
    torch.testing.assert_close(values.float(), found["encoder.layer.2.attention.self.probabilities"][1, 1])
    assert labels(axes) == list("abcdefghi") and top == 1


@pytest.mark.parametrize("kind", ["path", "none"])
def test_a_hostile_token_is_text(tmp_path, kind: str) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    found = sensitivity(small(), SENTENCE, samples=1)
    with matplotlib.rc_context({"svg.fonttype": kind}):  # letters as outlines, as is usual, and as letters
        draw_sensitivity(found, tmp_path / "maps.svg", tokens=HOSTILE, layers=[0])
    written = (tmp_path / "maps.svg").read_text(encoding="utf-8")
    root = ElementTree.fromstring(written)
    assert not [element for element in root.iter() if "script" in str(element.tag)]
    assert "<script" not in written and "\x1b" not in written and "\u202e" not in written
    if kind == "none":
        texts = {"".join(element.itertext()) for element in root.iter(f"{SVG}text")}
        assert {"--><script>alert(1)</script>", "$\\frac{1}$", "&amp;]]>", "\\x1b[2J\\u202e"} <= texts


def test_the_same_picture_is_the_same_file(tmp_path) -> None:
    pytest.importorskip("matplotlib")
    found = sensitivity(small(), SENTENCE, samples=1)
    for name in ("a.svg", "b.svg"):
        draw_sensitivity(found, tmp_path / name, tokens=list("abcde"))
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_letters_without_a_font_are_said_in_a_sentence(tmp_path, monkeypatch) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    import matplotlib.font_manager as manager

    own = [font for font in manager.fontManager.ttflist if font.name == "DejaVu Sans"]
    monkeypatch.setattr(manager.fontManager, "ttflist", own)
    found = sensitivity(small(), SENTENCE, samples=1)
    with pytest.warns(
        UserWarning, match=r"No font on this machine has 를배, so the picture shows boxes there; install"
    ):
        draw_sensitivity(found, tmp_path / "maps.png", tokens=["[CLS]", "배", "##를", "a", "b"])
    assert (tmp_path / "maps.png").is_file()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fonts_for("[CLS] abc ε ß") == ["DejaVu Sans"]
    assert matplotlib.rcParams["font.family"] == ["sans-serif"]  # left as it was


def test_a_font_that_has_the_letters_is_taken(monkeypatch) -> None:
    pytest.importorskip("matplotlib")
    import matplotlib.font_manager as manager

    # One file a family: bold and italic ones have other letters, and their order is that of this machine's cache.
    by_name = {font.name: font for font in manager.fontManager.ttflist if font.name in ("DejaVu Sans", "STIXGeneral")}
    assert set(by_name) == {"DejaVu Sans", "STIXGeneral"}, "matplotlib brings both"
    some = list(by_name.values())
    monkeypatch.setattr(manager.fontManager, "ttflist", some)
    has = {font.name: set(map(chr, manager.get_font(font.fname).get_charmap())) for font in some}
    lacking = sorted(letter for letter in has["STIXGeneral"] - has["DejaVu Sans"] if letter.isprintable())
    assert lacking
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fonts_for(f"a{lacking[0]}") == ["DejaVu Sans", "STIXGeneral"]


def test_mistakes_are_sentences(tmp_path) -> None:
    pytest.importorskip("matplotlib")
    model = small()
    found, values = sensitivity(model, SENTENCE, samples=1), trace(model, SENTENCE)
    for call, sentence in (
        (lambda: draw_sensitivity(found, tmp_path / "maps.jpg"), "ends in .jpg; a picture ends in .png, .svg or .pdf"),
        (lambda: draw_sensitivity(found, tmp_path / "maps"), "ends in nothing"),
        (lambda: draw_sensitivity(found, tmp_path / "no" / "maps.png"), "The folder .*no is not there"),
        (lambda: draw_sensitivity(found, tmp_path / "maps.png", tokens=["a"]), "There are 1 tokens for tables of 5"),
        (lambda: draw_sensitivity(found, tmp_path / "maps.png", layers=[3]), "There is no map 3: there are 0 to 2"),
        (lambda: draw_attention(values, tmp_path / "maps.png", layer=3), "There is no layer 3: there are 0 to 2"),
        (lambda: draw_attention(values, tmp_path / "maps.png", head=2), "There is no head 2: there are 0 to 1"),
        (lambda: draw_attention({}, tmp_path / "maps.png"), "There is no attention in this trace"),
    ):
        with pytest.raises(InputError, match=sentence):
            call()
    assert not list(tmp_path.iterdir())


def test_without_matplotlib(tmp_path, monkeypatch) -> None:
    found = sensitivity(small(), SENTENCE, samples=1)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[plot\]'"):
        draw_sensitivity(found, tmp_path / "maps.png")


def test_the_colours_say_what_they_measure(tmp_path) -> None:
    pytest.importorskip("matplotlib")
    model = small()
    draw_sensitivity(sensitivity(model, SENTENCE, samples=1), tmp_path / "maps.svg")
    draw_attention(trace(model, SENTENCE), tmp_path / "heads.svg")
    assert "<!-- change per unit of noise -->" in (tmp_path / "maps.svg").read_text(encoding="utf-8")
    assert "<!-- probability -->" in (tmp_path / "heads.svg").read_text(encoding="utf-8")


def test_the_figure_is_returned_and_a_notebook_can_show_it(tmp_path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    found = sensitivity(small(), SENTENCE, samples=1)
    for figure in (
        draw_sensitivity(found, tokens=list("abcde")),
        draw_sensitivity(found, tmp_path / "maps.png"),
        draw_attention(trace(small(), SENTENCE), layer=1),
    ):
        assert isinstance(figure, matplotlib.figure.Figure) and len(figure.axes) >= 2
        assert figure._repr_png_().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["maps.png"]
