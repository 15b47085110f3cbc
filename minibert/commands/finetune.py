"""``minibert finetune`` and ``minibert predict``: a checkpoint becomes good at a task, and is used for it.

The options about data are the fields of the tasks (minibert/finetuning/), by the same names; one that the task has no
use for is refused, so that a slip is not silently ignored.
"""

import argparse
import os
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minibert.commands.training import INTERRUPTED, add_settings, draw, settings_of
from minibert.commands.verb import add_model, add_verb, positive, print_json
from minibert.errors import InputError
from minibert.terminal import table

if TYPE_CHECKING:
    from minibert.finetuning import Finetuned, Predictor, Task
    from minibert.finetuning.predict import FileReport

TASKS = ("classify", "score", "entities", "answers")  # here too: importing the tasks takes a second
# Fields of the tasks that are options, and what they name.
OF_TEXTS = {
    "column": "of the texts",
    "pair_column": "of the second texts, where there are pairs (classify, score)",
    "question_column": "of the questions (answers)",
    "context_column": "of the texts that hold the answers (answers)",
}
OF_LABELS = {
    "label_column": "of the labels or numbers (classify, score)",
    "words_column": "of the lists of words (entities in .jsonl or .parquet)",
    "labels_column": "of the lists of their labels",
    "spans_column": "of the lists of start, end, label (entities of texts, in .jsonl or .parquet)",
    "answer_column": "of the answers (answers)",
    "start_column": "of where they start, in characters",
}
OTHERS = ("label_names", "class_weights", "separator", "max_length", "stride", "skip_bad")


def add(verbs: Any) -> None:
    """``finetune``, ``predict``."""
    verb = add_verb(verbs, "finetune", finetune, "train a checkpoint further for a task, on labelled data")
    verb.description = (
        "Fine-tune a checkpoint: classify texts or pairs of them, predict a score, find entities, find answers. The "
        "labels are those found in the data. Stopped at any moment (Ctrl-C, kill), the same command goes on where it "
        "was, bit for bit. Several processes: torchrun --nproc-per-node 2 -m minibert finetune …"
    )
    verb.add_argument("task", choices=TASKS, metavar="TASK", help=", ".join(TASKS))
    verb.add_argument(
        "train", metavar="TRAIN", help=".csv, .tsv, .jsonl, .parquet; entities: two columns (CoNLL); answers: SQuAD"
    )
    verb.add_argument("--dev", metavar="FILE", help="scored after each epoch; the best weights are kept")
    verb.add_argument("--output", required=True, metavar="DIR", help="the folder for the run and its checkpoint")
    add_model(verb)
    verb.add_argument("--fresh-head", action="store_true", help="a new head, also where the checkpoint brings one")
    verb.add_argument("--from-scratch", action="store_true", help="random weights: shows what pre-training brings")
    verb.add_argument("--batch-size", type=positive, default=32, metavar="B", help="examples a step (default 32)")
    data = add_columns(verb, {**OF_TEXTS, **OF_LABELS})
    data.add_argument(
        "--labels", dest="label_names", type=names, metavar="A,B,…", help="of labels that are numbers (entities)"
    )
    data.add_argument("--multi-label", action="store_true", help="a text has any number of labels (classify)")
    data.add_argument("--separator", metavar="SEP", help="between the labels of a row; default | (--multi-label)")
    data.add_argument(
        "--class-weights", type=weights, metavar="W", help="balanced; or NAME=NUMBER,…; or numbers, one a label"
    )
    data.add_argument("--max-length", type=positive, metavar="T", help="tokens of a row; default: all the model reads")
    data.add_argument("--stride", type=positive, metavar="N", help="tokens shared by two windows of a long text")
    add_settings(verb, learning_rate=5e-5, epochs=3)
    verb.epilog = "example: minibert finetune classify train.tsv --dev dev.tsv --output my-classifier"

    verb = add_verb(verbs, "predict", predict, "use a fine-tuned checkpoint on texts, or on a whole file of them")
    verb.add_argument("folder", metavar="FOLDER", help="what finetune wrote, or a hub name; it knows its task")
    verb.add_argument(
        "texts",
        nargs="*",
        metavar="TEXT",
        help="each in quotes; for answers a question, then its text; -: the lines of standard input",
    )
    verb.add_argument(
        "--pairs", action="store_true", help="two TEXTs, or fields of a line, belong together (always for answers)"
    )
    verb.add_argument("--device", metavar="NAME", help="cuda, mps, …, or auto, the best there is; default cpu")
    file = add_columns(verb, OF_TEXTS)
    file.add_argument("--input", metavar="FILE", help=".txt (a text a line), .csv, .tsv, .jsonl, .parquet; - as above")
    file.add_argument(
        "--output", metavar="FILE", help=".jsonl, .csv or .tsv, with the input's columns; whole or not at all"
    )
    file.add_argument("--id-column", metavar="NAME", help="is called id in the output")
    verb.epilog = (
        'example: minibert predict my-classifier "A film to see twice."; or: '
        "minibert predict my-classifier --input reviews.csv --output predictions.jsonl"
    )


def add_columns(verb: argparse.ArgumentParser, columns: dict[str, str]) -> Any:
    """Options for columns, and what else is about a file of data; returns their group."""
    group = verb.add_argument_group(
        "the data", "Columns with usual names are found. In a file without names, a column is a number, from 1."
    )
    for name, what in columns.items():
        group.add_argument(f"--{name.replace('_', '-')}", metavar="NAME", help=what)
    group.add_argument("--skip-bad", action="store_true", default=None, help="leave out rows that cannot be read")
    return group


