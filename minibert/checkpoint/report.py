"""What became of every tensor: the record that a loaded model carries as ``model.load_report``."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from minibert.display.shown import Printed
from minibert.display.tables import code, folded_away, html_table, lines, paragraph, tabled, unbroken
from minibert.terminal import visible


@dataclass(frozen=True)
class TensorRecord:
    """One tensor of the file."""

    name: str  # in the file
    parameter: str | None  # of the model; None when it is not used
    shape: tuple[int, ...]
    dtype: str  # in the file
    note: str  # "", how it was renamed, or why it is not used


@dataclass
class LoadReport(Printed):
    """Which tensors were loaded, renamed or left out, and which parameters did not come from the file.

    Every tensor of the file is in ``tensors`` once.  Every parameter of the model is there, in ``tied`` or in
    ``fresh``; a model with any other parameter is not loaded.
    """

    model: str  # class name
    source: str
    files: tuple[str, ...]
    tensors: tuple[TensorRecord, ...] = ()
    tied: dict[str, str] = field(default_factory=dict)  # parameter: the parameter it is tied to
    fresh: tuple[str, ...] = ()  # parameters that were initialised at random, as the caller asked
    absent: dict[str, str] = field(default_factory=dict)  # parts that the model lacks: what that means
    notes: tuple[str, ...] = ()  # whatever is unusual about how the file was read

    @property
    def loaded(self) -> tuple[TensorRecord, ...]:
        """Tensors that the model uses."""
        return tuple(tensor for tensor in self.tensors if tensor.parameter is not None)

    @property
    def renamed(self) -> tuple[TensorRecord, ...]:
        """Loaded tensors whose name in the file is another dialect's."""
        return tuple(tensor for tensor in self.loaded if tensor.note)

    @property
    def unused(self) -> tuple[TensorRecord, ...]:
        """Tensors that the model does not use, each with its reason."""
        return tuple(tensor for tensor in self.tensors if tensor.parameter is None)

    def to_dict(self) -> dict[str, object]:
        """The whole report as plain values, for JSON."""
        return asdict(self)

    def _repr_html_(self) -> str:
        """What was loaded, what is unusual, and every tensor, folded away."""
        rows: list[tuple[str, str]] = [("loaded", f"{len(self.loaded)} tensors")]
        for note, tensors in _by_note(self.renamed).items():
            rows.append(("renamed", f"{len(tensors)} of them: {note}"))
        rows += [("tied", f"{name} = {other}") for name, other in self.tied.items()]
        rows += [("not used", f"{_and_more(tensors)}: {note}") for note, tensors in _by_note(self.unused).items()]
        rows += [("absent", f"{part}: {meaning}") for part, meaning in self.absent.items()]
        rows += [("fresh, untrained", name) for name in self.fresh]
        rows += [("note", note) for note in self.notes]
        heads = ("in the file", "in the model", "shape", "dtype", "note")
        every = [
            (code(t.name), code(t.parameter or "not used"), unbroken("×".join(map(str, t.shape))), t.dtype, t.note)
            for t in self.tensors
        ]
        return tabled(
            paragraph(f"{self.model} from {self.source}", ", ".join(Path(file).name for file in self.files)),
            html_table(("what", "which"), [(lines(what, bold=True), which) for what, which in rows]),
            folded_away(f"all {len(every)} tensors", html_table(heads, every, name="tensors")) if every else None,
        )

    def __str__(self) -> str:
        said = [f"{self.model} from {self.source}: {len(self.loaded)} tensors loaded"]
        if self.renamed:
            notes = sorted({tensor.note for tensor in self.renamed})
            said[0] += f", {len(self.renamed)} of them renamed ({'; '.join(notes)})"
        said += [visible(note) for note in self.notes]
        for reason, tensors in _by_note(self.unused).items():
            said.append(f"not used: {visible(_and_more(tensors))} — {reason}")
        said += [f"absent: {part} — {meaning}" for part, meaning in self.absent.items()]
        said += [f"fresh, untrained: {name}" for name in self.fresh]
        return "\n".join(said)


def _by_note(tensors: tuple[TensorRecord, ...]) -> dict[str, list[TensorRecord]]:
    notes = dict.fromkeys(tensor.note for tensor in tensors)
    return {note: [tensor for tensor in tensors if tensor.note == note] for note in notes}


def _and_more(tensors: list[TensorRecord]) -> str:
    return tensors[0].name + (f" and {len(tensors) - 1} more" if len(tensors) > 1 else "")
