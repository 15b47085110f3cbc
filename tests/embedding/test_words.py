"""The vectors of words: against the readable model piece by piece, with their places in the text as it was given."""

import unicodedata

import pytest
import torch

import minibert
from minibert import BertConfig, BertModel, BertTokenizer, Embedder, InputError, WordVectors, span_vectors
from minibert.embedding.layers import NAMES
from minibert.embedding.places import find_places
from tests.parity.tolerances import EMBEDDING

TEXTS = [
    "She sat by the unbelievably grassy bank of the river.",
    "나는 배를 타고, 배가 고파서 배를 먹었다!",
    "",
    "Crème brûlée in İstanbul 😀👍🏽 銀行へ",
    "hello",
    " \t\n ",
    "a\u200bb c\x00d [MASK] e\u0301te\u0301",
]


@pytest.fixture(scope="module")
def with_vocabulary(shared):
    """A tiny random model with a real vocabulary, by its name in ../shared/vocab."""

    def make(name: str) -> Embedder:
        tokenizer = BertTokenizer.from_pretrained(shared / "vocab" / name)
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
        )
        return Embedder(BertModel(config), tokenizer)

    return make


def by_the_readable_model(embedder: Embedder, text: str, pooling: str, layers) -> tuple[list[tuple], torch.Tensor]:
    """The words of one short text, written down plainly: their places and pieces, and their vectors."""
    inputs = embedder.tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        states = embedder.model(**inputs, output_hidden_states=True).hidden_states
    values = {
        "second_to_last": states[-2],
        "embeddings": states[0],
        "sum_last4": sum(states[-4:]),
        "weighted_last4": sum(states[-4:]) / 4,
        "concat_last4": torch.cat(states[-4:], dim=-1),
        "sum_all": sum(states),
        "weighted_all": sum(states) / len(states),
        "last": states[-1],
    }
    numbers = [layers] if isinstance(layers, int) else layers
    tokens = values[layers] if isinstance(layers, str) else torch.cat([states[n] for n in numbers], dim=-1)
    words, vectors = [], []
    for word in sorted({word for word in inputs.word_ids() if word is not None}):
        place, (first, stop) = inputs.word_to_chars(word), inputs.word_to_tokens(word)
        words.append((text[slice(*place)], *place, tuple(inputs.tokens()[first:stop])))
        of_pieces = tokens[0, first:stop]
        vectors.append({"mean": of_pieces.mean(0), "first": of_pieces[0], "last": of_pieces[-1]}[pooling])
    return words, torch.stack(vectors) if vectors else torch.empty(0, tokens.shape[-1])


def assert_same_words(found: WordVectors, expected: tuple[list[tuple], torch.Tensor]) -> None:
    assert [(word.text, word.start, word.end, word.pieces) for word in found] == expected[0]
    assert found.vectors.shape == expected[1].shape
    scale = expected[1].abs().amax(dim=-1, keepdim=True)
    assert ((found.vectors - expected[1]).abs() <= EMBEDDING * scale).all()
    for word, vector in zip(found, found.vectors, strict=True):
        assert torch.equal(word.vector, vector)
        assert word.covers == (word.start, word.end)
        assert len(word.positions) == len(word.pieces)


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
@pytest.mark.parametrize("layers", [*NAMES, 0, 5, -2, [1, 6]], ids=str)
def test_every_pooling_and_layer_equals_the_readable_model(minilm_embedder, pooling: str, layers) -> None:
    for text, found in zip(TEXTS, minilm_embedder.words(TEXTS, pooling, layers=layers), strict=True):
        assert_same_words(found, by_the_readable_model(minilm_embedder, text, pooling, layers))


@pytest.mark.parametrize(
    "name", ["bert-base-uncased", "bert-base-multilingual-cased", "bert-base-multilingual-uncased", "kcbert-base"]
)
def test_places_are_in_the_text_as_given_with_every_vocabulary(with_vocabulary, name: str) -> None:
    embedder = with_vocabulary(name)
    texts = [*TEXTS, *(unicodedata.normalize("NFD", text) for text in TEXTS)]
    for text, found in zip(texts, embedder.words(texts, layers=[0, 2]), strict=True):
        assert_same_words(found, by_the_readable_model(embedder, text, "mean", [0, 2]))
    assert [word.text for word in embedder.words(TEXTS[1])] == [
        "나는",
        "배를",
        "타고",
        ",",
        "배가",
        "고파서",
        "배를",
        "먹었다",
        "!",
    ]
    assert [word.text for word in embedder.words(TEXTS[3])] == [
        "Crème",
        "brûlée",
        "in",
        "İstanbul",
        "😀👍🏽",
        "銀",
        "行",
        "へ",
    ]
    assert [word.text for word in embedder.words(TEXTS[6])][:3] == ["a\u200bb", "c\x00d", "[MASK]"]


