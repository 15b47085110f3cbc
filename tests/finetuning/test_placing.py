"""Words and characters among pieces: the first piece, windows of long sentences, what has no piece."""

import pytest
import torch

from minibert import BertConfig, BertForTokenClassification, BertTokenizer
from minibert.data.sentences import Sentence
from minibert.finetuning.entities import (
    UNITS,
    Entities,
    EntityExamples,
    entities_in,
    entities_lost,
    label_all,
    labels_of_rows,
)
from minibert.finetuning.labels import label_settings
from minibert.finetuning.placing import Placer, filled, labels_of
from minibert.losses import IGNORE_INDEX
from tests.support.toy_tasks import TINY

TOKENIZER = BertTokenizer.from_pretrained(TINY, do_lower_case=False)  # Hangul composed, as in its vocabulary


def placer(longest: int = 32, stride: int = 4, by_character: bool = False) -> Placer:
    return Placer(TOKENIZER, longest, stride, by_character)


def tokens(ids) -> list[str]:
    return TOKENIZER.convert_ids_to_tokens(list(ids))


def test_a_word_is_where_its_first_piece_is() -> None:
    placed = placer().sentence(["she", "closed", "trees", "\u200b", "배를", "!"])
    (row,) = placed.rows
    assert tokens(row.ids) == ["[CLS]", "she", "closed", "tree", "##s", "배", "##를", "!", "[SEP]"]
    assert row.second == 9
    assert placed.places == [(0, 1), (0, 2), (0, 3), None, (0, 5), (0, 7)]
    assert placed.first == [True, True, True, False, True, True]
    assert labels_of_rows(placed, [1, 2, 3, 4, 5, 6]) == [
        [IGNORE_INDEX, 1, 2, 3, IGNORE_INDEX, 5, IGNORE_INDEX, 6, IGNORE_INDEX]
    ]


def test_rows_are_what_the_tokenizer_makes_of_words() -> None:
    words = ["she", "sat", "by", "the", "Bank's", "[MASK]", "나는", "xyz"]
    encoded = TOKENIZER(words, is_split_into_words=True)
    placed = placer().sentence(words)
    assert placed.rows[0].ids == encoded["input_ids"]
    firsts = [encoded.word_to_tokens(number).start for number in range(len(words))]
    assert placed.places == [(0, place) for place in firsts]


def test_of_a_long_sentence_every_word_counts_once() -> None:
    words = ["the", "trees", "배를"] * 12  # 5 pieces each: 60 in all, rooms of 14
    placed = placer(longest=16, stride=6).sentence(words)
    assert len(placed.rows) == 7
    assert all(len(row.ids) <= 16 for row in placed.rows)
    labels = labels_of_rows(placed, list(range(36)))
    assert sorted(label for row in labels for label in row if label != IGNORE_INDEX) == list(range(36))
    for word, place in zip(words, placed.places, strict=True):
        assert tokens(placed.rows[place[0]].ids)[place[1]] == {"the": "the", "trees": "tree", "배를": "배"}[word]
    # None stands at the edge of a window that has a neighbour.
    for (row, position), word in list(zip(placed.places, words, strict=True))[3:-3]:
        assert 2 <= position <= len(placed.rows[row].ids) - 3, word


def test_a_word_longer_than_the_model_reads() -> None:
    placed = placer(longest=8, stride=2).sentence(["she", "s" * 30, "sat"])
    assert all(place is not None for place in placed.places)


def test_characters_share_pieces() -> None:
    units = list("배를 타고 ")
    placed = placer(by_character=True).sentence(units)
    (row,) = placed.rows
    assert tokens(row.ids) == ["[CLS]", "배", "##를", "타", "##고", "[SEP]"]
    assert placed.places == [(0, 1), (0, 2), None, (0, 3), (0, 4), None]
    unknown = placer(by_character=True).sentence(list("xyz she"))
    assert tokens(unknown.rows[0].ids) == ["[CLS]", "[UNK]", "she", "[SEP]"]
    assert unknown.places == [(0, 1), (0, 1), (0, 1), None, (0, 2), (0, 2), (0, 2)]
    assert unknown.first == [True, False, False, False, True, False, False]
    found = {1: "B-a", 2: "I-a"}
    assert labels_of(unknown, lambda row, position: found[position]) == ["B-a", *["I-a"] * 6]
    found = {1: "O", 2: "B-a"}
    assert labels_of(unknown, lambda row, position: found[position]) == ["O"] * 4 + ["B-a", "I-a", "I-a"]


def test_what_has_no_piece_goes_with_what_is_around_it() -> None:
    assert filled(["B-a", None, None, "I-a", None, "O", None]) == ["B-a", "I-a", "I-a", "I-a", "O", "O", "O"]
    assert filled([None, "I-a", None, "I-b", None, "B-b"]) == ["O", "I-a", "O", "I-b", "O", "B-b"]
    assert filled([]) == []


def test_words_of_a_text_with_their_characters() -> None:
    text = "  she sat,\u200b by trees!"
    placed, spans = placer().text(text)
    assert [text[start:end] for start, end in spans] == ["she", "sat", ",", "by", "trees", "!"]
    assert tokens(placed.rows[0].ids)[1:-1] == ["she", "sat", ",", "by", "tree", "##s", "!"]
    placed, spans = placer(by_character=True).text("배를")
    assert spans == [(0, 1), (1, 2)]
    empty, spans = placer().text("")
    assert (tokens(empty.rows[0].ids), empty.places, spans) == (["[CLS]", "[SEP]"], [], [])


