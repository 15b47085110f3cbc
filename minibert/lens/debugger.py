"""A small debugger for a forward pass: the commands of ``minibert step``, one line each.

It takes and returns lines of text and does not depend on a terminal.  Commands are parsed, never evaluated.  Start with
:meth:`Debugger.obey`.
"""

import math
import re
from collections.abc import Callable

import torch
from torch import Tensor

from minibert.errors import InputError
from minibert.lens.editing import patch
from minibert.lens.printing import Summary, shape_text
from minibert.lens.tracing import Inputs, trace
from minibert.lens.walking import Step, walk
from minibert.outputs import ModelOutput
from minibert.points import select
from minibert.pretrained import BertPreTrainedModel
from minibert.random_normal import standard_normal
from minibert.terminal import table

HELP = """\
next [N]         one step on, or N
layer            on to the next layer; after the last, to what follows it
until POINT      on to this point; ** stands for any characters: until **.3.attention.self.probabilities
print [PLACE]    the numbers; of a place in the tensor: print [0, 2, :5]
edit CHANGE      zero, scale 0.5, noise 0.1, noise 0.1 seed 7; for a part: edit head 3 zero, edit token 2 scale 2
continue         on to the end
quit             leave
help             this
The first letter will do. An empty line repeats next, layer or until."""


class Debugger:
    """One run that stops at each value, and the edits made to it."""

    def __init__(self, model: BertPreTrainedModel, inputs: Inputs, say: Callable[[str], None]) -> None:
        """``say`` is called with each message."""
        self.model, self.inputs, self.say = model, inputs, say
        self.names = list(trace(model, inputs))  # the points of this run, in order, from a run in advance
        self.walk = walk(model, inputs)
        self.step: Step | None = None
        self.edits: list[dict[str, str]] = []
        self.differences: list[dict[str, object]] = []
        self.over, self.finished = False, False
        self._last = "next"
        self._commands: dict[str, Callable[[str], None]] = {
            "next": self.next,
            "layer": self.layer,
            "until": self.until,
            "print": self.print,
            "edit": self.edit,
            "continue": lambda _rest: self._go(lambda _step: False),
            "quit": self.quit,
            "help": lambda _rest: self.say(HELP),
        }
        self._go(lambda _step: True)

    def obey(self, line: str) -> None:
        """Execute one command; InputError if it cannot be done."""
        word, _, rest = (line.strip() or self._last).partition(" ")
        names = [name for name in self._commands if name.startswith(word)]
        if not names:
            raise InputError(f"{word!r} is no command; there are {', '.join(self._commands)}.")
        if names[0] in ("next", "layer", "until"):
            self._last = f"{names[0]} {rest}"
        self._commands[names[0]](rest.strip())

    def next(self, rest: str) -> None:
        if rest and (not rest.isdecimal() or int(rest) < 1):
            raise InputError(f"next takes a number of steps of at least 1; found {rest!r}.")
        goal = self._current().number + int(rest or 1)
        self._go(lambda step: step.number >= goal)

    def layer(self, _rest: str) -> None:
        here = self._current().point.layer
        self._go(lambda step: step.point.layer != here)

    def until(self, rest: str) -> None:
        if not rest:
            raise InputError("Until which point? For example: until **.probabilities")
        remaining = set(select(self.model, rest)) & set(self.names[self._current().number :])
        if not remaining:
            raise InputError(f"{rest} does not come any more in this run, which goes only forward.")
        self._go(lambda step: step.name in remaining)

    def print(self, rest: str) -> None:
        value = self._current().value
        part = value if not rest else part_of(value, rest)
        self.say(f"{shape_text(part)}; {Summary.of(part)}\n{part}" if part.dim() else f"{part.item():.9g}")

    def edit(self, rest: str) -> None:
        step = self._current()
        step.value = changed(step.value, rest)
        self.edits.append({"point": step.name, "change": rest})
        self.say(f"edited: {Summary.of(step.value)}")

    def quit(self, _rest: str = "") -> None:
        self.over = True
        self.walk.close()

    def _current(self) -> Step:
        assert self.step is not None
        return self.step

    def _go(self, arrived: Callable[[Step], bool]) -> None:
        """Continue to the first step where ``arrived`` is true, or to the end."""
        for step in self.walk:
            self.step = step
            if arrived(step):
                self.say(
                    f"[{step.number}/{len(self.names)}] {step.name} = {step.formula.removeprefix('= ')}\n"
                    f"    {shape_text(step.value)}; {Summary.of(step.value)}"
                )
                return
        self.over = self.finished = True
        self._compare()

    def _compare(self) -> None:
        """Compare with the same run without edits, both with eager attention."""
        original, outputs = trace(self.model, self.inputs, points="/*").outputs, self.walk.outputs
        assert original is not None and outputs is not None
        self.differences = compare_outputs(outputs, original)
        rows = [
            (entry["output"], entry["shape"], f"{entry['largest']:.4g}", f"{entry['relative']:.4g}")
            for entry in self.differences
        ]
        edits = "no edits" if not self.edits else f"{len(self.edits)} edit{'s' * (len(self.edits) > 1)}"
        self.say(f"The run is over: {edits}. Beside the run without:\n")
        self.say(table(("output", "shape", "max |Δ|", "|Δ| / |whole|"), rows, right=("max |Δ|", "|Δ| / |whole|")))