def test_the_pieces_over_a_word_are_its_own_where_the_pieces_allow(with_vocabulary) -> None:
    text = "나는 배를 타고, 배가 고프다."

    def found(name: str) -> list[tuple]:
        places = with_vocabulary(name).words(text, find="배")
        return [
            (word.start, unicodedata.normalize("NFC", " ".join(word.pieces)), text[slice(*word.covers)])
            for word in places
        ]

    assert found("bert-base-multilingual-cased") == [(3, "배", "배"), (10, "배", "배")]
    # NFD sets ᄇ and ᅢ apart, and ᅢ is in one piece with 를: that piece stands for a part of 배, and all of 를.
    assert found("bert-base-multilingual-uncased") == [(3, "ᄇ ##ᅢ를", "배를"), (10, "ᄇ ##ᅢ", "배")]
    assert found("kcbert-base") == [(3, "배를", "배를"), (10, "배가", "배가")]
    composed = with_vocabulary("bert-base-multilingual-uncased").words(text, find="배").vectors
    apart = with_vocabulary("bert-base-multilingual-uncased").words(unicodedata.normalize("NFD", text), find="배")
    assert [word.start for word in apart] == [6, 18]
    assert torch.equal(apart.vectors, composed)


def test_any_characters(minilm_embedder) -> None:
    text = "An unbelievable sunset."
    whole = minilm_embedder.words(text, layers="sum_last4")
    assert whole[2].text == "sunset"
    found = span_vectors(minilm_embedder, text, [(16, 22), (16, 17), (3, 22)], layers="sum_last4")
    assert [word.pieces for word in found] == [("sunset",), ("sunset",), ("unbelievable", "sunset")]
    assert [word.covers for word in found] == [(16, 22), (16, 22), (3, 22)]
    assert torch.equal(found.vectors[0], whole.vectors[2])
    assert torch.allclose(found.vectors[2], whole.vectors[1:3].mean(0), atol=1e-6)
    assert [list(word.positions) for word in found] == [[3], [3], [2, 3]]
    first = span_vectors(minilm_embedder, text, [(3, 22)], "first", normalize=True, layers="sum_last4")
    assert torch.allclose(first[0].vector, whole[1].vector / whole[1].vector.norm(), atol=1e-7)
    for span in ((2, 3), (23, 30), (5, 5)):
        with pytest.raises(InputError, match="No piece of the text stands for its characters"):
            span_vectors(minilm_embedder, text, [span])


def test_shapes_and_unit_length(tiny) -> None:
    assert tiny.words("").vectors.shape == (0, 16)
    assert tiny.words("", "first", layers=[0, 1]).vectors.shape == (0, 32)
    assert tiny.words([]) == []
    found = tiny.words("the bank", normalize=True)
    assert torch.allclose(found.vectors.norm(dim=-1), torch.ones(2))
    assert len(found) == 2
    assert found[1].text == "bank"
    weighted = tiny.words("the bank", layers=[1, 2], weights=[0.5, 2.0]).vectors
    expected = 0.5 * tiny.words("the bank", layers=1).vectors + 2 * tiny.words("the bank", layers=2).vectors
    assert torch.allclose(weighted, expected, atol=1e-6)


def test_many_texts_in_order_whatever_their_length(tiny, monkeypatch) -> None:
    texts = [" ".join(["bank", "river", "pear"][: n % 4] * (n % 3)) for n in range(23)]
    alone = [tiny.words(text) for text in texts]
    monkeypatch.setattr("minibert.embedding.words.TEXTS_PER_BLOCK", 5)
    for text, one, together in zip(texts, alone, tiny.words(texts), strict=True):
        assert [word.text for word in together] == text.split()
        assert torch.allclose(one.vectors, together.vectors, atol=1e-5)


