"""What pre-training brings: fine-tuned, from random weights, and with the weights frozen, on the same budget.

    python scripts/studies/compare_pretraining.py sentiment            the checkpoint that comes with minibert, reviews
    python scripts/studies/compare_pretraining.py entities             all-MiniLM-L6-v2, WNUT-17: table 7 of the paper
    python scripts/studies/compare_pretraining.py sentiment --model DIR --data DIR --texts 5000 --seeds 5
    python scripts/studies/compare_pretraining.py sentiment --quick    a minute: does it run at all?

Every row sees the same texts as often, with the same seeds.  The best epoch is kept by dev data (sentiment: a tenth of
the texts), and what is printed is measured on test data.  Where several rates are given, each row takes the one that is
best on the dev data with the first seed.  Needs pip install '.[train]'.
"""

import argparse
import logging
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory

import torch
from frozen_features import TABLE_7, WordStates, fit_linear, fit_tagger
from inputs import DATA, minilm

from minibert import BertConfig, BertModel, BertTokenizer, Embedder
from minibert.commands.verb import positive
from minibert.devices import find_device
from minibert.errors import MinibertError
from minibert.finetuning import TASKS, finetune
from minibert.source import DEMO
from minibert.training.distributed import Processes
from minibert.training.settings import Settings

