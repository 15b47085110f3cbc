"""Multiple choice: which of several texts answers a question or continues a context (paper, section 4.4; SWAG).

For each choice there is a row [CLS] context [SEP] question choice [SEP]; where there is only a context, or only a
question, that is the first text and the choice the second.  The head gives each row one number, and softmax over the
rows of a question makes them probabilities.  A question may have any number of choices.

Rows that are too long lose the end of their context, never of a choice, since choices often differ at their end: this
is truncation="only_first" in transformers.  Start with :class:`ChoiceObjective`.
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
from minibert.data.choices import Question, open_choices, question_in, read_choices
from minibert.data.memory import Data, as_data
from minibert.data.rows import Make, RowFile, Unreadable
from minibert.finetuning.examples import TaskExamples, at_least_float32, longest_row, progress, run_rows
from minibert.finetuning.labels import label_settings
from minibert.finetuning.outcomes import MeanOutcome
from minibert.finetuning.packing import INPUTS, first_tokens, packed, packed_hidden_states
from minibert.finetuning.task import Predictions, Task
from minibert.heads import BertForMultipleChoice
from minibert.pretrained import BertPreTrainedModel
from minibert.tokenizer import BertTokenizer
from minibert.tokenizer.batch_encoding import collate
from minibert.tokenizer.windows import TokenRow
from minibert.training.examples import Batch, by_length
from minibert.training.objective import Objective

logger = logging.getLogger("minibert.finetuning")
Item = tuple[Any, ...]  # (question, choices) or (context, question, choices)


class ChoicePrediction(NamedTuple):
    """The likeliest choice, its number from 0, and the probability of each choice."""

    choice: str
    number: int
    probability: float
    probabilities: list[float]


class ChoiceExamples(TaskExamples):
    """Questions, each with a row for every choice."""

    def __init__(self, questions: Sequence[Sequence[TokenRow]], labels: Sequence[int], pad_id: int) -> None:
        super().__init__([row for rows in questions for row in rows], pad_id)
        self.questions, self.labels = questions, labels
        self.lengths = [sum(map(len, rows)) for rows in questions]

    def __len__(self) -> int:
        return len(self.questions)

    def collate(self, numbers: Sequence[int], epoch: int = 0) -> Batch:
        """The rows of these questions, packed; or padded, as transformers' head takes them.

        Packed: with ``choices``, (B,), how many each question has, and ``places``, (rows,) int64, the place of each row
        in a table of all questions, (B, most choices), row by row.
        """
        if self.call_cost is None:
            return self.padded(numbers)
        questions = [self.questions[number] for number in numbers]
        most = max(map(len, questions))
        rows = [row for one in questions for row in one]
        places = [n * most + choice for n, one in enumerate(questions) for choice in range(len(one))]
        groups = by_length(range(len(rows)), [len(row) for row in rows], self.call_cost)
        batch = packed([
            {**collate([rows[row] for row in group], self.pad_id), "places": torch.tensor([places[r] for r in group])}
            for group in groups
        ])  # fmt: skip
        return {**batch, "choices": torch.tensor([len(one) for one in questions]), **self.targets(numbers, 0)}

    def padded(self, numbers: Sequence[int]) -> Batch:
        """The same as (B, C, T) int64; where a question has fewer choices, its first is repeated, and counted once."""
        questions = [self.questions[number] for number in numbers]
        counts = [len(one) for one in questions]
        most = max(counts)
        filled = [row for one in questions for row in (*one, *[one[0]] * (most - len(one)))]
        batch: Batch = {
            name: value.view(len(questions), most, -1) for name, value in collate(filled, self.pad_id).items()
        }
        if min(counts) < most:
            batch["choices"] = torch.tensor(counts)
        return {**batch, **self.targets(numbers, batch["input_ids"].shape[2])}

    def targets(self, numbers: Sequence[int], T: int) -> Batch:
        """``labels``: (B,) int64, the numbers of the right choices."""
        return {"labels": torch.tensor([self.labels[number] for number in numbers])}


class ChoiceObjective(Objective):
    """Cross-entropy over the choices of each question."""

    takes_packed = True

    def counts(self, batch: Batch) -> dict[str, float]:
        """The number of questions."""
        return {"choice": len(batch["labels"])}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The sum over the questions."""
        return {"choice": F.cross_entropy(self.logits(batch), batch["labels"], reduction="sum")}

    def logits(self, batch: Batch) -> Tensor:
        """(B, C), with -inf where a question has fewer choices."""
        model: Any = self.model
        if "groups" not in batch:
            logits = at_least_float32(model(**{name: batch[name] for name in INPUTS}).logits)
            if "choices" not in batch:
                return logits
            numbers = torch.arange(logits.shape[1], device=logits.device)
            return logits.masked_fill(numbers >= batch["choices"][:, None], -math.inf)
        hidden_states = packed_hidden_states(model.bert, batch)  # (tokens, H)
        pooler_output = model.bert.pooler(hidden_states[first_tokens(batch["groups"]), None])  # (rows, H)
        scores = at_least_float32(model.classifier(model.dropout(pooler_output))).squeeze(-1)  # (rows,)
        questions = len(batch["choices"])
        table = scores.new_full((questions * int(batch["choices"].max()),), -math.inf)
        return table.index_put((batch["places"],), scores).view(questions, -1)


