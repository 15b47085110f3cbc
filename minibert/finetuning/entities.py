"""Entities: a label for every word, learned at its first piece, scored as whole entities (paper, section 5.3).

``minibert/data/sentences.py`` reads the data; ``placing.py`` finds the words among the pieces.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch.nn.functional as F
from torch import Tensor

from minibert.config import BertConfig
from minibert.data.cells import text_in
from minibert.data.columns import TEXT, choose_columns
from minibert.data.labels import listed, sorted_labels
from minibert.data.memory import Data, as_data
from minibert.data.opening import open_rows
from minibert.data.rows import Make, RowFile
from minibert.data.sentences import BIO, Sentence, entities_of, is_by_character, read_sentences, with_beginnings
from minibert.errors import InputError
from minibert.finetuning.examples import TaskExamples, at_least_float32, longest_row, progress, run_rows
from minibert.finetuning.labels import label_names, label_numbers, label_settings
from minibert.finetuning.outcomes import EntityOutcome
from minibert.finetuning.packing import INPUTS, packed_hidden_states
from minibert.finetuning.placing import Placed, Placer, labels_of
from minibert.finetuning.task import Predictions, Task
from minibert.heads import BertForTokenClassification
from minibert.losses import IGNORE_INDEX
from minibert.pretrained import BertPreTrainedModel
from minibert.tokenizer import BertTokenizer
from minibert.tokenizer.batch_encoding import padded
from minibert.tokenizer.windows import TokenRow
from minibert.training.examples import Batch
from minibert.training.objective import Objective

logger = logging.getLogger("minibert.finetuning")
UNITS = "label_units"  # key of the config: "characters" where the training data labels these, else "words"


class Entity(NamedTuple):
    """An entity with its place: ``start`` and ``end`` count characters (code points) of the text."""

    label: str
    text: str
    start: int
    end: int
    probability: float  # the mean over its words


class EntityExamples(TaskExamples):
    """Rows with a label for the first piece of each word, and the sentences, for scores."""

    per_token = ("labels",)

    def __init__(
        self, sentences: Sequence[Sentence], placed: Sequence[Placed], label2id: dict[str, int], pad_id: int
    ) -> None:
        super().__init__([row for one in placed for row in one.rows], pad_id)
        self.sentences, self.placed = sentences, placed
        self.labels = [
            labels
            for sentence, one in zip(sentences, placed, strict=True)
            for labels in labels_of_rows(one, [label2id[label] for label in sentence.labels])
        ]

    def targets(self, numbers: Sequence[int], T: int) -> Batch:
        """``labels``: (B, T) int64, IGNORE_INDEX where no word begins."""
        return {"labels": padded([self.labels[number] for number in numbers], IGNORE_INDEX)}


class EntityObjective(Objective):
    """Cross-entropy, with one term per word."""

    takes_packed = True

    def counts(self, batch: Batch) -> dict[str, int]:
        """The number of words."""
        return {"label": int((batch["labels"] != IGNORE_INDEX).sum())}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The sum over the words of the batch."""
        model: Any = self.model
        if "groups" in batch:
            logits = model.classifier(model.dropout(packed_hidden_states(model.bert, batch)))[None]
        else:
            logits = model(**{name: batch[name] for name in INPUTS}).logits
        logits = at_least_float32(logits)  # (B, T, labels); packed (1, tokens, labels)
        loss = F.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), reduction="sum")
        return {"label": loss}


