"""Running an ONNX file and keeping every value of its graph (extra ``onnx``: onnx and onnxruntime).

The file is read, never changed: in memory, local functions are inlined, every ``If`` is replaced by the branch that is
taken, and every value becomes an output.  Then onnxruntime runs the graph as it is written, on the CPU, without graph
optimisations.  What is inside a ``Loop``, a ``Scan`` or a fused operator stays unseen.

Start with :func:`explain_onnx`.
"""

import copy
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minibert.errors import InputError, MissingExtraError
from minibert.verify.batches import Batch
from minibert.verify.computation import Reference
from minibert.verify.explanation import Explanation, Finding
from minibert.verify.mistakes import Mistake
from minibert.verify.observe import LARGEST, ROLES, Observation
from minibert.verify.padding import batch_with_padding_text
from minibert.verify.ports import Run, batches_for_ports, explain_program, reference_of, with_defaults
from minibert.verify.search import UNITS

NAMES = {role: {*names} for role, names in ROLES.items()}
NAMES["attention_mask"].add("input_mask")  # Google's
LARGEST_GRAPH, LARGEST_BATCH = 1_000_000, 1 << 20  # operations; ids
POSITIONS = {"position_ids", "positions"}
DTYPES = {
    "tensor(int64)": torch.int64,
    "tensor(int32)": torch.int32,
    "tensor(bool)": torch.bool,
    "tensor(float)": torch.float32,
    "tensor(float16)": torch.float16,
    "tensor(double)": torch.float64,
}
FLOATS = {"tensor(float)", "tensor(float16)", "tensor(double)"}
DRAWS = (
    "Dropout",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Bernoulli",
    "Multinomial",
)
INT8 = {  # operations on 8-bit numbers
    "ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulInteger",
    "MatMulIntegerToFloat", "QAttention", "QGemm", "QLinearMatMul", "QuantizeLinear",
}  # fmt: skip
# The same numbers again, and of a weight nothing that the run computed.
REPEATS = {"Identity", "Transpose", "Squeeze", "Unsqueeze"}
OF_WEIGHTS = {*REPEATS, "Cast", "Constant", "DequantizeLinear", "Reshape"}


def is_onnx(path: object) -> bool:
    """True for the name of an ONNX file."""
    return isinstance(path, str | Path) and Path(path).suffix.lower() == ".onnx"


def explain_onnx(
    reference: nn.Module | Reference,
    path: "Path | str | OnnxModel",
    batches: Mapping[str, Batch] | None = None,
    *,
    units: float = UNITS,
) -> Explanation:
    """Run an ONNX file on some batches and say which of its values is the first that is wrong, and why.

    Args:
        reference: the right model, with BERT's names.
        path: the file, or one that is open; weights in files beside it (external data) are found there.  None of them
            is changed.
        batches: name → inputs, each (B, T) int64, which are fitted to what the graph takes; default: drawn ids.
        units: what counts as rounding, in units in the last place of a value's largest number.

    Raises:
        InputError: the file cannot be read or run, has inputs that BERT does not have, or is of a model of another
            size.
        MissingExtraError: onnx or onnxruntime is not installed.
    """
    right = reference if isinstance(reference, Reference) else reference_of(reference)
    model = path if isinstance(path, OnnxModel) else OnnxModel(path)
    fitted: dict[str, Batch] = {}
    notes: list[str] = []
    for name, batch in (batches or batches_for_ports(right.config)).items():
        fitted[name], changes = model.fit(with_defaults(batch))
        notes += [change for change in changes if change not in notes]

    def hide(batch: Batch) -> Batch | None:
        if "attention_mask" not in model.roles.values():
            return None
        hidden, _ = model.fit(batch_with_padding_text(batch))
        return hidden if bool((hidden["attention_mask"] == 0).all(dim=1).any()) else None

    explanation = explain_program(
        right, model.observe, fitted, without_dropout=model.without_dropout, hide=hide, units=units
    )
    explanation.notes[:0] = notes
    if model.is_int8 and explanation.findings:
        explanation.notes.append(
            f"{model.path.name} computes in 8 bits, so its values differ from the checkpoint's, and a mistake is not "
            "told from that rounding; what it loses is measured by minibert export --int8 and stands in the card that "
            "this writes beside the file"
        )
        points = list(dict.fromkeys(point for finding in explanation.findings for point in finding.points))
        rounded = Mistake("values.rounded", {}, "int8(…)", {"where": "", "dtype": "int8", "digits": "2"})
        explanation.findings = [Finding("mistake", (rounded,), points, explanation.findings[0].theirs)]
    return explanation