@dataclass(frozen=True)
class MultipleChoice(Task[Question, ChoiceExamples]):
    """Questions or contexts with several choices, one of which is right."""

    name: ClassVar[str] = "choice"
    main_score: ClassVar[str] = "accuracy"
    model_class: ClassVar[type[BertPreTrainedModel]] = BertForMultipleChoice
    libraries: ClassVar[tuple[tuple[str, str], ...]] = ()
    items: ClassVar[str] = "a tuple (question, choices) or (context, question, choices), the choices a list of texts"

    question_column: str | None = None
    context_column: str | None = None
    choice_columns: Sequence[str] | None = None  # one that holds lists, or several
    label_column: str | None = None
    count_from: int = 0  # the number of the first choice in the data: 0 or 1

    def columns(self) -> dict[str, str | None]:
        """The names that the user gave."""
        return {"context": self.context_column, "question": self.question_column}

    def read(self, source: Data, config: BertConfig | None = None) -> list[Question]:
        source = as_data(source)
        names = {**self.columns(), "label": self.label_column}
        rows = read_choices(source, names, self.choice_columns, self.count_from, self.skip_bad)
        if config is None and len(rows) > 1 and len({row.label for row in rows}) == 1:
            logger.warning(
                "%s: in all %d rows the right choice is number %d. A model may learn the place, not the text.",
                source, len(rows), rows[0].label + self.count_from,
            )  # fmt: skip
        return rows

    def settings(self, rows: Sequence[Question]) -> dict[str, Any]:
        """The head has one row; the choices of the data are not its labels."""
        return {"problem_type": None, **label_settings(["choice"])}

    def keep_head(self, source: str, config: BertConfig, settings: dict[str, Any]) -> dict[str, Any]:
        """A head that scores choices fits any number of them."""
        return settings

    def encode(self, rows: Sequence[Question], tokenizer: BertTokenizer, config: BertConfig) -> ChoiceExamples:
        questions, cut = self.token_rows(rows, tokenizer, config)
        if cut:
            logger.warning(
                "%d of %d questions are longer than the model reads, and their context is cut at its end.",
                cut, len(rows),
            )  # fmt: skip
        return ChoiceExamples(questions, [row.label for row in rows], tokenizer.pad_token_id or 0)

    def token_rows(
        self, questions: Sequence[Question], tokenizer: BertTokenizer, config: BertConfig
    ) -> tuple[list[list[TokenRow]], int]:
        """The rows of each question, one for each choice, and how many questions were cut."""
        longest = longest_row(tokenizer, config.max_position_embeddings, self.max_length)
        room = longest - tokenizer.frame.count(is_pair=True)
        found, cut = [], 0
        for question in progress(questions, "tokenizing", " questions"):
            first, *between = question.parts
            ids = tokenizer.tokens_with_offsets(first).ids
            seconds = [tokenizer.tokens_with_offsets(" ".join([*between, choice])).ids for choice in question.choices]
            cut += any(len(ids) + len(second) > room for second in seconds)
            found.append([
                tokenizer.frame.row(ids[: max(0, room - len(second))], second[:room]) for second in seconds
            ])  # fmt: skip
        return found, cut

    def objective(self, model: BertPreTrainedModel) -> Objective:
        return ChoiceObjective(model)

    def outcome(self, model: BertPreTrainedModel, examples: ChoiceExamples) -> MeanOutcome:
        """Whether the likeliest choice of each question is right."""
        found = probabilities_of(model, examples.questions, examples.pad_id, "evaluating")
        right = [float(best(one) == label) for one, label in zip(found, examples.labels, strict=True)]
        return MeanOutcome({"accuracy": torch.tensor(right, dtype=torch.float64)}, "questions")

    def open(self, source: Data) -> tuple[RowFile, Make[Item]]:
        """A file with columns of contexts, questions and choices."""
        file, columns = open_choices(source, self.columns(), self.choice_columns, labelled=False)

        def item(number: int, line: int | None, cells: Any) -> Item:
            question, _ = question_in(cells, columns)
            return (*question.parts, list(question.choices))

        return file, item

    def from_line(self, text: str) -> Item:
        """A question and its choices, with tabs between."""
        question, *choices = text.split("\t")
        if len(choices) < 2 or not all(part.strip() for part in (question, *choices)):
            raise Unreadable(f"has {1 + len(choices)} fields, expected a question and its choices with tabs between")
        return question, choices

    def is_item(self, item: Any) -> bool:
        if not isinstance(item, tuple) or len(item) not in (2, 3) or not isinstance(item[-1], list | tuple):
            return False
        texts = (*item[:-1], *item[-1])
        return len(item[-1]) > 1 and all(isinstance(text, str) and bool(text.strip()) for text in texts)

    def predict(self, model: BertPreTrainedModel, tokenizer: BertTokenizer, items: Sequence[Item]) -> Predictions:
        questions = [question_of(item) for item in items]
        rows, cut = self.token_rows(questions, tokenizer, model.config)
        found = probabilities_of(model, rows, tokenizer.pad_token_id or 0)
        predictions = []
        for question, chances in zip(questions, found, strict=True):
            number = best(chances)
            predictions.append(ChoicePrediction(question.choices[number], number, chances[number], chances))
        return predictions, cut

    def record(self, item: Item, prediction: ChoicePrediction) -> dict[str, Any]:
        parts = dict(zip(("question",) if len(item) == 2 else ("context", "question"), item[:-1], strict=True))
        return {**parts, "choices": list(item[-1]), **prediction._asdict()}

    def lines(self, item: Item, prediction: ChoicePrediction) -> list[dict[str, Any]]:
        """The same without the other choices."""
        record = self.record(item, prediction)
        return [{name: value for name, value in record.items() if name not in ("choices", "probabilities")}]

    def fields(self, item: Item) -> tuple[str, ...]:
        return (*(("question",) if len(item) == 2 else ("context", "question")), "choice", "number", "probability")


def question_of(item: Item) -> Question:
    """The question that an item asks."""
    context, question = item[:-1] if len(item) == 3 else ("", item[0])
    return Question(context, question, tuple(item[-1]))


def best(probabilities: Sequence[float]) -> int:
    """The number of the likeliest choice; of equals the first."""
    return max(range(len(probabilities)), key=probabilities.__getitem__)


def probabilities_of(
    model: BertPreTrainedModel, questions: Sequence[Sequence[TokenRow]], pad_id: int, name: str | None = None
) -> list[list[float]]:
    """The probability of each choice of each question."""

    def scores(output: Any, _: list[TokenRow]) -> list[float]:
        found: list[float] = at_least_float32(output.logits).squeeze(-1).tolist()
        return found

    def one_by_one(batch: Batch) -> Any:  # (rows, T) as rows of one choice each
        return model(**{key: tensor[:, None] for key, tensor in batch.items()})

    flat = iter(run_rows(model, [row for one in questions for row in one], pad_id, scores, name, one_by_one))
    return [torch.tensor([next(flat) for _ in one]).softmax(dim=0).tolist() for one in questions]
