"""The verbs about a checkpoint: what it holds, what it computes, another form of it."""

import argparse
import sys
from pathlib import Path
from typing import Any

from minibert.commands.verb import OWN, add_checkpoint, add_verb, print_json, say_own
from minibert.errors import InputError
from minibert.source import DEMO
from minibert.terminal import table


def add(verbs: Any) -> None:
    """``inspect``, ``verify``, ``golden``, ``convert``."""
    verb = add_verb(verbs, "inspect", inspect, "show what a checkpoint holds and what became of every tensor")
    add_checkpoint(verb)
    verb.epilog = "example: minibert inspect; or: minibert inspect path/to/bert-base-uncased"

    verb = add_verb(verbs, "verify", verify, "prove that a checkpoint computes what it should, value by value")
    add_checkpoint(verb, None)
    against = verb.add_mutually_exclusive_group(required=True)
    against.add_argument(
        "--against", metavar="WHAT", help="transformers, a golden file, or another checkpoint to compare with"
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
    verb.add_argument("--text", action="append", default=[], metavar="TEXT", help="compare on these texts instead")
    verb.add_argument("--all", action="store_true", help="show every point, not only the outer ones and differences")
    verb.epilog = (
        "exit code 1: a point differs by more than rounding.  example: minibert verify --against transformers; or: "
        "minibert verify path/to/checkpoint --against path/to/another"
    )

    verb = add_verb(verbs, "golden", golden, "record a checkpoint's inner values in full precision, to verify against")
    add_checkpoint(verb)
    verb.add_argument("-o", "--output", required=True, metavar="FILE", help="the .safetensors file to write")
    verb.add_argument("--text", action="append", default=[], metavar="TEXT", help="record on these texts instead")
    verb.add_argument("--layers", action="store_true", help="only embeddings, layers, pooler and head: a small file")
    verb.epilog = (
        "example: minibert golden -o golden.safetensors; or: minibert golden path/to/checkpoint -o golden.safetensors"
    )

    verb = add_verb(
        verbs, "convert", convert, "write any checkpoint as a modern folder: config, safetensors, vocabulary"
    )
    verb.add_argument("checkpoint", metavar="CHECKPOINT", help="a folder, a weight file, or a hub name")
    verb.add_argument("-o", "--output", required=True, metavar="FOLDER", help="the folder to write")
    verb.add_argument(
        "--head", metavar="CLASS", help="for example BertForMaskedLM; default: what fits most of its tensors"
    )
    verb.add_argument(
        "--lower-case",
        action=argparse.BooleanOptionalAction,
        help="whether the vocabulary is of lower-cased text (an uncased model), where the checkpoint does not say",
    )
    verb.epilog = "example: minibert convert uncased_L-12_H-768_A-12/bert_model.ckpt -o bert-base-uncased"


def inspect(options: argparse.Namespace) -> int:
    """``minibert inspect``."""
    from minibert.auto import load_architecture

    model = load_architecture(options.checkpoint)
    report, config = model.load_report, model.config
    assert report is not None
    if options.json:
        print_json(report.to_dict() | {"config": config.to_dict(), "parameters": model.num_parameters()})
        return 0
    print(
        f"{report.model}: {config.num_hidden_layers} layers, hidden size {config.hidden_size}, "
        f"{config.num_attention_heads} heads, {config.vocab_size:,} pieces, "
        f"{config.max_position_embeddings} positions, {model.num_parameters():,} parameters\n"
    )
    rows = [(t.name, "×".join(map(str, t.shape)), t.dtype, t.parameter or "not used", t.note) for t in report.tensors]
    print(table(("in the file", "shape", "kind", "in the model", "how or why"), rows))
    print(f"\n{report}")
    return 0


def rounding(text: str) -> float:
    """An option's value that must be a number of at least 0."""
    try:
        units = float(text)
    except ValueError:
        units = -1.0
    if not 0 <= units < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return units


def verify(options: argparse.Namespace) -> int:
    """``minibert verify``."""
    import minibert.verify as room

    checkpoint = to_verify(options)
    if options.published is not None:
        published = room.verify_published(checkpoint, options.published or None)
        if options.json:
            print_json(published.to_dict())
        else:
            print(published)
        return 0 if published.same else 1
    report = room.verify(
        checkpoint,
        options.against,
        dtype=options.dtype,
        attention=options.attention,
        texts=options.text,
        bound=options.bound,
    )
    if options.json:
        print_json(report.to_dict())
    else:
        print(report.to_text(every_point=options.all))
    return 0 if report.same else 1


def to_verify(options: argparse.Namespace) -> str:
    """The checkpoint that was named; else minibert's own, but never as one of two that are compared with each other."""
    from minibert.verify.golden import is_golden

    if options.checkpoint is None:
        path = Path(options.against or "")
        a_golden = path.suffix == ".safetensors" and path.is_file() and is_golden(path)
        if options.against != "transformers" and not a_golden:
            raise InputError(
                "Name the checkpoint to verify: minibert verify CHECKPOINT …. Only with --against transformers or a "
                f"golden file is it, without a name, {OWN}."
            )
        options.checkpoint = DEMO
        say_own(options)
    checkpoint: str = options.checkpoint
    return checkpoint


def golden(options: argparse.Namespace) -> int:
    """``minibert golden``."""
    from minibert.verify import make_golden

    path = Path(options.output)
    points = make_golden(options.checkpoint, path, texts=options.text, only_layers=options.layers)
    size = path.stat().st_size
    if options.json:
        print_json({"file": str(path), "points": points, "bytes": size})
    else:
        print(f"{path}: {points} points in float64 and float32, {size:,} bytes")
        print(f"to compare with it: minibert verify {options.checkpoint} --against {path}")
    return 0


def convert(options: argparse.Namespace) -> int:
    """``minibert convert``."""
    from minibert.convert import convert as write
    from minibert.convert import says_nothing_of_case

    report, files = write(options.checkpoint, options.output, options.head, lower_case=options.lower_case)
    if says_nothing_of_case(options.output):
        print(
            f"minibert: {options.checkpoint} does not say whether its vocabulary is of lower-cased text, so neither "
            f"does {options.output}; a tokenizer lower-cases by default. Say it: --lower-case or --no-lower-case.",
            file=sys.stderr,
        )
    if options.json:
        print_json(report.to_dict() | {"written": files})
    else:
        print(f"{report}\nwritten to {options.output}: {', '.join(files)}")
    return 0
