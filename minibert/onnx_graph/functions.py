"""Local functions of an ONNX file, put in the place of their calls.

Early versions of torch's newer exporter wrote one for each module.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from minibert.onnx_graph.node import MOST_NODES, Node
from minibert.protobuf import DamagedMessage

DEEPEST = 32  # calls within calls; a BERT has five


@dataclass(frozen=True)
class Reference:
    """An attribute whose value the call gives."""

    name: str


@dataclass(frozen=True, eq=False)
class Function:
    """FunctionProto."""

    op: str  # as a node calls it, with its domain
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]


def inlined(nodes: list[Node], functions: Mapping[str, Function]) -> list[Node]:
    """The nodes with every call of a function replaced by the function's own, under names of their own.

    Raises DamagedMessage where functions call each other in a circle, or would become too many operations.
    """
    return list(_inlined(nodes, functions, 0, [MOST_NODES])) if functions else nodes


def _inlined(nodes: list[Node], functions: Mapping[str, Function], depth: int, left: list[int]) -> Iterator[Node]:
    if depth > DEEPEST:
        raise DamagedMessage(f"its functions call each other more than {DEEPEST} deep")
    for node in nodes:
        left[0] -= 1  # a call counts, too: functions may hold nothing but calls
        if left[0] < 0:
            raise DamagedMessage(f"it has more than {MOST_NODES:,} operations with its functions in place")
        function = functions.get(node.op)
        if function is None:
            yield node
        else:
            yield from _inlined(called(function, node), functions, depth + 1, left)


def resolved(value: Any, call: Node) -> Any:
    """The value of an attribute; None where the call does not give it."""
    return call.attributes.get(value.name) if isinstance(value, Reference) else value


def called(function: Function, call: Node) -> list[Node]:
    """A function's nodes with the names and attributes that a call gives."""
    prefix = f"{next((name for name in call.outputs if name), call.name)}/"
    given = dict(zip(function.inputs, call.inputs, strict=False))
    names = {name: given.get(name, "") for name in function.inputs}
    wanted = dict(zip(function.outputs, call.outputs, strict=False))
    handed_on = [name for name in wanted if name in names]  # an input that is an output, too
    names |= {name: other for name, other in wanted.items() if other and name not in names}

    def renamed(name: str) -> str:
        return names.get(name, prefix + name) if name else ""

    nodes = [
        replace(
            node,
            inputs=tuple(map(renamed, node.inputs)),
            outputs=tuple(map(renamed, node.outputs)),
            attributes={
                key: own for key, value in node.attributes.items() if (own := resolved(value, call)) is not None
            },
        )
        for node in function.nodes
    ]  # fmt: skip
    return nodes + [Node("Identity", "", (names[name],), (wanted[name],)) for name in handed_on]
