"""Verification: does a loaded model compute the same values as a reference, and where is the first difference?

``models.py`` compares two implementations in one process, ``golden.py`` compares with recorded values, ``published.py``
with values that other projects published.  ``ports.py`` and ``search.py`` take any program and name its mistakes,
``training.py`` compares two training runs, ``tokenizers.py`` two tokenizers.  ``points.py`` names the values,
``compare.py`` compares them.
"""

from collections.abc import Sequence
from pathlib import Path

from minibert.errors import InputError
from minibert.source import Source
from minibert.verify.compare import BOUND, PointResult, VerifyReport
from minibert.verify.explanation import Explanation, Finding, PointFound, explain
from minibert.verify.golden import is_golden, make_golden, verify_against_golden
from minibert.verify.models import (
    verify_against_folder,
    verify_against_port,
    verify_against_transformers,
    verify_models,
)
from minibert.verify.published import PublishedReport, verify_published
from minibert.verify.tokenizers import TokenizerReport, verify_tokenizer
from minibert.verify.training import verify_training
from minibert.verify.training_report import TrainingReport
from minibert.verify.user_code import names_code

__all__ = [
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
    "verify_against_port",
    "verify_against_transformers",
    "verify_models",
    "verify_published",
    "verify_tokenizer",
    "verify_training",
]


def verify(
    source: Source,
    against: Source,
    *,
    dtype: str | None = None,
    attention: str = "eager",
    texts: Sequence[str] = (),
    bound: float | None = None,
) -> VerifyReport:
    """Compare a checkpoint with ``"transformers"``, a golden file, another checkpoint, or a port of the user.

    A port is named by the function that builds it, as ``path/to/my_bert.py:build``; its file is run.

    ``dtype`` is ``"float32"`` (default) or ``"float64"``; against a golden file both are run unless one is given.
    ``bound`` is the limit of rounding errors, see :func:`verify_models`; a golden file has its own bounds.
    """
    units = BOUND if bound is None else bound
    if names_code(against):
        return verify_against_port(
            source, str(against), dtype=dtype or "float32", attention=attention, texts=texts, bound=units
        )
    if against == "transformers":
        return verify_against_transformers(
            source, dtype=dtype or "float32", attention=attention, texts=texts, bound=units
        )
    path = Path(against)
    if path.is_file() and path.suffix == ".safetensors" and is_golden(path):
        if bound is not None:
            raise InputError("A golden file brings its own bounds, measured when it was recorded; leave bound out.")
        dtypes = (dtype,) if dtype else ("float64", "float32")
        return verify_against_golden(source, path, dtypes=dtypes, attention=attention)
    return verify_against_folder(
        source, against, dtype=dtype or "float32", attention=attention, texts=texts, bound=units
    )
