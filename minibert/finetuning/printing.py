"""Predictions for a few texts, as tables."""

from collections.abc import Sequence
from typing import Any

from minibert.finetuning.task import Task
from minibert.terminal import table

RIGHT = ("probability", "score", "similarity", "start", "end", "number")


def predictions_text(task: Task[Any, Any], items: Sequence[Any], predictions: Sequence[Any]) -> str:
    """One table of all; for entities a table under each text."""
    header = task.fields(items[0])
    if task.name != "entities":
        lines = [line for pair in zip(items, predictions, strict=True) for line in task.lines(*pair)]
        return table(header, map(shown, lines), right=RIGHT)
    parts = []
    for item, prediction in zip(items, predictions, strict=True):
        rows = [shown(line) for line in task.lines(item, prediction)]
        parts.append(f"{item}\n\n{table(header, rows, right=RIGHT) if rows else 'no entities'}\n")
    return "\n".join(parts)


def shown(line: dict[str, Any]) -> tuple[object, ...]:
    """The cells of a line."""
    return tuple(
        ", ".join(f"{name} {chance:.4f}" for name, chance in value.items()) if isinstance(value, dict)
        else f"{value:.4f}" if isinstance(value, float) else value
        for value in line.values()
    )  # fmt: skip
