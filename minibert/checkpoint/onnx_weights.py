"""Weights in an ONNX file: which stored numbers are which tensor of BERT, by their names and by what the graph does.

Exporters keep the names of most tensors (``encoder.layer.0.attention.self.query.bias``) and rename the matrices of
MatMul (``onnx::MatMul_437``, ``val_86``), which they store transposed.  Both ways of finding a tensor are used: its
name, or the name of the bias that is added to its product; and its place among the steps of the graph
(minibert/onnx_graph).  Where they disagree the file is refused.  Nothing of the graph is run.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minibert.checkpoint.names import Names, Reading, read_names
from minibert.checkpoint.tensors import Weights, dtype_name
from minibert.errors import CheckpointError
from minibert.foreign import family_of_tensors, not_this_family
from minibert.onnx_graph import Stored, find_bert, read_graph
from minibert.onnx_graph.expressions import Expression
from minibert.onnx_graph.file import Fetch
from minibert.onnx_graph.steps import Dense
from minibert.protobuf import DamagedMessage

# BERT's own names, after the table of dialects.
OURS = re.compile(
    r"((bert\.(embeddings|encoder\.layer\.\d+|pooler)|cls)\..+|classifier|qa_outputs)\.(weight|bias)"
    r"|cls\.predictions\.bias|bert\.embeddings\.position_ids"
)
INSIDE = re.compile(r"(.*?)(?:bert\.)?(?:encoder\.layer\.\d+\.|embeddings\.).+")
LAYER = re.compile(r"bert\.encoder\.layer\.(\d+)\.")
PER_LAYER = 16  # tensors
EMBEDDINGS = 5
DECODER, WORDS = "cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"
TIED = {DECODER: WORDS, WORDS: DECODER}
QUANTIZED = "_quantized"  # onnxruntime's quantiser adds this to the name of a weight
BY_GRAPH = "found by its place in the graph"
BY_BIAS = "found by the bias beside it"
SHOWN = 3


@dataclass(frozen=True)
class Placed:
    """One tensor of BERT in the file."""

    expression: Expression  # as it is stored: a MatMul's weight is (in, out)
    reading: Reading


class OnnxWeights(Weights):
    """One .onnx file, with the files of external data that it names."""

    def __init__(self, path: Path, fetch: Fetch | None = None) -> None:
        """Raises CheckpointError for a file that is damaged, or in which BERT's weights cannot be found."""
        self._graph = read_graph(path, fetch)
        self.files = (path, *dict.fromkeys(file.path for file in self._graph.files.values()))
        self._rounded = ""
        self._bert = find_bert(self._graph)
        self._constants = self._bert.steps.constants
        self.settings = {name: value for name, value in self._bert.settings.items() if value is not None}
        kept = self._kept_names()
        self._prefixes = kept.prefixes
        found = self._merged(kept)
        self._refuse_gaps(found)
        self._drop_rounded_decoder(found)
        self._placed = dict(self._entries(found))
        self._unused = dict(self._leftovers(found))
        self.hint = self._hint()
        self.note = "; ".join(self._notes())

    # ── finding ──────────────────────────────────────────────────────────────────────────────────

    def _kept_names(self) -> Names:
        """The names in the file that are BERT's, without the prefix of a program."""
        aliases = [node.outputs[0] for node in self._graph.nodes if node.op == "Identity" and node.outputs]
        stored = [*self._graph.initializers, *(name for name in aliases if self._constants.find(name) is not None)]
        plain = {name: name.removesuffix(QUANTIZED) for name in stored}
        names = read_names(plain.values())
        if not names.prefixes:  # the two tensors that show it may have lost their names
            prefixes = sorted({match[1] for name in plain.values() if (match := INSIDE.fullmatch(name))})
            if len(prefixes) == 1 and prefixes[0]:
                names = read_names(name.removeprefix(prefixes[0]) for name in plain.values())
                own = {name: names[name.removeprefix(prefixes[0])] for name in plain.values()}
                names = Names(own)
                names.prefixes = tuple(prefixes)
        kept = Names({name: names[inner] for name, inner in plain.items() if OURS.fullmatch(names[inner].ours)})
        kept.prefixes = names.prefixes
        return kept

    def _merged(self, kept: Names) -> dict[str, tuple[Expression, tuple[str, ...]]]:
        """Every tensor of BERT by our name, in our layout, with how it was found."""
        layers = [
            dense
            for node in self._graph.nodes
            if node.op not in ("Reshape", "Transpose", "Cast") and node.outputs
            if (dense := self._bert.steps.dense(node.outputs[0])) is not None
        ]
        named = self._by_name(kept, layers)
        by_bias = self._by_bias(named, layers)
        found = {**by_bias, **named}
        for ours, expression in self._bert.weights.items():
            tied = self._bert.weights.get(TIED.get(ours, ""))
            # A tied tensor is stored once, under either name.
            if ours not in found or (tied is not None and tied.key == found[ours][0].key):
                found[ours] = (expression, (BY_GRAPH,))
            elif found[ours][0].key != expression.key and not self._same_numbers(found[ours][0], expression):
                raise CheckpointError(
                    f"{self.where} calls {found[ours][0].in_file} what is {ours} of BERT, but the graph uses "
                    f"{expression.in_file} as that. Its names and its graph do not belong together."
                )
            else:
                found[ours] = (expression, found[ours][1])
        return found

    def _by_name(self, kept: Names, layers: list[Dense]) -> dict[str, tuple[Expression, tuple[str, ...]]]:
        """Tensors whose names are BERT's."""
        used = {dense.weight.root.name: dense.weight for dense in layers}
        named: dict[str, tuple[Expression, tuple[str, ...]]] = {}
        for name, reading in kept.items():
            expression = self._constants.find(self._dequantised(name))
            if expression is None:
                continue
            if len(expression.shape) == 2:
                expression = used.get(expression.root.name, expression.T if reading.transposed else expression)
            if reading.ours in named and named[reading.ours][0].key != expression.key:
                raise CheckpointError(f"{self.where} has two tensors for {reading.ours}, one of them {name}.")
            prefix = tuple(f"{each} prefix" for each in self._prefixes[:1] if name.startswith(each))
            named[reading.ours] = (expression, (*prefix, *(each for each in reading.dialects if each not in prefix)))
        return named

    def _dequantised(self, name: str) -> str:
        """Of an int8 tensor: the value that it is with its scale, where that is computed before all else."""
        users = [node for node in self._graph.users.get(name, ()) if node.op == "DequantizeLinear"]
        return users[0].outputs[0] if users and users[0].input(0) == name else name

    def _by_bias(
        self, named: dict[str, tuple[Expression, tuple[str, ...]]], layers: list[Dense]
    ) -> dict[str, tuple[Expression, tuple[str, ...]]]:
        """Matrices without a name, by that of the bias that is added to their product."""
        bias_of = {expression.key: ours for ours, (expression, _) in named.items() if ours.endswith("bias")}
        weights = {expression.key for expression, _ in named.values()}
        beside: dict[Any, set[Any]] = {}  # the matrices whose products a bias is added to
        for dense in layers:
            if dense.bias is not None:
                beside.setdefault(dense.bias.key, set()).add(dense.weight.key)
        found: dict[str, tuple[Expression, tuple[str, ...]]] = {}
        for dense in layers:
            ours = bias_of.get(dense.bias.key) if dense.bias is not None else None
            # Exporters store equal biases once: one that several layers add tells nothing.
            if ours is None or dense.bias is None or dense.weight.key in weights or len(beside[dense.bias.key]) > 1:
                continue
            stem = ours.removesuffix(".bias")
            found[f"{'cls.predictions.decoder' if stem == 'cls.predictions' else stem}.weight"] = (
                dense.weight,
                (BY_BIAS,),
            )
        return found

    def _same_numbers(self, one: Expression, other: Expression) -> bool:
        """Whether two expressions hold equal numbers, as where an exporter stored equal tensors once."""
        if one.shape != other.shape or one.root.dtype is None or other.root.dtype is None:
            return False
        return torch.equal(self._read(one), self._read(other))

    def _refuse_gaps(self, found: dict[str, Any]) -> None:
        """Raise CheckpointError when the embeddings or a layer have not all of their tensors."""
        per_layer = Counter(match[1] for ours in found if (match := LAYER.match(ours)))
        embeddings = [ours for ours in found if ours.startswith("bert.embeddings.") and "position_ids" not in ours]
        if not self._bert.problem and len(embeddings) == EMBEDDINGS and {*per_layer.values()} == {PER_LAYER}:
            return
        prefix = self._prefixes[0] if len(self._prefixes) == 1 else ""
        if family := family_of_tensors(self._graph.initializers, prefix):
            raise CheckpointError(not_this_family(self.where, *family))
        if len(embeddings) == EMBEDDINGS and per_layer and {*per_layer.values()} == {PER_LAYER}:
            return
        raise CheckpointError(
            f"{self.where}: {len(found)} of BERT's tensors were found in its graph, and no more.{self._hint(found)} "
            "Export it again from the checkpoint it was made from, without optimising the graph, or use that one."
        )

    def _drop_rounded_decoder(self, found: dict[str, tuple[Expression, tuple[str, ...]]]) -> None:
        """Drop a decoder that is the word embeddings again: in int8, each use of a table is rounded in its own way."""
        pair = [found[name][0] for name in (DECODER, WORDS) if name in found]
        if len(pair) < 2 or pair[0].shape != pair[1].shape or not any(each.scale for each in pair):
            return
        decoder, words = (self._read(each).float() for each in pair)
        steps = sum(float(each.scale.scale.read(self._graph.files).float().max()) for each in pair if each.scale)
        if float((decoder - words).abs().max()) <= steps:
            self._rounded = found.pop(DECODER)[0].root.name

    def _hint(self, found: dict[str, Any] | None = None) -> str:
        """Where the graph could not be followed and which matrices were not placed, for messages about missing ones."""
        leftovers = self._unused.items() if found is None else self._leftovers(found)
        matrices = [name for name, reason in leftovers if "could not be placed" in reason]
        ended = f" The graph was followed until this: {self._bert.problem}." if self._bert.problem else ""
        if not matrices:
            return ended
        listed = [f"{name} {self._graph.tensors[name].shape}, used by {self._user(name)}" for name in matrices[:SHOWN]]
        more = f" and {len(matrices) - SHOWN} more" if len(matrices) > SHOWN else ""
        return f"{ended} Not placed: {'; '.join(listed)}{more}."

    def _user(self, name: str) -> str:
        """The node that takes a value, for messages."""
        users = self._graph.users.get(name)
        return users[0].label if users else "no operation"

    # ── the account ──────────────────────────────────────────────────────────────────────────────

    def _entries(self, found: dict[str, tuple[Expression, tuple[str, ...]]]) -> Iterator[tuple[str, Placed]]:
        """Every tensor of BERT under its name in the file."""
        taken: set[str] = set()
        for ours, (expression, how) in found.items():
            name = expression.in_file
            if name in taken:
                name = f"{name} (also {ours})"
            taken.add(name)
            notes = how if expression.scale is None else (*how, f"{expression.root.kind} dequantised")
            notes = (*notes, "transposed") if expression.transposed else notes
            stored = expression.T if expression.transposed else expression
            yield name, Placed(stored, Reading(ours, notes, expression.transposed))

    def _leftovers(self, found: dict[str, tuple[Expression, tuple[str, ...]]]) -> Iterator[tuple[str, str]]:
        """Initializers that are no tensor of BERT, each with the reason."""
        used = {expression.root.name for expression, _ in found.values()}
        scales = [expression.scale for expression, _ in found.values() if expression.scale is not None]
        scaling = {each.name for scale in scales for each in (scale.scale, scale.zero_point) if each is not None}
        for name in self._graph.initializers:
            stored = self._graph.tensors[name]
            if name in used:
                continue
            if name == self._rounded:
                yield name, "the word embeddings again, rounded to int8 in another way"
            elif name in scaling:
                yield name, "the scale or zero point of an int8 weight"
            elif not self._graph.users.get(name):
                yield name, "no operation of the graph uses it"
            elif is_matrix(stored):
                yield name, f"could not be placed: {self._user(name)} uses it, outside BERT's own layers"
            else:
                yield name, "a constant of the graph"

    def _notes(self) -> Iterator[str]:
        yield f"ONNX{f', written by {self._graph.producer}' if self._graph.producer else ''}; the graph was not run"
        kinds = Counter(
            placed.expression.root.kind for placed in self._placed.values() if placed.expression.scale is not None
        )
        for kind, count in kinds.items():
            yield f"{count} {kind} weights dequantised to float32"
        if self._bert.problem:
            yield f"the graph was not followed to its end, so not all settings were compared: {self._bert.problem}"

    # ── weights ──────────────────────────────────────────────────────────────────────────────────

    def names(self) -> list[str]:
        return [*self._placed, *self._unused]

    def readings(self) -> Names:
        """What each tensor is, by name or by its place."""
        unused = {name: Reading(name, (), False) for name in self._unused}
        names = Names({name: placed.reading for name, placed in self._placed.items()} | unused)
        names.prefixes = self._prefixes
        return names

    def why_unused(self, name: str) -> str | None:
        """Why a tensor of the file is none of BERT's."""
        return self._unused.get(name)

    def describe(self, name: str) -> tuple[tuple[int, ...], str]:
        if name in self._unused:
            stored = self._graph.tensors[name]
            return stored.shape, stored.kind
        expression = self._placed[name].expression
        dtype = torch.float32 if expression.scale is not None else expression.root.dtype
        return expression.shape, expression.root.kind if dtype is None else dtype_name(dtype)

    def tensor(self, name: str) -> Tensor:
        """The tensor, as it is stored; int8 with its scale as float32."""
        return self._read(self._placed[name].expression)

    def _read(self, expression: Expression) -> Tensor:
        try:
            return self._constants.read(expression)
        except DamagedMessage as error:
            raise CheckpointError(f"{self.where} is not a whole ONNX file: {error}.") from error


def is_matrix(stored: Stored) -> bool:
    """Whether a tensor looks like a weight: two dimensions, of which no one is 1, of real or whole numbers."""
    return len(stored.shape) == 2 and min(stored.shape) > 1 and stored.kind not in ("bool", "int64", "string")
