"""Running somebody's BERT and keeping every tensor it computes, with the line of their code that computed it.

Two things are recorded, in the order in which they happen: what every module is given and returns (forward hooks), and
what every operation of torch returns (a TorchDispatchMode, below autograd, so that ``F.softmax``, ``@`` and ``+`` are
seen wherever they stand).  A fused kernel is one operation: what is inside it stays unseen.  What a program returns, of
whatever form, comes last.
"""

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from minibert.errors import InputError
from minibert.verify.layouts import Value

LARGEST = 1 << 26  # numbers in a tensor that is still kept
NOT_THEIRS = (str(Path(torch.__file__).parent), str(Path(__file__).parent))
COMPILED = (
    "the program is compiled: its values are those of the program as it was written, and what it returns is that of "
    "the compiled one"
)
ROLES = {
    "input_ids": ("input_ids", "ids", "tokens", "x", "input", "token_ids"),
    "attention_mask": ("attention_mask", "mask", "padding_mask", "masks"),
    "token_type_ids": ("token_type_ids", "segment_ids", "segments", "types", "token_types", "segment"),
}


@dataclass(frozen=True, eq=False)
class Weight:
    """A vector or matrix that a program computes with, and has not computed."""

    name: str  # of a module's parameter, or where it was used first
    tensor: Tensor


@dataclass
class Observation:
    """What one run showed."""

    values: list[Value] = field(default_factory=list)
    outputs: dict[str, Value] = field(default_factory=dict)  # "last_hidden_state", "hidden_states[0]", "[1]", …
    notes: list[str] = field(default_factory=list)  # sentences on how it was run
    in_order: bool = True  # whether the values are in the order of computation, as recorded ones need not be
    copies: dict[tuple[object, ...], list[Tensor]] = field(default_factory=dict, repr=False)  # by how they begin
    is_busy: bool = False  # while a value is copied, which is no operation of theirs
    weights: list[Weight] = field(default_factory=list)  # what was given to an operation and made by none

    def keep(self, name: str, tensor: Tensor) -> Value:
        """Add a copy of a tensor."""
        self.is_busy = True
        value = Value(name, self._once(tensor.detach().cpu()), len(self.values))
        self.is_busy = False
        self.values.append(value)
        return value

    def _once(self, tensor: Tensor) -> Tensor:
        """A copy of a tensor, or the copy that was made when it was seen before: a module returns what another did."""
        start = tuple(tensor[(0,) * (tensor.dim() - 1)][:4].tolist()) if tensor.numel() and tensor.dim() else ()
        alike = self.copies.setdefault((tensor.shape, tensor.dtype, start), [])
        same = next((each for each in alike if torch.equal(each, tensor)), None)
        if same is None:
            same = tensor.clone()
            alike.append(same)
        return same


def observe(theirs: Callable[..., Any], batch: Mapping[str, Tensor]) -> Observation:
    """Run ``theirs`` on a batch and keep what it computes.

    ``batch``: ``input_ids``, ``attention_mask``, ``token_type_ids``, each (B, T) int64.

    What torch.compile made is run as it was written, where every value shows, and then once more, compiled: what it
    returns is of that run.

    Raises InputError when the program fails, with its error and the line.
    """
    seen = Observation()
    arguments, keywords = arguments_for(theirs, batch)
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(_uncompiled())
        stack.enter_context(_as_written())
        where = _Where()
        if isinstance(theirs, nn.Module):
            stack.enter_context(_hooked(theirs, seen, where))
        stack.enter_context(_Recorder(seen, where, theirs))
        try:
            outputs = theirs(*arguments, **keywords)
        except Exception as error:
            raise InputError(f"The program that is verified failed: {describe(error)}") from error
    if is_compiled(theirs):
        seen.notes.append(COMPILED)
        try:
            with torch.no_grad():
                outputs = theirs(*arguments, **keywords)
        except Exception as error:
            raise InputError(f"The program that is verified failed where it is compiled: {describe(error)}") from error
    for name, tensor in tensors_in(outputs):
        value = seen.keep(f"returned {name}".strip(), tensor)
        seen.outputs[name] = value
    return seen