FILES = {
    "sentiment": ("nsmc-from-raw", ("train.tsv", "test.tsv")),
    "entities": ("wnut17", ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated")),
}
TASK = {"sentiment": "classify", "entities": "entities"}
SCORE = {"sentiment": "accuracy", "entities": "f1"}
Pair = tuple[float, float]  # scores on dev and test data


@dataclass(frozen=True)
class Row:
    """A line of the table: what is trained, the rates to choose from, and a run: rate and seed to scores."""

    name: str
    rates: list[float]
    run: Callable[[float, int], Pair]


def parts_of(task: str, folder: Path, target: Path, texts: int, test_texts: int | None) -> list[Path]:
    """The files of ``task``, no larger than asked for, in ``target``: training, dev, test."""
    names = FILES[task][1]
    if absent := [name for name in names if not (folder / name).is_file()]:
        sys.exit(f"{folder / absent[0]} is not there. Name the folder that holds {', '.join(names)} with --data.")
    if task == "sentiment":
        head, *chosen = shuffled(lines_of(folder / names[0]), texts)
        test = shuffled(lines_of(folder / names[1]), test_texts)
        cut = len(chosen) - max(1, len(chosen) // 10)
        contents = [
            [head, *chosen[:cut]],
            [head, *chosen[cut:]],
            test[: None if test_texts is None else 1 + test_texts],
        ]
    else:
        contents = [list(covering(sentences_of(folder / names[0]), texts))]
        contents += [list(islice(sentences_of(folder / name), test_texts)) for name in names[1:]]
    paths = [target / f"{part}{Path(names[0]).suffix}" for part in ("train", "dev", "test")]
    for path, content in zip(paths, contents, strict=True):
        path.write_text("".join(content), encoding="utf-8")
    return paths


def lines_of(path: Path) -> list[str]:
    """The lines of a file, which end at newlines and nowhere else."""
    return [f"{line}\n" for line in path.read_text(encoding="utf-8").split("\n") if line]


def shuffled(lines: list[str], most: int | None) -> list[str]:
    """The line of names and at most so many others, always the same: published files are often sorted by label."""
    head, *rows = lines
    random.Random(0).shuffle(rows)
    return [head, *rows[:most]]


def sentences_of(path: Path) -> Iterator[str]:
    """The sentences of a file of columns, each with the blank line behind it."""
    for has_text, block in groupby(path.read_text(encoding="utf-8").split("\n"), key=lambda line: bool(line.strip())):
        if has_text:
            yield "\n".join(block) + "\n\n"


def covering(sentences: Iterable[str], most: int) -> Iterator[str]:
    """The first ``most`` sentences, and of the others those that bring a label for the first time."""
    seen: set[str] = set()
    for number, sentence in enumerate(sentences):
        labels = {line.split()[-1] for line in sentence.splitlines() if line.strip()}
        if number < most or not labels <= seen:
            seen |= labels
            yield sentence


def tuned(task: str, options: argparse.Namespace, paths: list[Path], scratch: bool) -> Callable[[float, int], Pair]:
    """Fine-tuning, of the checkpoint or of its shape."""

    def run(rate: float, seed: int) -> Pair:
        kind = TASKS[TASK[task]]
        with TemporaryDirectory() as folder:
            found = finetune(
                kind(), options.model, paths[0], folder, paths[1], from_scratch=scratch, fresh_head=not scratch,
                batch_size=options.batch_size, epochs=options.epochs, learning_rate=rate, seed=seed,
                save_every=10**9, processes=Processes(device=find_device(options.device)),
            )  # fmt: skip
            if found.interrupted:
                raise KeyboardInterrupt
            model = kind.model_class.from_pretrained(folder).to(find_device(options.device))
            tokenizer = BertTokenizer.from_pretrained(folder)
        chosen = kind()
        test = chosen.examples(chosen.read(paths[2], model.config), tokenizer, model.config)
        return found.scores[SCORE[task]], chosen.evaluate(model, test)[SCORE[task]]

    return run


def settings_of(options: argparse.Namespace, rate: float, seed: int) -> Settings:
    """Those of a classifier on frozen features."""
    return Settings(learning_rate=rate, epochs=options.epochs, seed=seed)


def sentiment_rows(options: argparse.Namespace, paths: list[Path]) -> Iterator[Row]:
    """Fine-tuned, from random weights, and a linear classifier on two kinds of features."""
    device = find_device(options.device)
    yield Row("fine-tuned", options.learning_rate, tuned("sentiment", options, paths, scratch=False))
    yield Row("the same from random weights", options.learning_rate, tuned("sentiment", options, paths, scratch=True))
    rows = [TASKS["classify"]().read(path) for path in paths]
    names = sorted({row.label for part in rows for row in part})
    labels = [torch.tensor([names.index(row.label) for row in part]) for part in rows]
    embedder = Embedder.from_pretrained(options.model, device=options.device)
    for name, layers in (("last layer", "last"), ("last four layers concatenated", "concat_last4")):
        vectors = [
            embedder.encode([row.text for row in part], pooling="mean", layers=layers, normalize=False)
            for part in rows
        ]  # fmt: skip

        def run(rate: float, seed: int, vectors: list[torch.Tensor] = vectors) -> Pair:
            return fit_linear(vectors, labels, settings_of(options, rate, seed), options.batch_size, device)

        yield Row(f"frozen: {name}, linear", options.frozen_rate, run)


def entity_rows(options: argparse.Namespace, paths: list[Path]) -> Iterator[Row]:
    """Fine-tuned, from random weights, and a BiLSTM on the features of the paper's table 7."""
    device = find_device(options.device)
    yield Row("fine-tuned", options.learning_rate, tuned("entities", options, paths, scratch=False))
    yield Row("the same from random weights", options.learning_rate, tuned("entities", options, paths, scratch=True))
    task = TASKS["entities"]()
    rows = task.read(paths[0])
    config = BertConfig.from_dict({**vars(BertConfig.from_pretrained(options.model)), **task.settings(rows)})
    model = BertModel.from_pretrained(options.model, output_hidden_states=True).to(device)
    if model.config.num_hidden_layers < 4:
        sys.exit(f"{options.model} has {model.config.num_hidden_layers} layers; the table needs the last four.")
    tokenizer = BertTokenizer.from_pretrained(options.model)
    parts = [rows, *(task.read(path, config) for path in paths[1:])]
    states = [
        WordStates.of(model, task.examples(part, tokenizer, config), f"features of {path.name}")
        for part, path in zip(parts, paths, strict=True)
    ]
    for choice in TABLE_7:

        def run(rate: float, seed: int, choice=choice) -> Pair:  # type: ignore[no-untyped-def]
            how = settings_of(options, rate, seed)
            return fit_tagger(choice, states, config.id2label, how, options.batch_size, options.lstm, device)

        yield Row(f"frozen: {choice.name}", options.frozen_rate, run)


def measure(row: Row, seeds: int) -> tuple[float, list[float]]:
    """The rate that is best on the dev data with the first seed, and with it the test scores of all seeds."""
    first = {rate: row.run(rate, 0) for rate in row.rates}
    best = max(first, key=lambda rate: first[rate][0])
    return best, [first[best][1], *(row.run(best, seed)[1] for seed in range(1, seeds))]


def print_row(name: str, rate: float, scores: list[float]) -> None:
    """A line of the table, as soon as it is known."""
    spread = f"{100 * stdev(scores):5.2f}" if len(scores) > 1 else "    –"
    print(f"{name:44}  {100 * mean(scores):8.2f}  {spread}  {rate:7.0e}", flush=True)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=tuple(FILES), metavar="TASK", help=" or ".join(FILES))
    parser.add_argument("--data", type=Path, metavar="DIR", help="default: ../shared/data/…")
    parser.add_argument("--model", metavar="CHECKPOINT", help="default: minibert-demo; for entities all-MiniLM-L6-v2")
    parser.add_argument("--texts", type=positive, metavar="N", help="to learn from (default 10000)")
    parser.add_argument("--test-texts", type=positive, metavar="N", help="to measure on (default: all)")
    parser.add_argument("--epochs", type=positive, metavar="N", help="default 3")
    parser.add_argument("--seeds", type=positive, metavar="N", help="runs of each row (default 3)")
    parser.add_argument("--batch-size", type=positive, default=32, metavar="B", help="default 32")
    parser.add_argument(
        "--learning-rate", type=float, nargs="+", default=[1e-4], metavar="R", help="of the model (default 1e-4)"
    )
    parser.add_argument(
        "--frozen-rate", type=float, nargs="+", default=[1e-3], metavar="R", help="on frozen features (default 1e-3)"
    )
    parser.add_argument("--lstm", type=positive, metavar="H", help="size of the BiLSTM (default 768, the paper's)")
    parser.add_argument("--device", metavar="NAME", help="cuda, mps, …, or auto; default cpu")
    parser.add_argument("--quick", action="store_true", help="few texts, one epoch, two seeds")
    options = with_defaults(parser.parse_args())
    logger = logging.getLogger("minibert")
    before = logger.level
    logger.setLevel(logging.ERROR)  # the rows' names say what begins at random
    try:
        return compare(options)
    except MinibertError as error:
        sys.exit(f"compare_pretraining: {error}")
    except KeyboardInterrupt:
        return 130
    finally:
        logger.setLevel(before)


def with_defaults(options: argparse.Namespace) -> argparse.Namespace:
    """What was not given, which depends on the task and on ``--quick``."""
    usual = {"texts": 10_000, "test_texts": None, "epochs": 3, "seeds": 3, "lstm": 768}
    quick = {"texts": 400, "test_texts": 200, "epochs": 1, "seeds": 2, "lstm": 64}
    for name, value in (quick if options.quick else usual).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.data = options.data or DATA / FILES[options.task][0]
    if options.model is None:
        options.model = DEMO if options.task == "sentiment" else minilm()
    return options


def compare(options: argparse.Namespace) -> int:
    """All rows of a task."""
    with TemporaryDirectory() as folder:
        paths = parts_of(options.task, options.data, Path(folder), options.texts, options.test_texts)
        kind = TASKS[TASK[options.task]]()
        counts = [len(kind.read(path)) for path in paths]
        print(
            f"{options.task}, {options.model}\n"
            f"{counts[0]:,} texts to learn from, {counts[1]:,} dev, {counts[2]:,} test; {options.epochs} epochs, "
            f"batches of {options.batch_size}, {options.seeds} seeds\n"
        )
        score = {"accuracy": "accuracy", "f1": "F1"}[SCORE[options.task]]
        print(f"{'':44}  {score:>8}  {'±':>5}  {'rate':>7}", flush=True)
        for row in {"sentiment": sentiment_rows, "entities": entity_rows}[options.task](options, paths):
            print_row(row.name, *measure(row, options.seeds))
    print("\nmean and standard deviation over the seeds, in percent")
    return 0


if __name__ == "__main__":
    sys.exit(main())