def observe_onnx(path: Path | str, batch: Batch) -> tuple[dict[str, Tensor], Observation]:
    """Run an ONNX file on a batch, fitted to what the graph takes, and keep every value it computes.

    Returns the batch that was run (see :meth:`OnnxModel.fit`), which the reference has to be run on, and what was seen.
    Raises as :func:`explain_onnx`.
    """
    model = OnnxModel(path)
    fitted, _ = model.fit(batch)
    return fitted, model.observe(fitted)


class OnnxModel:
    """An ONNX file whose values can be observed.

    Args:
        path: the file, at most 2 GB without its external data.

    Raises:
        InputError: the file is missing, or no ONNX graph of BERT's inputs.
        MissingExtraError: onnx or onnxruntime is not installed.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._onnx, self._runtime = _packages()
        self.model = self._load()
        stored = {each.name for each in self.model.graph.initializer}
        self.inputs = {each.name: each for each in self.model.graph.input if each.name not in stored}
        self.roles = self._roles()
        self.dropout = True  # whether Dropout does what the graph says
        self._sessions: dict[tuple[tuple[str, bool], ...], tuple[dict[str, str], Any]] = {}  # by the branches taken

    def _load(self) -> Any:
        """The model with its local functions inlined."""
        if not self.path.is_file():
            raise InputError(f"There is no file {self.path}.")
        try:
            model = self._onnx.load(self.path, load_external_data=False)
        except Exception as error:  # protobuf's own, and others by the version of onnx
            raise InputError(f"{self.path} cannot be read as ONNX: {_line(error)}") from error
        if not model.graph.node:
            raise InputError(f"{self.path} is no ONNX model: it holds no graph.")
        if model.functions:
            if (size := _inlined_size(model)) > LARGEST_GRAPH:
                raise InputError(f"{self.path} would have {size:,} operations with its functions inlined.")
            try:
                model = self._onnx.inliner.inline_local_functions(model)
            except Exception as error:
                raise InputError(f"The functions in {self.path} cannot be inlined: {_line(error)}") from error
        return model

    def _roles(self) -> dict[str, str]:
        """Input of the graph → ``input_ids``, ``attention_mask``, ``token_type_ids`` or ``position_ids``."""
        names = {**NAMES, "position_ids": POSITIONS}
        roles: dict[str, str] = {}
        for name in self.inputs:
            plain = name.split(":")[0].split("/")[-1].lower()
            role = next((role for role, known in names.items() if plain in known), None)
            if role is not None and role not in roles.values():
                roles[name] = role
        unknown = [name for name in self.inputs if name not in roles]
        if "input_ids" not in roles.values() or unknown:
            raise InputError(
                f"{self.path} takes {', '.join(self.inputs) or 'no inputs'}. BERT takes input_ids, attention_mask and "
                "token_type_ids (and position_ids): rename the graph's inputs to these."
            )
        return roles

    @property
    def is_int8(self) -> bool:
        """Whether the file says that it computes in 8 bits, or an operation does."""
        stated = any(each.key == "quantization" and each.value == "int8" for each in self.model.metadata_props)
        return stated or any(node.op_type in INT8 for node in _all_nodes(self.model.graph))

    def fit(self, batch: Batch) -> tuple[dict[str, Tensor], list[str]]:
        """The batch as the graph can take it, and a sentence for everything that was changed.

        Without an input for segments all are 0; without one for the mask the longest text is run without padding; a
        fixed number of tokens is reached by padding, a fixed number of texts by repeating the first; what is more than
        fits is cut off.
        """
        fitted = {role: tensor.clone() for role, tensor in batch.items()}
        notes = []
        taken = set(self.roles.values())
        if "token_type_ids" not in taken and bool(fitted["token_type_ids"].any()):
            fitted["token_type_ids"].zero_()
            notes.append(f"{self.path.name} has no input token_type_ids: all segments are 0.")
        if "attention_mask" not in taken and not bool(fitted["attention_mask"].all()):
            row = int(fitted["attention_mask"].sum(dim=1).argmax())
            visible = fitted["attention_mask"][row].bool()
            fitted = {role: tensor[row : row + 1, visible] for role, tensor in fitted.items()}
            notes.append(f"{self.path.name} has no input attention_mask: one text is run, without padding.")
        B, T = fitted["input_ids"].shape
        rows, tokens = self._sizes()
        if (rows or B) * (tokens or T) > LARGEST_BATCH:
            raise InputError(f"{self.path} takes {rows or B} × {tokens or T} ids at once, too many to run here.")
        if tokens is not None and tokens != T:
            if tokens < T:
                fitted = {role: tensor[:, :tokens] for role, tensor in fitted.items()}
                kept = fitted["attention_mask"].bool().any(dim=1)
                fitted = {role: tensor[kept] for role, tensor in fitted.items()}
            elif "attention_mask" in taken:
                fitted = {role: torch.nn.functional.pad(tensor, (0, tokens - T)) for role, tensor in fitted.items()}
            else:
                times = -(-tokens // T)
                fitted = {role: tensor.repeat(1, times)[:, :tokens] for role, tensor in fitted.items()}
            notes.append(f"{self.path.name} takes {tokens} tokens, not {T}: the texts are padded or cut to that.")
        if rows is not None and rows != B:
            order = [row if row < len(fitted["input_ids"]) else 0 for row in range(rows)]
            fitted = {role: tensor[order] for role, tensor in fitted.items()}
            notes.append(
                f"{self.path.name} takes {rows} texts at once, not {B}: the first is repeated, or some left out."
            )
        return fitted, notes

    def _sizes(self) -> tuple[int | None, int | None]:
        """The number of texts and of tokens that input_ids is fixed to; None where it is free."""
        name = next(name for name, role in self.roles.items() if role == "input_ids")
        dims = self.inputs[name].type.tensor_type.shape.dim
        sizes = [int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in dims]
        if len(sizes) not in (0, 2):
            raise InputError(f"{name} of {self.path} has {len(sizes)} dimensions; (batch, tokens) was expected.")
        return (sizes[0], sizes[1]) if sizes else (None, None)

    def without_dropout(self) -> Run | None:
        """How the graph is run with dropout off, and all else as it is; None where it has none that is on."""
        if not any(node.op_type == "Dropout" and len(node.input) > 2 for node in _all_nodes(self.model.graph)):
            return None
        calm = copy.copy(self)
        calm.dropout, calm._sessions = False, {}
        return calm.observe

    def observe(self, batch: Batch) -> Observation:
        """Run the graph on a batch that fits it, and keep its values in topological order under their names.

        A second run goes on with the same random generators.  Raises InputError where onnxruntime cannot run it.
        """
        nodes = list(self.model.graph.node)
        taken: dict[str, bool] = {}
        while any(node.op_type == "If" for node in nodes):
            if any(not node.input for node in nodes if node.op_type == "If"):
                raise InputError(f"{self.path} is an invalid model: an If has no input.")
            wanted = list(dict.fromkeys(node.input[0] for node in nodes if node.op_type == "If"))
            found = self._run(self._session(self._copy(nodes), wanted), wanted, batch)
            lacking = next((name for name in wanted if name not in found or found[name].numel() != 1), None)
            if lacking is not None:
                raise InputError(f"{self.path} branches on {lacking}, which is not one number.")
            taken |= {name: bool(found[name].item()) for name in wanted}
            nodes = list(self._unfolded(nodes, taken))
        key = tuple(taken.items())
        if key not in self._sessions:
            names = self._names(nodes)
            model = self._copy(nodes)
            self._sessions[key] = names, self._session(model, [*names, *(each.name for each in model.graph.output)])
        names, session = self._sessions[key]
        last = [each.name for each in self.model.graph.output]
        found = self._run(session, list(dict.fromkeys([*names, *last])), batch)
        seen = Observation()
        for output, name in names.items():
            tensor = found.get(output)
            if (
                tensor is not None
                and tensor.is_floating_point()
                and tensor.dim() >= 2
                and 1 < tensor.numel() <= LARGEST
            ):
                seen.keep(name, tensor)
        for output in last:
            tensor = found.get(output)
            if tensor is not None and tensor.is_floating_point():
                seen.outputs[output] = seen.keep(f"returned {output}", tensor)
        return seen

    def _names(self, nodes: list[Any]) -> dict[str, str]:
        """What is kept: value → its name and operation, without repeats and what is computed from weights alone."""
        varies = set(self.inputs)
        names: dict[str, str] = {}
        for node in nodes:
            from_run = any(name in varies for name in node.input) or node.op_type in ("Loop", "Scan", *DRAWS)
            varies.update(node.output if from_run else ())
            for output in node.output:
                if output and node.op_type not in (REPEATS if from_run else OF_WEIGHTS):
                    named = f" {node.name}" if node.name and node.name not in output else ""
                    names[output] = f"{output} ({node.op_type}{named})"
        return names

    def _copy(self, nodes: list[Any]) -> Any:
        """The model with these nodes."""
        model = self._onnx.ModelProto()
        model.CopyFrom(self.model)
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        if not self.dropout:
            for node in _all_nodes(model.graph):
                if node.op_type == "Dropout" and len(node.input) > 2:
                    node.input[2] = ""  # training_mode
        return model

    def _unfolded(self, nodes: list[Any], taken: Mapping[str, bool]) -> Iterator[Any]:
        """The nodes with every ``If`` replaced by the branch that is taken."""
        for number, node in enumerate(nodes):
            if node.op_type != "If":
                yield node
                continue
            wanted = "then_branch" if taken[node.input[0]] else "else_branch"
            branch = next(attribute.g for attribute in node.attribute if attribute.name == wanted)
            prefix = f"{node.name or f'If_{number}'}/"
            own = {name for inner in branch.node for name in inner.output if name}
            own |= {each.name for each in branch.initializer}
            renamed = {name: prefix + name for name in own}
            for stored in branch.initializer:
                value = self._onnx.TensorProto()
                value.CopyFrom(stored)
                yield self._onnx.helper.make_node("Constant", [], [renamed[stored.name]], value=value)
            for inner in branch.node:
                yield self._renamed(inner, renamed)
            for theirs, ours in zip(branch.output, node.output, strict=True):
                source = renamed.get(theirs.name, theirs.name)
                yield self._onnx.helper.make_node("Identity", [source], [ours])

    def _renamed(self, node: Any, names: Mapping[str, str]) -> Any:
        """A node with other names for values, also where its subgraphs read them."""
        copy = self._onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [names.get(name, name) for name in node.input]
        copy.output[:] = [names.get(name, name) for name in node.output]
        for attribute in copy.attribute:
            for graph in (attribute.g, *attribute.graphs) if attribute.type in (5, 10) else ():
                inner = [self._renamed(each, names) for each in graph.node]
                del graph.node[:]
                graph.node.extend(inner)
                for output in graph.output:
                    output.name = names.get(output.name, output.name)
        return copy

    def _session(self, model: Any, outputs: list[str]) -> Any:
        """A graph ready to run, with these values among its outputs."""
        given = {each.name for each in model.graph.output}
        added = [name for name in dict.fromkeys(outputs) if name not in given]
        model.graph.output.extend(self._onnx.ValueInfoProto(name=name) for name in added)
        options = self._runtime.SessionOptions()
        options.graph_optimization_level = self._runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        options.intra_op_num_threads = torch.get_num_threads()
        # Where external data is, for a model that comes from memory.
        folder = str(self.path.resolve().parent)
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
        try:
            return self._runtime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has a class for every status
            raise InputError(f"{self.path} cannot be run by onnxruntime: {_line(error)}") from error

    def _run(self, session: Any, outputs: list[str], batch: Batch) -> dict[str, Tensor]:
        """Values by name, those that are tensors of numbers."""
        types = {each.name: each.type for each in session.get_outputs()}
        wanted = [name for name in outputs if types[name] in FLOATS or types[name] == "tensor(bool)"]
        feed = self._feed(session, batch)
        try:
            found = session.run(wanted, feed)
        except Exception as error:
            raise InputError(
                f"{self.path} cannot be run by onnxruntime on {' × '.join(map(str, batch['input_ids'].shape))} ids up "
                f"to {int(batch['input_ids'].max())}: {_line(error)}"
            ) from error
        return {
            name: torch.from_numpy(array) for name, array in zip(wanted, found, strict=True) if hasattr(array, "dtype")
        }

    def _feed(self, session: Any, batch: Batch) -> dict[str, Any]:
        feed = {}
        for each in session.get_inputs():
            role = self.roles[each.name]
            if each.type not in DTYPES:
                raise InputError(f"The input {each.name} of {self.path} is a {each.type}; numbers were expected.")
            ids = batch["input_ids"]
            tensor = torch.arange(ids.shape[1]).expand_as(ids) if role == "position_ids" else batch[role]
            if role == "position_ids" and each.shape and each.shape[0] == 1:
                tensor = tensor[:1]
            feed[each.name] = tensor.to(DTYPES[each.type]).contiguous().numpy()
        return feed


def _all_nodes(graph: Any) -> Iterator[Any]:
    """The nodes of a graph and of the graphs in it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs) if attribute.type in (5, 10) else ():
                yield from _all_nodes(inner)


def _inlined_size(model: Any) -> int:
    """How many nodes the graph has with its functions inlined; 0 where they call each other in a circle."""
    functions = {(each.domain, each.name): each for each in model.functions}

    def called(graph: Any) -> list[tuple[str, str]]:
        return [(node.domain, node.op_type) for node in _all_nodes(graph)]

    sizes: dict[tuple[str, str], int] = {}
    try:
        for key in TopologicalSorter({key: set(called(each)) for key, each in functions.items()}).static_order():
            if key in functions:
                sizes[key] = sum(sizes.get(each, 1) for each in called(functions[key]))
    except CycleError:
        return 0
    return sum(sizes.get(each, 1) for each in called(model.graph))


def _packages() -> tuple[Any, Any]:
    try:
        import onnx
        import onnx.inliner
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError.of(f"{error.name} is not installed; for ONNX files", "onnx") from error
    return onnx, onnxruntime


def _line(error: BaseException) -> str:
    """What an error says first."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error).strip())
    return text.splitlines()[0] if text else type(error).__name__
