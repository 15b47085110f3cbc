"""Values that another program recorded, in any language, under any names: ``.safetensors`` or ``.npz``.

Among them, or given by the caller, are the ids that the program was run on.  Nothing is unpickled.
Start with :func:`verify_values`.
"""

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from minibert.checkpoint.tensors import dtype_name
from minibert.checkpoint.weights import check_header, open_safetensors
from minibert.errors import InputError, MissingExtraError
from minibert.verify.batches import Batch
from minibert.verify.compare import BOUND, VerifyReport
from minibert.verify.computation import Reference
from minibert.verify.explanation import Explanation
from minibert.verify.models import check_bound, named_batches
from minibert.verify.observe import LARGEST, Observation
from minibert.verify.ports import check_ids, check_size, check_units, reference_of
from minibert.verify.search import UNITS, explain_runs

NAMES = {
    "input_ids": ("input_ids", "ids", "tokens", "token_ids"),
    "attention_mask": ("attention_mask", "mask", "input_mask", "padding_mask"),
    "token_type_ids": ("token_type_ids", "segment_ids", "segments", "token_types"),
}
READ = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"}
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


Values = Path | str | Mapping[str, Any]


def verify_values(
    reference: nn.Module,
    values: Values | Mapping[str, Values],
    batches: Mapping[str, Batch] | Batch | None = None,
    *,
    names: tuple[str, str] = ("reference", "theirs"),
    bound: float = BOUND,
) -> VerifyReport:
    """Compare values that a program recorded, in any language and under any names, with a model that computes BERT.

    BERT's values are looked for by their numbers among the recorded ones, and where one is missing the mistake is named
    (``report.explanation``, see :func:`minibert.verify.explain`).

    Args:
        reference: the model known to be correct, with BERT's module names.
        values: a ``.safetensors`` or ``.npz`` file, or name → tensor or array, of floating-point numbers in any layout:
            (B, T, H), (T, B, H), (B·T, H), heads split or merged, without the padding, …, in the order in which they
            were computed.  For several batches: name of the batch → its file or values.
        batches: the inputs that the program was run on: ``input_ids``, and perhaps ``attention_mask`` and
            ``token_type_ids``, each (B, T) integers; or several such by name.  Default: they are among the values, as
            ``input_ids`` (or ``ids``, ``tokens``), ``attention_mask`` (``mask``; else all 1) and ``token_type_ids``
            (``segment_ids``; else all 0).
        names: of the two in the report.
        bound: what counts as rounding, in units in the last place of a value's largest number.

    Raises InputError: a file that cannot be read or holds Python objects, no ids, ids outside the vocabulary, no value
    of this model's size, a reference without the published module names.
    """
    bound = check_bound(bound)
    right = reference_of(reference)
    roles = ("input_ids", "attention_mask", "token_type_ids")
    if batches is None:
        observed = {"recorded": observe_values(values)}
    else:
        inputs = {
            name: {role: batch[role] for role in roles if role in batch}
            for name, batch in named_batches(batches).items()
        }
        each: Mapping[str, Any] = {next(iter(inputs)): values}
        if isinstance(values, Mapping) and len(inputs) > 1:
            each = values
        if set(each) != set(inputs):
            raise InputError(
                f"There are batches called {', '.join(inputs)}, and values of {', '.join(map(str, each))}; expected "
                "{name: values} with the names of the batches."
            )
        observed = {name: observe_values(each[name], **batch) for name, batch in inputs.items()}
    report = VerifyReport(names[1], names[0], dtype_name(next(reference.parameters()).dtype), "", "")
    report.explanation = explain_recorded(
        right,
        {name: batch for name, (batch, _) in observed.items()},
        {name: seen for name, (_, seen) in observed.items()},
        units=bound,
    )
    return report


def explain_recorded(
    right: Reference, batches: Mapping[str, Batch], runs: Mapping[str, Observation], *, units: float = UNITS
) -> Explanation:
    """Say which of some recorded values is the first that is wrong, and why.

    Args:
        right: settings and weights of the right model.
        batches: name → ``input_ids``, ``attention_mask``, ``token_type_ids``, (B, T) int64.
        runs: name → what was recorded, see :func:`observe_values`.
        units: what counts as rounding, in units in the last place of a value's largest number.

    Raises InputError where the ids are none of this model, or nothing recorded has the size of one of its values.
    """
    check_ids(right.config, batches)
    check_size(right, batches, runs)
    return explain_runs(right, batches, runs, check_units(units))


