"""``minibert finetune``: a checkpoint trained further for a task, on labelled data."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minibert.commands.columns import OF_LABELS, OF_TEXTS, OF_VECTORS, add_columns, choices_of
from minibert.commands.training import add_settings, draw, settings_of
from minibert.commands.verb import INTERRUPTED, add_model, add_verb, names, positive, print_json
from minibert.errors import InputError

if TYPE_CHECKING:
    from minibert.finetuning import Finetuned, Lora, Seeds

# Here too: importing the tasks takes a second.
TASKS = ("classify", "score", "entities", "answers", "choice", "embedding")

VALUES = {
    "loss": "NAME", "scale": "X", "highest_score": "X", "pooling": "NAME", "query_prompt": "TEXT",
    "document_prompt": "TEXT",
}  # fmt: skip


def add(verbs: Any) -> None:
    """``finetune``."""
    verb = add_verb(verbs, "finetune", finetune, "train a checkpoint further for a task, on labelled data")
    verb.description = (
        "Fine-tune a checkpoint: classify texts or pairs of them, predict a score, find entities, find answers, choose "
        "one of several answers, embed sentences. The labels are those found in the data. Stopped at any moment "
        "(Ctrl-C, kill), the same command "
        "goes on where it was, bit for bit. Several processes: torchrun --nproc-per-node 2 -m minibert finetune …"
    )
    verb.add_argument("task", choices=TASKS, metavar="TASK", help=", ".join(TASKS))
    verb.add_argument(
        "train",
        metavar="TRAIN",
        help=".csv, .tsv, .jsonl, .parquet; entities: two columns (CoNLL); answers: SQuAD; also .gz and .zst",
    )
    verb.add_argument(
        "--dev", metavar="FILE", help="scored after each epoch; the best weights are kept; 10%%: drawn from TRAIN"
    )
    verb.add_argument(
        "--patience",
        type=positive,
        metavar="N",
        help="stop after N evaluations without a better score (early stopping)",
    )
    verb.add_argument(
        "--seeds", type=positive, metavar="N", help="N runs, with --seed and the next ones; mean and std of the scores"
    )
    verb.add_argument("--output", required=True, metavar="DIR", help="the folder for the run and its checkpoint")
    add_model(verb)
    verb.add_argument("--fresh-head", action="store_true", help="a new head, even if the checkpoint has one")
    verb.add_argument(
        "--from-scratch", action="store_true", help="random weights instead of the checkpoint's, for comparison"
    )
    verb.add_argument("--batch-size", type=positive, default=32, metavar="B", help="examples per step (default 32)")
    verb.add_argument(
        "--padded", action="store_true", help="pad each step to its longest text, as other trainers do; slower"
    )
    data = add_columns(verb, {**OF_TEXTS, **OF_LABELS})
    data.add_argument(
        "--labels", dest="label_names", type=names, metavar="A,B,…", help="names of labels that are numbers (entities)"
    )
    data.add_argument("--multi-label", action="store_true", help="a text has any number of labels (classify)")
    data.add_argument(
        "--count-from", type=int, choices=(0, 1), help="the number of the first choice, where they are numbers (choice)"
    )
    data.add_argument("--separator", metavar="SEP", help="between the labels of a row; default | (--multi-label)")
    data.add_argument(
        "--class-weights", type=weights, metavar="W", help="balanced; or NAME=NUMBER,…; or one number per label"
    )
    data.add_argument(
        "--max-length", type=positive, metavar="T", help="tokens per row; default: as many as the model reads"
    )
    data.add_argument("--stride", type=positive, metavar="N", help="tokens shared by two windows of a long text")
    vectors = verb.add_argument_group("the vectors (embedding)")
    for name, what in OF_VECTORS.items():
        kind: Any = {"scale": float, "highest_score": float, "pooling": poolings}.get(name, str)
        vectors.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar=VALUES[name], help=what)
    adapters = verb.add_argument_group("adapters")
    adapters.add_argument(
        "--lora", type=positive, metavar="R", help="freeze the checkpoint; train its head, and adapters of rank R"
    )
    adapters.add_argument("--lora-alpha", type=float, metavar="A", help="they are scaled by A / R (default R)")
    adapters.add_argument("--lora-dropout", type=float, metavar="P", help="of what they read (default 0)")
    adapters.add_argument(
        "--lora-targets", type=names, metavar="A,B,…", help="the layers that get one (default query,value)"
    )
    add_settings(verb, learning_rate=5e-5, epochs=3, note="; with --lora 5e-4")
    verb.epilog = (
        "examples: minibert finetune classify train.tsv --dev dev.tsv --output my-classifier; "
        "minibert finetune embedding pairs.tsv --dev more-pairs.tsv --output my-embedder"
    )


def finetune(options: argparse.Namespace) -> int:
    """``minibert finetune``."""
    from minibert.devices import find_device
    from minibert.finetuning import TASKS, MultiLabel, finetune_seeds
    from minibert.finetuning import finetune as run
    from minibert.finetuning.classify import Classify
    from minibert.finetuning.lora import LEARNING_RATE
    from minibert.finetuning.run import RECIPE
    from minibert.training.distributed import join_processes

    kind = TASKS[options.task]
    if options.multi_label:
        if options.task != Classify.name:
            raise InputError(f"--multi-label is not for the task {options.task}; it is for {Classify.name}.")
        kind = MultiLabel
    elif options.separator is not None:
        raise InputError("--separator is for texts with several labels each: give --multi-label, too.")
    task = kind(**choices_of(options, kind))
    lora = adapters_of(options)
    if options.learning_rate is None:
        options.learning_rate = RECIPE["learning_rate"] if lora is None else LEARNING_RATE
    settings = asdict(settings_of(options))
    del settings["keep_best"]  # the task knows its score
    with join_processes(find_device(options.device), sharded=options.fsdp) as processes:
        arguments: dict[str, Any] = {
            "batch_size": options.batch_size, "fresh_head": options.fresh_head, "from_scratch": options.from_scratch,
            "padded": options.padded, "lora": lora, "processes": processes, **settings,
        }  # fmt: skip
        files = task, options.model, options.train, options.output, options.dev
        if options.seeds is None:
            found = run(*files, **arguments)
            return report(found, options) if processes.is_main else 0
        several = finetune_seeds(*files, seeds=options.seeds, **arguments)
        return report_seeds(several, options) if processes.is_main else 0


def report_seeds(found: "Seeds", options: argparse.Namespace) -> int:
    """Print how the runs of several seeds ended, draw their curves, and return the exit code."""
    pictures = [] if found.interrupted else [draw(Path(run.folder)) for run in found.runs]
    if options.json:
        print_json({**found.to_dict(), "curves": [str(picture) for picture in pictures if picture]})
    else:
        print(found)
    return INTERRUPTED if found.interrupted else 0


def report(found: "Finetuned", options: argparse.Namespace) -> int:
    """Print how the run ended, draw its curve, and return the exit code."""
    picture = None if found.interrupted else draw(Path(options.output))
    if options.json:
        print_json({**found.to_dict(), "interrupted": found.interrupted, "curve": picture and str(picture)})
    else:
        print(found)
        if picture is not None:
            print(f"curves: {picture}")
    return INTERRUPTED if found.interrupted else 0


def adapters_of(options: argparse.Namespace) -> "Lora | None":
    """The adapters that were asked for; InputError for choices of theirs without --lora."""
    from minibert.finetuning import Lora

    given = {
        "lora_alpha": options.lora_alpha, "lora_dropout": options.lora_dropout, "target_modules": options.lora_targets,
    }  # fmt: skip
    chosen = {name: value for name, value in given.items() if value is not None}
    if options.lora is not None:
        return Lora(r=options.lora, **chosen)
    if chosen:
        option = "--lora-targets" if "target_modules" in chosen else f"--{next(iter(chosen)).replace('_', '-')}"
        raise InputError(f"{option} is for adapters: give --lora R, their rank, too.")
    return None


def poolings(text: str) -> str | list[str]:
    """``mean``, or ``cls,mean`` for several, whose vectors are concatenated."""
    parts = [part.strip() for part in text.split(",")]
    return parts if len(parts) > 1 else parts[0]


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
