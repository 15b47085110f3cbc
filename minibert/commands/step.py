"""``minibert step``: a small debugger that goes through a model's run value by value."""

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from minibert.commands.inputs import add_one_text, load_inputs
from minibert.commands.verb import add_verb, print_json
from minibert.errors import MinibertError
from minibert.terminal import visible


def add(verbs: Any) -> None:
    """``step``."""
    verb = add_verb(verbs, "step", step, "step through a model's run, look at each value, change it, go on")
    add_one_text(verb)
    verb.epilog = (
        "commands are read line by line, from you or from a pipe; help lists them.  "
        'example: minibert step "She sat by the bank."'
    )


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
    """Lines of commands, typed or from a pipe, until its end."""
    while True:
        if someone:
            print("(step) ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if someone or line.strip():
            yield line
