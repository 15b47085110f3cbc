"""Compare two models in this process: identical, different by rounding, or different, and at which point first."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from minibert.auto import load_architecture
from minibert.checkpoint import open_weights
from minibert.checkpoint.weights import NAMES, BundleWeights, Weights, dtype_name
from minibert.config import BertConfig, find_config
from minibert.convert import VOCABULARY
from minibert.errors import CheckpointError, ConfigError, InputError, MissingExtraError
from minibert.pretrained import BertPreTrainedModel
from minibert.source import Checkpoint, Source
from minibert.tokenizer import BertTokenizer
from minibert.verify.batches import Batch, batches_from_config, batches_from_text
from minibert.verify.compare import BOUND, VerifyReport, compare_points, rounding_bounds
from minibert.verify.points import attention_of, compared_points, layers_of, record

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def verify_models(
    ours: nn.Module,
    reference: nn.Module,
    batches: Mapping[str, Batch] | Batch,
    *,
    names: tuple[str, str] = ("ours", "reference"),
    bound: float = BOUND,
    dtype: torch.dtype | str | None = None,
) -> VerifyReport:
    """Run two models with BERT's tree on the same batches and compare every point.

    Both may be any implementation with the published module names, so this also debugs ports.

    Args:
        ours: the model to verify.
        reference: the model known to be correct.
        batches: inputs by name; or one batch (``input_ids``, …), as a tokenizer returns it.
        names: of the two in the report.
        bound: the limit of rounding errors, in units in the last place of a point's largest value, per layer above it
            (compare.py has measured sizes).  0: only identical values are the same.
        dtype: run copies of both in this dtype.  ``"float64"`` shows differences that rounding in float32 hides.

    If one side ran fused and the other eager attention, rows whose mask is all 0 are left out: they are the average of
    all values on one side and 0 on the other, and neither is used.

    Raises InputError for a model without the published module names, and for invalid arguments.
    """
    bound = check_bound(bound)
    layers = max(layers_of(ours, names[0]), layers_of(reference, names[1]))
    by_name = named_batches(batches)
    if dtype is not None:
        ours, reference = (copy.deepcopy(model).to(as_dtype(dtype)) for model in (ours, reference))
    dtypes = dict.fromkeys(next(model.parameters()).dtype for model in (ours, reference))
    eps = max(torch.finfo(each).eps for each in dtypes)
    dtype_names = " against ".join(map(dtype_name, dtypes))
    report = VerifyReport(names[0], names[1], dtype_names, "", "")
    for name, batch in by_name.items():
        values, expected = (record(model, inputs_for(model, batch)) for model in (ours, reference))
        report.attention, report.reference_attention = attention_of(ours, values), attention_of(reference, expected)
        if report.attention != report.reference_attention:
            values, expected = without_blind_rows(report, name, batch, values, expected)
        bounds = rounding_bounds(expected, layers, eps, bound)
        report.results += compare_points(name, values, expected, compared_points(layers), bounds)
    if bound:
        report.notes.append(
            f"bound: {bound:g} units in the last place of the point's largest value for each layer above it, 4 times "
            "that at probabilities and context; what is within it is rounding"
        )
    return report


def check_bound(bound: float) -> float:
    """The bound as a number; InputError for anything else, or a negative one."""
    if isinstance(bound, bool) or not isinstance(bound, int | float) or not 0 <= bound < float("inf"):
        raise InputError(f"bound is {bound!r}; expected a number of units in the last place, 0 or more.")
    return float(bound)


def named_batches(batches: Mapping[str, Batch] | Batch) -> dict[str, Batch]:
    """Batches by name; a single batch is called "batch"."""
    if not hasattr(batches, "items") or not batches:
        raise InputError("batches is empty or no dict; expected {name: inputs} or the inputs of one batch.")
    content: dict[str, Any] = dict(batches.items())
    if any(isinstance(value, Tensor) for value in content.values()):
        return {"batch": content}
    for name, batch in content.items():
        if not hasattr(batch, "items") or not all(isinstance(value, Tensor) for value in dict(batch.items()).values()):
            raise InputError(f"Batch {name!r} is no dict of tensors; tokenize with return_tensors='pt'.")
    return {str(name): dict(batch.items()) for name, batch in content.items()}


def inputs_for(model: nn.Module, batch: Batch) -> Batch:
    """The batch on the model's device, with floating-point inputs (embeddings, masks) in its dtype."""
    parameter = next(model.parameters())
    dtypes = {name: parameter.dtype if value.is_floating_point() else value.dtype for name, value in batch.items()}
    return {name: value.to(parameter.device, dtypes[name]) for name, value in batch.items()}


