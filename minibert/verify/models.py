"""Compare two models in this process: identical, different by rounding, or different, and at which point first."""

import copy
from collections.abc import Callable, Mapping, Sequence
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
from minibert.renamed import older_arguments
from minibert.source import Checkpoint, Source
from minibert.tokenizer import BertTokenizer
from minibert.verify.batches import Batch, batches_from_config, batches_from_text
from minibert.verify.compare import BOUND, VerifyReport, compare_points, rounding_bounds
from minibert.verify.points import attention_of, compared_points, has_published_names, layers_of, record
from minibert.verify.ports import batches_for_ports, build_port, explain_port, reference_of
from minibert.verify.search import UNITS

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@older_arguments
def verify_models(
    reference: nn.Module,
    theirs: nn.Module | Callable[..., Any],
    batches: Mapping[str, Batch] | Batch | None = None,
    *,
    names: tuple[str, str] = ("reference", "theirs"),
    bound: float = BOUND,
    dtype: torch.dtype | str | None = None,
    explain: bool = True,
) -> VerifyReport:
    """Compare a program that should compute BERT with a model that does: every value, and what is wrong.

    A module with BERT's names is compared point by point.  Where a point differs, and for any other program, BERT's
    values are looked for by their numbers among everything that it computes, and the mistake is named
    (``report.explanation``, see :func:`minibert.verify.explain`).

    Args:
        reference: the model known to be correct, with BERT's module names.
        theirs: an ``nn.Module`` of any structure, or any callable of ``input_ids``, ``attention_mask`` and
            ``token_type_ids``.
        batches: inputs by name; or one batch (``input_ids``, …), as a tokenizer returns it.  Default: drawn ids.
        names: of the two in the report.
        bound: the limit of rounding errors, in units in the last place of a point's largest value, per layer above it
            (compare.py has measured sizes).  0: only identical values are the same.
        dtype: run copies of both in this dtype.  ``"float64"`` shows differences that rounding in float32 hides.
        explain: name the mistakes, too, where a module with BERT's names differs, which takes seconds.

    If one side ran fused and the other eager attention, rows whose mask is all 0 are left out: they are the average of
    all values on one side and 0 on the other, and neither is used.

    Raises InputError for a reference without the published module names, a program that fails, and invalid arguments.
    """
    bound = check_bound(bound)
    layers = layers_of(reference, names[0])
    by_name = batches_for_ports(reference_of(reference).config) if batches is None else named_batches(batches)
    if dtype is not None:
        reference = copy.deepcopy(reference).to(as_dtype(dtype))
        theirs = copy.deepcopy(theirs).to(as_dtype(dtype)) if isinstance(theirs, nn.Module) else theirs
    if not has_published_names(theirs):
        report = VerifyReport(names[1], names[0], dtype_name(next(reference.parameters()).dtype), "", "")
        report.explanation = explain_port(reference, theirs, by_name, units=bound or UNITS)
        return report
    assert isinstance(theirs, nn.Module)
    layers = max(layers, layers_of(theirs, names[1]))
    dtypes = dict.fromkeys(next(model.parameters()).dtype for model in (theirs, reference))
    eps = max(torch.finfo(each).eps for each in dtypes)
    dtype_names = " against ".join(map(dtype_name, dtypes))
    report = VerifyReport(names[1], names[0], dtype_names, "", "")
    for name, batch in by_name.items():
        values, expected = (record(model, inputs_for(model, batch)) for model in (theirs, reference))
        report.attention, report.reference_attention = attention_of(theirs, values), attention_of(reference, expected)
        if report.attention != report.reference_attention:
            values, expected = without_blind_rows(report, name, batch, values, expected)
        bounds = rounding_bounds(expected, layers, eps, bound)
        report.results += compare_points(name, values, expected, compared_points(layers), bounds)
    if bound:
        report.notes.append(
            f"bound: {bound:g} units in the last place of the point's largest value for each layer above it, 4 times "
            "that at probabilities and context; what is within it is rounding"
        )
    if explain and report.first_difference is not None and all("input_ids" in batch for batch in by_name.values()):
        report.explanation = explain_port(reference, theirs, by_name, units=bound or UNITS)
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
    names = (f"transformers {transformers.__version__}", f"minibert {type(ours).__name__} {source}")
    return verify_models(reference, ours, batches_for(checkpoint, ours.config, texts), names=names, bound=bound)


def verify_against_port(
    source: Source,
    spec: str,
    *,
    dtype: str = "float32",
    attention: str = "eager",
    texts: Sequence[str] = (),
    bound: float = BOUND,
) -> VerifyReport:
    """Compare a checkpoint with what a function of the user builds from it, named as ``path/to/my_bert.py:build``.

    This runs the user's file.  See :func:`minibert.verify.ports.build_port` for what the function is given.
    """
    checkpoint = Checkpoint.open(source)
    reference = load(checkpoint, dtype, attention)
    theirs = build_port(spec, reference.config, reference.state_dict(), checkpoint.folder)
    batches = batches_for(checkpoint, reference.config, texts) if texts else batches_for_ports(reference.config)
    names = (f"minibert {type(reference).__name__} {source}", spec)
    return verify_models(reference, theirs, batches, names=names, bound=bound)


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
    names = (f"minibert {type(reference).__name__} {other}", f"minibert {type(ours).__name__} {source}")
    return verify_models(reference, ours, batches_for(checkpoint, ours.config, texts), names=names, bound=bound)


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