def is_compiled(theirs: object) -> bool:
    """Whether torch.compile made the program, or a module in it."""
    if isinstance(theirs, nn.Module):
        return any(hasattr(module, "_orig_mod") for module in theirs.modules())
    return hasattr(theirs, "_torchdynamo_orig_callable")


def _uncompiled() -> AbstractContextManager[object]:
    """A context in which compiled programs run as they were written; nothing where the compiler was not imported."""
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    context: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return context


@contextmanager
def _as_written() -> Iterator[None]:
    """``nn.TransformerEncoder`` without its fast path: one kernel per layer, and nested tensors without sizes."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def describe(error: BaseException) -> str:
    """An error of theirs in one line: type, message, and their last line of code."""
    trace, line = error.__traceback__, ""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith(NOT_THEIRS):
            line = f" ({Path(name).name}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}{line}"


def arguments_for(theirs: Callable[..., Any], batch: Mapping[str, Tensor]) -> tuple[list[Any], dict[str, Any]]:
    """The batch by the names that the program's parameters have; by position where it has names of its own."""
    theirs = getattr(theirs, "_orig_mod", theirs)  # what torch.compile wraps has the parameters' names
    call = theirs.forward if isinstance(theirs, nn.Module) else theirs
    try:
        parameters = list(inspect.signature(call).parameters.values())
    except (TypeError, ValueError):
        return [], dict(batch)
    plain = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    needed = [p for p in plain if p.default is p.empty]
    if len(needed) == 1 and _takes_all(needed[0]):
        return [dict(batch)], {}
    keywords: dict[str, Any] = {}
    for role, names in ROLES.items():
        taken = next((p.name for name in names for p in plain if p.name == name and p.kind != p.POSITIONAL_ONLY), None)
        if taken is not None:
            keywords[taken] = batch[role]
    if keywords:
        return [], keywords
    if any(p.kind == p.VAR_KEYWORD for p in parameters) and not plain:
        return [], dict(batch)
    return [batch[role] for role in list(ROLES)[: max(len(needed), 1)]], {}


def _takes_all(parameter: inspect.Parameter) -> bool:
    """Whether a parameter is for the whole batch in one dictionary."""
    kind = "" if parameter.annotation is parameter.empty else str(parameter.annotation)
    return parameter.name in ("inputs", "batch", "features", "encoded") or "dict[" in kind or "Mapping[" in kind


