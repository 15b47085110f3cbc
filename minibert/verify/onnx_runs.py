"""Running an ONNX file and keeping every value of its graph (extra ``onnx``: onnx and onnxruntime).

The file is read, never changed: in memory, local functions are inlined, every ``If`` is replaced by the branch that is
taken, and every value becomes an output.  Then onnxruntime runs the graph as it is written, on the CPU, without graph
optimisations.  What is inside a ``Loop``, a ``Scan`` or a fused operator stays unseen.

Start with :func:`observe_onnx`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minibert.errors import InputError, MissingExtraError
from minibert.verify.observe import LARGEST, ROLES, Observation

Batch = Mapping[str, Tensor]

NAMES = {role: {*names} for role, names in ROLES.items()}
NAMES["attention_mask"].add("input_mask")  # Google's
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
# The same numbers again, and of a weight nothing that the run computed.
REPEATS = {"Identity", "Transpose", "Squeeze", "Unsqueeze"}
OF_WEIGHTS = {*REPEATS, "Cast", "Constant", "DequantizeLinear", "Reshape"}


def observe_onnx(path: Path | str, batch: Batch) -> tuple[dict[str, Tensor], Observation]:
    """Run an ONNX file on a batch, fitted to what the graph takes, and keep every value it computes.

    Args:
        path: the file; weights in files beside it (external data) are found there.
        batch: ``input_ids``, ``attention_mask``, ``token_type_ids``, (B, T) int64.

    Returns:
        The batch that was run (see :meth:`OnnxModel.fit`), which the reference has to be run on, and what was seen.

    Raises:
        InputError: the file cannot be read or run, or has inputs that BERT does not have.
        MissingExtraError: onnx or onnxruntime is not installed.
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

    def observe(self, batch: Batch) -> Observation:
        """Run the graph on a batch that fits it, and keep its values in topological order under their names.

        Raises InputError where onnxruntime cannot run it.
        """
        nodes = list(self.model.graph.node)
        graph = self._copy(nodes)
        while any(node.op_type == "If" for node in nodes):
            wanted = [node.input[0] for node in nodes if node.op_type == "If"]
            found = self._run(graph, batch, list(dict.fromkeys(wanted)))
            taken = {name: bool(found[name].item()) for name in wanted if name in found}
            nodes = list(self._unfolded(nodes, taken))
            graph = self._copy(nodes)
        last = {each.name for each in self.model.graph.output}
        varies = set(self.inputs)
        names: dict[str, str] = {}
        for node in nodes:
            from_run = any(name in varies for name in node.input) or node.op_type in ("Loop", "Scan")
            varies.update(node.output if from_run else ())
            for output in node.output:
                if output and node.op_type not in (REPEATS if from_run else OF_WEIGHTS):
                    names[output] = f"{output} ({' '.join(filter(None, (node.op_type, node.name)))})"
        found = self._run(graph, batch, [*names, *(name for name in last if name not in names)])
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
        for each in self.model.graph.output:
            tensor = found.get(each.name)
            if tensor is not None and tensor.is_floating_point():
                seen.outputs[each.name] = seen.keep(f"returned {each.name}", tensor)
        return seen

    def _copy(self, nodes: list[Any]) -> Any:
        """The model with these nodes."""
        model = self._onnx.ModelProto()
        model.CopyFrom(self.model)
        del model.graph.node[:]
        model.graph.node.extend(nodes)
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

    def _run(self, model: Any, batch: Batch, outputs: list[str]) -> dict[str, Tensor]:
        """Values by name, those that are tensors of numbers."""
        given = {each.name for each in model.graph.output}
        added = [name for name in outputs if name not in given]
        model.graph.output.extend(self._onnx.ValueInfoProto(name=name) for name in added)
        options = self._runtime.SessionOptions()
        options.graph_optimization_level = self._runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        options.intra_op_num_threads = torch.get_num_threads()
        # Where external data is, for a model that comes from memory.
        folder = str(self.path.resolve().parent)
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
        try:
            session = self._runtime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            types = {each.name: each.type for each in session.get_outputs()}
            wanted = [name for name in outputs if types[name] in FLOATS or types[name] == "tensor(bool)"]
            found = session.run(wanted, self._feed(session, batch))
        except InputError:
            raise
        except Exception as error:  # onnxruntime has a class for every status
            raise InputError(f"{self.path} cannot be run by onnxruntime: {_line(error)}") from error
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
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