def compare_outputs(edited: ModelOutput, original: ModelOutput) -> list[dict[str, object]]:
    """For every tensor of the output: the largest difference, and the relative norm of the difference."""
    entries: list[dict[str, object]] = []
    for name, value in edited.items():
        if isinstance(value, Tensor):
            before = original[name].double()
            delta = value.double() - before
            entry = {"largest": delta.abs().max().item(), "relative": (delta.norm() / before.norm()).item()}
            entries.append({"output": name, "shape": shape_text(value), **entry})
    return entries


def part_of(value: Tensor, text: str) -> Tensor:
    """``value[0, 2, :5]`` for the text ``[0, 2, :5]``: integers and slices; InputError for anything else."""
    inside = re.fullmatch(r"\[(.*)\]", text.strip())
    if inside is None:
        raise InputError(f"A place is written in brackets, as [0, 2, :5]; found {text!r}.")
    parts = [part.strip() for part in inside[1].split(",")]
    if len(parts) > value.dim():
        raise InputError(f"{text} has {len(parts)} places; the value has the shape {shape_text(value)}.")
    index: list[int | slice] = []
    for part, size in zip(parts, value.shape, strict=False):
        if re.fullmatch(r"-?\d+", part):
            if not -size <= int(part) < size:
                raise InputError(f"There is no {part} in {text}: that dimension has 0 to {size - 1}.")
            index.append(int(part))
        elif re.fullmatch(r"(-?\d+)?:(-?\d+)?", part):
            index.append(slice(*(int(end) if end else None for end in part.split(":"))))
        else:
            raise InputError(f"{part!r} in {text} is neither a whole number nor a range such as 2:5.")
    return value[tuple(index)]


def changed(value: Tensor, text: str) -> Tensor:
    """``value`` after ``[head N] [token N] (zero | scale X | noise X [seed S])``; InputError for anything else."""
    parts = re.fullmatch(
        r"(?:head (?P<head>\d+) ?)?(?:token (?P<token>\d+) ?)?"
        r"(?:(?P<zero>zero)|scale (?P<scale>\S+)|noise (?P<noise>\S+)(?: seed (?P<seed>\d+))?)",
        " ".join(text.split()),
    )
    if parts is None:
        raise InputError(
            f"{text!r} is no change: write zero, scale 0.5, noise 0.1 or noise 0.1 seed 7; "
            "with head 3 or token 2 in front, or both, for that part alone."
        )
    if parts["zero"]:
        new = torch.zeros_like(value)
    elif parts["scale"]:
        new = value * _number(parts["scale"])
    else:
        noise = standard_normal(int(parts["seed"] or 0), 0, value.numel()).view(value.shape)
        new = value + noise.to(value) * _number(parts["noise"])
    head, token = (None if parts[name] is None else int(parts[name]) for name in ("head", "token"))
    return patch(new, heads=head, tokens=token)(value)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{text!r} is not a number to compute with.")
    return number