def oracle(labels: list[str]) -> BertForTokenClassification:
    """A model whose prediction is decided by the token alone: its id modulo the number of labels."""
    config = BertConfig.from_pretrained(TINY, **label_settings(labels), **{UNITS: "words"})
    model = BertForTokenClassification(config).eval()

    class Answer:
        def __init__(self, logits: torch.Tensor) -> None:
            self.logits = logits

    def forward(input_ids, **others):
        return Answer(torch.nn.functional.one_hot(input_ids % len(labels), len(labels)).float() * 9)

    model.forward = forward
    return model


@pytest.mark.parametrize("longest", [8, 16, 32])
def test_predictions_come_back_to_their_words(longest: int) -> None:
    names = ["B-a", "I-a", "O"]
    model = oracle(names)
    sentences = [["the", "trees", "배를", "sat"] * 5, ["bank"], ["\u200b"], ["she", "\u200b", "river"]]
    placed = [placer(longest, stride=3).sentence(words) for words in sentences]
    for words, (labels, chances) in zip(sentences, label_all(model, placed, 0), strict=True):
        firsts = [TOKENIZER(word, add_special_tokens=False)["input_ids"] for word in words]
        expected = filled([names[ids[0] % 3] if ids else None for ids in firsts])
        assert labels == expected
        assert [chance is None for chance in chances] == [not ids for ids in firsts]
        assert all(chance is None or chance > 0.99 for chance in chances)


def test_scores_do_not_lose_the_words_of_long_sentences() -> None:
    """The same gold labels are 100 % right in one window and in many, and one wrong word costs its entity."""
    names = ["B-a", "I-a", "O"]
    model = oracle(names)
    words = ["the", "trees", "배를", "sat"] * 5
    ((labels, _),) = label_all(model, [placer(32).sentence(words)], 0)
    for longest in (8, 16, 32):
        chosen = Entities(max_length=longest, stride=2)
        examples = chosen.examples([Sentence(words, labels, 1)], TOKENIZER, model.config)
        assert isinstance(examples, EntityExamples)
        assert (len(examples) > 1) == (longest < 32)
        assert chosen.evaluate(model, examples)["f1"] == 1.0
    wrong = [*labels[:-1], "B-a" if labels[-1] != "B-a" else "O"]
    examples = chosen.examples([Sentence(words, wrong, 1)], TOKENIZER, model.config)
    assert chosen.evaluate(model, examples)["f1"] < 1.0


def test_a_model_of_iob1_is_scored_as_it_predicts() -> None:
    """Trained elsewhere, its entities begin with I-a; the scores count them, as predictions do."""
    model, words = oracle(["B-a", "I-a", "O"]), ["the", "trees", "배를", "sat"]
    ((labels, _),) = label_all(model, [placer(32).sentence(words)], 0)
    assert labels == ["O", "I-a", "I-a", "B-a"]
    chosen = Entities(max_length=32)
    examples = chosen.examples([Sentence(words, ["O", "B-a", "I-a", "B-a"], 1)], TOKENIZER, model.config)
    assert chosen.evaluate(model, examples)["recall"] == 0.5
    delattr(model.config, UNITS)
    assert chosen.evaluate(model, examples)["recall"] == 1.0
    assert [entity.text for entity in chosen.predict(model, TOKENIZER, [words])[0][0]] == ["trees 배를", "sat"]


def test_entities_have_the_mean_probability_of_their_words() -> None:
    text = "New York, then"
    spans = [(0, 3), (4, 8), (8, 9), (10, 14)]
    (entity,) = entities_in(text, spans, (["B-place", "I-place", "O", "I-place"], [0.5, 1.0, 1.0, 1.0]))
    assert entity._asdict() == {"label": "place", "text": "New York", "start": 0, "end": 8, "probability": 0.75}


def test_entities_that_no_piece_can_hold_are_counted(caplog) -> None:
    sentences = [
        Sentence(list("xyz she"), ["B-a", "O", "O", "O", "B-a", "I-a", "I-a"], 1),  # xyz is one [UNK]
        Sentence(list("배를 she"), ["B-a", "O", "O", "O", "O", "O"], 3),  # 배 ##를
    ]
    placed = [placer(by_character=True).sentence(one.words) for one in sentences]
    assert [entities_lost(*pair) for pair in zip(sentences, placed, strict=True)] == [1, 0]
    config = BertConfig.from_pretrained(TINY, **Entities().settings(sentences))
    Entities().examples(sentences, TOKENIZER, config)
    assert "1 of 3 entities begin or end inside a piece of this tokenizer" in caplog.text


def test_unread_words_and_long_sentences_are_counted(caplog) -> None:
    sentences = [Sentence(["she", "\u200b"] * 40, ["O", "B-a"] * 40, 1), Sentence(["she"], ["B-a"], 9)]
    config = BertConfig.from_pretrained(TINY, **Entities().settings(sentences))
    examples = Entities().examples(sentences, TOKENIZER, config)
    assert len(examples) > 2
    assert "1 of 2 sentences have more than 32 tokens and are read in windows" in caplog.text
    assert "The tokenizer reads nothing of 40 words (the first is '\\u200b')" in caplog.text
    assert "40 of 41 entities begin or end inside" in caplog.text
