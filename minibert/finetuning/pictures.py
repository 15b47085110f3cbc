"""The outcome of an evaluation as a picture: a confusion matrix, or predicted numbers against the right ones.

matplotlib draws it; it comes with the extra ``plot``.  Start with :func:`draw_evaluation`.
"""

from pathlib import Path
from typing import Any

from minibert.errors import InputError
from minibert.finetuning.evaluation import Evaluation
from minibert.finetuning.outcomes import Confusion, NumberOutcome
from minibert.pictures import check_picture, colour_map, fonts_for, need_matplotlib, new_figure, write_picture
from minibert.terminal import visible, width

MOST_NUMBERED = 25  # labels; in a larger matrix the counts would be written over each other
MOST_NAMED = 80  # labels; of more, the numbers are shown
LONGEST_NAME = 30  # letters of a label
SHORT = 7  # cells of a terminal: names below the matrix that are wider are turned
NARROWEST = 4.0  # inches; the title needs as much
DARK = 0.45  # the share of the scale above which a count is written in white
Matrix = tuple[tuple[int, ...], ...]


def draw_evaluation(evaluation: Evaluation, path: str | Path | None = None) -> Any:
    """Draw the confusion matrix of a task with labels, or a scatter plot of numbers.

    A row of the matrix holds the examples of one label; the colour of a cell is its share of the row.  Of texts with
    several labels each, the columns say how often a label was found, missed, and given where it is wrong.

    Args:
        evaluation: what :func:`minibert.finetuning.evaluate` returned.
        path: the file to write, with the ending .png, .svg or .pdf; default: no file.

    Returns the matplotlib figure, which a notebook shows.  Warns about characters that no installed font has.  Raises
    InputError for a task without a picture, MissingExtraError.
    """
    matplotlib = need_matplotlib()
    if path is not None:
        check_picture(path)
    outcome, confusion = evaluation.outcome, evaluation.confusion
    title = f"{Path(evaluation.checkpoint).name} on {Path(evaluation.file).name}"
    names = () if confusion is None else (*confusion.rows, *confusion.columns)
    with matplotlib.rc_context({"font.family": fonts_for(visible("".join((title, *names))))}):
        if confusion is not None:
            figure = confusion_figure(confusion)
        elif isinstance(outcome, NumberOutcome):
            figure = scatter_figure(outcome)
        else:
            raise InputError(
                f"There is no picture for {evaluation.units} of the task {evaluation.task!r}: they have no labels and "
                "no numbers. Leave --picture out."
            )
        main = next(iter(evaluation.scores.values()))
        score = f"{evaluation.metric} {main.value:.4f} ({main.low:.4f} to {main.high:.4f})"
        figure.suptitle(f"{visible(title)}\n{visible(score)}", fontsize=8, parse_math=False)
        if path is not None:
            write_picture(figure, path)
    return figure


def confusion_figure(confusion: Confusion) -> Any:
    """Cells with counts, their colour the share of the row."""
    rows, columns = (labels_for(names) for names in (confusion.rows, confusion.columns))
    shares = shares_of(confusion.counts)
    tallest = max(len(rows), len(columns))
    cell = 0.5 if tallest <= MOST_NUMBERED else max(0.11, 12 / tallest)  # inches
    left, below = (0.07 * max(map(width, names)) for names in (rows, columns))
    turned = 90 if max(map(width, columns)) > SHORT else 0
    size = cell * len(columns) + left + 1.8, cell * len(rows) + (below if turned else 0) + 1.2
    figure = new_figure((max(NARROWEST, size[0]), size[1]))
    axes = figure.subplots()
    image = axes.imshow(shares, vmin=0, vmax=1, cmap=colour_map())
    for axis, names, turn in ((axes.yaxis, rows, 0), (axes.xaxis, columns, turned)):
        axis.set_ticks(range(len(names)))
        axis.set_ticklabels(names, fontsize=7 if tallest <= MOST_NUMBERED else 5, rotation=turn, parse_math=False)
    if tallest <= MOST_NUMBERED:
        for y, counts in enumerate(confusion.counts):
            for x, count in enumerate(counts):
                colour = "white" if shares[y][x] > DARK else "black"
                axes.text(x, y, f"{count:,}", ha="center", va="center", fontsize=7, color=colour)
    axes.tick_params(length=0)
    is_square = confusion.rows == confusion.columns
    axes.set_ylabel("right label" if is_square else "label", fontsize=8)
    axes.set_xlabel("predicted label" if is_square else "", fontsize=8)
    bar = figure.colorbar(image, ax=axes, shrink=0.6)
    bar.ax.tick_params(labelsize=7)
    bar.set_label("share of the row", fontsize=7)
    return figure


def scatter_figure(outcome: NumberOutcome) -> Any:
    """A point per example: what is right against what was predicted."""
    figure = new_figure((5.0, 4.4))
    axes = figure.subplots()
    size = max(2.0, min(16.0, 8000 / len(outcome)))
    axes.scatter(outcome.gold, outcome.predicted, s=size, alpha=0.35, linewidths=0, rasterized=len(outcome) > 5000)
    axes.set_xlabel("right", fontsize=8)
    axes.set_ylabel("predicted", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.25, linewidth=0.5)
    return figure


def labels_for(names: tuple[str, ...]) -> list[str]:
    """The names of rows or columns as a picture shows them; of very many, their numbers."""
    if len(names) > MOST_NAMED:
        return [str(number) for number in range(len(names))]
    cut = (name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…" for name in names)
    return [visible(name) for name in cut]


def shares_of(counts: Matrix) -> list[list[float]]:
    """Each count divided by the sum of its row."""
    return [[count / max(1, sum(row)) for count in row] for row in counts]