def without_blind_rows(
    report: VerifyReport, name: str, batch: Batch, *sides: dict[str, Tensor]
) -> tuple[dict[str, Tensor], ...]:
    """The recorded points without the rows of the batch whose mask is all 0; a note in the report says how many."""
    mask = batch.get("attention_mask")
    if mask is None or mask.dim() != 2 or bool((seeing := mask.bool().any(dim=1)).all()):
        return sides
    rows = len(mask)
    report.notes.append(
        f"{rows - int(seeing.sum())} of {rows} rows of “{name}” may see nothing; fused and written-out attention "
        "define those differently, so they are left out"
    )
    return tuple(
        {point: value[seeing.to(value.device)] if len(value) == rows else value for point, value in side.items()}
        for side in sides
    )


def as_dtype(dtype: torch.dtype | str) -> torch.dtype:
    """float32 or float64, by name or as torch's; ConfigError for another."""
    for name, known in DTYPES.items():
        if dtype in (name, known):
            return known
    raise ConfigError(f"dtype is {dtype!r}; parity is measured in float32 or float64.")


def verify_against_transformers(
    source: Source,
    *,
    dtype: str = "float32",
    attention: str = "eager",
    texts: Sequence[str] = (),
    bound: float = BOUND,
) -> VerifyReport:
    """Load and run a checkpoint here and in transformers, in one process, and compare.

    Raises MissingExtraError when transformers is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError.of(
            "transformers is not installed; to compare with it",
            "test",
            "Without it, compare with a golden file: minibert verify CHECKPOINT --against FILE.",
        ) from error
    checkpoint = Checkpoint.open(source)
    weights = open_weights(checkpoint)
    if isinstance(weights, BundleWeights):
        raise CheckpointError(
            f"transformers cannot read TensorFlow's format, in which {source} is. Convert it first: "
            "minibert convert CHECKPOINT -o FOLDER, then verify that folder."
        )
    if (named := checkpoint.file) is not None and named.name not in NAMES:
        raise CheckpointError(f"transformers reads only files called {', '.join(NAMES)}; {named} has another name.")
    place = weights.files[0].parent  # of the hub: in the cache, at the commit that was loaded here
    ours = load(checkpoint, dtype, attention, weights)
    reference_class = getattr(transformers, type(ours).__name__)
    with _Quiet(transformers):
        reference = reference_class.from_pretrained(place, dtype=as_dtype(dtype), attn_implementation=attention).eval()
    if getattr(ours, "pooler", True) is None:  # transformers fills what the file lacks with random numbers
        reference.pooler = None
    on_equal_footing(reference)
    names = (f"minibert {type(ours).__name__} {source}", f"transformers {transformers.__version__}")
    return verify_models(ours, reference, batches_for(checkpoint, ours.config, texts), names=names, bound=bound)


def verify_against_folder(
    source: Source,
    other: Source,
    *,
    dtype: str = "float32",
    attention: str = "eager",
    texts: Sequence[str] = (),
    bound: float = BOUND,
) -> VerifyReport:
    """Compare two checkpoints, both run by minibert."""
    checkpoint, against = Checkpoint.open(source), Checkpoint.open(other)
    find_config(against)  # says that there is none before the first is loaded
    ours, reference = load(checkpoint, dtype, attention), load(against, dtype, attention)
    names = (f"minibert {type(ours).__name__} {source}", f"minibert {type(reference).__name__} {other}")
    return verify_models(ours, reference, batches_for(checkpoint, ours.config, texts), names=names, bound=bound)


def load(source: Source, dtype: str, attention: str, weights: Weights | None = None) -> BertPreTrainedModel:
    """The model of a checkpoint, of the class that its config names; ``weights``: its weights, if already open."""
    model = load_architecture(source, dtype=as_dtype(dtype), attn_implementation=attention, state_dict=weights)
    on_equal_footing(model)
    return model


def batches_for(checkpoint: Checkpoint, config: BertConfig, texts: Sequence[str] = ()) -> dict[str, Batch]:
    """Batches in the checkpoint's vocabulary; without one and without ``texts``, batches of random ids."""
    if not texts and not any(map(checkpoint.find, VOCABULARY)):
        return batches_from_config(config)
    return batches_from_text(BertTokenizer.from_pretrained(checkpoint), config, texts)


def on_equal_footing(model: nn.Module) -> nn.Module:
    """The model with every parameter copied into its own memory, which torch aligns to 64 bytes.

    Memory-mapped tensors may be unaligned.  Matrix-vector products (the pooler of a single text) read unaligned memory
    in another order and round differently: the same weights would differ in the last bit.
    """
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    return model


class _Quiet:
    """A context without transformers' progress bars and reports on stderr."""

    def __init__(self, transformers: Any) -> None:
        self._logging = transformers.utils.logging

    def __enter__(self) -> None:
        self._level = self._logging.get_verbosity()
        self._logging.set_verbosity_error()
        self._logging.disable_progress_bar()

    def __exit__(self, *_error: object) -> None:
        self._logging.set_verbosity(self._level)
        self._logging.enable_progress_bar()
