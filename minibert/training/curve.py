"""The journal of a run as a picture: losses, evaluations, learning rate.  matplotlib draws; it is an extra."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minibert.errors import CheckpointError, InputError
from minibert.pictures import check_picture, need_matplotlib, write_picture
from minibert.source import Source, as_path
from minibert.training.metrics import read_journal

NOT_DRAWN = ("masked", "pairs", "mlm_gain")  # scores that are counts, or a difference of others, however small
NOT_LOSSES = ("step", "epoch", "learning_rate", "gradient_norm", "scores")
POINTS = 400  # of a curve; more steps are averaged
STYLES = (".-", "x--", "+:", "1-.")  # of a score, and of the same for one language, another, …
Curve = tuple[list[float], list[float]]  # steps and values


@dataclass
class Panel:
    """Curves on one scale."""

    label: str
    training: dict[str, Curve] = field(default_factory=dict)  # "" needs no name
    heldout: dict[str, Curve] = field(default_factory=dict)
    height: float = 2.4  # inches


def draw_curves(folder: Source, path: str | Path | None = None) -> Path:
    """Draw what ``metrics.jsonl`` in ``folder`` holds; returns the picture's path, by default loss.svg beside it.

    A panel for each loss, with the same loss of held-out examples; one for scores between -1 and 1; the learning rate.
    Training's curves are means of as many steps as fall on one point.  Raises InputError, MissingExtraError.
    """
    folder = as_path(folder)
    path = folder / "loss.svg" if path is None else Path(path)
    check_picture(path)
    try:
        entries = read_journal(folder)
    except CheckpointError:
        raise
    except OSError as error:
        raise InputError(f"{folder} holds no journal of a run ({error.strerror or error}).") from error
    panels = panels_of(entries)
    if not panels:
        raise InputError(f"The journal in {folder} has no step yet.")
    heights = [panel.height for panel in panels]
    figure = need_matplotlib().figure.Figure(figsize=(8, 0.5 + sum(heights)), layout="constrained")
    places = figure.subplots(len(panels), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    for place, panel in zip(places, panels, strict=True):
        draw_panel(place, panel)
    places[-1].set_xlabel("step", fontsize=8)
    write_picture(figure, path)
    return path


def draw_panel(place: Any, panel: Panel) -> None:
    """Curves with their names; the same score of several languages in one colour."""
    colours: dict[str, str] = {}
    seen: dict[str, int] = {}
    for name, curve in panel.training.items():
        colours[name] = f"C{len(colours)}"
        style = "." if len(curve[0]) == 1 else "-"
        place.plot(
            *curve, style, color=colours[name], linewidth=1, alpha=0.6, label=f"{name}, training" if name else None
        )
    for name, curve in panel.heldout.items():
        whole = name.partition("/")[0]
        colour = colours.setdefault(whole, f"C{len(colours)}")
        style = STYLES[seen.setdefault(whole, 0) % len(STYLES)]
        seen[whole] += 1
        place.plot(*curve, style, color=colour, linewidth=1, markersize=4, label=name.replace("_", " "))
    place.set_ylabel(panel.label, fontsize=8)
    place.tick_params(labelsize=7)
    place.grid(alpha=0.25, linewidth=0.5)
    if any(panel.training) or panel.heldout:
        place.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


def panels_of(entries: list[dict[str, Any]]) -> list[Panel]:
    """What is drawn, from above; nothing when there is no step yet.

    The sum of several losses is left out, and so are scores that are counts, or differences of others.
    """
    steps = [entry for entry in entries if "loss" in entry]
    if not steps:
        return []
    names = [name for name in dict.fromkeys(name for entry in steps for name in entry) if name not in NOT_LOSSES]
    losses = names[1:] if len(names) > 2 else ["loss"]
    panels = {
        name: Panel(f"{name} (nats)" if name != "loss" else name, {name: averaged(steps, name)}) for name in losses
    }
    shares = Panel("held-out scores")
    for name in dict.fromkeys(name for entry in entries for name in entry.get("scores", {})):
        found = [(entry["step"], entry["scores"][name]) for entry in entries if name in entry.get("scores", {})]
        curve: Curve = ([step for step, _ in found], [value for _, value in found])
        whole = name.partition("/")[0]
        if whole in NOT_DRAWN:
            continue
        if whole.endswith("_loss"):
            panels.get(whole.removesuffix("_loss"), panels[losses[0]]).heldout[name] = curve
        elif all(abs(value) <= 1 for value in curve[1]):
            shares.heldout[name] = curve
    rate = Panel("learning rate", {"": averaged(steps, "learning_rate")}, height=1.2)
    return [*panels.values(), *([shares] if shares.heldout else []), rate]


def averaged(steps: list[dict[str, Any]], name: str) -> Curve:
    """The means of as many steps as fall on one point; a step without pairs, say, has no loss of theirs."""
    size = math.ceil(len(steps) / POINTS)
    groups = [steps[start : start + size] for start in range(0, len(steps), size)]
    found = [(mean(one["step"] for one in group), [one[name] for one in group if one.get(name)]) for group in groups]
    return [place for place, values in found if values], [mean(values) for _, values in found if values]


def mean(values: Iterable[float]) -> float:
    """Of at least one number."""
    values = list(values)
    return math.fsum(values) / len(values)