def choices_of(options: argparse.Namespace, task: "type[Task[Any, Any]]") -> dict[str, Any]:
    """The fields of the task that were given; InputError for one that it does not have."""
    known = {field.name for field in fields(task)}
    given = {name: getattr(options, name, None) for name in (*OF_TEXTS, *OF_LABELS, *OTHERS)}
    for name, value in given.items():
        if value is not None and name not in known:
            raise InputError(f"{option_of(name)} is not for the task {task.name}; it has {options_of(known)}.")
    return {name: value for name, value in given.items() if value is not None}


def option_of(name: str) -> str:
    """How a field is called on the command line."""
    return "--labels" if name == "label_names" else f"--{name.replace('_', '-')}"


def options_of(known: set[str]) -> str:
    """The options of a task, for a sentence."""
    return ", ".join(option_of(name) for name in (*OF_TEXTS, *OF_LABELS, *OTHERS) if name in known)


def finetune(options: argparse.Namespace) -> int:
    """``minibert finetune``."""
    from minibert.devices import find_device
    from minibert.finetuning import TASKS, MultiLabel
    from minibert.finetuning import finetune as run
    from minibert.finetuning.classify import Classify
    from minibert.training.distributed import join_processes

    kind = TASKS[options.task]
    if options.multi_label:
        if options.task != Classify.name:
            raise InputError(f"--multi-label is not for the task {options.task}; it is for {Classify.name}.")
        kind = MultiLabel
    elif options.separator is not None:
        raise InputError("--separator is for texts with several labels each: give --multi-label, too.")
    task = kind(**choices_of(options, kind))
    settings = asdict(settings_of(options))
    del settings["keep_best"]  # the task knows its score
    with join_processes(find_device(options.device), sharded=options.fsdp) as processes:
        found = run(
            task, options.model, options.train, options.output, options.dev, batch_size=options.batch_size,
            fresh_head=options.fresh_head, from_scratch=options.from_scratch, processes=processes, **settings,
        )  # fmt: skip
        return report(found, options) if processes.is_main else 0


def report(found: "Finetuned", options: argparse.Namespace) -> int:
    """How the run ended, with its curve drawn; the exit code."""
    picture = None if found.interrupted else draw(Path(options.output))
    if options.json:
        print_json({**found.to_dict(), "interrupted": found.interrupted, "curve": picture and str(picture)})
    else:
        print(found)
        if picture is not None:
            print(f"curves: {picture}")
    return INTERRUPTED if found.interrupted else 0


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
    pairs = options.pairs or predictor.task.name == "answers"
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
    """What became of a file."""
    if options.json:
        print_json(found.to_dict())
    else:
        print(found)
    return 0


def lines_of_input(pairs: bool, skip_bad: bool) -> list[Any]:
    """The texts, or pairs of them, of standard input."""
    from minibert.data.opening import GoodRows
    from minibert.data.rows import LineStream

    file = LineStream(sys.stdin.buffer, pairs)
    items = list(GoodRows(file, lambda number, line, cells: cells["text"], skip_bad))
    if not items:
        raise InputError(f"{file.path} has no lines; there is nothing to predict.")
    return items


def predict_texts(predictor: "Predictor", items: list[Any], options: argparse.Namespace) -> int:
    """The predictions for a few texts, printed."""
    task = predictor.task
    found = predictor(items)
    if predictor.truncated:
        print(f"minibert: {predictor.truncated} were longer than the model reads and were cut", file=sys.stderr)
    if options.json:
        print_json([task.record(item, prediction) for item, prediction in zip(items, found, strict=True)])
        return 0
    header = task.fields(items[0])
    if task.name != "entities":
        lines = [line for pair in zip(items, found, strict=True) for line in task.lines(*pair)]
        print(table(header, [shown(line) for line in lines], right=("probability", "score", "start", "end")))
        return 0
    for item, prediction in zip(items, found, strict=True):
        rows = [shown(line) for line in task.lines(item, prediction)]
        entities = table(header, rows, right=("probability", "start", "end")) if rows else "no entities"
        print(f"{item}\n\n{entities}\n")
    return 0


def shown(line: dict[str, Any]) -> tuple[object, ...]:
    """The cells of a line."""
    return tuple(
        ", ".join(f"{name} {chance:.4f}" for name, chance in value.items()) if isinstance(value, dict)
        else f"{value:.4f}" if isinstance(value, float) else value
        for value in line.values()
    )  # fmt: skip


def items_of(texts: list[str], *, pairs: bool) -> list[Any]:
    """Texts, or each with the one behind it."""
    if not pairs:
        return texts
    if len(texts) % 2:
        raise InputError(f"{len(texts)} texts cannot be taken two by two; give each its second (a question its text).")
    return list(zip(texts[::2], texts[1::2], strict=True))


def names(text: str) -> tuple[str, ...]:
    """``O,B-PER,I-PER``."""
    return tuple(part.strip() for part in text.split(","))


def weights(text: str) -> "str | dict[str, float] | tuple[float, ...]":
    """``balanced``, ``pos=2,neg=1`` or ``2,1``."""
    if text == "balanced":
        return text
    parts = [part.rpartition("=") for part in text.split(",")]
    try:
        numbers = tuple(float(number) for _, _, number in parts)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not balanced, NAME=NUMBER,… or NUMBER,…") from None
    named = {name.strip(): number for (name, _, _), number in zip(parts, numbers, strict=True) if name}
    if named and len(named) < len(parts):
        raise argparse.ArgumentTypeError(f"{text!r} has numbers with and without names, or a name twice")
    return named or numbers
