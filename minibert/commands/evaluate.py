"""``minibert evaluate``: the scores of a fine-tuned checkpoint on labelled test data, with intervals."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minibert.commands.columns import OF_LABELS, OF_TEXTS, add_columns, choices_of
from minibert.commands.pictures import write_pictures
from minibert.commands.verb import add_verb, names, positive, print_json, share
from minibert.errors import InputError

if TYPE_CHECKING:
    from minibert.finetuning import Evaluation


def add(verbs: Any) -> None:
    """``evaluate``."""
    verb = add_verb(verbs, "evaluate", evaluate, "score a fine-tuned checkpoint on labelled test data")
    verb.description = (
        "Scores of a fine-tuned checkpoint on labelled test data: those of its task, each with the interval in which "
        "it may lie because the file is a sample (bootstrap); for each label precision, recall and F1; the confusion."
    )
    verb.add_argument("folder", metavar="FOLDER", help="what finetune wrote, or a hub name; it knows its task")
    verb.add_argument("files", nargs="+", metavar="FILE", help="labelled data, in the formats of finetune")
    verb.add_argument(
        "--against", metavar="FOLDER", help="another checkpoint for the task: by how much the first one is better"
    )
    verb.add_argument("--confidence", type=share, default=0.95, metavar="P", help="of the intervals (default 0.95)")
    verb.add_argument("--resamples", type=positive, default=1000, metavar="N", help="of the bootstrap (default 1000)")
    verb.add_argument("--seed", type=int, default=0, metavar="N", help="of the resamples (default 0)")
    verb.add_argument(
        "--picture", metavar="FILE", help="draw the confusion, or predicted against right numbers: .svg, .png or .pdf"
    )
    verb.add_argument("--device", metavar="NAME", help="cuda, mps, …, or auto, the best there is; default cpu")
    data = add_columns(verb, {**OF_TEXTS, **OF_LABELS})
    data.add_argument(
        "--count-from", type=int, choices=(0, 1), help="the number of the first choice, where they are numbers (choice)"
    )
    data.add_argument(
        "--labels", dest="label_names", type=names, metavar="A,B,…", help="names of labels that are numbers (entities)"
    )
    data.add_argument("--separator", metavar="SEP", help="between the labels of a row; default | (several labels)")
    verb.epilog = "example: minibert evaluate my-classifier test.tsv --picture confusion.svg"


def evaluate(options: argparse.Namespace) -> int:
    """``minibert evaluate``."""
    from minibert.data.formats import data_path
    from minibert.destination import check_file
    from minibert.files import is_file
    from minibert.finetuning import Predictor, compare, draw_evaluation
    from minibert.finetuning import evaluate as run
    from minibert.pictures import check_picture, need_matplotlib

    for file in options.files:  # before a checkpoint is loaded
        if not is_file(data_path(file)):
            raise InputError(f"{file} does not exist.")
    if options.picture is not None:
        if len(options.files) > 1:
            raise InputError(f"--picture is for one file, and there are {len(options.files)}: draw them one by one.")
        need_matplotlib()
        check_picture(options.picture)
        check_file(options.picture, "--picture")
    bootstrap = {"resamples": options.resamples, "confidence": options.confidence, "seed": options.seed}

    def evaluations(folder: str) -> "list[Evaluation]":
        predictor = Predictor.from_pretrained(folder, device=options.device)
        choices = choices_of(options, type(predictor.task))
        return [run(predictor, file, **bootstrap, **choices) for file in options.files]

    found = evaluations(options.folder)
    others = [] if options.against is None else evaluations(options.against)
    compared = [compare(*pair) for pair in zip(found, others, strict=False)]
    if options.json:
        content = [one.to_dict() for one in found]
        for one, comparison in zip(content, compared, strict=False):
            one |= {"against": comparison.second.to_dict(), "differences": comparison.to_dict()["differences"]}
        print_json(content)
    else:
        print("\n\n".join(map(str, (*found, *compared))))
    if options.picture is not None:
        write_pictures([options.picture], lambda file: draw_evaluation(found[0], Path(file)), options)
    return 0