WORDS = ["bank", "river", "pear", "tree", "home"] * 12  # 60 pieces; the model reads 32, two of them [CLS] and [SEP]


def test_a_long_text_is_cut_and_counted(tiny, caplog) -> None:
    cut = tiny.words([" ".join(WORDS), "hello"])
    assert [word.text for word in cut[0]] == WORDS[:30]
    assert tiny.truncated == 1
    assert "1 of 2 texts have more than 32 tokens and were cut" in caplog.text
    assert torch.allclose(cut[0].vectors, tiny.words(" ".join(WORDS[:30])).vectors, atol=1e-5)


def test_a_word_that_the_cut_goes_through_is_left_out(minilm_embedder) -> None:
    text = "the bank of electroencephalography"
    whole = minilm_embedder.words(text)
    assert len(whole[3].pieces) > 3
    short = Embedder(minilm_embedder.model, minilm_embedder.tokenizer, max_length=7)
    assert [word.text for word in short.words(text)] == ["the", "bank", "of"]
    assert short.truncated == 1
    assert [word.text for word in short.words(text, find="electroencephalography")] == []
    assert [word.pieces for word in short.words(text, long="windows", stride=0)] == [word.pieces for word in whole]


def test_in_windows_no_word_is_lost_and_each_has_the_most_context(tiny) -> None:
    found = tiny.words(" ".join(WORDS), long="windows", stride=10)
    assert tiny.truncated == 0
    assert [word.text for word in found] == WORDS
    assert [word.start for word in found] == [sum(len(w) + 1 for w in WORDS[:n]) for n in range(60)]
    parts = {a: tiny.words(" ".join(WORDS[a:b])).vectors for a, b in ((0, 30), (20, 50), (40, 60))}
    # Windows overlap in 20…29 and 40…49: the first five have more on their left in the earlier window.
    for number, vector in enumerate(found.vectors):
        a = 0 if number < 25 else 20 if number < 45 else 40
        assert torch.allclose(vector, parts[a][number - a], atol=1e-5)
        assert found[number].positions == range(number + 1, number + 2)


@pytest.mark.parametrize(
    ("text", "word", "expected"),
    [
        ("the bank, a bank", "bank", ["bank", "bank"]),
        ("the bank of banks and embankments", "bank", ["bank"]),
        ("banks and embankments", "bank", ["bank"]),
        ("embankments", "bank", ["bank"]),
        ("나는 배를 타고 담배를 피웠다. 배!", "배", ["배", "배"]),
        ("담배를", "배", ["배"]),
        ("the Bank, a bank", "bank", ["bank"]),
        ("the Bank", "bank", ["Bank"]),
        ("in New York and new york", "New York", ["New York"]),
        ("in New York's", " New York ", ["New York"]),
        ("a b c", "x", []),
        ("a.b (c)", ".", ["."]),
        (unicodedata.normalize("NFD", "백 배"), "배", [unicodedata.normalize("NFD", "배")]),
        (unicodedata.normalize("NFD", "백"), "배", []),
    ],
)
def test_where_a_word_stands(text: str, word: str, expected: list[str]) -> None:
    basic = minibert.tokenizer.basic.BasicTokenizer(do_lower_case=False)
    spans = [found.span() for found in basic.words(text)]
    assert [text[start:end] for start, end in find_places(text, word, spans, ignore_case=False)] == expected


def test_case_does_not_count_where_the_model_does_not_see_it(tiny) -> None:
    assert [word.text for word in tiny.words("The Bank by the bank", find="BANK")] == ["Bank", "bank"]
    assert [len(found) for found in tiny.words(["the bank", "the river"], find="bank")] == [1, 0]
    assert len(tiny.words("the bank\u200b", find="\u200b")) == 0  # there, but no piece stands for it


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"pooling": "max"}, "'max' is no pooling of a word's pieces; there are mean, first, last"),
        ({"layers": 9}, "There is no hidden state 9"),
        ({"layers": "middle"}, "'middle' is no choice of layers"),
        ({"long": "fold"}, "long is 'fold'"),
        ({"stride": -1}, "stride is -1"),
        ({"find": " "}, "The word to look for is empty"),
    ],
)
def test_choices_that_are_none(tiny, arguments: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        tiny.words("the bank", **arguments)
