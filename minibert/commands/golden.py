"""``minibert golden``: record a checkpoint's inner values, for ``verify`` to compare with."""

import argparse
from pathlib import Path
from typing import Any

from minibert.commands.verb import add_checkpoint, add_verb, print_json


def add(verbs: Any) -> None:
    """``golden``."""
    verb = add_verb(verbs, "golden", golden, "record a checkpoint's inner values in full precision, to verify against")
    add_checkpoint(verb)
    verb.add_argument("-o", "--output", required=True, metavar="FILE", help="the .safetensors file to write")
    verb.add_argument("--text", action="append", default=[], metavar="TEXT", help="record on these texts instead")
    verb.add_argument("--layers", action="store_true", help="only embeddings, layers, pooler and head: a small file")
    verb.epilog = (
        "example: minibert golden -o golden.safetensors; or: minibert golden path/to/checkpoint -o golden.safetensors"
    )


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
