"""The verbs that look inside a run: every value in a table, or one after the other in a small debugger."""

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from minibert.commands.verb import (
    add_model,
    add_truncate,
    add_verb,
    load_tokenizer,
    positive,
    print_json,
    tokens_read,
)
from minibert.errors import InputError, MinibertError
from minibert.source import Checkpoint
from minibert.terminal import table, visible

if TYPE_CHECKING:
    from minibert.lens import Trace
    from minibert.pretrained import BertPreTrainedModel

ONE_LAYER = "only this layer, encoder.layer.L, from 0"


def add(verbs: Any) -> None:
    """``trace``, ``step``."""
    verb = add_verb(verbs, "trace", trace, "show every value that a model computes for a text")
    add_one_text(verb)
    verb.add_argument("--layer", type=number_from_0, metavar="L", help=ONE_LAYER)
    verb.add_argument("--head", type=number_from_0, metavar="N", help="the numbers of this head, from 0")
    verb.add_argument("--token", type=number_from_0, metavar="T", help="the numbers of this token, from 0: [CLS]")
    verb.add_argument(
        "--numbers", type=positive, default=8, metavar="K", help="how many numbers of a row (default 8; JSON has all)"
    )
    verb.epilog = 'example: minibert trace "She sat by the bank." --layer 3 --head 2'

    verb = add_verb(verbs, "step", step, "step through a model's run, look at each value, change it, go on")
    add_one_text(verb)
    verb.epilog = (
        "commands are read line by line, from you or from a pipe; help lists them.  "
        'example: minibert step "She sat by the bank."'
    )


def add_one_text(verb: argparse.ArgumentParser) -> None:
    """A text, perhaps a pair, and the checkpoint."""
    verb.add_argument("text", metavar="TEXT", help="the text, in quotes")
    verb.add_argument("pair", nargs="?", metavar="TEXT", help="a second text, for a model that reads pairs")
    add_truncate(verb)
    add_model(verb)


def number_from_0(text: str) -> int:
    """An option's value that counts from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def load_inputs(options: argparse.Namespace) -> tuple["BertPreTrainedModel", dict[str, Any], list[str]]:
    """The model that the checkpoint is for, the text as its inputs, and the pieces."""
    from minibert.auto import load_architecture

    options.model = Checkpoint.open(options.model)
    tokenizer, model = load_tokenizer(options.model), load_architecture(options.model)
    limit = tokens_read(tokenizer, model.config, options.text, options.pair, options.truncate)
    inputs = tokenizer(options.text, options.pair, return_tensors="pt", truncation=True, max_length=limit)
    return model, dict(inputs), tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])


def trace(options: argparse.Namespace) -> int:
    """``minibert trace``."""
    from minibert.lens import trace as run
    from minibert.lens.printing import trace_table

    model, inputs, tokens = load_inputs(options)
    for what, number, size in (
        ("layer", options.layer, model.config.num_hidden_layers),
        ("head", options.head, model.config.num_attention_heads),
        ("token", options.token, len(tokens)),
    ):
        if number is not None and number >= size:
            raise InputError(f"There is no {what} {number}: this run has {what}s 0 to {size - 1}.")
    found = run(model, inputs)
    if options.json:
        print_json({"model": type(model).__name__, "tokens": tokens, "points": list(_entries(found, options))})
        return 0
    print(f"{type(model).__name__}, {len(tokens)} tokens: {' '.join(map(visible, tokens))}\n")
    if options.head is None and options.token is None:
        print(trace_table(found, found.points, options.layer))
    else:
        print(_numbers_table(found, tokens, options))
    return 0


def _entries(found: "Trace", options: argparse.Namespace) -> Iterator[dict[str, object]]:
    """The points asked for, for JSON; with all the numbers of the head or token asked for."""
    from dataclasses import asdict

    from minibert.lens.printing import Summary, rows_of

    for number, (name, value) in enumerate(found.items(), start=1):
        point = found.points[name]
        if options.layer is not None and point.layer != options.layer:
            continue
        entry: dict[str, object] = {"step": number, "point": name, "formula": point.formula}
        entry |= {"shape": list(value.shape), **asdict(Summary.of(value))}
        entry["spread"] = entry["std"]  # older name, until 0.3
        if options.head is not None or options.token is not None:
            entry["rows"] = [asdict(row) for row in rows_of(value, options.head, options.token)]
        yield entry


def _numbers_table(found: "Trace", tokens: list[str], options: argparse.Namespace) -> str:
    """A row of numbers for each point, head and token asked for."""
    from minibert.lens.printing import numbers_text, rows_of

    rows = [
        (
            name,
            "" if row.head is None else row.head,
            "" if row.token is None else f"{row.token} {tokens[row.token]}",
            numbers_text(row.numbers, options.numbers),
        )
        for name, value in found.items()
        if options.layer is None or found.points[name].layer == options.layer
        for row in rows_of(value, options.head, options.token)
    ]
    return table(("point", "head", "token", "numbers"), rows, right=("head",))


def step(options: argparse.Namespace) -> int:
    """``minibert step``."""
    from minibert.lens.debugger import Debugger

    model, inputs, tokens = load_inputs(options)
    said: list[str] = []
    say = said.append if options.json else print
    say(f"{type(model).__name__}, {len(tokens)} tokens: {' '.join(map(visible, tokens))}; help lists the commands")
    debugger = Debugger(model, inputs, say)
    someone = sys.stdin.isatty()
    for line in _lines(someone):
        try:
            debugger.obey(line)
        except MinibertError as error:
            if not someone:  # a script goes wrong where it goes wrong, and says so by its exit code
                debugger.quit()
                raise
            print(f"minibert: {error}", file=sys.stderr)
        if debugger.over:
            break
    debugger.quit()
    if options.json:
        content = {"model": type(model).__name__, "tokens": tokens, "edits": debugger.edits, "said": said}
        print_json(content | {"finished": debugger.finished, "differences": debugger.differences})
    return 0


def _lines(someone: bool) -> Iterator[str]:
    """Lines of commands: typed, or from a pipe; its end is the end of the session."""
    while True:
        if someone:
            print("(step) ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if someone or line.strip():
            yield line
