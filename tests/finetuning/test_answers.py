"""Questions and answers: SQuAD's JSON and rows, windows and positions as run_qa.py has them, the best span."""

import json
import math
from pathlib import Path

import pytest
import torch

from minibert import BertConfig, BertTokenizer, InputError
from minibert.data.questions import Answer, Question
from minibert.finetuning.answers import AnswerPrediction, Answers, Candidate, Window, best_answer, positions_of
from minibert.finetuning.outcomes import MeanOutcome
from minibert.finetuning.scores import answer_metric, answer_scores
from minibert.tokenizer.windows import TokenRow
from tests.support.toy_tasks import TINY, question_rows

TOKENIZER = BertTokenizer.from_pretrained(TINY)
CONFIG = BertConfig.from_pretrained(TINY)
CONTEXT = "the pear tree is in bloom"
TREE = Question("is in bloom", CONTEXT, (Answer("pear tree", 4),))


def squad(*questions: dict, context: str = CONTEXT) -> str:
    return json.dumps(
        {"version": "1.1", "data": [{"title": "x", "paragraphs": [{"context": context, "qas": questions}]}]}
    )


def read(path: Path, content: str, **choices):
    path.write_text(content, encoding="utf-8")
    return Answers(**choices).read(path)


ANSWER = {"text": "pear tree", "answer_start": 4}
READABLE = {
    "x.json": squad({"id": "1", "question": " is in bloom ", "answers": [ANSWER]}),
    "x.jsonl": json.dumps({"question": "is in bloom", "context": CONTEXT, "answers": [ANSWER]}),
    "hub.jsonl": json.dumps(
        {"question": "is in bloom", "context": CONTEXT, "answers": {"text": ["pear tree"], "answer_start": [4]}}
    ),
    "flat.jsonl": json.dumps({"question": "is in bloom", "context": CONTEXT, "answer": "pear tree", "start": 4}),
    "x.csv": f"question,context,answer_text,answer_start\nis in bloom,{CONTEXT},pear tree,4\n",
    "no-start.tsv": f"question\tcontext\tanswer\nis in bloom\t{CONTEXT}\tpear tree\n",
}


@pytest.mark.parametrize("name", READABLE)
def test_every_form_of_the_same_question(tmp_path, name: str) -> None:
    assert read(tmp_path / name, READABLE[name]) == [TREE]


def test_questions_without_an_answer(tmp_path) -> None:
    content = squad(
        {"id": "1", "question": "q", "answers": [], "is_impossible": True, "plausible_answers": [ANSWER]},
        {"id": "2", "question": "r", "answers": [ANSWER, {"text": "tree", "answer_start": 9}]},
    )
    rows = read(tmp_path / "x.json", content)
    assert [len(row.answers) for row in rows] == [0, 2]
    assert Answers().settings(rows)["has_unanswerable"] is True
    assert Answers().settings(rows[1:])["has_unanswerable"] is False
    with pytest.raises(InputError, match="no question has an answer; there is nothing to learn"):
        read(tmp_path / "x.json", squad({"id": "1", "question": "q", "answers": []}))


def test_a_place_that_is_guessed_is_said(tmp_path, caplog) -> None:
    content = "question,context,answer\nq,so so so,so\n"
    assert read(tmp_path / "x.csv", content)[0].answers == (Answer("so", 0),)
    assert "1 answers stand in their text more than once" in caplog.text


