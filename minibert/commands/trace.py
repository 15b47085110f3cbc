"""``minibert trace``: every value inside a run, as a table."""

import argparse
from typing import Any

from minibert.commands.inputs import ONE_LAYER, add_one_text, load_inputs, number_from_0
from minibert.commands.verb import add_verb, positive, print_json
from minibert.errors import InputError
from minibert.terminal import visible


def add(verbs: Any) -> None:
    """``trace``."""
    verb = add_verb(verbs, "trace", trace, "show every value that a model computes for a text")
    add_one_text(verb)
    verb.add_argument("--layer", type=number_from_0, metavar="L", help=ONE_LAYER)
    verb.add_argument("--head", type=number_from_0, metavar="N", help="the numbers of this head, from 0")
    verb.add_argument("--token", type=number_from_0, metavar="T", help="the numbers of this token, from 0: [CLS]")
    verb.add_argument(
        "--numbers", type=positive, default=8, metavar="K", help="how many numbers of a row (default 8; JSON has all)"
    )
    verb.epilog = 'example: minibert trace "She sat by the bank." --layer 3 --head 2'


def trace(options: argparse.Namespace) -> int:
    """``minibert trace``."""
    from minibert.lens import trace as run
    from minibert.lens.printing import numbers_table, trace_entries, trace_table

    model, inputs, tokens = load_inputs(options)
    for what, number, size in (
        ("layer", options.layer, model.config.num_hidden_layers),
        ("head", options.head, model.config.num_attention_heads),
        ("token", options.token, len(tokens)),
    ):
        if number is not None and number >= size:
            raise InputError(f"There is no {what} {number}: this run has {what}s 0 to {size - 1}.")
    values = run(model, inputs)
    asked = {"layer": options.layer, "head": options.head, "token": options.token}
    if options.json:
        points = list(trace_entries(values, values.points, **asked))
        print_json({"model": type(model).__name__, "tokens": tokens, "points": points})
        return 0
    print(f"{type(model).__name__}, {len(tokens)} tokens: {' '.join(map(visible, tokens))}\n")
    if options.head is None and options.token is None:
        print(trace_table(values, values.points, options.layer))
    else:
        print(numbers_table(values, values.points, tokens, **asked, at_most=options.numbers))
    return 0
