"""The journal of a run as a picture: losses, evaluations, learning rate.  matplotlib draws; it is an extra."""

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

from minibert.errors import InputError
from minibert.pictures import check_picture, need_matplotlib, write_picture
from minibert.source import Source, as_path
from minibert.training.journal import read_journal

NOT_LOSSES = ("step", "epoch", "learning_rate", "gradient_norm", "scores")
POINTS = 400  # of a curve; more steps are averaged
Curve = tuple[list[float], list[float]]


def draw_curves(folder: Source, path: str | Path | None = None) -> Path:
    """Draw what ``metrics.jsonl`` in ``folder`` holds; returns the picture's path, by default loss.svg beside it.

    Above the losses, each step's or the mean of as many as fall on one point; below the scores of the evaluations,
    where there were any; the learning rate in grey.  Raises InputError, MissingExtraError.
    """
    folder = as_path(folder)
    path = folder / "loss.svg" if path is None else Path(path)
    check_picture(path)
    try:
        entries = read_journal(folder)
    except OSError as error:
        raise InputError(f"{folder} holds no journal of a run ({error.strerror or error}).") from error
    losses, scores = curves(entries)
    if not losses:
        raise InputError(f"The journal in {folder} has no step yet.")
    rate = losses.pop("learning_rate")
    figure = need_matplotlib().figure.Figure(figsize=(7, 3.4 + 2.6 * bool(scores)), layout="constrained")
    places = figure.subplots(1 + bool(scores), 1, squeeze=False, sharex=True)[:, 0]
    draw_panel(places[0], losses, "loss (nats)", ".-" if len(rate[0]) == 1 else "-")
    if scores:
        draw_panel(places[1], scores, "held-out scores", ".-")
    behind = places[0].twinx()
    behind.plot(*rate, color="0.75", linewidth=0.8)
    behind.set_ylabel("learning rate", color="0.5", fontsize=8)
    behind.set_ylim(bottom=0)
    behind.tick_params(labelsize=7, colors="0.5")
    places[-1].set_xlabel("step", fontsize=8)
    write_picture(figure, path)
    return path


def draw_panel(place: Any, lines: dict[str, Curve], label: str, style: str) -> None:
    """Some curves over the steps, with their names."""
    for name, (steps, values) in lines.items():
        place.plot(steps, values, style, linewidth=1.2, markersize=3, label=name.replace("_", " "))
    place.set_ylabel(label, fontsize=8)
    place.tick_params(labelsize=7)
    place.grid(alpha=0.25, linewidth=0.5)
    place.legend(fontsize=7, frameon=False)


def curves(entries: list[dict[str, Any]]) -> tuple[dict[str, Curve], dict[str, Curve]]:
    """Losses with the learning rate, and scores; each name with its steps and values.

    The sum of the losses is left out where there is only one of them.
    """
    steps = [entry for entry in entries if "loss" in entry]
    if not steps:
        return {}, {}
    names = [name for name in steps[0] if name not in NOT_LOSSES]
    names = names if len(names) > 2 else ["loss"]
    size = math.ceil(len(steps) / POINTS)
    groups = [steps[start : start + size] for start in range(0, len(steps), size)]
    places = [math.fsum(entry["step"] for entry in group) / len(group) for group in groups]
    losses = {
        name: (places, [math.fsum(entry[name] for entry in group) / len(group) for group in groups])
        for name in (*names, "learning_rate")
    }
    scores: dict[str, Curve] = defaultdict(lambda: ([], []))
    for entry in entries:
        for name, value in entry.get("scores", {}).items():
            scores[name][0].append(entry["step"])
            scores[name][1].append(value)
    return losses, dict(scores)
