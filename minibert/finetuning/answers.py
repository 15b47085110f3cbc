"""Answers: the start and end in a context of the answer to a question (paper, section 4.2; Google's run_squad.py).

A row is [CLS] question [SEP] context [SEP].  A context longer than the row is read in overlapping windows; the target
of a window without the answer is [CLS].  The predicted answer is the best span of all windows, by the sum of its start
and end scores, among the spans of at most 30 pieces between the 20 best starts and the 20 best ends.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.config import BertConfig
from minibert.data.memory import Data, as_data
from minibert.data.questions import Answer, Question, open_questions, pair_in, read_questions
from minibert.data.rows import Make, RowFile
from minibert.errors import InputError
from minibert.finetuning.examples import TaskExamples, at_least_float32, longest_row, progress, run_rows
from minibert.finetuning.labels import label_settings
from minibert.finetuning.outcomes import MeanOutcome
from minibert.finetuning.packing import INPUTS, packed_hidden_states, padded_groups
from minibert.finetuning.scores import answer_metric, answer_scores
from minibert.finetuning.task import Predictions, Task, is_pair
from minibert.heads import BertForQuestionAnswering
from minibert.pretrained import BertPreTrainedModel
from minibert.tokenizer import BertTokenizer
from minibert.tokenizer.basic import Span
from minibert.tokenizer.encoder import TokenizedText
from minibert.tokenizer.windows import TokenRow, window_rows, without_spaces
from minibert.training.examples import Batch
from minibert.training.objective import Objective

logger = logging.getLogger("minibert.finetuning")
LONGEST = 384  # tokens per row, as in Google's script
UNANSWERED = "has_unanswerable"  # key of the config: whether the training data has questions without an answer


@dataclass(frozen=True)
class Window:
    """A row, and the places of its context's tokens."""

    row: TokenRow
    first: int  # position of the context's first token in the row
    offsets: list[Span]  # of the context's tokens, in characters


