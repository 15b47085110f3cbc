"""``minibert index``: an approximate index beside the vectors of a corpus."""

import argparse
from typing import Any

from minibert.commands.verb import add_verb, print_json, say_interrupted, share


def add(verbs: Any) -> None:
    """``index``."""
    verb = add_verb(verbs, "index", index, "make a search in a corpus faster, where it may miss a row")
    verb.description = (
        "Make an approximate index beside the vectors that minibert embed wrote, for minibert similar --in DIR "
        "--approximate. What it finds of the ten nearest rows is measured against the exact search, printed and kept. "
        "Stopped at any moment, the same command goes on where it was."
    )
    verb.add_argument("folder", metavar="DIR", help="a folder that minibert embed wrote; the index goes to DIR/index")
    verb.add_argument(
        "--recall",
        type=share,
        default=0.99,
        metavar="R",
        help="the share of the ten nearest rows to find: a query looks at as little as that takes (default 0.99)",
    )
    verb.epilog = (
        'example: minibert index vectors; then: minibert similar "a film to see twice" --in vectors --approximate'
    )


def index(options: argparse.Namespace) -> int:
    """``minibert index``."""
    from minibert.corpus import index_corpus

    try:
        report = index_corpus(options.folder, options.recall)
    except KeyboardInterrupt:
        return say_interrupted(options.folder, "what is done")
    if options.json:
        print_json(report.to_dict())
    else:
        print(report)
    return 0
