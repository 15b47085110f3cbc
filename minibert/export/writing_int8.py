"""``--int8``: calibrate, write the proven graph anew in 8 bits, and measure what that loses."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from minibert.config import BertConfig
from minibert.data.memory import Data
from minibert.errors import InputError
from minibert.export import formats
from minibert.export.calibration import batch_of, calibration_texts
from minibert.export.int8 import quantize
from minibert.export.kinds import with_choices
from minibert.export.loss import MAX_LOSS, Loss, measure, spearman
from minibert.export.proof import CosineLoss, prove
from minibert.export.runtimes import open_onnx
from minibert.export.subject import Subject
from minibert.finetuning.embedding_rows import read_groups
from minibert.tokenizer import BertTokenizer
from minibert.verify.batches import Batch

logger = logging.getLogger("minibert.export")
COLUMNS = ("text", "pair", "score")
CHOICES = 2  # of multiple choice, where calibration has texts without choices
# 1 - cosine of a token or vector on the nine kinds of input: more is a graph that is wrong.  Of logits, which may be
# one number each, only the shape and that they are finite.
GROSS = {"hidden_states": 0.05, "sentence": 0.05, "logits": 2.0}
ROWS = 32  # pairs in a batch


@dataclass(frozen=True)
class Int8:
    """The settings of an export in 8 bits."""

    calibration: Data | None
    calibration_column: str | None
    pairs: Data | None
    pair_columns: Mapping[str, str]
    max_loss: float


def check_int8(
    int8: bool,
    output: str,
    calibration: Data | None,
    calibration_column: str | None,
    pairs: Data | None,
    pair_columns: Mapping[str, str] | None,
    max_loss: float | None,
) -> Int8 | None:
    """The settings, None for float32; InputError where they do not go together."""
    columns = dict(pair_columns or {})
    if not int8:
        given = {"calibration": calibration, "calibration_column": calibration_column, "pairs": pairs,
                 "pair_columns": columns or None, "max_loss": max_loss}  # fmt: skip
        if named := next((name for name, value in given.items() if value is not None), None):
            raise InputError(f"{named} is for an export in 8 bits: give int8=True (--int8), too.")
        return None
    max_loss = MAX_LOSS if max_loss is None else max_loss
    if output == "all-points":
        raise InputError(
            "all-points is for looking inside, in float32; int8 is for hidden states, sentences and logits."
        )
    if pairs is not None and output == "logits":
        raise InputError("pairs are compared by the vectors of their texts; a head's logits are none. Leave pairs out.")
    if pairs is None and columns:
        raise InputError(
            "pair_columns (--column, --pair-column, --label-column) are of the file of pairs: give pairs (--pairs "
            "FILE), too. The column of the calibration is calibration_column (--calibration-column)."
        )
    if calibration is None and calibration_column is not None:
        raise InputError(
            "calibration_column (--calibration-column) is of the file of calibration: give calibration (--calibration "
            "FILE), too."
        )
    if not isinstance(calibration_column, str | None):
        raise InputError(f"calibration_column is a {type(calibration_column).__name__}; expected the name of a column.")
    if unknown := [name for name in columns if name not in COLUMNS]:
        raise InputError(f"{unknown[0]!r} is no column of pairs; there are {', '.join(COLUMNS)}.")
    if not (isinstance(max_loss, float | int) and math.isfinite(max_loss) and 0 < max_loss < 1):
        raise InputError(f"max_loss (--max-loss) is {max_loss!r}; it is 1 - cosine, a number between 0 and 1.")
    return Int8(calibration, calibration_column, pairs, columns, float(max_loss))


def write_int8(
    settings: Int8,
    subject: Subject,
    path: Path,
    metadata: Mapping[str, str],
    largest_file: int,
    kinds: Mapping[str, Batch],
) -> Loss:
    """Write the ONNX file at ``path`` anew in 8 bits, and measure its loss on texts that were held out.

    ``kinds``: the nine kinds of input.  Raises InputError where there is no tokenizer, and for texts and pairs that
    cannot be read or are too few.
    """
    import onnx

    if subject.tokenizer is None:
        raise InputError(f"{subject.name} has no tokenizer, and int8 is calibrated on text.")
    config = subject.model.config
    pairs = None if settings.pairs is None else read_pairs(settings, subject.tokenizer, config)
    texts = calibration_texts(subject.tokenizer, config, settings.calibration, settings.calibration_column)
    if "choices" in subject.module().input_axes:
        texts = type(texts)(*([with_choices(batch, CHOICES) for batch in batches] for batches in texts))
    tokens = sum(int(batch["attention_mask"].sum()) for batch in texts.calibration)
    logger.info("calibrating int8 on %d tokens of text", tokens)
    model = onnx.load(path)
    path.with_name(f"{path.name}_data").unlink(missing_ok=True)
    formats.write_onnx(quantize(model, texts.calibration), path, {**metadata, "quantization": "int8"}, largest_file)
    opened = open_onnx(path)
    run, right = opened.run, subject.right_values()
    logger.info("measuring its loss")
    loss = measure(run, right, texts.held_out, subject.output, settings.max_loss)
    loss.kinds = prove(run, right, kinds, runtime=opened.runtime, criterion=CosineLoss(GROSS[subject.output]))
    if pairs is not None:
        first, second, scores = pairs
        loss.spearman = (
            spearman(right, first, second, scores),
            spearman(run, first, second, scores),
        )
        loss.pairs = len(scores)
    return loss


def read_pairs(
    settings: Int8, tokenizer: BertTokenizer, config: BertConfig
) -> tuple[list[Batch], list[Batch], list[float]]:
    """The batches of the first texts, those of the second, and the scores."""
    assert settings.pairs is not None
    names = {name: settings.pair_columns.get(name) for name in COLUMNS}
    groups = read_groups(settings.pairs, {**names, "negative": None}, scored=True)
    if len(groups) < 3:
        counted = f"{len(groups)} {'pair' if len(groups) == 1 else 'pairs'}"
        raise InputError(f"{settings.pairs} has {counted}; a correlation needs at least 3.")
    sides = [
        [
            batch_of(tokenizer, config, [group.texts[side] for group in groups[start : start + ROWS]])
            for start in range(0, len(groups), ROWS)
        ]
        for side in (0, 1)
    ]
    return sides[0], sides[1], [float(group.score or 0.0) for group in groups]