@dataclass(frozen=True)
class Entities(Task[Sentence, EntityExamples]):
    """Sentences with a BIO label for each word, or texts with their entities as spans."""

    name: ClassVar[str] = "entities"
    main_score: ClassVar[str] = "f1"
    model_class: ClassVar[type[BertPreTrainedModel]] = BertForTokenClassification
    libraries: ClassVar[tuple[tuple[str, str], ...]] = (("seqeval.metrics.v1", "seqeval"),)
    items: ClassVar[str] = "a text, or a list of words"

    words_column: str | None = None  # of lists in .jsonl and .parquet
    labels_column: str | None = None
    label_names: tuple[str, ...] | None = None  # of labels that are numbers
    stride: int = 64  # tokens that the windows of a long sentence share
    column: str | None = None  # of the texts: with spans, or to predict for
    spans_column: str | None = None  # of lists of spans in .jsonl and .parquet: start, end, label

    def read(self, source: Data, config: BertConfig | None = None) -> list[Sentence]:
        known = None if config is None else label_names(config)
        names = {
            "words": self.words_column, "labels": self.labels_column, "text": self.column, "spans": self.spans_column,
        }  # fmt: skip
        source = as_data(source)
        sentences = read_sentences(source, names, label_names=self.label_names, known=known, skip_bad=self.skip_bad)
        if config is None and not any(label != "O" for sentence in sentences for label in sentence.labels):
            raise InputError(f"{source}: every word has the label O; there is no entity to learn from.")
        if config is not None and is_by_character(sentences) != by_character(config):
            units, expected = ("characters", "words") if is_by_character(sentences) else ("words", "characters")
            raise InputError(f"{source} labels {units}, and the training data {expected}; they must be alike.")
        return sentences

    def settings(self, rows: Sequence[Sentence]) -> dict[str, Any]:
        """The labels, and whether words or characters have them."""
        labels = {label for sentence in rows for label in sentence.labels}
        if any(sentence.by_character for sentence in rows):  # an entity of one character here may be longer elsewhere
            labels |= {f"I-{label[2:]}" for label in labels if label != "O"}
        units = "characters" if is_by_character(rows) else "words"
        return {**label_settings(sorted_labels(labels)), "problem_type": None, UNITS: units}

    def placer(self, tokenizer: BertTokenizer, config: BertConfig) -> Placer:
        """What turns sentences into rows."""
        longest = longest_row(tokenizer, config.max_position_embeddings, self.max_length)
        return Placer(tokenizer, longest, self.stride, by_character(config))

    def encode(self, rows: Sequence[Sentence], tokenizer: BertTokenizer, config: BertConfig) -> EntityExamples:
        placer = self.placer(tokenizer, config)
        placed = [placer.sentence(sentence.words) for sentence in progress(rows, "tokenizing", " sentences")]
        warn_of_losses(rows, placed, placer)
        return EntityExamples(rows, placed, label_numbers(config), tokenizer.pad_token_id or 0)

    def objective(self, model: BertPreTrainedModel) -> Objective:
        return EntityObjective(model)

    def outcome(self, model: BertPreTrainedModel, examples: EntityExamples) -> EntityOutcome:
        labels = [labels for labels, _ in label_in_iob2(model, examples.placed, examples.pad_id, "evaluating")]
        return EntityOutcome([sentence.labels for sentence in examples.sentences], labels, kinds_of(model.config))

    def open(self, source: Data) -> tuple[RowFile, Make[str]]:
        """A file with a column of texts; or a .txt with a text per line."""
        file = open_rows(source, (self.column,))
        name = "text"
        if not file.is_lines:
            name = choose_columns(file, {"text": TEXT}, {"text": self.column})["text"]
        return file, lambda number, line, cells: text_in(cells, name)

    def is_item(self, item: Any) -> bool:
        return isinstance(item, str) or (isinstance(item, list) and all(isinstance(word, str) for word in item))

    def predict(
        self, model: BertPreTrainedModel, tokenizer: BertTokenizer, items: Sequence[str | Sequence[str]]
    ) -> Predictions:
        """The entities of each text; those of a list of words, in the words joined by spaces."""
        placer = self.placer(tokenizer, model.config)
        placed, spans, texts = [], [], []
        for item in items:
            if isinstance(item, str):
                one, where = placer.text(item)
                text = item
            else:
                one, text = placer.sentence(item), ("" if placer.by_character else " ").join(item)
                where = spans_of(item, 0 if placer.by_character else 1)
            placed.append(one)
            spans.append(where)
            texts.append(text)
        labelled = label_in_iob2(model, placed, tokenizer.pad_token_id or 0)
        return [entities_in(*one) for one in zip(texts, spans, labelled, strict=True)], 0

    def record(self, item: Any, prediction: list[Entity]) -> dict[str, Any]:
        return {"text": item, "entities": [entity._asdict() for entity in prediction]}

    def lines(self, item: Any, prediction: list[Entity]) -> list[dict[str, Any]]:
        """One line per entity."""
        return [entity._asdict() for entity in prediction]

    def fields(self, item: Any) -> tuple[str, ...]:
        return Entity._fields


def by_character(config: BertConfig) -> bool:
    """Whether the model labels characters."""
    return getattr(config, UNITS, "words") == "characters"


def kinds_of(config: BertConfig) -> list[str]:
    """The kinds of entities that the model's labels name, each once."""
    return sorted({label[2:] for label in label_names(config) if label != "O"})


def check_bio(config: BertConfig) -> None:
    """Raise InputError for a model whose labels are not those of entities."""
    names = label_names(config)
    odd = [label for label in names if not BIO.fullmatch(label)]
    if odd:
        raise InputError(
            f"This checkpoint labels words with {listed(names)}; expected the labels of "
            "entities: O, B-… where one begins, I-… inside it."
        )


