"""What a checkpoint is compared with: transformers, another checkpoint, a port of the user, an ONNX file, values."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from minibert.auto import load_architecture
from minibert.checkpoint import open_weights
from minibert.checkpoint.tensors import Weights
from minibert.checkpoint.weights import NAMES, BundleWeights
from minibert.config import BertConfig
from minibert.convert import VOCABULARY
from minibert.errors import CheckpointError, MissingExtraError
from minibert.pretrained import BertPreTrainedModel
from minibert.source import Checkpoint, Source
from minibert.tokenizer import BertTokenizer
from minibert.verify.batches import Batch, batches_from_config, batches_from_text
from minibert.verify.compare import BOUND, VerifyReport
from minibert.verify.models import as_dtype, verify_models
from minibert.verify.onnx_runs import OnnxModel
from minibert.verify.ports import batches_for_ports, build_port, reference_of
from minibert.verify.recorded import explain_recorded, observe_values


class _Side:
    """A checkpoint that is run by minibert, and the batches it is run on."""

    def __init__(self, source: Source, dtype: str, attention: str, texts: Sequence[str]) -> None:
        self.source, self.dtype, self.attention, self.texts = source, dtype, attention, texts
        self.checkpoint = Checkpoint.open(source)

    @cached_property
    def model(self) -> BertPreTrainedModel:
        """Loaded when it is first asked for."""
        return load(self.checkpoint, self.dtype, self.attention)

    @property
    def name(self) -> str:
        """In the report."""
        return f"minibert {type(self.model).__name__} {self.source}"

    def batches(self) -> dict[str, Batch]:
        """The usual batches, or the texts."""
        return batches_for(self.checkpoint, self.model.config, self.texts)

    def batches_for_ports(self) -> dict[str, Batch]:
        """Batches on which mistakes show, or the texts."""
        return self.batches() if self.texts else batches_for_ports(self.model.config)


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
    own = _Side(source, dtype, attention, texts)
    weights = open_weights(own.checkpoint)
    if isinstance(weights, BundleWeights):
        raise CheckpointError(
            f"transformers cannot read TensorFlow's format, in which {source} is. Convert it first: "
            "minibert convert CHECKPOINT -o FOLDER, then verify that folder."
        )
    if (named := own.checkpoint.file) is not None and named.name not in NAMES:
        raise CheckpointError(f"transformers reads only files called {', '.join(NAMES)}; {named} has another name.")
    place = weights.files[0].parent  # of the hub: in the cache, at the commit that was loaded here
    own.model = load(own.checkpoint, dtype, attention, weights)
    reference_class = getattr(transformers, type(own.model).__name__)
    with _Quiet(transformers):
        reference = reference_class.from_pretrained(place, dtype=as_dtype(dtype), attn_implementation=attention).eval()
    if getattr(own.model, "pooler", True) is None:  # transformers fills what the file lacks with random numbers
        reference.pooler = None
    on_equal_footing(reference)
    names = (f"transformers {transformers.__version__}", own.name)
    return verify_models(reference, own.model, own.batches(), names=names, bound=bound)


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
    own, against = (_Side(each, dtype, attention, texts) for each in (source, other))
    BertConfig.from_pretrained(against.checkpoint)  # says that there is none before the first is loaded
    return verify_models(against.model, own.model, own.batches(), names=(against.name, own.name), bound=bound)


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
    own = _Side(source, dtype, attention, texts)
    theirs = build_port(spec, lambda: own.model, own.checkpoint.folder)
    return verify_models(own.model, theirs, own.batches_for_ports(), names=(own.name, spec), bound=bound)


def verify_against_onnx(
    source: Source, path: Path | str, *, texts: Sequence[str] = (), bound: float = BOUND
) -> VerifyReport:
    """Compare a checkpoint with an ONNX file, which is read and not changed.

    Raises MissingExtraError when onnx or onnxruntime is not installed.
    """
    theirs = OnnxModel(path)
    own = _Side(source, "float32", "eager", texts)
    return verify_models(own.model, theirs, own.batches_for_ports(), names=(own.name, str(path)), bound=bound)


def verify_against_values(
    source: Source, path: Path | str, *, texts: Sequence[str] = (), bound: float = BOUND
) -> VerifyReport:
    """Compare a checkpoint with what another program recorded, in a ``.safetensors`` or ``.npz`` file.

    The ids that the program was run on are among the values (``input_ids``, perhaps ``attention_mask`` and
    ``token_type_ids``), or they are those of ``texts``.
    """
    own = _Side(source, "float32", "eager", texts)
    config = BertConfig.from_pretrained(own.checkpoint)
    given = batches_for(own.checkpoint, config, texts)["texts"] if texts else {}
    batch, seen = observe_values(path, **given)
    report = VerifyReport(str(path), own.name, "float32", "", "")
    report.explanation = explain_recorded(reference_of(own.model), {str(path): batch}, {str(path): seen}, units=bound)
    return report


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
