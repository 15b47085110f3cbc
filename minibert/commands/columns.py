"""The data options of ``finetune`` and ``predict``: fields of the tasks (finetuning/), under the same names.

An option for which the task has no field is refused.
"""

import argparse
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from minibert.commands.verb import names
from minibert.errors import InputError

if TYPE_CHECKING:
    from minibert.finetuning import Task

# Fields of the tasks that are options: names of columns, and what is in them.
OF_TEXTS = {
    "column": "of the texts",
    "pair_column": "of the second texts, where there are pairs (classify, score, embedding)",
    "question_column": "of the questions (answers, choice)",
    "context_column": "of the texts that hold the answers, or that go before the choices (choice)",
    "choice_columns": "of the choices: several with a text each, or one with lists (choice)",
}
OF_LABELS = {
    "label_column": "of the labels or numbers (classify, score, embedding), or of the right choice",
    "negative_column": "of texts that do not belong to the first (embedding)",
    "words_column": "of the lists of words (entities in .jsonl or .parquet)",
    "labels_column": "of the lists of their labels",
    "spans_column": "of the lists of start, end, label (entities of texts, in .jsonl or .parquet)",
    "answer_column": "of the answers (answers)",
    "start_column": "of where they start, in characters",
}
OF_VECTORS = {
    "loss": "default: MultipleNegativesRankingLoss; of scored pairs CoSENTLoss, or CosineSimilarityLoss",
    "scale": "what a cosine is multiplied by in the loss (default 20)",
    "highest_score": "what the scores are divided by, for CosineSimilarityLoss",
    "pooling": "default: the checkpoint's, else mean",
    "query_prompt": "put before the first texts, kept as the prompt query; default: the checkpoint's",
    "document_prompt": "put before the other texts, kept as the prompt document",
}
OTHERS = (*OF_VECTORS, "label_names", "class_weights", "separator", "count_from", "max_length", "stride", "skip_bad")


def add_columns(verb: argparse.ArgumentParser, columns: dict[str, str]) -> Any:
    """Add the options for columns and for bad rows; returns their group."""
    group = verb.add_argument_group(
        "the data", "Columns with usual names are found. In a file without names, a column is a number, from 1."
    )
    for name, what in columns.items():
        several: dict[str, Any] = {"type": names, "metavar": "A,B,…"} if name == "choice_columns" else {}
        group.add_argument(f"--{name.replace('_', '-')}", **{"metavar": "NAME", "help": what, **several})
    group.add_argument("--skip-bad", action="store_true", default=None, help="leave out rows that cannot be read")
    return group


def choices_of(options: argparse.Namespace, task: "type[Task[Any, Any]]") -> dict[str, Any]:
    """The fields of the task that were given; InputError for one that it does not have."""
    known = {field.name for field in fields(task)}
    given = {name: getattr(options, name, None) for name in (*OF_TEXTS, *OF_LABELS, *OTHERS)}
    for name, value in given.items():
        if value is not None and name not in known:
            raise InputError(f"{option_of(name)} is not for the task {task.name}; it has {options_of(known)}.")
    return {name: value for name, value in given.items() if value is not None}


def option_of(name: str) -> str:
    """The option of a field."""
    return "--labels" if name == "label_names" else f"--{name.replace('_', '-')}"


def options_of(known: set[str]) -> str:
    """The options of a task, as part of a sentence."""
    return ", ".join(option_of(name) for name in (*OF_TEXTS, *OF_LABELS, *OTHERS) if name in known)
