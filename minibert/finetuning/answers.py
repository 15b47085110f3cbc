"""Answers: where in a text the answer to a question starts and ends (paper, section 4.2; Google's run_squad.py).

[CLS] question [SEP] context [SEP].  A context longer than the row is read in overlapping windows; in those that do not
hold the answer, it is [CLS].  The answer to a question is the likeliest span of all its windows: of the 20 best starts
and ends, those that make a span of at most 30 pieces, by the sum of their two scores.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.config import BertConfig
from minibert.data.questions import Answer, Question, open_questions, pair_in, read_questions
from minibert.data.rows import Make, RowFile
from minibert.errors import InputError
from minibert.finetuning.examples import (
    INPUTS,
    TaskExamples,
    at_least_float32,
    longest_row,
    progress,
    run_rows,
)
from minibert.finetuning.labels import label_settings
from minibert.finetuning.scores import answer_metric, answer_scores
from minibert.finetuning.task import Predictions, Task, is_pair
from minibert.heads import BertForQuestionAnswering
from minibert.pretrained import BertPreTrainedModel
from minibert.source import Source
from minibert.tokenizer import BertTokenizer
from minibert.tokenizer.basic import Span
from minibert.tokenizer.encoder import TokenizedText
from minibert.tokenizer.windows import TokenRow, special_count, window_rows
from minibert.training.examples import Batch
from minibert.training.objective import Objective

logger = logging.getLogger("minibert.finetuning")
LONGEST = 384  # tokens of a row, Google's
UNANSWERED = "has_unanswerable"  # the config's own key: whether "no answer" is one


@dataclass(frozen=True)
class Window:
    """A row, and what the tokens of its context are."""

    row: TokenRow
    first: int  # position of the context's first token in the row
    offsets: list[Span]  # of the context's tokens, in characters


class AnswerPrediction(NamedTuple):
    """The likeliest answer and where it stands: characters (code points) of the context.

    Without text where the likeliest is that there is none; a model trained on answers alone always gives one.
    """

    text: str
    start: int
    end: int
    probability: float  # among the best 20


class Candidate(NamedTuple):
    """A span that may be the answer."""

    score: float
    start: int
    end: int


class AnswerExamples(TaskExamples):
    """Windows with the first and last position of the answer; and the questions, for scores."""

    def __init__(self, questions: Sequence[Question], found: Sequence[Sequence[Window]], *arguments: Any) -> None:
        super().__init__([window.row for one in found for window in one], *arguments)
        self.questions, self.windows = questions, found
        self.positions = [
            positions_of(window, question.answers[0] if question.answers else None)
            for question, one in zip(questions, found, strict=True)
            for window in one
        ]

    def targets(self, numbers: Sequence[int], T: int) -> Batch:
        """``start_positions`` and ``end_positions``, each (B,) int64."""
        starts, ends = torch.tensor([self.positions[number] for number in numbers]).T.contiguous()
        return {"start_positions": starts, "end_positions": ends}


class AnswerObjective(Objective):
    """Cross-entropy of start and end over the positions of the row; the loss is their mean.

    With ``masks_padding`` False padding is among these positions, as in transformers: then the loss of a row depends on
    how long the other rows of its batch are, and parts of a batch do not add up to the whole.
    """

    def __init__(self, model: BertPreTrainedModel, masks_padding: bool = True) -> None:
        super().__init__(model)
        self.masks_padding = masks_padding

    def counts(self, batch: Batch) -> dict[str, int]:
        """As many terms as windows."""
        return {"start": len(batch["start_positions"]), "end": len(batch["end_positions"])}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The sums over the batch, each halved, so that they add up to the mean of the two."""
        output = self.model(**{name: batch[name] for name in INPUTS})
        start, end = (self.seen(scores, batch["attention_mask"]) for scores in (output.start_logits, output.end_logits))
        return {
            "start": F.cross_entropy(start, batch["start_positions"], reduction="sum") / 2,
            "end": F.cross_entropy(end, batch["end_positions"], reduction="sum") / 2,
        }

    def seen(self, scores: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, T) scores, without a chance for padding."""
        scores = at_least_float32(scores)
        return scores.masked_fill(attention_mask == 0, -math.inf) if self.masks_padding else scores


@dataclass(frozen=True)
class Answers(Task[Question, AnswerExamples]):
    """Questions whose answers stand in a text."""

    name: ClassVar[str] = "answers"
    main_score: ClassVar[str] = "f1"
    model_class: ClassVar[type[BertPreTrainedModel]] = BertForQuestionAnswering
    libraries: ClassVar[tuple[tuple[str, str], ...]] = (("torchmetrics.functional.text", "torchmetrics"),)
    items: ClassVar[str] = "a pair (question, context)"
    usual_length: ClassVar[int | None] = LONGEST

    question_column: str | None = None
    context_column: str | None = None
    answer_column: str | None = None
    start_column: str | None = None
    stride: int = 128  # tokens that two windows of a context share
    best: int = 20  # starts, and ends, that are looked at
    longest_answer: int = 30  # pieces
    masks_padding: bool = True  # in the loss; False: as transformers has it

    def columns(self) -> dict[str, str | None]:
        """The names that the user gave."""
        return {
            "question": self.question_column, "context": self.context_column, "answer": self.answer_column,
            "start": self.start_column,
        }  # fmt: skip

    def read(self, source: Source, config: BertConfig | None = None) -> list[Question]:
        """All questions of a file."""
        rows = read_questions(source, self.columns(), self.skip_bad)
        if config is None and not any(row.answers for row in rows):
            raise InputError(f"{source}: no question has an answer; there is nothing to learn.")
        return rows

    def settings(self, rows: Sequence[Question]) -> dict[str, Any]:
        """Whether there are questions without an answer."""
        names = label_settings(["start", "end"])
        return {**names, "problem_type": None, UNANSWERED: any(not row.answers for row in rows)}

    def examples(
        self,
        rows: Sequence[Question],
        tokenizer: BertTokenizer,
        config: BertConfig,
        batch_size: int = 32,
        seed: int = 0,
    ) -> AnswerExamples:
        """The windows of all questions."""
        found, cut = self.all_windows([(row.question, row.context) for row in rows], tokenizer, config)
        if cut:
            logger.warning("%d of %d questions take more than half of a row, and are cut at the end.", cut, len(rows))
        return AnswerExamples(rows, found, tokenizer.pad_token_id or 0, batch_size, seed)

    def all_windows(
        self, pairs: Sequence[tuple[str, str]], tokenizer: BertTokenizer, config: BertConfig
    ) -> tuple[list[list[Window]], int]:
        """The windows of each question and context, and how many questions had to be cut."""
        longest = longest_row(tokenizer, config.max_position_embeddings, self.max_length, self.usual_length)
        found, cut = [], 0
        remembered: dict[str, TokenizedText] = {}  # SQuAD asks several questions of a text
        most = (longest - special_count(is_pair=True)) // 2
        for question, context in progress(pairs, "tokenizing", " questions"):
            asked = tokenizer.tokens_with_offsets(question).ids
            cut += len(asked) > most
            if context not in remembered:
                remembered = {context: tokenizer.tokens_with_offsets(context)}
            found.append(self.windows_of(tokenizer, asked[:most], remembered[context], longest))
        return found, cut

    def windows_of(
        self, tokenizer: BertTokenizer, asked: list[int], context: TokenizedText, longest: int
    ) -> list[Window]:
        """The windows of one question and context."""
        room = longest - special_count(is_pair=True) - len(asked)
        rows, view = window_rows(tokenizer.frame, context.ids, longest, min(self.stride, room // 2), before=asked)
        return [
            Window(row, row.second, context.offsets[start:end]) for row, (start, end) in zip(rows, view, strict=True)
        ]

    def objective(self, model: BertPreTrainedModel) -> Objective:
        """The mean of two cross-entropies."""
        return AnswerObjective(model, self.masks_padding)

    def evaluate(self, model: BertPreTrainedModel, examples: AnswerExamples) -> dict[str, float]:
        """F1 and exact match, as SQuAD, KorQuAD or MLQA count them: by the languages of the texts."""
        contexts = [question.context for question in examples.questions]
        found = self.answer_all(model, contexts, examples.windows, examples.pad_id, "evaluating")
        gold = [[answer.text for answer in question.answers] for question in examples.questions]
        return answer_scores(gold, [answer.text for answer in found], contexts)

    def metric(self, examples: AnswerExamples) -> str:
        """F1 by word or by character."""
        return answer_metric([question.context for question in examples.questions])

    def open(self, source: Source) -> tuple[RowFile, Make[tuple[str, str]]]:
        """A file with columns of questions and contexts."""
        file, chosen = open_questions(source, self.columns())
        return file, lambda number, line, cells: pair_in(cells, chosen)

    def is_item(self, item: Any) -> bool:
        """Whether ``item`` is a question and a context."""
        return is_pair(item)

    def predict(
        self, model: BertPreTrainedModel, tokenizer: BertTokenizer, items: Sequence[tuple[str, str]]
    ) -> Predictions:
        """The answer to each (question, context)."""
        found, cut = self.all_windows(items, tokenizer, model.config)
        contexts = [context for _, context in items]
        return self.answer_all(model, contexts, found, tokenizer.pad_token_id or 0), cut

    def answer_all(
        self,
        model: BertPreTrainedModel,
        contexts: Sequence[str],
        found: Sequence[Sequence[Window]],
        pad_id: int,
        name: str | None = None,
    ) -> list[AnswerPrediction]:
        """The best answer of each question's windows."""
        flat = [window for one in found for window in one]
        of_row = {id(window.row): window for window in flat}

        def read(output: Any, rows: list[TokenRow]) -> list[tuple[list[Candidate], float]]:
            starts, ends = (at_least_float32(x).cpu() for x in (output.start_logits, output.end_logits))
            return [
                (self.candidates(of_row[id(row)], start, end), float(start[0] + end[0]))
                for row, start, end in zip(rows, starts, ends, strict=True)
            ]

        results = iter(run_rows(model, [window.row for window in flat], pad_id, read, name))
        may_be_none = bool(getattr(model.config, UNANSWERED, False))
        return [
            best_answer(context, [next(results) for _ in one], self.best, may_be_none)
            for context, one in zip(contexts, found, strict=True)
        ]

    def candidates(self, window: Window, start: Tensor, end: Tensor) -> list[Candidate]:
        """The best spans of a window; ``start`` and ``end``: (T,) scores of its positions."""
        size = len(window.offsets)
        most = min(self.best, size)
        if not size:
            return []
        here = slice(window.first, window.first + size)
        starts, ends = start[here].topk(most), end[here].topk(most)
        lengths = ends.indices[None] - starts.indices[:, None] + 1  # (starts, ends)
        scores = starts.values[:, None] + ends.values[None]
        scores = scores.masked_fill((lengths < 1) | (lengths > self.longest_answer), -math.inf).flatten()
        found = scores.topk(min(self.best, len(scores)))
        return [
            Candidate(
                score,
                window.offsets[int(starts.indices[place // most])][0],
                window.offsets[int(ends.indices[place % most])][1],
            )
            for score, place in zip(found.values.tolist(), found.indices.tolist(), strict=True)
            if score > -math.inf
        ]

    def record(self, item: tuple[str, str], prediction: AnswerPrediction) -> dict[str, Any]:
        """The question with its answer."""
        found = prediction._asdict()
        return {"question": item[0], "answer": found.pop("text"), **found}

    def fields(self, item: tuple[str, str]) -> tuple[str, ...]:
        """Question and answer."""
        return ("question", "answer", "start", "end", "probability")

    def keep_head(self, source: str, config: BertConfig, settings: dict[str, Any]) -> dict[str, Any]:
        """Every head for answers is the same, whatever its two scores are called."""
        return settings


def positions_of(window: Window, answer: Answer | None) -> tuple[int, int]:
    """The positions of the answer's first and last piece in the row; (0, 0), [CLS], when it is not whole in there.

    As in transformers' run_qa.py: the last piece that starts no later than the answer, the first that ends no earlier.
    """
    offsets = window.offsets
    if answer is None or not offsets:
        return 0, 0
    start, end = answer.start, answer.start + len(answer.text)
    if offsets[0][0] > start or offsets[-1][1] < end:
        return 0, 0
    first = max(number for number, span in enumerate(offsets) if span[0] <= start)
    last = min(number for number, span in enumerate(offsets) if span[1] >= end)
    return window.first + first, window.first + last


def best_answer(
    context: str, found: Sequence[tuple[list[Candidate], float]], most: int, may_be_none: bool
) -> AnswerPrediction:
    """The likeliest of the candidates of all windows; ``found``: those of each, and its score for no answer.

    That there is none is said when every window says so more than the best span says otherwise (SQuAD 2.0).
    """
    candidates = sorted((one for some, _ in found for one in some), key=lambda one: -one.score)[:most]
    nothing = min((none for _, none in found), default=0.0)
    scores = [one.score for one in candidates] + ([nothing] if may_be_none or not candidates else [])
    chances = torch.tensor(scores).softmax(dim=0).tolist()
    if not candidates or (may_be_none and nothing > candidates[0].score):
        return AnswerPrediction("", 0, 0, chances[-1])
    best = candidates[0]
    return AnswerPrediction(context[best.start : best.end], best.start, best.end, chances[0])
