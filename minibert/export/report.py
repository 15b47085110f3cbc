"""What an export did: the files, what they take and give, and the proof."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minibert.display.shown import Printed
from minibert.export.loss import Loss
from minibert.export.proof import Proof
from minibert.export.refusal import Reason


@dataclass
class ExportReport(Printed):
    """A file that was proven, and written; or one that was refused, and not written."""

    source: str
    architecture: str  # the model's class
    output: str  # hidden_states, sentence, logits or all-points
    format: str
    destination: Path
    inputs: dict[str, str]  # name → axes
    outputs: dict[str, str]
    sha256: dict[str, str]  # of the weights that it was made from
    versions: dict[str, str]
    opset: int | None
    proof: Proof
    files: list[Path] = field(default_factory=list)  # in the order in which they were put in place
    bytes: int = 0  # of all of them
    notes: list[str] = field(default_factory=list)
    reason: Reason | None = None  # why it was refused
    loss: Loss | None = None  # of a file in 8 bits, whose float32 graph the proof is of

    @property
    def same(self) -> bool:
        """Whether the file was proven, and therefore written."""
        return self.proof.same and (self.loss is None or self.loss.within)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "source": self.source,
            "architecture": self.architecture,
            "output": self.output,
            "format": self.format,
            "destination": str(self.destination),
            "same": self.same,
            "reason": None if self.reason is None else self.reason.sentence,
            "point": None if self.reason is None else self.reason.point,
            "explanation": None if self.reason is None else self.reason.explained(),
            "files": [str(path) for path in self.files],
            "bytes": self.bytes,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "sha256": self.sha256,
            "versions": self.versions,
            "opset": self.opset,
            "notes": self.notes,
            "proof": self.proof.to_dict(),
            "loss": None if self.loss is None else self.loss.to_dict(),
        }

    def __str__(self) -> str:
        parts = [str(self.proof), *self.notes]
        if self.loss is not None:
            parts.append(
                "\n".join(("The proof is of the graph in float32, from which int8 was made.", *self.loss.lines()))
            )
        if self.reason is not None:
            if self.reason.explanation is not None and not self.reason.explanation.same:
                parts.append(self.reason.explanation.to_text())
            parts.append(f"{self.destination} was not written. {self.reason.sentence}")
            return "\n\n".join(parts)
        figure, bound = f"{self.proof.figure:.2g}", f"{self.proof.bound:g}"
        parts.append(
            f"{self.architecture} of {self.source}: the same by {self.proof.runtime} on {len(self.proof.kinds)} kinds "
            f"of input, {self.proof.criterion} at most {figure} (bound {bound})"
        )
        parts.append(f"written: {', '.join(map(str, self.files))}, {self.bytes / 1e6:,.1f} MB")
        return "\n\n".join(parts)
