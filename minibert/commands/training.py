"""The options of a run, which ``pretrain`` and ``finetune`` share, and its curves."""

import argparse
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minibert.commands.verb import positive
from minibert.errors import MissingExtraError

if TYPE_CHECKING:
    from minibert.training.settings import Settings


def add_settings(verb: argparse.ArgumentParser, *, learning_rate: float, epochs: int, note: str = "") -> None:
    """The options that :func:`settings_of` turns into Settings, and the device.

    ``note``: on the default of the learning rate, which is None in the options, so that the verb may choose another.
    """
    group = verb.add_argument_group("the run")
    group.add_argument("--epochs", type=positive, default=epochs, metavar="N", help=f"default {epochs}")
    group.add_argument("--steps", type=positive, metavar="N", help="instead of epochs")
    group.add_argument(
        "--learning-rate",
        type=float,
        default=None if note else learning_rate,
        metavar="R",
        help=f"highest (default {learning_rate:g}{note})",
    )
    group.add_argument("--warmup", type=float, default=0.1, metavar="SHARE", help="of the steps (default 0.1)")
    group.add_argument(
        "--schedule", choices=("linear", "cosine", "constant"), default="linear", help="after it (default linear, to 0)"
    )
    group.add_argument("--weight-decay", type=float, default=0.01, metavar="W", help="default 0.01")
    group.add_argument("--max-grad-norm", type=float, default=1.0, metavar="NORM", help="clipping (default 1; 0: none)")
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of everything random (default 0)")
    group.add_argument("--evaluate-every", type=positive, default=0, metavar="N", help="steps; default: each epoch")
    group.add_argument(
        "--freeze", metavar="PARTS", help="do not train these: embeddings; 3, the first three layers; embeddings,3"
    )
    group.add_argument(
        "--layer-decay", type=float, default=1.0, metavar="D", help="each layer's rate: D times that of the layer above"
    )
    group.add_argument("--save-every", type=positive, default=500, metavar="N", help="steps (default 500)")
    group.add_argument(
        "--micro-tokens", type=positive, metavar="N", help="tokens per pass, to save memory (gradient accumulation)"
    )
    group.add_argument("--gradient-checkpointing", action="store_true", help="less memory, a third slower")
    group.add_argument(
        "--stop-after",
        type=positive,
        metavar="N",
        help="stop at step N; the same command without this option continues",
    )
    group.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="default float32")
    group.add_argument("--tensorboard", action="store_true", help="log for TensorBoard too, into DIR/tensorboard")
    group.add_argument("--device", metavar="NAME", help="cuda, mps, …, or auto, the best there is; default cpu")
    group.add_argument("--fsdp", action="store_true", help="with torchrun: each process holds a part of the model")


def settings_of(options: argparse.Namespace, **more: Any) -> "Settings":
    """The settings of a run from its options."""
    from minibert.training.settings import Settings

    given = {field.name: getattr(options, field.name) for field in fields(Settings) if hasattr(options, field.name)}
    return Settings(**{**given, **more})


def draw(folder: Path) -> Path | None:
    """Draw the curves of the run, if matplotlib is installed."""
    from minibert.training.curve import draw_curves

    try:
        return draw_curves(folder)
    except MissingExtraError as error:
        print(f"minibert: no picture of the losses: {error}", file=sys.stderr)
        return None
