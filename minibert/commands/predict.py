"""``minibert predict``: a fine-tuned checkpoint on a few texts, on standard input, or on a whole file."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minibert.commands.columns import OF_TEXTS, add_columns, choices_of, option_of
from minibert.commands.streams import FORMATS, standard_input, standard_output
from minibert.commands.verb import add_verb, print_json
from minibert.errors import InputError

if TYPE_CHECKING:
    from minibert.finetuning import Predictor


def add(verbs: Any) -> None:
    """``predict``."""
    verb = add_verb(verbs, "predict", predict, "use a fine-tuned checkpoint on texts, or on a whole file of them")
    verb.add_argument("folder", metavar="FOLDER", help="what finetune wrote, or a hub name; it knows its task")
    verb.add_argument(
        "texts",
        nargs="*",
        metavar="TEXT",
        help="each in quotes; for answers a question, then its text; for choice a question, then its choices; -: "
        "standard input",
    )
    verb.add_argument(
        "--pairs",
        action="store_true",
        help="two TEXTs, or fields of a line, belong together (always for answers, embedding)",
    )
    verb.add_argument("--device", metavar="NAME", help="cuda, mps, …, or auto, the best there is; default cpu")
    file = add_columns(verb, OF_TEXTS)
    file.add_argument(
        "--input",
        metavar="FILE",
        help=".txt (one text per line), .csv, .tsv, .jsonl, also .gz and .zst; .parquet; - as above",
    )
    file.add_argument(
        "--format", choices=FORMATS, help="of standard input; default txt, a text per line; a table goes out as it came"
    )
    file.add_argument(
        "--output",
        metavar="FILE",
        help=".jsonl, .csv or .tsv, also .gz, with the input's columns; whole or not at all; -: standard output",
    )
    file.add_argument("--id-column", metavar="NAME", help="column to copy to the output, under the name id")
    verb.epilog = (
        'example: minibert predict my-classifier "A film to see twice."; or: '
        "minibert predict my-classifier --input reviews.csv --output predictions.jsonl"
    )


def predict(options: argparse.Namespace) -> int:
    """``minibert predict``."""
    check(options)
    if options.output is None and (options.texts or is_stream(options)) and not is_table(options):
        return predict_items(options)
    with ExitStack() as until_the_end:
        input, output = options.input, options.output
        if is_table(options):
            input = until_the_end.enter_context(standard_input(f".{options.format}"))
        if output in (None, "-"):
            output = until_the_end.enter_context(standard_output(ending_for(input)))
        predictor = load(options)
        if is_stream(options) and not is_table(options):
            pairs, skip_bad = takes_pairs(predictor, options), bool(options.skip_bad)
            lines = lines_of_input(with_tabs=pairs or predictor.task.name == "choice")
            found = predictor.predict_lines(lines, output, pairs=pairs, skip_bad=skip_bad)
        else:
            choices = choices_of(options, type(predictor.task))
            found = predictor.predict_file(input, output, id_column=options.id_column, **choices)
    if options.output in (None, "-"):
        print(f"minibert: {replace(found, output='standard output')}", file=sys.stderr)
    elif options.json:
        print_json(found.to_dict())
    else:
        print(found)
    return 0


def is_stream(options: argparse.Namespace) -> bool:
    """Whether the texts come from standard input."""
    return "-" in (options.input, *options.texts)


def is_table(options: argparse.Namespace) -> bool:
    """Whether they come as rows with columns."""
    return is_stream(options) and options.format not in (None, "txt")


def check(options: argparse.Namespace) -> None:
    """Raise InputError for arguments that do not fit together, before a checkpoint is loaded."""
    from minibert.data.formats import data_path
    from minibert.destination import check_file
    from minibert.files import is_file
    from minibert.finetuning.predict import check_output

    given = [*options.texts, *([] if options.input is None else [options.input])]
    if not given or (options.input and options.texts) or (is_stream(options) and len(given) > 1):
        what = "not both" if given else "there is nothing to predict for"
        raise InputError(f"Give texts, or --input FILE with --output FILE, or - for standard input; {what}.")
    if options.format is not None and not is_stream(options):
        raise InputError("--format is for standard input, which is called -; a file's format is that of its name.")
    file = None if is_stream(options) else options.input
    if file and not options.output:
        raise InputError(
            "Say where the predictions go: --output FILE, ending in .jsonl, .csv or .tsv, or --output - for standard "
            "output."
        )
    if not (file or is_table(options)):
        for name in (*OF_TEXTS, "id_column", *(() if is_stream(options) else ("output", "skip_bad"))):
            if getattr(options, name) is not None:
                other = "; or - with --format" if is_stream(options) else ""
                raise InputError(f"{option_of(name)} is for a whole file: give one with --input FILE{other}.")
    if options.json and (options.output == "-" or (is_table(options) and not options.output)):
        raise InputError("--json prints a report, and standard output has the predictions: leave --json out.")
    if options.output not in (None, "-"):  # before a checkpoint is loaded
        check_output(check_file(options.output, "--output"), Path(file) if file else None)
    if file and not is_file(data_path(file)):
        raise InputError(f"{file} does not exist.")


def load(options: argparse.Namespace) -> "Predictor":
    """The fine-tuned model."""
    from minibert.finetuning import Predictor

    return Predictor.from_pretrained(options.folder, device=options.device)


def ending_for(input: str | Path | None) -> str:
    """The format of predictions on standard output: that of the input, or JSON lines."""
    from minibert.data.formats import ending_of
    from minibert.finetuning.predict import FORMATS

    ending = "" if input is None else ending_of(Path(input))
    return ending if ending in FORMATS else ".jsonl"


def takes_pairs(predictor: "Predictor", options: argparse.Namespace) -> bool:
    """Whether two texts belong together."""
    name = predictor.task.name
    if options.pairs and name == "choice":
        raise InputError("--pairs is not for the task choice: a question and its choices belong together anyway.")
    return options.pairs or name in ("answers", "embedding")


def lines_of_input(with_tabs: bool) -> Iterator[bytes]:
    """The lines of standard input, which may have tabs; where the first one is no text, a hint on stderr."""
    first = sys.stdin.buffer.readline()
    looks = "jsonl" if first.lstrip().startswith(b'{"') else "tsv" if b"\t" in first and not with_tabs else None
    if looks:
        what = "an object of JSON" if looks == "jsonl" else "fields with tabs between"
        print(
            f"minibert: the first line of standard input holds {what}, and every line is read as a text; to read "
            f"columns: --format {looks}",
            file=sys.stderr,
        )
    return chain([first] if first else [], sys.stdin.buffer)


def items_in(predictor: "Predictor", pairs: bool, skip_bad: bool) -> list[Any]:
    """The texts, pairs of texts, or questions with choices, in the lines of standard input."""
    from minibert.data.opening import GoodRows
    from minibert.data.rows import LineStream

    task = predictor.task
    file = LineStream(lines_of_input(with_tabs=pairs or task.name == "choice"), pairs)
    items = list(GoodRows(file, lambda number, line, cells: task.from_line(cells["text"]), skip_bad))
    if not items:
        raise InputError(f"{file.path} has no lines; there is nothing to predict.")
    return items


def predict_items(options: argparse.Namespace) -> int:
    """Print the predictions for a few texts, or for the lines of standard input."""
    from minibert.files import is_regular
    from minibert.finetuning.printing import predictions_text

    predictor = load(options)
    task, pairs = predictor.task, takes_pairs(predictor, options)
    if is_stream(options):
        items = items_in(predictor, pairs, bool(options.skip_bad))
    else:
        items = [question_of(options.texts)] if task.name == "choice" else items_of(options.texts, pairs=pairs)
        if files := [text for text in options.texts if is_regular(Path(text))]:
            print(f"minibert: {files[0]!r} is read as a text; for what is in the file: --input", file=sys.stderr)
    found = predictor(items)
    if predictor.truncated:
        print(f"minibert: {predictor.truncated} were longer than the model reads and were cut", file=sys.stderr)
    if options.json:
        print_json([task.record(item, prediction) for item, prediction in zip(items, found, strict=True)])
        return 0
    print(predictions_text(task, items, found))
    return 0


def question_of(texts: list[str]) -> tuple[str, list[str]]:
    """A question and its choices."""
    if len(texts) < 3:
        raise InputError(
            f"There are {len(texts)} texts; expected a question and two choices or more. Several questions, or one "
            "with a context, come in a file: --input FILE."
        )
    return texts[0], texts[1:]


def items_of(texts: list[str], *, pairs: bool) -> list[Any]:
    """Texts, or pairs of neighbouring texts."""
    if not pairs:
        return texts
    if len(texts) % 2:
        raise InputError(f"{len(texts)} texts cannot be taken two by two; give each its second (a question its text).")
    return list(zip(texts[::2], texts[1::2], strict=True))
