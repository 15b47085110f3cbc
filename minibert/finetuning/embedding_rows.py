"""The data of embedding training: pairs, triplets or scored pairs of texts, as rows of a file and as steps.

==============  =======================================  ===================================================
kind            columns                                  usual names
==============  =======================================  ===================================================
pairs           two texts that belong together           anchor, positive; query, answer; question, document
triplets        and one or more that do not belong       negative, negative_1, negative_2 …
scored pairs    two texts and their similarity           sentence1, sentence2, score
==============  =======================================  ===================================================

Where the other texts of a step are the negatives, no text may occur twice in a step: a copy of the right answer would
be a wrong one.  :func:`steps_without_copies` sees to that.  Start with :func:`read_groups`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from minibert.data.cells import Cells, number_in, text_in
from minibert.data.columns import TEXTS, Column, choose_columns
from minibert.data.memory import Data
from minibert.data.opening import open_rows, read_all
from minibert.data.rows import RowFile, names_of
from minibert.errors import InputError
from minibert.finetuning.examples import TaskExamples
from minibert.tokenizer import BertTokenizer
from minibert.tokenizer.batch_encoding import collate
from minibert.tokenizer.windows import TokenRow
from minibert.training.examples import Batch, example_steps, generator

FIRST = ("anchor", "query", "question", "sentence1", "text1", "premise", "question1", "sentence_a", *TEXTS)
SECOND = (
    "positive", "answer", "document", "passage", "sentence2", "text2", "hypothesis", "question2", "sentence_b",
    "response", "context", "summary", "pos",
)  # fmt: skip
SCORES = ("score", "similarity", "similarity_score", "rating", "label")
NEGATIVE = re.compile(r"neg(ative)?(_?\d+)?", re.IGNORECASE)
COLUMNS = {
    "text": Column("the first texts", "--column", FIRST),
    "pair": Column("the texts that belong to them", "--pair-column", SECOND),
    "negative": Column("the texts that do not belong", "--negative-column", optional=True),
    "score": Column("the scores", "--label-column", SCORES, optional=True),
}
Names = Mapping[str, str | None]  # of the columns that the user named, by the keys of COLUMNS


class TextGroup(NamedTuple):
    """One row: a text and one that belongs to it, with further ones that do not, or with a score."""

    texts: tuple[str, ...]  # two or more; of all rows of a file equally many
    score: float | None = None


class EmbeddingExamples(TaskExamples):
    """Groups of K texts as token rows, with their texts for evaluation."""

    def __init__(
        self,
        groups: Sequence[TextGroup],
        rows: Sequence[Sequence[TokenRow]],
        skipped: Sequence[int],
        tokenizer: BertTokenizer,
        *,
        keeps_copies_apart: bool,
    ) -> None:
        """``rows``: K per example; ``skipped``: for each of the K places, the tokens that do not count in the pooling.

        ``tokenizer``: for evaluation.  ``keeps_copies_apart``: whether no text may occur twice in a step.
        """
        super().__init__([row for group in rows for row in group], tokenizer.pad_token_id or 0)
        self.groups, self.skipped, self.tokenizer = groups, torch.tensor(skipped), tokenizer
        self.lengths = [sum(map(len, group)) for group in rows]
        self.copies = text_numbers(groups) if keeps_copies_apart else None

    def __len__(self) -> int:
        return len(self.groups)

    def steps(self, epoch: int) -> list[list[int]]:
        """The steps of an epoch, each the numbers of its examples."""
        draw = generator(self.seed, epoch)
        if self.copies is None:
            return example_steps(len(self), self.batch_size, draw)
        return steps_without_copies(torch.randperm(len(self), generator=draw).tolist(), self.copies, self.batch_size)

    def collate(self, numbers: Sequence[int], epoch: int = 0) -> Batch:
        """The inputs, (K, B, T) int64; ``skipped`` (K, B) int64; of scored pairs their ``scores``, (B,) float32."""
        K = len(self.skipped)
        rows = [self.rows[number * K + place] for place in range(K) for number in numbers]
        batch = {name: values.view(K, len(numbers), -1) for name, values in collate(rows, self.pad_id).items()}
        batch["skipped"] = self.skipped[:, None].expand(-1, len(numbers))
        return {**batch, **self.targets(numbers, 0)}

    def targets(self, numbers: Sequence[int], T: int) -> Batch:
        """``scores``, where the examples have them."""
        scores = [self.groups[number].score for number in numbers]
        return {} if scores[0] is None else {"scores": torch.tensor(scores, dtype=torch.float32)}


def read_groups(source: Data, names: Names, *, scored: bool | None = None, skip_bad: bool = False) -> list[TextGroup]:
    """All rows of a file.

    Args:
        source: a .csv, .tsv, .jsonl or .parquet file, or rows in memory.
        names: of the columns, as far as the user named them; the others are found by their usual names.
        scored: whether it must hold scored pairs; None: as its columns say.
        skip_bad: whether bad rows are left out.

    Raises InputError for a file without the columns, and for bad rows, naming the line.
    """
    file = open_rows(source, list(names.values()), fields=group_fields)
    chosen = choose_columns(file, COLUMNS, names)
    negatives = [chosen["negative"]] if "negative" in chosen else negatives_of(file, names)
    if negatives and names["score"] is not None:
        raise InputError(
            f"{file.path} has texts that do not belong ({', '.join(negatives)}) and scores ({names['score']}); a loss "
            "learns from one of the two. Leave out --negative-column, or --label-column."
        )
    if negatives and not scored:
        chosen.pop("score", None)
    has_scores = "score" in chosen
    if scored and not has_scores:
        raise InputError(
            f"Say which column of {file.path} holds the scores (--label-column NAME); it has "
            f"{', '.join(names_of(file))}. A loss for pairs without scores is MultipleNegativesRankingLoss."
        )
    if scored is False and has_scores:
        raise InputError(
            f"{file.path} has scores in {chosen['score']!r}, and MultipleNegativesRankingLoss takes every pair for one "
            "that belongs together. Choose CoSENTLoss or CosineSimilarityLoss, or take this column out of the file "
            "after leaving out the pairs that do not belong together."
        )
    places = [chosen["text"], chosen["pair"], *([] if has_scores else negatives)]
    if twice := [name for name in places if places.count(name) > 1]:
        raise InputError(f"{file.path}: the column {twice[0]!r} is to hold two of the texts; name a column for each.")
    file.selected = [*places, *([chosen["score"]] if has_scores else [])]

    def group(number: int, line: int | None, cells: Cells) -> TextGroup:
        texts = tuple(text_in(cells, name) for name in places)
        return TextGroup(texts, number_in(cells, chosen["score"]) if has_scores else None)

    return read_all(file, group, skip_bad)


def group_fields(row: tuple[Any, ...]) -> Sequence[str] | None:
    """What a tuple holds: a text and one that belongs to it, then their score, or texts that do not belong."""
    more = row[2:]
    if len(row) < 2 or not all(isinstance(text, str) for text in row[:2]):
        return None
    if len(more) == 1 and not isinstance(more[0], str):
        return ("sentence1", "sentence2", "score")
    return ("anchor", "positive", *(f"negative_{number}" for number in range(1, len(more) + 1)))


def negatives_of(file: RowFile, names: Names) -> list[str]:
    """The columns that are called negative, negative_1 and so on, in this order; none where a score was asked for."""
    if names["score"] is not None:
        return []
    found = [name for name in names_of(file) if NEGATIVE.fullmatch(name.strip())]
    return sorted(found, key=lambda name: int(re.sub(r"\D", "", name) or 0))


def text_numbers(groups: Sequence[TextGroup]) -> list[tuple[int, ...]]:
    """For each group the numbers of its texts; the same text has the same number."""
    numbers: dict[str, int] = {}
    return [tuple({numbers.setdefault(text, len(numbers)) for text in group.texts}) for group in groups]


def steps_without_copies(order: Sequence[int], texts: Sequence[tuple[int, ...]], size: int) -> list[list[int]]:
    """``order`` cut into steps of at most ``size`` examples, none of which holds a text twice.

    Each example goes into the first step that has room and none of its ``texts``; so the steps are those of
    sentence-transformers' NoDuplicatesBatchSampler for the same order.  The last ones may be smaller.
    """
    steps: list[list[int]] = []
    held: list[set[int]] = []  # the texts of each step
    first_open = 0  # the steps before are full
    free_from: dict[int, int] = {}  # of a text: all open steps before this one hold it
    for number in order:
        own = texts[number]
        step = max([first_open, *(free_from.get(text, 0) for text in own)])
        while step < len(steps) and (len(steps[step]) == size or not held[step].isdisjoint(own)):
            step += 1
        if step == len(steps):
            steps.append([])
            held.append(set())
        steps[step].append(number)
        held[step].update(own)
        for text in own:
            at = max(free_from.get(text, 0), first_open)
            while at < len(steps) and (text in held[at] or len(steps[at]) == size):
                at += 1
            free_from[text] = at
        while first_open < len(steps) and len(steps[first_open]) == size:
            first_open += 1
    return steps
