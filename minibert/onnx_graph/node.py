"""One operation of an ONNX graph."""

from dataclasses import dataclass, field
from typing import Any

MOST_NODES = 20_000  # the graph of bert-large has 5,000


@dataclass(frozen=True, eq=False)
class Node:
    """One operation."""

    op: str  # "MatMul"; with the domain for those outside ONNX: "com.microsoft.Attention"
    name: str
    inputs: tuple[str, ...]  # "" for an optional one that is left out
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)  # int, float, bytes, list of these, or a Stored

    def input(self, number: int) -> str:
        """The name of an input, "" when it is left out."""
        return self.inputs[number] if number < len(self.inputs) else ""

    @property
    def label(self) -> str:
        """For messages."""
        return f"{self.op} {self.name or (self.outputs[0] if self.outputs else '')}".rstrip()
