"""What became of every tensor: the record that a loaded model carries as ``model.load_report``."""

from dataclasses import asdict, dataclass, field

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
class LoadReport:
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

    def __str__(self) -> str:
        lines = [f"{self.model} from {self.source}: {len(self.loaded)} tensors loaded"]
        if self.renamed:
            notes = sorted({tensor.note for tensor in self.renamed})
            lines[0] += f", {len(self.renamed)} of them renamed ({'; '.join(notes)})"
        lines += [visible(note) for note in self.notes]
        for reason in dict.fromkeys(tensor.note for tensor in self.unused):
            names = [visible(tensor.name) for tensor in self.unused if tensor.note == reason]
            others = f" and {len(names) - 1} more" if len(names) > 1 else ""
            lines.append(f"not used: {names[0]}{others} — {reason}")
        lines += [f"absent: {part} — {meaning}" for part, meaning in self.absent.items()]
        lines += [f"fresh, untrained: {name}" for name in self.fresh]
        return "\n".join(lines)
