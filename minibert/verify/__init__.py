"""Verification: does a loaded model compute the same values as a reference, and where is the first difference?

``models.py`` compares two implementations in one process, ``checkpoints.py`` a checkpoint with whatever a user names,
``golden.py`` with values recorded here, ``published.py`` with those that other projects published.  ``ports.py`` and
``search.py`` take any program and name its mistakes, as ``onnx_runs.py`` does of an ONNX file and ``recorded.py`` of
recorded values; ``training.py`` compares two training runs, ``tokenizers.py`` two tokenizers.  ``points.py`` names the
values, ``compare.py`` compares them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minibert.errors import InputError
from minibert.source import Source
from minibert.verify.checkpoints import (
    verify_against_folder,
    verify_against_onnx,
    verify_against_port,
    verify_against_transformers,
    verify_against_values,
)
from minibert.verify.compare import BOUND, PointResult, VerifyReport
from minibert.verify.explanation import Explanation, Finding, PointFound, explain
from minibert.verify.golden import is_golden, make_golden, read_golden, verify_against_golden
from minibert.verify.models import verify_models
from minibert.verify.onnx_runs import is_onnx
from minibert.verify.published import PublishedReport, verify_published
from minibert.verify.recorded import verify_values
from minibert.verify.tokenizer_report import TokenizerReport
from minibert.verify.tokenizers import verify_tokenizer
from minibert.verify.training import verify_training
from minibert.verify.training_report import TrainingReport
from minibert.verify.user_code import names_code

__all__ = [
    "BOUND",
    "Explanation",
    "Finding",
    "PointFound",
    "PointResult",
    "PublishedReport",
    "TokenizerReport",
    "TrainingReport",
    "VerifyReport",
    "explain",
    "make_golden",
    "verify",
    "verify_against_folder",
    "verify_against_golden",
    "verify_against_onnx",
    "verify_against_port",
    "verify_against_transformers",
    "verify_against_values",
    "verify_models",
    "verify_published",
    "verify_tokenizer",
    "verify_training",
    "verify_values",
]


def verify(
    source: Source,
    against: Source | None = None,
    *,
    values: Path | str | None = None,
    dtype: str | None = None,
    attention: str = "eager",
    texts: Sequence[str] = (),
    bound: float | None = None,
) -> VerifyReport:
    """Compare a checkpoint with another side, and name what is wrong where something differs.

    Args:
        source: the checkpoint.
        against: ``"transformers"``, a golden file, another checkpoint, an ``.onnx`` file, or a port, named by the
            function that builds it, as ``path/to/my_bert.py:build``; its file is run.
        values: instead of ``against``, a ``.safetensors`` or ``.npz`` file of values that any program recorded, see
            :func:`verify_values`.
        dtype: ``"float32"`` (default) or ``"float64"``; against a golden file both are run unless one is given.
        attention: ``"eager"`` or ``"sdpa"``, of what runs in torch under BERT's names.
        texts: the inputs, instead of the usual ones; of ``values`` the texts that they were recorded on.
        bound: the limit of rounding errors, see :func:`verify_models`; a golden file has its own bounds.

    Raises the errors of :mod:`minibert.errors` for whatever cannot be read, run or compared.
    """
    if (against is None) == (values is None):
        raise InputError("Say what to compare the checkpoint with: against, or values, and not both.")
    units = BOUND if bound is None else bound
    if values is not None or is_onnx(against):
        if dtype is not None:
            raise InputError("An ONNX file and recorded values have a dtype of their own; leave dtype out.")
        if values is None:
            return verify_against_onnx(source, str(against), texts=texts, bound=units)
        if _is_golden(values):
            read_golden(Path(values))
            raise InputError(f"{values} is a golden, which brings its inputs: compare with it by --against.")
        return verify_against_values(source, values, texts=texts, bound=units)
    assert against is not None
    settings: Any = {"dtype": dtype or "float32", "attention": attention, "texts": texts, "bound": units}
    if names_code(against):
        return verify_against_port(source, str(against), **settings)
    if against == "transformers":
        return verify_against_transformers(source, **settings)
    if _is_golden(against):
        if bound is not None:
            raise InputError("A golden file brings its own bounds, measured when it was recorded; leave bound out.")
        dtypes = (dtype,) if dtype else ("float64", "float32")
        return verify_against_golden(source, Path(against), dtypes=dtypes, attention=attention)
    path = Path(against)
    is_alone = path.is_file() and not (path.parent / "config.json").exists()
    if is_alone and path.suffix in (".npz", ".safetensors"):
        raise InputError(
            f"{path} is no golden, and no checkpoint, which has a config.json beside it. If it holds values that a "
            f"program recorded, compare with them by --values {path}."
        )
    return verify_against_folder(source, against, **settings)


def _is_golden(path: Source) -> bool:
    return Path(path).suffix == ".safetensors" and Path(path).is_file() and is_golden(Path(path))
