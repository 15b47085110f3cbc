"""The metrics log of a run as a picture: losses, evaluations, learning rate.  Needs matplotlib, an extra."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minibert.errors import CheckpointError, InputError, reason_of
from minibert.pictures import check_picture, need_matplotlib, write_picture
from minibert.source import Source, as_path
from minibert.training.metrics import read_metrics

NOT_DRAWN = ("masked", "pairs", "mlm_gain")  # scores that are counts, or a difference of others
NOT_LOSSES = ("step", "epoch", "learning_rate", "gradient_norm", "scores")
POINTS = 400  # per curve; more steps are averaged
STYLES = (".-", "x--", "+:", "1-.")  # of a score, and of the same score for the first language, the second, …
Curve = tuple[list[float], list[float]]  # steps and values


@dataclass
class Panel:
    """Curves on one axis."""

    label: str
    training: dict[str, Curve] = field(default_factory=dict)  # a curve called "" is not in the legend
    heldout: dict[str, Curve] = field(default_factory=dict)
    height: float = 2.4  # inches


def draw_curves(folder: Source, path: str | Path | None = None) -> Path:
    """Draw what ``metrics.jsonl`` in ``folder`` holds; returns the picture's path, by default loss.svg beside it.

    There is a panel per loss, with the same loss on held-out examples; one for scores between -1 and 1; and one for the
    learning rate.  Each point of a training curve is the mean of several steps.  Raises InputError, MissingExtraError.
    """
    folder = as_path(folder)
    path = folder / "loss.svg" if path is None else Path(path)
    check_picture(path)
    try:
        entries = read_metrics(folder)
    except CheckpointError:
        raise
    except OSError as error:
        raise InputError(f"{folder} holds no metrics.jsonl of a run ({reason_of(error)}).") from error
    panels = panels_of(entries)
    if not panels:
        raise InputError(f"The metrics.jsonl in {folder} has no step yet.")
    heights = [panel.height for panel in panels]
    figure = need_matplotlib().figure.Figure(figsize=(8, 0.5 + sum(heights)), layout="constrained")
    places = figure.subplots(len(panels), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    for place, panel in zip(places, panels, strict=True):
        draw_panel(place, panel)
    places[-1].set_xlabel("step", fontsize=8)
    write_picture(figure, path)
    return path


def draw_panel(place: Any, panel: Panel) -> None:
    """Draw the curves with their names; one score for several languages has one colour."""
    colours: dict[str, str] = {}
    seen: dict[str, int] = {}
    for name, curve in panel.training.items():
        colours[name] = f"C{len(colours)}"
        style = "." if len(curve[0]) == 1 else "-"
        place.plot(
            *curve, style, color=colours[name], linewidth=1, alpha=0.6, label=f"{name}, training" if name else None
        )
    for name, curve in panel.heldout.items():
        score = name.partition("/")[0]
        colour = colours.setdefault(score, f"C{len(colours)}")
        style = STYLES[seen.setdefault(score, 0) % len(STYLES)]
        seen[score] += 1
        place.plot(*curve, style, color=colour, linewidth=1, markersize=4, label=name.replace("_", " "))
    place.set_ylabel(panel.label, fontsize=8)
    place.tick_params(labelsize=7)
    place.grid(alpha=0.25, linewidth=0.5)
    if any(panel.training) or panel.heldout:
        place.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


def panels_of(entries: list[dict[str, Any]]) -> list[Panel]:
    """The panels, from the top; none when there is no step yet.

    The sum of several losses is left out, and so are scores that are counts or differences of others.
    """
    steps = [entry for entry in entries if "loss" in entry]
    if not steps:
        return []
    names = [name for name in dict.fromkeys(name for entry in steps for name in entry) if name not in NOT_LOSSES]
    losses = names[1:] if len(names) > 2 else ["loss"]
    panels = {
        name: Panel(f"{name} (nats)" if name != "loss" else name, {name: averaged(steps, name)}) for name in losses
    }
    scores = Panel("held-out scores")
    for name in dict.fromkeys(name for entry in entries for name in entry.get("scores", {})):
        scored = [entry for entry in entries if name in entry.get("scores", {})]
        curve: Curve = ([entry["step"] for entry in scored], [entry["scores"][name] for entry in scored])
        score = name.partition("/")[0]
        if score in NOT_DRAWN:
            continue
        if score.endswith("_loss"):
            panels.get(score.removesuffix("_loss"), panels[losses[0]]).heldout[name] = curve
        elif all(abs(value) <= 1 for value in curve[1]):
            scores.heldout[name] = curve
    learning_rate = Panel("learning rate", {"": averaged(steps, "learning_rate")}, height=1.2)
    return [*panels.values(), *([scores] if scores.heldout else []), learning_rate]


def averaged(steps: list[dict[str, Any]], name: str) -> Curve:
    """The curve of a loss, several steps averaged per point; a step may lack it, such as one without pairs."""
    size = math.ceil(len(steps) / POINTS)
    groups = [steps[start : start + size] for start in range(0, len(steps), size)]
    points = [(mean(one["step"] for one in group), [one[name] for one in group if one.get(name)]) for group in groups]
    return [place for place, values in points if values], [mean(values) for _, values in points if values]


def mean(values: Iterable[float]) -> float:
    """The mean of at least one number."""
    values = list(values)
    return math.fsum(values) / len(values)