class AnswerPrediction(NamedTuple):
    """The likeliest answer and its place, counted in characters (code points) of the context.

    The text is empty when "no answer" is likelier; a model trained only on questions with answers always gives one.
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
    """Windows with the first and last position of the answer, and the questions, for scores."""

    def __init__(self, questions: Sequence[Question], windows: Sequence[Sequence[Window]], pad_id: int) -> None:
        super().__init__([window.row for one in windows for window in one], pad_id)
        self.questions, self.windows = questions, windows
        self.positions = [
            positions_of(window, question.answers[0] if question.answers else None)
            for question, one in zip(questions, windows, strict=True)
            for window in one
        ]

    def targets(self, numbers: Sequence[int], T: int) -> Batch:
        """``start_positions`` and ``end_positions``, each (B,) int64."""
        starts, ends = torch.tensor([self.positions[number] for number in numbers]).T.contiguous()
        return {"start_positions": starts, "end_positions": ends}


class AnswerObjective(Objective):
    """The mean of two cross-entropies, of start and end, over the positions of the row.

    With ``masks_padding`` False these include the padding, as in transformers: then the loss of a row depends on the
    length of the other rows of its batch, the micro-batches of a step do not add up to the whole, and none is packed.
    """

    def __init__(self, model: BertPreTrainedModel, masks_padding: bool = True) -> None:
        super().__init__(model)
        self.masks_padding = self.takes_packed = masks_padding

    def counts(self, batch: Batch) -> dict[str, int]:
        """The number of windows."""
        return {"start": len(batch["start_positions"]), "end": len(batch["end_positions"])}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The sums over the batch, each halved, so that together they are the mean of the two."""
        model: Any = self.model
        if "groups" in batch:
            logits = model.qa_outputs(packed_hidden_states(model.bert, batch))  # (tokens, 2)
            losses = [self.losses(*group) for group in self.groups(logits, batch)]
        else:
            output = model(**{name: batch[name] for name in INPUTS})
            positions = batch["start_positions"], batch["end_positions"]
            losses = [self.losses(output.start_logits, output.end_logits, batch["attention_mask"], *positions)]
        return {name: torch.stack([loss[name] for loss in losses]).sum() for name in losses[0]}

    def groups(self, logits: Tensor, batch: Batch) -> Iterator[tuple[Tensor, ...]]:
        """Start and end logits, attention mask, each (texts, T), and start and end positions, of each group."""
        shapes = batch["groups"].tolist()
        texts = [count for count, _ in shapes]
        start, end = logits.unbind(dim=-1)
        per_token = [padded_groups(x, shapes) for x in (start, end, batch["attention_mask"][0])]
        per_text = [list(batch[name].split_with_sizes(texts)) for name in ("start_positions", "end_positions")]
        return zip(*per_token, *per_text, strict=True)

    def losses(
        self, start: Tensor, end: Tensor, attention_mask: Tensor, start_positions: Tensor, end_positions: Tensor
    ) -> dict[str, Tensor]:
        """The sums over texts of one length, padding included."""
        start, end = (self.masked(x, attention_mask) for x in (start, end))
        return {
            "start": F.cross_entropy(start, start_positions, reduction="sum") / 2,
            "end": F.cross_entropy(end, end_positions, reduction="sum") / 2,
        }

    def masked(self, logits: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, T) logits, with -inf at padding."""
        logits = at_least_float32(logits)
        return logits.masked_fill(attention_mask == 0, -math.inf) if self.masks_padding else logits


@dataclass(frozen=True)
class Answers(Task[Question, AnswerExamples]):
    """Questions whose answers stand in a context."""

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
    best: int = 20  # how many starts and ends are candidates
    longest_answer: int = 30  # pieces
    masks_padding: bool = True  # in the loss; False: as in transformers

    def columns(self) -> dict[str, str | None]:
        """The names that the user gave."""
        return {
            "question": self.question_column, "context": self.context_column, "answer": self.answer_column,
            "start": self.start_column,
        }  # fmt: skip

    def read(self, source: Data, config: BertConfig | None = None) -> list[Question]:
        source = as_data(source)
        rows = read_questions(source, self.columns(), self.skip_bad)
        if config is None and not any(row.answers for row in rows):
            raise InputError(f"{source}: no question has an answer; there is nothing to learn.")
        return rows

    def settings(self, rows: Sequence[Question]) -> dict[str, Any]:
        names = label_settings(["start", "end"])
        return {**names, "problem_type": None, UNANSWERED: any(not row.answers for row in rows)}

    def encode(self, rows: Sequence[Question], tokenizer: BertTokenizer, config: BertConfig) -> AnswerExamples:
        windows, cut = self.all_windows([(row.question, row.context) for row in rows], tokenizer, config)
        if cut:
            logger.warning("%d of %d questions take more than half of a row, and are cut at the end.", cut, len(rows))
        return AnswerExamples(rows, windows, tokenizer.pad_token_id or 0)

    def all_windows(
        self, pairs: Sequence[tuple[str, str]], tokenizer: BertTokenizer, config: BertConfig
    ) -> tuple[list[list[Window]], int]:
        """The windows of each question and context, and how many questions were cut."""
        longest = longest_row(tokenizer, config.max_position_embeddings, self.max_length, self.usual_length)
        windows, cut = [], 0
        last: dict[str, TokenizedText] = {}  # SQuAD asks several questions in a row about one context
        most = (longest - tokenizer.frame.count(is_pair=True)) // 2
        for text, context in progress(pairs, "tokenizing", " questions"):
            question = tokenizer.tokens_with_offsets(text).ids
            cut += len(question) > most
            if context not in last:
                last = {context: tokenizer.tokens_with_offsets(context)}
            windows.append(self.windows_of(tokenizer, question[:most], last[context], longest))
        return windows, cut

    def windows_of(
        self, tokenizer: BertTokenizer, question: list[int], context: TokenizedText, longest: int
    ) -> list[Window]:
        """The windows of one question and context."""
        frame = tokenizer.frame
        room = longest - frame.count(is_pair=True) - len(question)
        rows, view = window_rows(frame, context.ids, longest, min(self.stride, room // 2), before=question)
        first = frame.start(len(question))
        return [Window(row, first, context.offsets[start:end]) for row, (start, end) in zip(rows, view, strict=True)]

    def objective(self, model: BertPreTrainedModel) -> Objective:
        return AnswerObjective(model, self.masks_padding)

    def outcome(self, model: BertPreTrainedModel, examples: AnswerExamples) -> MeanOutcome:
        """F1 and exact match as in SQuAD, KorQuAD or MLQA, depending on the languages of the contexts."""
        contexts = [question.context for question in examples.questions]
        predicted = self.answer_all(model, contexts, examples.windows, examples.pad_id, "evaluating")
        gold = [[answer.text for answer in question.answers] for question in examples.questions]
        return MeanOutcome(answer_scores(gold, [answer.text for answer in predicted], contexts), "questions")

    def metric(self, examples: AnswerExamples) -> str:
        return answer_metric([question.context for question in examples.questions])

    def open(self, source: Data) -> tuple[RowFile, Make[tuple[str, str]]]:
        file, columns = open_questions(source, self.columns())
        return file, lambda number, line, cells: pair_in(cells, columns)

    def is_item(self, item: Any) -> bool:
        return is_pair(item)

    def predict(
        self, model: BertPreTrainedModel, tokenizer: BertTokenizer, items: Sequence[tuple[str, str]]
    ) -> Predictions:
        windows, cut = self.all_windows(items, tokenizer, model.config)
        contexts = [context for _, context in items]
        return self.answer_all(model, contexts, windows, tokenizer.pad_token_id or 0), cut

    def answer_all(
        self,
        model: BertPreTrainedModel,
        contexts: Sequence[str],
        windows: Sequence[Sequence[Window]],
        pad_id: int,
        name: str | None = None,
    ) -> list[AnswerPrediction]:
        """The best answer in each question's windows."""
        flat = [window for one in windows for window in one]
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
            for context, one in zip(contexts, windows, strict=True)
        ]

    def candidates(self, window: Window, start: Tensor, end: Tensor) -> list[Candidate]:
        """The best spans of a window; ``start`` and ``end``: (T,) logits of its positions."""
        size = len(window.offsets)
        most = min(self.best, size)
        if not size:
            return []
        here = slice(window.first, window.first + size)
        starts, ends = start[here].topk(most), end[here].topk(most)
        lengths = ends.indices[None] - starts.indices[:, None] + 1  # (starts, ends)
        scores = starts.values[:, None] + ends.values[None]
        scores = scores.masked_fill((lengths < 1) | (lengths > self.longest_answer), -math.inf).flatten()
        best = scores.topk(min(self.best, len(scores)))
        return [
            Candidate(
                score,
                window.offsets[int(starts.indices[place // most])][0],
                window.offsets[int(ends.indices[place % most])][1],
            )
            for score, place in zip(best.values.tolist(), best.indices.tolist(), strict=True)
            if score > -math.inf
        ]

    def record(self, item: tuple[str, str], prediction: AnswerPrediction) -> dict[str, Any]:
        text, *place = prediction
        return dict(zip(self.fields(item), (item[0], text, *place), strict=True))

    def fields(self, item: tuple[str, str]) -> tuple[str, ...]:
        return ("question", "answer", "start", "end", "probability")

    def keep_head(self, source: str, config: BertConfig, settings: dict[str, Any]) -> dict[str, Any]:
        """Every head for answers fits, whatever its two labels are called."""
        return settings


def positions_of(window: Window, answer: Answer | None) -> tuple[int, int]:
    """The positions of the answer's first and last piece in the row; those of [CLS], (0, 0), unless all of it is there.

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
    context: str, windows: Sequence[tuple[list[Candidate], float]], most: int, may_be_none: bool
) -> AnswerPrediction:
    """The likeliest candidate of all windows; ``windows``: the candidates of each, and its score for "no answer".

    There is no answer when this score is, in every window, above that of the best candidate (SQuAD 2.0).
    """
    candidates = sorted((one for some, _ in windows for one in some), key=lambda one: -one.score)[:most]
    no_answer = min((score for _, score in windows), default=0.0)
    scores = [one.score for one in candidates] + ([no_answer] if may_be_none or not candidates else [])
    chances = torch.tensor(scores).softmax(dim=0).tolist()
    if not candidates or (may_be_none and no_answer > candidates[0].score):
        return AnswerPrediction("", 0, 0, chances[-1])
    best = candidates[0]
    start, end = without_spaces(context, (best.start, best.end))
    return AnswerPrediction(context[start:end], start, end, chances[0])
