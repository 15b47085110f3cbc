"""``minibert predict``: a fine-tuned checkpoint on a few texts, on standard input, or on a whole file."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minibert.commands.columns import OF_TEXTS, add_columns, choices_of, option_of
from minibert.commands.verb import add_verb, print_json
from minibert.errors import InputError

if TYPE_CHECKING:
    from minibert.finetuning import Predictor
    from minibert.finetuning.predict import FileReport


def add(verbs: Any) -> None:
    """``predict``."""
    verb = add_verb(verbs, "predict", predict, "use a fine-tuned checkpoint on texts, or on a whole file of them")
    verb.add_argument("folder", metavar="FOLDER", help="what finetune wrote, or a hub name; it knows its task")
    verb.add_argument(
        "texts",
        nargs="*",
        metavar="TEXT",
        help="each in quotes; for answers a question, then its text; -: the lines of standard input",
    )
    verb.add_argument(
        "--pairs",
        action="store_true",
        help="two TEXTs, or fields of a line, belong together (always for answers, embedding)",
    )
    verb.add_argument("--device", metavar="NAME", help="cuda, mps, …, or auto, the best there is; default cpu")
    file = add_columns(verb, OF_TEXTS)
    file.add_argument(
        "--input", metavar="FILE", help=".txt (one text per line), .csv, .tsv, .jsonl, .parquet; - as above"
    )
    file.add_argument(
        "--output",
        metavar="FILE",
        help=".jsonl, .csv or .tsv, with the columns of the input; written as a whole or not at all",
    )
    file.add_argument("--id-column", metavar="NAME", help="column to copy to the output, under the name id")
    verb.epilog = (
        'example: minibert predict my-classifier "A film to see twice."; or: '
        "minibert predict my-classifier --input reviews.csv --output predictions.jsonl"
    )


def predict(options: argparse.Namespace) -> int:
    """``minibert predict``."""
    from minibert.data.formats import data_path
    from minibert.destination import check_file
    from minibert.files import is_file
    from minibert.finetuning import Predictor
    from minibert.finetuning.predict import check_output

    is_stream = "-" in (options.input, *options.texts)
    if options.input == "-":
        options.input, options.texts = None, [*options.texts, "-"]
    if bool(options.texts) == bool(options.input) or (is_stream and len(options.texts) > 1):
        what = "not both" if options.texts else "there is nothing to predict for"
        raise InputError(f"Give texts, or --input FILE with --output FILE, or - for standard input; {what}.")
    if options.input and not options.output:
        raise InputError("Say where the predictions go: --output FILE, ending in .jsonl, .csv or .tsv.")
    if options.texts:
        for name in (*OF_TEXTS, "id_column", *(() if is_stream else ("output", "skip_bad"))):
            if getattr(options, name) is not None:
                raise InputError(f"{option_of(name)} is for a whole file: give one with --input FILE.")
    if options.output:  # before a checkpoint is loaded
        check_output(check_file(options.output, "--output"), Path(options.input or os.devnull))
    if options.input and not is_file(data_path(options.input)):
        raise InputError(f"{options.input} does not exist.")
    predictor = Predictor.from_pretrained(options.folder, device=options.device)
    pairs = options.pairs or predictor.task.name in ("answers", "embedding")
    if is_stream and options.output:
        skip_bad = bool(options.skip_bad)
        return tell(predictor.predict_lines(sys.stdin.buffer, options.output, pairs=pairs, skip_bad=skip_bad), options)
    if is_stream:
        return predict_texts(predictor, lines_of_input(pairs, bool(options.skip_bad)), options)
    if options.input:
        choices = choices_of(options, type(predictor.task))
        found = predictor.predict_file(options.input, options.output, id_column=options.id_column, **choices)
        return tell(found, options)
    return predict_texts(predictor, items_of(options.texts, pairs=pairs), options)


def tell(found: "FileReport", options: argparse.Namespace) -> int:
    """Print the report of a file."""
    if options.json:
        print_json(found.to_dict())
    else:
        print(found)
    return 0


def lines_of_input(pairs: bool, skip_bad: bool) -> list[Any]:
    """The texts, or pairs of texts, from standard input."""
    from minibert.data.opening import GoodRows
    from minibert.data.rows import LineStream

    file = LineStream(sys.stdin.buffer, pairs)
    items = list(GoodRows(file, lambda number, line, cells: cells["text"], skip_bad))
    if not items:
        raise InputError(f"{file.path} has no lines; there is nothing to predict.")
    return items


def predict_texts(predictor: "Predictor", items: list[Any], options: argparse.Namespace) -> int:
    """Print the predictions for a few texts."""
    from minibert.finetuning.printing import predictions_text

    task = predictor.task
    found = predictor(items)
    if predictor.truncated:
        print(f"minibert: {predictor.truncated} were longer than the model reads and were cut", file=sys.stderr)
    if options.json:
        print_json([task.record(item, prediction) for item, prediction in zip(items, found, strict=True)])
        return 0
    print(predictions_text(task, items, found))
    return 0


def items_of(texts: list[str], *, pairs: bool) -> list[Any]:
    """Texts, or pairs of neighbouring texts."""
    if not pairs:
        return texts
    if len(texts) % 2:
        raise InputError(f"{len(texts)} texts cannot be taken two by two; give each its second (a question its text).")
    return list(zip(texts[::2], texts[1::2], strict=True))
