"""``minibert verify``: whether a checkpoint computes what it should, value by value."""

import argparse
from pathlib import Path
from typing import Any

from minibert.commands.verb import OWN, add_checkpoint, add_language, add_verb, print_json, say_own
from minibert.errors import InputError
from minibert.source import DEMO


def add(verbs: Any) -> None:
    """``verify``."""
    verb = add_verb(verbs, "verify", verify, "prove that a checkpoint computes what it should, value by value")
    add_checkpoint(verb, None)
    against = verb.add_mutually_exclusive_group(required=True)
    against.add_argument(
        "--against",
        metavar="WHAT",
        help="transformers, a golden file, another checkpoint, an .onnx file, or path/to/my_bert.py:build, a function "
        "that builds your own BERT from what its parameters ask for (config, state_dict, folder); this runs your file",
    )
    against.add_argument(
        "--values",
        metavar="FILE",
        help="compare with what any program recorded, under any names: a .safetensors or .npz file, with the ids that "
        "it was run on as input_ids (and attention_mask, token_type_ids), or of the texts that --text says",
    )
    against.add_argument(
        "--published", nargs="?", const="", metavar="NAME", help="compare with values that other projects printed"
    )
    verb.add_argument(
        "--dtype", choices=("float32", "float64"), help="default float32; against a golden file: both, one by one"
    )
    verb.add_argument("--attention", choices=("eager", "sdpa"), default="eager", help="default eager, which has maps")
    verb.add_argument(
        "--bound",
        type=rounding,
        metavar="UNITS",
        help="what counts as rounding: units in the last place of a point's largest value, for each layer above it; "
        "default 16; 0: only identical values pass",
    )
    verb.add_argument(
        "--text", action="append", default=[], metavar="TEXT", help="compare on this text instead; may be given again"
    )
    add_language(verb)
    verb.add_argument("--all", action="store_true", help="show every point, not only the outer ones and differences")
    verb.epilog = (
        "exit code 1: a point differs by more than rounding.  example: minibert verify --against transformers; or: "
        "minibert verify path/to/checkpoint --against path/to/another"
    )


def rounding(text: str) -> float:
    """Parse a number of at least 0."""
    try:
        units = float(text)
    except ValueError:
        units = -1.0
    if not 0 <= units < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return units


def verify(options: argparse.Namespace) -> int:
    """``minibert verify``."""
    from minibert.verify import verify as run
    from minibert.verify import verify_published

    checkpoint = to_verify(options)
    if options.published is not None:
        published = verify_published(checkpoint, options.published or None)
        if options.json:
            print_json(published.to_dict())
        else:
            print(published)
        return 0 if published.same else 1
    report = run(
        checkpoint,
        options.against,
        values=options.values,
        dtype=options.dtype,
        attention=options.attention,
        texts=options.text,
        bound=options.bound,
    )
    if options.json:
        print_json(report.to_dict(options.language))
    else:
        print(report.to_text(every_point=options.all, language=options.language))
    return 0 if report.same else 1


def to_verify(options: argparse.Namespace) -> str:
    """The checkpoint that was named; else minibert's own, but never as one of two that are compared with each other."""
    from minibert.verify.golden import is_golden
    from minibert.verify.onnx_runs import is_onnx
    from minibert.verify.user_code import names_code

    if options.checkpoint is None:
        against = options.against or ""
        path = Path(against)
        a_golden = path.suffix == ".safetensors" and path.is_file() and is_golden(path)
        another_side = against == "transformers" or a_golden or is_onnx(against) or names_code(against)
        if options.values is None and not another_side:
            raise InputError(
                "Name the checkpoint to verify: minibert verify CHECKPOINT …. Only with --values, and with --against "
                f"transformers, a golden file, an .onnx file or your own code, is it, without a name, {OWN}."
            )
        options.checkpoint = DEMO
        say_own(options)
    checkpoint: str = options.checkpoint
    return checkpoint
