"""The five functions that show: their numbers are the values', in HTML and in text; what does not fit is a sentence."""

import re

import pytest

from minibert import BertTokenizer, InputError, show_attention, show_bars, show_curves, show_map, show_tokens

SETTINGS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b", "c")


@pytest.fixture
def tokenizer() -> BertTokenizer:
    return BertTokenizer(vocab={token: number for number, token in enumerate(SETTINGS)})


def test_a_map_has_its_numbers() -> None:
    shown = show_map([[1.0, -0.25], [0.5, 12.345]], ["x", "y"], label="scores")
    html = shown._repr_html_()
    assert re.findall(r'<text x="[^"]*" class="mb-n[^>]*>([^<]*)<', html) == ["1.00", "−0.25", "0.50", "12.35"]
    assert "x → y: -0.25" in html and "y → y: 12.35" in html and 'aria-label="scores"' in html
    assert str(shown).splitlines() == [
        "scores",
        "     x      y",
        "─  ───  ─────",
        "x    1  -0.25",
        "y  0.5  12.35",
    ]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: show_map([1.0, 2.0], ["a", "b"]), "values has the shape 2; expected a matrix"),
        (lambda: show_map([[1.0], [1.0, 2.0]], ["a", "b"]), "rows of 1 to 2 numbers"),
        (lambda: show_map([[1.0, 2.0]], ["a", "b"]), "There are 2 rows for 1"),
        (lambda: show_map([[1.0, 2j]], ["a"]), "not a real number"),
        (lambda: show_map([], []), "is empty"),
        (lambda: show_attention(None, ["a"]), "output_attentions=True"),
        (lambda: show_attention([[0.5, 0.5]], ["a", "b"]), r"shape 1×2; expected the model's tuple with \(B"),
        (lambda: show_attention([[1.0, 0.0], [0.5, 0.5]], ["a"]), "There are 1 tokens for 2"),
        (lambda: show_attention([[1.0, 0.0], [0.5, 0.5]], ["a", "b"], head=1), "There is no head 1"),
        (lambda: show_attention([[1.0, 0.0], [0.5, 0.5]], ["a", "b"], layer=2), "There is no layer 2"),
        (lambda: show_curves({}), "curves is empty"),
        (lambda: show_curves([1.0]), "expected a dictionary"),  # type: ignore[arg-type]
        (lambda: show_curves({"a": [[1.0]]}), "has the shape 1×1"),
        (lambda: show_curves({"a": [1.0]}, x=[1, 2]), "has 1 values for 2 places"),
        (lambda: show_bars({"a": "1"}), "not a real number"),
        (lambda: show_bars({"a": [1.0, 2.0]}), "not a real number"),
    ],
)
def test_what_does_not_fit_is_a_sentence(call, sentence) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=sentence):
        call()


def test_tokens_stand_under_their_words(tokenizer: BertTokenizer) -> None:
    shown = show_tokens(tokenizer, "ab c", "a")
    words = re.findall(r'mb-w">([^<]*)<', shown._repr_html_())
    assert words == ["", "ab", "c", "", "a", ""]
    assert re.findall(r'mb-p">([^<]*)<', shown._repr_html_()) == ["[CLS]", "a", "##b", "c", "[SEP]", "a", "[SEP]"]
    assert show_tokens(tokenizer, tokenizer("ab c", "a"))._repr_html_() == shown._repr_html_()
    assert str(shown).splitlines()[3].split() == ["1", "a", "5", "0", "ab"]