def labels_of_rows(placed: Placed, labels: Sequence[int]) -> list[list[int]]:
    """The labels of each row's tokens, IGNORE_INDEX where no word begins."""
    rows = [[IGNORE_INDEX] * len(row.ids) for row in placed.rows]
    for place, is_first, label in zip(placed.places, placed.first, labels, strict=True):
        if place is not None and is_first:
            rows[place[0]][place[1]] = label
    return rows


def warn_of_losses(sentences: Sequence[Sentence], placed: Sequence[Placed], placer: Placer) -> None:
    """Warn of sentences read in windows, of words without a token, and of entities that end inside a token."""
    long = sum(len(one.rows) > 1 for one in placed)
    if long:
        logger.warning(
            "%d of %d sentences have more than %d tokens and are read in windows; every word counts once.",
            long, len(placed), placer.longest,
        )  # fmt: skip
    unread = [
        word
        for sentence, one in zip(sentences, placed, strict=True)
        for word, place in zip(sentence.words, one.places, strict=True)
        if place is None and word.strip()
    ]
    if unread:
        logger.warning(
            "The tokenizer reads nothing of %d words (the first is %r); they are not learned from, and in scores they "
            "go with the entity around them, or are O.", len(unread), unread[0],
        )  # fmt: skip
    lost = sum(map(entities_lost, sentences, placed))
    if lost:
        total = sum(len(entities_of(sentence.labels)) for sentence in sentences)
        logger.warning(
            "%d of %d entities begin or end inside a piece of this tokenizer; no model can find them with it, and "
            "strict scores count them as missed.", lost, total,
        )  # fmt: skip


def entities_lost(sentence: Sentence, placed: Placed) -> int:
    """How many entities would be missed even if every piece had its right label."""
    right = {
        place: label
        for place, is_first, label in zip(placed.places, placed.first, sentence.labels, strict=True)
        if is_first
    }
    best = labels_of(placed, lambda row, position: right[row, position])
    return len(set(entities_of(sentence.labels)) - set(entities_of(best)))


def label_all(
    model: BertPreTrainedModel, placed: Sequence[Placed], pad_id: int, name: str | None = None
) -> list[tuple[list[str], list[float | None]]]:
    """For each sentence the labels of its units, and the probabilities of those with a piece of their own."""
    names = label_names(model.config)

    def read(output: Any, rows: list[TokenRow]) -> list[list[tuple[str, float]]]:
        best = at_least_float32(output.logits).softmax(dim=-1).max(dim=-1)  # (B, T)
        pairs = zip(best.indices.tolist(), best.values.tolist(), rows, strict=True)
        return [
            [(names[label], chance) for label, chance in zip(labels, chances, strict=True)][: len(row.ids)]
            for labels, chances, row in pairs
        ]

    per_row = iter(run_rows(model, [row for one in placed for row in one.rows], pad_id, read, name))
    result = []
    for one in placed:
        pieces = [next(per_row) for _ in one.rows]
        labels = labels_of(one, lambda row, position, pieces=pieces: pieces[row][position][0])  # type: ignore[misc]
        chances = [
            pieces[place[0]][place[1]][1] if place is not None and is_first else None
            for place, is_first in zip(one.places, one.first, strict=True)
        ]
        result.append((labels, chances))
    return result


def label_in_iob2(
    model: BertPreTrainedModel, placed: Sequence[Placed], pad_id: int, name: str | None = None
) -> list[tuple[list[str], list[float | None]]]:
    """The same; of a model that was trained elsewhere, perhaps on IOB1, with B-X where an entity begins with I-X."""
    labelled = label_all(model, placed, pad_id, name)
    if hasattr(model.config, UNITS):
        return labelled
    return [(with_beginnings(labels), chances) for labels, chances in labelled]


def entities_in(
    text: str, spans: Sequence[tuple[int, int]], labelled: tuple[list[str], list[float | None]]
) -> list[Entity]:
    """The entities of a text whose units, at ``spans``, have these labels and probabilities."""
    labels, chances = labelled
    entities = []
    for kind, first, last in entities_of(labels):
        start, end = spans[first][0], spans[last - 1][1]
        known = [chance for chance in chances[first:last] if chance is not None]
        entities.append(Entity(kind, text[start:end], start, end, sum(known) / len(known)))
    return entities


def spans_of(words: Sequence[str], gap: int) -> list[tuple[int, int]]:
    """The places of words in the text that joins them with ``gap`` spaces."""
    spans = []
    start = 0
    for word in words:
        spans.append((start, start + len(word)))
        start += len(word) + gap
    return spans