def observe_values(
    values: Values,
    *,
    input_ids: Tensor | None = None,
    attention_mask: Tensor | None = None,
    token_type_ids: Tensor | None = None,
) -> tuple[dict[str, Tensor], Observation]:
    """What a program recorded, and the batch it was run on.

    Args:
        values: a ``.safetensors`` file (in the order of the offsets in its header), an ``.npz`` file (in the order of
            its entries), or a mapping of names to tensors or arrays.  Tensors of float16, bfloat16, float32 or float64
            are kept.
        input_ids: (B, T) or (T,) integers, instead of those recorded as ``input_ids``, ``ids`` or ``tokens``.
        attention_mask: (B, T), 1 where a token is no padding; recorded as ``attention_mask`` or ``mask``; else all 1.
        token_type_ids: (B, T); recorded as ``token_type_ids`` or ``segment_ids``; else all 0.

    Returns:
        ``input_ids``, ``attention_mask``, ``token_type_ids``: (B, T) int64, and the values.

    Raises:
        InputError: a file that cannot be read, holds Python objects, or has no ids or no values.
    """
    source = "The values" if isinstance(values, Mapping) else str(values)
    given = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
    found = {role: tensor for role, tensor in given.items() if tensor is not None}
    ranks: dict[str, int] = {}
    seen = Observation(in_order=False)
    for name, tensor in _tensors(values, source):
        role, rank = _role(name)
        if role is not None and given[role] is None and _is_whole(tensor, role):
            if rank < ranks.get(role, 99):
                found[role], ranks[role] = tensor, rank
        elif tensor.dtype in FLOATS and tensor.dim() and 1 < tensor.numel() <= LARGEST:
            seen.outputs[name] = seen.keep(name, tensor)
    if not seen.values and not found:
        raise InputError(f"{source}: there are no tensors in it.")
    if "input_ids" not in found:
        raise InputError(
            f"{source}: there are no ids that the program was run on; record them as input_ids, (B, T) integers, or "
            "say the text (--text)."
        )
    if not seen.values:
        raise InputError(f"{source}: there are no tensors of floating-point numbers to compare.")
    return _batch(found, source), seen


def read_batches(path: Path | str) -> list[dict[str, Tensor]]:
    """Inputs of training steps from a ``.safetensors`` or ``.npz`` file.

    The names are those of the model's arguments (``input_ids``, ``labels``, …) for one batch; for several, each with
    the batch before it ("0/input_ids", "1/input_ids"), in the order of these.  Integers become int64.

    Raises InputError for a file that cannot be read, holds Python objects, or is empty.
    """
    batches: dict[str, dict[str, Tensor]] = {}
    for full, tensor in _tensors(path, str(path)):
        batch, _, name = full.replace(".", "/").rpartition("/")
        is_number = tensor.dtype in FLOATS or tensor.dtype == torch.bool
        batches.setdefault(batch, {})[name] = tensor if is_number else tensor.to(torch.int64)
    if not batches:
        raise InputError(f"{path}: there are no tensors in it.")
    return [batches[name] for name in sorted(batches, key=lambda name: (len(name) if name.isdigit() else 0, name))]


def _role(name: str) -> tuple[str | None, int]:
    """What an input of that name is, and how sure that is (0 is best)."""
    last = name.replace("/", ".").split(".")[-1].lower()
    for role, names in NAMES.items():
        if last in names:
            return role, names.index(last)
    return None, 0


def _is_whole(tensor: Tensor, role: str) -> bool:
    """Whether a tensor can be ids: some programs keep all numbers as floats."""
    if tensor.dtype in FLOATS and role == "attention_mask" and tensor.dim() > 2:
        return False  # an additive mask
    if tensor.dtype in FLOATS:
        return bool(tensor.isfinite().all()) and bool((tensor == tensor.round()).all())
    return not tensor.is_complex()


