"""Comparing two models that run in this process, where equal means equal to the last bit."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from minibert.checkpoint import load_architecture, open_weights
from minibert.checkpoint.convert import VOCABULARY
from minibert.checkpoint.weights import NAMES, BundleWeights
from minibert.config import BertConfig
from minibert.errors import CheckpointError, ConfigError, MissingExtraError
from minibert.source import Source, find_file, local_file, local_folder, transformer_folder
from minibert.verify.batches import Batch, batches_from_config, batches_from_text
from minibert.verify.compare import VerifyReport, compare_points
from minibert.verify.points import point_names, record

if TYPE_CHECKING:
    from minibert.pretrained import BertPreTrainedModel

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def verify_models(
    ours: nn.Module,
    reference: nn.Module,
    batches: Mapping[str, Batch],
    *,
    names: tuple[str, str] = ("ours", "reference"),
    attention: str = "eager",
) -> VerifyReport:
    """Run two models with BERT's tree on the same batches and compare every point exactly.

    Both may be any implementation that keeps the published module names: this is a debugger for ports, too.
    """
    layers = len(getattr(ours, "bert", ours).get_submodule("encoder.layer")._modules)
    dtype = str(next(ours.parameters()).dtype).removeprefix("torch.")
    report = VerifyReport(names[0], names[1], dtype, attention)
    for name, batch in batches.items():
        found, expected = record(ours, batch), record(reference, batch)
        report.results += compare_points(name, found, expected, point_names(layers))
    return report


def verify_against_transformers(
    source: Source, *, dtype: str = "float32", attention: str = "eager", texts: Sequence[str] = ()
) -> VerifyReport:
    """Compare our load and run of a checkpoint with transformers' own, in one process.

    Raises MissingExtraError when transformers is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError(
            "transformers is not installed; to compare with it: pip install 'minibert[test]'. Without it, compare "
            "with a golden file: minibert verify CHECKPOINT --against FILE."
        ) from error
    if isinstance(open_weights(source), BundleWeights):
        raise CheckpointError(
            f"transformers cannot read TensorFlow's format, in which {source} is. Convert it first: "
            "minibert convert CHECKPOINT -o FOLDER, then verify that folder."
        )
    named = local_file(source)
    if named is not None and named.name not in NAMES:
        raise CheckpointError(f"transformers reads only files called {', '.join(NAMES)}; {named} has another name.")
    folder = local_folder(source)
    place = source if folder is None else transformer_folder(folder)
    ours = load(source, dtype, attention)
    reference_class = getattr(transformers, type(ours).__name__)
    with _Quiet(transformers):
        reference = reference_class.from_pretrained(place, dtype=DTYPES[dtype], attn_implementation=attention).eval()
    if getattr(ours, "pooler", True) is None:  # transformers fills what the file lacks with random numbers
        reference.pooler = None
    on_equal_footing(reference)
    names = (f"minibert {type(ours).__name__} {source}", f"transformers {transformers.__version__}")
    return verify_models(ours, reference, batches_for(source, ours.config, texts), names=names, attention=attention)


def verify_against_folder(
    source: Source, other: Source, *, dtype: str = "float32", attention: str = "eager", texts: Sequence[str] = ()
) -> VerifyReport:
    """Compare two checkpoints, both run by minibert: where do their computations part?"""
    ours, reference = load(source, dtype, attention), load(other, dtype, attention)
    names = (f"minibert {type(ours).__name__} {source}", f"minibert {type(reference).__name__} {other}")
    return verify_models(ours, reference, batches_for(source, ours.config, texts), names=names, attention=attention)


def load(source: Source, dtype: str, attention: str) -> "BertPreTrainedModel":
    """The model of a checkpoint as its config names it, in the dtype to compare in."""
    if dtype not in DTYPES:
        raise ConfigError(f"dtype is {dtype!r}; parity is measured in float32 or float64.")
    model = load_architecture(source, dtype=DTYPES[dtype], attn_implementation=attention)
    on_equal_footing(model)
    return model


def batches_for(source: Source, config: BertConfig, texts: Sequence[str] = ()) -> dict[str, Batch]:
    """Batches in the checkpoint's own vocabulary; drawn ids where it brings none (then ``texts`` must be empty)."""
    from minibert.tokenizer import BertTokenizer

    if not texts and not any(find_file(source, name) for name in VOCABULARY):
        return batches_from_config(config)
    return batches_from_text(BertTokenizer.from_pretrained(source), config, texts)


def on_equal_footing(model: nn.Module) -> nn.Module:
    """The model with every parameter in memory of its own, which torch aligns to 64 bytes.

    A memory-mapped tensor lies where its file has it.  Matrix-vector products (the pooler of a single text) read
    unaligned memory in another order and round otherwise: the same weights would differ in the last bit.
    """
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    return model


class _Quiet:
    """Without transformers' progress bars and reports on stderr."""

    def __init__(self, transformers: Any) -> None:
        self._logging = transformers.utils.logging

    def __enter__(self) -> None:
        self._level = self._logging.get_verbosity()
        self._logging.set_verbosity_error()
        self._logging.disable_progress_bar()

    def __exit__(self, *_error: object) -> None:
        self._logging.set_verbosity(self._level)
        self._logging.enable_progress_bar()
