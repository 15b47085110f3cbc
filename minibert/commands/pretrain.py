"""``minibert pretrain``: a model from random weights on plain text."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minibert.commands.training import add_settings, draw, settings_of
from minibert.commands.verb import INTERRUPTED, add_verb, log_to_stderr, positive, print_json
from minibert.errors import InputError

if TYPE_CHECKING:
    from minibert.pretraining.run import Start, TrainingText
    from minibert.training.loop import Result


def add(verbs: Any) -> None:
    """``pretrain``."""
    verb = add_verb(verbs, "pretrain", pretrain, "train a model from random weights on plain text (MLM and NSP)")
    verb.description = (
        "Train BERT from plain text: a WordPiece vocabulary, sentence pairs, masked words. An epoch shows each passage "
        "twice, with the sentences that follow in the text and with others. Stopped at any moment "
        "(Ctrl-C, kill), the same command goes on where it was, bit for bit. Several processes: torchrun "
        "--nproc-per-node 2 -m minibert pretrain …"
    )
    verb.add_argument(
        "texts", nargs="+", metavar="TEXT",
        help="UTF-8 text, or .csv, .tsv, .jsonl, .parquet with a column of texts; or folders of such, "
        "with their sub-folders; also .gz and .zst",
    )  # fmt: skip
    verb.add_argument("--output", required=True, metavar="DIR", help="the folder for the run and its checkpoint")
    text = verb.add_argument_group("the text")
    text.add_argument(
        "--prose", action="store_true", help="split it into sentences; default: one per line, blank lines between texts"
    )
    text.add_argument(
        "--document", choices=("paragraph", "line", "file"),
        help="what one document is; default: a cell of a table, a file with --prose, else lines up to a blank one",
    )  # fmt: skip
    text.add_argument("--heading", metavar="REGEX", help="lines that begin a new document too, such as 'CHAPTER '")
    text.add_argument("--encoding", default="utf-8", metavar="NAME", help="of plain text (default utf-8)")
    text.add_argument("--column", metavar="NAME", help="of the texts in tables; default: one with a usual name")
    text.add_argument(
        "--heldout", nargs="+", metavar="FILE",
        help="kept for scores, and taken out of TEXT if it is there; default: 1 %% of the documents",
    )  # fmt: skip
    text.add_argument("--heldout-share", type=float, metavar="SHARE", help="of the documents (default 0.01)")
    text.add_argument("--max-length", type=positive, default=128, metavar="T", help="tokens per example (default 128)")
    text.add_argument("--step-tokens", type=positive, default=4096, metavar="N", help="tokens per step (default 4096)")
    text.add_argument("--whole-word", action="store_true", help="mask all pieces of a word together")
    text.add_argument(
        "--shortest", type=positive, metavar="N", help="pieces of A and of B where B is asked about (default: any)"
    )
    text.add_argument("--task", choices=("mlm", "nsp"), help="masked words or next sentences alone (default: both)")
    model = verb.add_argument_group("the model")
    model.add_argument("--config", metavar="NAME", help="bert-tiny, bert-mini (default), …, or a config.json")
    model.add_argument("--vocab-size", type=positive, metavar="V", help="pieces (default 8000)")
    model.add_argument("--lowercase", action="store_true", help="an uncased vocabulary")
    model.add_argument("--tokenizer", metavar="CHECKPOINT", help="use its vocabulary instead of training one")
    model.add_argument("--from", dest="checkpoint", metavar="CHECKPOINT", help="start from its weights and vocabulary")
    model.add_argument("--fresh-head", action="store_true", help="with --from: new heads, even if it has none")
    model.add_argument("--dropout", type=float, metavar="P", help="default: what the config or the checkpoint says")
    model.add_argument("--no-gather", action="store_true", help="project every position to the vocabulary: slower")
    add_settings(verb, learning_rate=5e-4, epochs=5)
    verb.epilog = "example: minibert pretrain books/ --prose --output my-bert --epochs 10"


def pretrain(options: argparse.Namespace) -> int:
    """``minibert pretrain``."""
    from minibert.devices import find_device
    from minibert.pretraining.run import pretrain as run
    from minibert.training.distributed import join_processes

    device = find_device(options.device)
    with (
        join_processes(device, sharded=options.fsdp) as processes,
        log_to_stderr("minibert.training", "minibert.pretraining", "minibert.data"),
    ):
        text, start = text_of(options), start_of(options)
        gather = not options.no_gather
        result = run(text, options.output, settings_of(options), start=start, gather=gather, processes=processes)
        return report(result, options) if processes.is_main else 0


def text_of(options: argparse.Namespace) -> "TrainingText":
    """The text, and how to read it."""
    from minibert.pretraining.files import files_of
    from minibert.pretraining.run import TrainingText

    if options.heldout and options.heldout_share is not None:
        raise InputError("--heldout names what is kept for scores, --heldout-share how much; give one of them.")
    reading = {"split_sentences": options.prose, "document": options.document, "heading": options.heading}
    share = {} if options.heldout_share is None else {"heldout_share": options.heldout_share}
    return TrainingText(
        files_of(options.texts, options.output),
        files_of(options.heldout or (), options.output),
        **share,
        reading={**reading, "encoding": options.encoding, "column": options.column},
        max_length=options.max_length,
        step_tokens=options.step_tokens,
        whole_word=options.whole_word,
        shortest=options.shortest,
        task=options.task,
    )


def start_of(options: argparse.Namespace) -> "Start":
    """The start of the run."""
    from minibert.pretraining.run import Start

    source = "--from" if options.checkpoint else "--tokenizer" if options.tokenizer else None
    unused = {"--config": options.config if options.checkpoint else None, "--vocab-size": options.vocab_size}
    for option, value in unused.items():
        if source is not None and value is not None:
            raise InputError(f"{source} {options.checkpoint or options.tokenizer} decides that; leave {option} out.")
    names = ("config", "vocab_size", "lowercase", "tokenizer", "checkpoint", "dropout", "fresh_head")
    given = {name: getattr(options, name) for name in names}
    return Start(**{name: value for name, value in given.items() if value is not None})


def report(result: "Result", options: argparse.Namespace) -> int:
    """Print how the run ended, draw its curve, and return the exit code."""
    picture = None if result.interrupted else draw(Path(options.output))
    if options.json:
        print_json({**asdict(result), "interrupted": result.interrupted, "curve": picture and str(picture)})
    elif result.interrupted:
        print(f"{options.output}: stopped after step {result.steps:,} of {result.total:,}; the same command goes on.")
    else:
        steps = f"{result.steps:,} of {result.total:,}" if result.stopped else f"{result.steps:,}"
        print(f"{options.output}: {steps} steps, weights of step {result.kept_step:,}")
        for name, value in result.scores.items():
            print(f"  {name.replace('_', ' '):24} {value:,.4g}")
        if picture is not None:
            print(f"  curves: {picture}")
    return INTERRUPTED if result.interrupted else 0