def _batch(found: Mapping[str, Any], source: str) -> dict[str, Tensor]:
    """The three inputs, (B, T) int64."""
    batch = {role: torch.as_tensor(tensor) for role, tensor in found.items()}
    ids = batch["input_ids"]
    if ids.dim() not in (1, 2) or not ids.numel() or not _is_whole(ids, "input_ids") or ids.dtype == torch.bool:
        raise InputError(f"{source}: input_ids are {tuple(ids.shape)} {ids.dtype}; (B, T) integers were expected.")
    ids = ids.to(torch.int64).reshape(1 if ids.dim() == 1 else len(ids), -1)
    batch["input_ids"] = ids
    for role, value in (("attention_mask", 1), ("token_type_ids", 0)):
        tensor = batch.get(role, torch.full_like(ids, value))
        if tensor.numel() != ids.numel() or tensor.shape[-1] != ids.shape[-1]:
            raise InputError(f"{source}: {role} is {tuple(tensor.shape)}, input_ids are {tuple(ids.shape)}.")
        batch[role] = tensor.to(torch.int64).reshape(ids.shape)
    if not bool(((batch["attention_mask"] == 0) | (batch["attention_mask"] == 1)).all()):
        raise InputError(
            f"{source}: attention_mask holds other numbers than 0 and 1; 1 stands at tokens, 0 at padding."
        )
    if not bool(batch["attention_mask"].any()):
        raise InputError(f"{source}: attention_mask is 0 everywhere, so that nothing counts.")
    return {role: batch[role] for role in ("input_ids", "attention_mask", "token_type_ids")}


def _tensors(values: Values, source: str) -> Iterator[tuple[str, Tensor]]:
    """Every tensor, in the order it was recorded."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield str(name), value.detach() if isinstance(value, Tensor) else _from_array(name, value, source)
        return
    path = Path(values)
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    if path.suffix == ".safetensors":
        yield from _safetensors(path)
    elif path.suffix == ".npz":
        yield from _npz(path)
    else:
        raise InputError(f"{path}: recorded values are a .safetensors or an .npz file.")


def _safetensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    try:
        header, _ = check_header(path)
        header.pop("__metadata__", None)
        names = sorted(header, key=lambda name: header[name]["data_offsets"][0])
        with open_safetensors(path) as file:
            for name in names:
                if header[name]["dtype"] in READ:
                    yield name, file.get_tensor(name)
    except (SafetensorError, OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise InputError(f"{path} cannot be read as safetensors: {error}") from error


def _npz(path: Path) -> Iterator[tuple[str, Tensor]]:
    numpy = _numpy()
    try:
        archive = numpy.load(path, allow_pickle=False)
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"{path} cannot be read as npz: {error}") from error
    if not hasattr(archive, "files"):
        raise InputError(f"{path} holds one array (npy); record the values and the ids with numpy.savez.")
    with archive:
        sizes = {entry.filename.removesuffix(".npy"): entry.file_size for entry in archive.zip.infolist()}
        for name in archive.files:
            if sizes.get(name, 0) > LARGEST * 8 + 4096:
                continue  # larger than any value that is kept
            try:
                array = archive[name]
            except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
                if "allow_pickle" in str(error):
                    raise InputError(
                        f"{path}: {name} holds Python objects, which are not read; record an array of numbers."
                    ) from error
                raise InputError(f"{path}: {name} cannot be read: {error}") from error
            if isinstance(array, numpy.ndarray) and array.dtype.kind in "biufV" and array.dtype.names is None:
                yield name, _from_array(name, array, str(path))


def _from_array(name: object, value: Any, source: str) -> Tensor:
    """An array, or something that can be one, as a tensor."""
    numpy = _numpy()
    try:
        array = numpy.asarray(value)
        if array.dtype.kind == "O":
            raise InputError(f"{source}: {name} holds Python objects, which are not read; record an array of numbers.")
        if array.dtype.str.lstrip("<>|=").startswith("V2") or array.dtype.name == "bfloat16":
            return torch.from_numpy(array.view(numpy.int16).copy()).view(torch.bfloat16)
        if array.dtype.kind == "f" and array.dtype.itemsize > 8:
            array = array.astype(numpy.float64)
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{source}: {name} is no array of numbers ({error}).") from error


def _numpy() -> Any:
    try:
        import numpy
    except ImportError as error:
        raise MissingExtraError.of("numpy is not installed; for arrays and .npz files", "onnx") from error
    return numpy