def tensors_in(output: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor or array of floating-point numbers in what a program returned, with the way to it."""
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield name, output
    elif isinstance(output, Mapping):
        for key, value in output.items():
            yield from tensors_in(value, f"{name}.{key}".lstrip("."))
    elif hasattr(output, "_fields"):  # a named tuple
        for key in output._fields:
            yield from tensors_in(getattr(output, key), f"{name}.{key}".lstrip("."))
    elif isinstance(output, list | tuple):
        for number, value in enumerate(output):
            yield from tensors_in(value, f"{name}[{number}]")
    elif hasattr(output, "__array__") and getattr(getattr(output, "dtype", None), "kind", "") == "f":
        yield name, torch.as_tensor(output.__array__().copy())
    elif hasattr(output, "__dict__"):
        yield from tensors_in(vars(output), name)


class _Where:
    """The modules that are running now, and the line of the program."""

    def __init__(self) -> None:
        self.modules: list[str] = []

    def enter(self, name: str) -> None:
        """A module begins; what torch.compile wraps around another has no name of its own."""
        self.modules.append(name.replace("_orig_mod.", "").removesuffix("_orig_mod").rstrip("."))

    def name(self, operation: str) -> str:
        """For example ``encoder.blocks.0.attn (my_bert.py:41, softmax)``."""
        frame: FrameType | None = sys._getframe(2)
        while frame is not None and frame.f_code.co_filename.startswith(NOT_THEIRS):
            frame = frame.f_back
        line = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}, " if frame is not None else ""
        inside = f"{self.modules[-1]} " if self.modules and self.modules[-1] else ""
        return f"{inside}({line}{operation})"


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps what every operation returns; a view of all of another tensor is that tensor."""

    def __init__(self, seen: Observation, where: _Where, theirs: object) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen, self.where = seen, where
        parameters = [*theirs.named_parameters(), *theirs.named_buffers()] if isinstance(theirs, nn.Module) else []
        self.names = {tensor.data_ptr(): name for name, tensor in reversed(parameters) if _is_plain(tensor)}
        self.made: set[int] = set()  # the memory of what operations returned
        self.given: set[tuple[int, torch.Size]] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its compiler, three seconds, to keep it out of here

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.seen.is_busy:
            return result
        self._keep_weights(func.__name__.split(".")[0].strip("_"), args, result)
        if "empty" in func.__name__:  # memory that holds no number yet
            return result
        tensors = result if isinstance(result, tuple | list) else (result,)
        for tensor in tensors:
            if not isinstance(tensor, Tensor) or not tensor.is_floating_point() or tensor.dim() < 2:
                continue
            if not 1 < tensor.numel() <= LARGEST or self._repeats(func, tensor, args):
                continue
            self.seen.keep(self.where.name(func.__name__.split(".")[0].strip("_")), tensor)
        return result

    def _keep_weights(self, operation: str, args: tuple[Any, ...], result: Any) -> None:
        """Of the vectors and matrices that an operation is given, those that no operation made."""
        for tensor in args:
            if not isinstance(tensor, Tensor) or not tensor.is_floating_point() or not _is_plain(tensor):
                continue
            key = tensor.data_ptr(), tensor.shape
            if key in self.given or tensor.untyped_storage().data_ptr() in self.made:
                continue
            self.given.add(key)
            if 0 < sum(size > 1 for size in tensor.shape) <= 2:  # the kernels of convolutions have axes of one
                name = self.names.get(tensor.data_ptr()) or self.where.name(operation)
                self.seen.weights.append(Weight(name, tensor if tensor.dim() < 3 else tensor.squeeze()))
        given = {each.untyped_storage().data_ptr() for each in args if isinstance(each, Tensor) and _is_plain(each)}
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor) and _is_plain(tensor):
                self.made |= {tensor.untyped_storage().data_ptr()} - given  # a view of a weight is the weight

    @staticmethod
    def _repeats(func: Any, tensor: Tensor, args: tuple[Any, ...]) -> bool:
        returns = func._schema.returns
        is_view = bool(returns) and returns[0].alias_info is not None and not returns[0].alias_info.is_write
        return is_view and bool(args) and isinstance(args[0], Tensor) and args[0].numel() == tensor.numel()


def _is_plain(tensor: Tensor) -> bool:
    """Whether it has memory of its own, as no sparse tensor has."""
    return tensor.layout == torch.strided and type(tensor) in (Tensor, nn.Parameter)


@contextmanager
def _hooked(model: nn.Module, seen: Observation, where: _Where) -> Iterator[None]:
    """Hooks that keep what every module is given and returns; gone again whatever happens."""
    handles = []

    def enter(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            where.enter(name)
            for way, tensor in tensors_in([*args, *kwargs.values()]):
                if tensor.dim() >= 2:
                    seen.keep(f"given to {name or 'the model'}{way if way != '[0]' else ''}", tensor)

        return hook

    def leave(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
            if where.modules:
                where.modules.pop()
            if isinstance(output, Tensor | tuple | list):
                for way, tensor in tensors_in(output):
                    if tensor.dim() >= 2:
                        seen.keep(f"{name}{way}" if name else f"the model{way}", tensor)

        return hook

    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(enter(name), with_kwargs=True))
        handles.append(module.register_forward_hook(leave(name), always_call=False))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
