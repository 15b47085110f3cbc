"""``minibert convert``: any checkpoint as a folder with config, safetensors and vocabulary."""

import argparse
import sys
from typing import Any

from minibert.commands.verb import add_verb, print_json


def add(verbs: Any) -> None:
    """``convert``."""
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
        help="whether the model is uncased, if the checkpoint does not say",
    )
    verb.epilog = "example: minibert convert uncased_L-12_H-768_A-12/bert_model.ckpt -o bert-base-uncased"


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
