"""``minibert explore``: the page of a text, as a file or live."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minibert.commands.inputs import say_cut
from minibert.commands.verb import add_model, add_verb, load_tokenizer, print_json
from minibert.destination import check_file
from minibert.errors import InputError
from minibert.source import Checkpoint

if TYPE_CHECKING:
    from minibert.explorer.text import Text
    from minibert.pretrained import BertPreTrainedModel
    from minibert.tokenizer import BertTokenizer

FIRST_TEXT = "She sat by the bank of the river."  # of a live page that was given none


def add(verbs: Any) -> None:
    """``explore``."""
    verb = add_verb(verbs, "explore", explore, "make a page that shows every value of a run, as a file or live")
    verb.add_argument("text", nargs="?", metavar="TEXT", help="the text, in quotes")
    verb.add_argument("second", nargs="?", metavar="TEXT", help="a second text, to compare the words they share")
    verb.add_argument("--pair", action="store_true", help="BERT reads both texts at once: [CLS] A [SEP] B [SEP]")
    add_model(verb)
    verb.add_argument("-o", "--output", metavar="FILE", help="the page to write: one file that opens offline")
    verb.add_argument("--live", action="store_true", help="with -o: the model is in the page, which computes by itself")
    verb.add_argument("--int8", action="store_true", help="with --live: the weights as int8, in half the size")
    verb.add_argument("--serve", action="store_true", help="the same page live, in this machine's browser only")
    verb.add_argument(
        "--port", type=_port, metavar="P", help="with --serve: the port on 127.0.0.1 (default 8080; 0: a free one)"
    )
    verb.add_argument(
        "--samples", type=_samples, metavar="S", help="samples of noise per sensitivity map (default 4; 0: no maps)"
    )
    verb.epilog = (
        'example: minibert explore "He sat on the bank of the river." "She put money in the bank." -o page.html'
    )


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: they go from 1 to 65535, and 0 takes a free one")
    return int(text)


def _samples(text: str) -> int:
    if not text.isdecimal() or int(text) > 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 1000")
    return int(text)


def explore(options: argparse.Namespace) -> int:
    """``minibert explore``."""
    if options.live and options.serve:
        raise InputError("--live puts the model into a file, --serve keeps it here; give one of them.")
    if options.int8 and not options.live:
        raise InputError("--int8 is of the weights in a page that computes; give --live, too.")
    if options.serve == (options.output is not None):
        raise InputError("Say where the page goes: -o FILE for a file, or --serve for a live page; one of them.")
    if options.port is not None and not options.serve:
        raise InputError("--port is of a live page; give --serve, too.")
    if options.text is None and not options.serve:
        raise InputError("There is no text to show: give one, in quotes.")
    return serve(options) if options.serve else write(options)


def write(options: argparse.Namespace) -> int:
    """``minibert explore TEXT -o FILE``."""
    from minibert.auto import load_architecture
    from minibert.explorer import explore as make
    from minibert.explorer.text import texts_of

    if Path(options.output).is_dir():
        raise InputError(f"{options.output!r} is a folder; give the name of a file: -o {options.output}/page.html.")
    check_file(options.output, "--output")
    texts = texts_of(options.text, options.second, pair=options.pair)
    checkpoint = Checkpoint.open(options.model)
    tokenizer, model = load_tokenizer(checkpoint), load_architecture(checkpoint)
    say_cuts(model, tokenizer, texts)
    html = make(
        model,
        tokenizer,
        options.text,
        options.second,
        options.output,
        pair=options.pair,
        samples=options.samples,
        live=options.live,
        int8=options.int8,
    )
    size = len(html.encode())
    if options.json:
        print_json(
            {
                "path": str(options.output),
                "bytes": size,
                "texts": texts,
            }
        )
    else:
        print(f"{options.output}: {size / 1e6:.1f} MB; open it in a browser.")
    return 0


def say_cuts(model: "BertPreTrainedModel", tokenizer: "BertTokenizer", texts: "list[Text]") -> None:
    """Report which texts are longer than the model reads; the page says so, too."""
    from minibert.explorer.text import tokenize

    for number, text in enumerate(texts, start=1):
        tokenized = tokenize(model, tokenizer, text)
        what = "the text" if len(texts) == 1 else f"text {number}"
        say_cut(what, tokenized.full_length, tokenized.length)


def serve(options: argparse.Namespace) -> int:
    """``minibert explore --serve``."""
    from minibert.auto import load_architecture
    from minibert.explorer.server import PORT, need_server, serve_page
    from minibert.explorer.text import texts_of

    need_server()  # before a minute of loading
    texts = texts_of(FIRST_TEXT if options.text is None else options.text, options.second, pair=options.pair)
    checkpoint = Checkpoint.open(options.model)
    tokenizer, model = load_tokenizer(checkpoint), load_architecture(checkpoint)
    say_cuts(model, tokenizer, texts)

    def ready(address: str) -> None:
        if options.json:
            print_json({"address": address})
            sys.stdout.flush()
        else:
            print(f"the page is at {address} (on this machine only; Ctrl-C ends it)", flush=True)

    port = PORT if options.port is None else options.port
    serve_page(model, tokenizer, texts, port=port, samples=options.samples, ready=ready)
    return 0