BAD = {
    "elsewhere": ("x.json", squad({"question": "q", "answers": [{"text": "tree", "answer_start": 4}]}),
                  "row 1 has the answer 'tree' at character 4, where its text has 'pear'; it stands at 9"),
    "nowhere": ("x.csv", "question,context,answer,start\nq,the tree,pear,0\n",
                r"row 1 \(line 2\) has the answer 'pear' at character 0, where its text has 'the '; it stands nowhere"),
    "nowhere, no start": ("x.csv", "question,context,answer\nq,the tree,pear\n", "it stands nowhere in the text"),
    "no question": ("x.json", squad({"answers": [ANSWER]}), "row 1 has no 'question'"),
    "empty question": ("x.json", squad({"question": " ", "answers": [ANSWER]}), "row 1 has an empty question"),
    "no context": ("x.json", squad({"question": "q", "answers": []}, context=None), "row 1 has None in 'context'"),
    "start": ("x.json", squad({"question": "q", "answers": [{"text": "tree", "answer_start": "a"}]}),
              "row 1 has 'a' in 'answer_start', expected a number"),
    "half a start": ("x.json", squad({"question": "q", "answers": [{"text": "tree", "answer_start": -1}]}),
                     "row 1 has -1 in 'answer_start', expected a whole number"),
    "lists": ("x.jsonl", '{"question": "q", "context": "c", "answers": {"text": ["c"], "answer_start": []}}',
              "row 1 has {'answer_start': .* as many of answer_start as of text"),
    "no SQuAD": ("x.json", '[{"question": "q"}]', "is not SQuAD's JSON: an object with a list called data"),
    "no article": ("x.json", '{"data": [5]}', r"data\[0\] has no list of paragraphs"),
    "no JSON": ("x.json", '{"a": 1}\n{"a": 2}\n', r"is not JSON .* Rows of JSON, one a line, end in \.jsonl"),
    "empty": ("x.json", '{"data": []}', r"x\.json has no rows"),
    "columns": ("x.csv", "question,context\nq,c\n", r"holds the answers \(--answer-column NAME\); it has question"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_questions_are_sentences(tmp_path, kind: str) -> None:
    name, content, why = BAD[kind]
    with pytest.raises(InputError, match=why):
        read(tmp_path / name, content)


def window_of(question: Question, longest: int = 32, stride: int = 128) -> list[Window]:
    ((found,), _) = Answers(max_length=longest, stride=stride).all_windows(
        [(question.question, question.context)], TOKENIZER, CONFIG
    )
    return found


def test_positions_of_the_answer() -> None:
    (window,) = window_of(TREE)
    tokens = TOKENIZER.convert_ids_to_tokens(window.row.ids)
    assert tokens == ["[CLS]", "is", "in", "bloom", "[SEP]", *CONTEXT.split(), "[SEP]"]
    assert window.row.second == 5
    assert positions_of(window, TREE.answers[0]) == (6, 7)
    assert positions_of(window, Answer("ear tre", 5)) == (6, 7)  # within pieces: the pieces around it
    assert positions_of(window, Answer("bloom", 20)) == (10, 10)
    assert positions_of(window, None) == (0, 0)


def reference_positions(tokenizer, question: str, context: str, answer: Answer, longest: int, stride: int) -> list:
    """As in run_qa.py of transformers, ``prepare_train_features``, with its variables."""
    tokenized = tokenizer(
        [question], [context], truncation="only_second", max_length=longest, stride=stride,
        return_overflowing_tokens=True, return_offsets_mapping=True, padding=False,
    )  # fmt: skip
    found = []
    for i, offsets in enumerate(tokenized["offset_mapping"]):
        input_ids = tokenized["input_ids"][i]
        cls_index = input_ids.index(tokenizer.cls_token_id)
        sequence_ids = tokenized.sequence_ids(i)
        start_char, end_char = answer.start, answer.start + len(answer.text)
        token_start_index = 0
        while sequence_ids[token_start_index] != 1:
            token_start_index += 1
        token_end_index = len(input_ids) - 1
        while sequence_ids[token_end_index] != 1:
            token_end_index -= 1
        if not (offsets[token_start_index][0] <= start_char and offsets[token_end_index][1] >= end_char):
            found.append((input_ids, cls_index, cls_index))
            continue
        while token_start_index < len(offsets) and offsets[token_start_index][0] <= start_char:
            token_start_index += 1
        while offsets[token_end_index][1] >= end_char:
            token_end_index -= 1
        found.append((input_ids, token_start_index - 1, token_end_index + 1))
    return found


@pytest.mark.parametrize("longest", [12, 16, 24, 32])
@pytest.mark.parametrize("stride", [0, 2, 5])
def test_windows_and_positions_are_those_of_run_qa(longest: int, stride: int) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.BertTokenizerFast(vocab=str(TINY / "vocab.txt"))
    stride = min(stride, (longest - 6) // 2)
    for row in question_rows(20, longest=50):
        answer = Answer(row["answer"], row["answer_start"])
        expected = reference_positions(theirs, row["question"], row["context"], answer, longest, stride)
        windows = window_of(Question(row["question"], row["context"], ()), longest, stride)
        assert [window.row.ids for window in windows] == [ids for ids, _, _ in expected]
        assert [positions_of(window, answer) for window in windows] == [(start, end) for _, start, end in expected]
        assert any(start for _, start, _ in expected) or stride < 1


def test_a_question_longer_than_half_a_row_is_cut(caplog) -> None:
    question = Question("she " * 40, CONTEXT, (Answer("pear tree", 4),))
    examples = Answers().examples([question], TOKENIZER, CONFIG)
    assert "1 of 1 questions take more than half of a row" in caplog.text
    assert all(row.second == 16 and len(row.ids) <= 32 for row in examples.rows)
    assert examples.positions[0] != (0, 0)


def candidates(start: list[float], end: list[float], **choices) -> list[Candidate]:
    size = len(start)
    window = Window(TokenRow([0] * (size + 3), 2), 2, [(10 * n, 10 * n + 9) for n in range(size)])
    outside = [99.0, 99.0]  # [CLS] and the [SEP] before the context: never part of an answer
    return Answers(**choices).candidates(
        window, torch.tensor([*outside, *start, 99.0]), torch.tensor([*outside, *end, 99.0])
    )


def test_the_best_spans_by_brute_force() -> None:
    draw = torch.Generator().manual_seed(1)
    for size, best, longest in ((1, 20, 30), (7, 20, 30), (40, 20, 5), (60, 3, 30), (60, 20, 1)):
        start, end = torch.randn(2, size, generator=draw).tolist()
        starts = sorted(range(size), key=lambda n: -start[n])[:best]
        ends = sorted(range(size), key=lambda n: -end[n])[:best]
        expected = sorted(
            ((start[a] + end[b], 10 * a, 10 * b + 9) for a in starts for b in ends if 0 <= b - a < longest),
            reverse=True,
        )[:best]
        found = candidates(start, end, best=best, longest_answer=longest)
        assert [(a, b) for _, a, b in found] == [(a, b) for _, a, b in expected]
        assert [one.score for one in found] == pytest.approx([score for score, _, _ in expected], abs=1e-6)
    assert candidates([], []) == []


def test_the_best_answer_of_all_windows() -> None:
    one, two = Candidate(3.0, 0, 3), Candidate(5.0, 4, 8)
    found = [([one], 1.0), ([two], 9.0)]
    chance = math.exp(5) / (math.exp(5) + math.exp(3))
    best = best_answer("the pear tree", found, 20, may_be_none=False)
    assert best[:3] == ("pear", 4, 8)
    assert best.probability == pytest.approx(chance)
    # Every window has to say that there is nothing: the least of their scores counts.
    assert best_answer("the pear tree", found, 20, may_be_none=True).text == "pear"
    nothing = best_answer("the pear tree", [([one], 6.0), ([two], 9.0)], 20, may_be_none=True)
    assert nothing[:3] == ("", 0, 0)
    assert nothing.probability == pytest.approx(math.exp(6) / (math.exp(6) + math.exp(5) + math.exp(3)))
    assert best_answer("", [([], 1.0)], 20, may_be_none=False) == AnswerPrediction("", 0, 0, 1.0)


def means(*arguments) -> dict[str, float]:
    """The mean of each score."""
    return MeanOutcome(answer_scores(*arguments), "questions").scores()


def test_scores_are_those_of_squad() -> None:
    gold = [["the pear tree", "a pear"], ["in bloom"], [], []]
    scores = means(gold, ["Pear tree!", "bloom", "", "she"])
    assert scores["exact_match"] == pytest.approx(2 / 4)  # without article and punctuation; none where there is none
    assert scores["f1"] == pytest.approx((1 + 2 / 3 + 1 + 0) / 4)


# ── by character ─────────────────────────────────────────────────────────────────────────────────


BY_HAND = {
    # KorQuAD: every character.  서울 and 서울에서 share 2 of 2 and 2 of 4: F1 is 2·2/6.
    "particle": (["서울"], "서울에서", 2 / 3, 0),
    "same": (["서울에서"], "서울에서", 1, 1),
    "punctuation": (["《아리랑》"], "'아리랑'.", 1, 1),
    "spaces": (["서울 시청"], "서울시청", 1, 0),  # all characters, but KorQuAD's exact match sees the space
    "figures": (["2002년 6월"], "2002년", 2 * 5 / 12, 0),
    "latin": (["FIFA 월드컵"], "fifa 월드컵", 1, 1),
    "best of two": (["부산", "서울"], "서울에서", 2 / 3, 0),
    "another": (["서울"], "부산", 0, 0),
    "nothing": (["서울"], "", 0, 0),
    "jamo": (["서울"], "\u1109\u1165\u110b\u116e\u11af", 1, 1),  # the same, decomposed
    # MLQA: 北, 京, 市 one by one, a Latin word or a number whole.
    "chinese": (["北京市"], "北京", 2 * 2 / 5, 0),
    "year": (["2008年"], "2008", 2 * 1 / 3, 0),
    "mixed": (["iPhone手机"], "iphone 手机", 1, 1),
    "marks": (["「北京」。"], "北京", 1, 1),
    "japanese": (["東京タワー"], "東京", 2 * 2 / 7, 0),
    "thai": (["กรุงเทพ"], "กรุง", 2 * 4 / 11, 0),
}


@pytest.mark.parametrize("kind", BY_HAND)
def test_f1_by_character_computed_by_hand(kind: str) -> None:
    gold, predicted, f1, exact = BY_HAND[kind]
    found = means([gold], [predicted])
    assert (found["f1"], found["exact_match"]) == (pytest.approx(f1), exact)
    assert next(iter(found)) == "f1"


def test_words_elsewhere_and_languages_side_by_side() -> None:
    assert means([["the pear tree"]], ["pear"])["f1"] == pytest.approx(2 / 3)
    assert means([["Paris"]], ["Parisian"])["f1"] == 0
    assert means([["в Москве"]], ["Москве"])["f1"] == pytest.approx(2 / 3)
    mixed = means([["서울"], ["pear tree"], ["北京市"], []], ["서울에서", "pear", "北京", ""])
    assert mixed["f1"] == pytest.approx((2 / 3 + 2 / 3 + 4 / 5 + 1) / 4)
    assert mixed["exact_match"] == pytest.approx(1 / 4)
    # The context tells the language, not the answer: a year in a Korean text is counted by character.
    assert means([["2002"]], ["2001"], ["월드컵은 2002년에 열렸다."])["f1"] == pytest.approx(3 / 4)
    assert means([["2002"]], ["2001"], ["The cup was held in 2002."])["f1"] == 0
    assert len(answer_scores([], [])["f1"]) == 0


def test_the_result_says_what_was_counted(trained) -> None:
    assert trained["answers"][1].metric == "f1 by word"
    assert "on the dev data f1 by word 1.0000, exact match 1.0000" in str(trained["answers"][1])
    assert answer_metric(["서울에서 만났다."]) == "f1 by character"
    assert answer_metric(["a", "서울에서", "北京"]) == "f1 by character in 2 of 3 questions, else by word,"
    assert trained["classify"][1].metric == "accuracy"
