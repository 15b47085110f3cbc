"""Fine-tuning, ours against transformers' Trainer: the same scores, and how long a step takes.

    python scripts/bench/bench_training.py                                        sentiment and entities
    python scripts/bench/bench_training.py --tasks entities --texts 3394 --epochs 3 --seeds 5
    python scripts/bench/bench_training.py --tasks sentiment --model FOLDER --train train.tsv --dev dev.tsv --quick

Sentiment is ../shared/data/nsmc-from-raw (Korean reviews), from the demo checkpoint, or where there is none from random
weights of its shape; entities are ../shared/data/wnut17, from all-MiniLM-L6-v2.  Both sides begin with the same weights
and have the same rows, hyper-parameters, schedule, fused AdamW, clipping and threads; each puts its batches together in
its own way, padded to the longest.  Trainer trains transformers' model, and does not log, save, evaluate or draw a bar
meanwhile; ours writes its metrics log as always.  Three tables:

    same order, no dropout   are scores and weights the same?
    dropout                  --seeds runs, each with its own order, head and draws: mean scores, and whether they lie
                             within two standard errors of each other
    time                     they take turns; a run is --steps steps after --uncounted more.  The ratio is theirs / ours
                             within a round, so above 1 we are faster

Scores are ours on the dev data, for both.  Needs pip install '.[train,test]'.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import material
import rounds

if TYPE_CHECKING:
    from trainer import Contest

    from minibert.training.settings import Settings

DATA = material.SHARED / "data"
FILES = {
    "sentiment": (DATA / "nsmc-from-raw" / "train.tsv", DATA / "nsmc-from-raw" / "test.tsv"),
    "entities": (DATA / "wnut17" / "wnut17train.conll", DATA / "wnut17" / "emerging.dev.conll"),
}
SIDES = ("minibert", "Trainer")
COUNTLESS = 10**9


def starting_point(task: str, work: Path) -> tuple[Path, str]:
    """The checkpoint to begin with where none is named, and what it is."""
    from minibert import CheckpointError
    from minibert.source import DEMO, demo_folder

    if task == "entities":
        return material.checkpoint(material.MINILM, work), material.TITLES[material.MINILM]
    try:
        return demo_folder(), DEMO
    except CheckpointError:
        return random_start(work / "random"), "the demo's shape, random weights"


def random_start(folder: Path) -> Path:
    """A small BERT with random weights and a real Korean vocabulary."""
    import torch

    from minibert import BertConfig, BertForPreTraining, BertTokenizer

    source = material.SHARED / "vocab" / "kcbert-base"
    if not source.is_dir():
        sys.exit(f"{source} is not there, so there is no Korean vocabulary: give a checkpoint with --model.")
    tokenizer = BertTokenizer.from_pretrained(source)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024,
        max_position_embeddings=128,
    )  # fmt: skip
    BertForPreTraining(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def contest(task: str, options: argparse.Namespace, work: Path) -> "tuple[Contest, str]":
    """Task, data and checkpoint, as the options say; and what it begins with."""
    from trainer import Contest

    from minibert.finetuning import TASKS

    train, dev = (given or usual for given, usual in zip((options.train, options.dev), FILES[task], strict=True))
    for path in (train, dev):
        if not path.is_file():
            sys.exit(f"{path} is not there; name your own data with --train and --dev.")
    if options.model is None:
        folder, title = starting_point(task, work)
    else:
        folder = material.checkpoint(options.model, work)
        title = material.TITLES.get(options.model, folder.name)
    chosen = TASKS["entities" if task == "entities" else "classify"]()
    return Contest(chosen, folder, train, dev, options.texts, options.batch_size), title


def compare_exactly(contest: "Contest", settings: "Settings", work: Path) -> tuple[list[str], bool]:
    """The same order, without dropout: both scores, the largest difference of a weight; whether the scores are one."""
    from trainer import largest_difference

    ended = [contest.run(side, settings, work / f"exact-{side}", 0.0).model for side in SIDES]
    scores = [contest.score(model) for model in ended]
    cells = [*(f"{score:.4f}" for score in scores), f"{largest_difference(*ended):.1e}"]
    return cells, scores[0] == scores[1]


def compare_seeds(contest: "Contest", all_settings: "Sequence[Settings]", work: Path) -> tuple[list[str], bool]:
    """With dropout, over seeds: mean scores with their standard errors, and whether they lie within two of these."""
    scores: dict[str, list[float]] = {side: [] for side in SIDES}
    for settings in all_settings:
        for side in SIDES:
            ended = contest.run(side, settings, work / f"dropout-{side}-{settings.seed}")
            scores[side].append(contest.score(ended.model))
    return verdict(*scores.values())


def verdict(ours: Sequence[float], theirs: Sequence[float]) -> tuple[list[str], bool]:
    """Means and their difference, in standard errors."""
    errors = [statistics.stdev(values) / len(values) ** 0.5 for values in (ours, theirs)]
    difference = statistics.mean(ours) - statistics.mean(theirs)
    error = (errors[0] ** 2 + errors[1] ** 2) ** 0.5
    within = abs(difference) <= 2 * error
    cells = [f"{statistics.mean(v):.4f} ± {e:.4f}" for v, e in zip((ours, theirs), errors, strict=True)]
    return [*cells, f"{difference:+.4f}", f"{2 * error:.4f}", "yes" if within else "NO"], within


def compare_time(contest: "Contest", settings: "Settings", options: argparse.Namespace, work: Path) -> list[str]:
    """Time per step, in turns."""

    def turn(side: str) -> Callable[[], float]:
        def run() -> float:
            with tempfile.TemporaryDirectory(dir=work) as folder:
                return contest.run(side, settings, Path(folder)).seconds_per_step(options.uncounted) * 1000

        return run

    times = rounds.take_turns({side: turn(side) for side in SIDES}, options.rounds)
    ratio = rounds.Ratio.of(times["Trainer"], times["minibert"])
    return [*(rounds.spread(times[side], ".1f") for side in SIDES), str(ratio), ratio.interval]


def measure(task: str, options: argparse.Namespace, work: Path) -> bool:
    """Everything about one task; whether the scores are what they should be."""
    from minibert.terminal import table
    from minibert.training.settings import Settings

    work.mkdir()
    here, title = contest(task, options, work)
    score = here.task.main_score
    plain = Settings(learning_rate=options.learning_rate, epochs=options.epochs, save_every=COUNTLESS)
    seeded = [Settings(**{**vars(plain), "seed": seed}) for seed in range(1, options.seeds + 1)]
    timed = Settings(**{**vars(plain), "steps": options.steps + options.uncounted})
    total = plain.epochs * len(here.examples.steps(0))
    print(f"\n{task}, from {title}; {len(here.examples):,} rows, {total:,} steps of {options.batch_size}, ", end="")
    print(f"rate {options.learning_rate:g}; {len(here.dev):,} rows of dev data", flush=True)
    exact, same = compare_exactly(here, plain, work)
    head = [f"{score}, {side}" for side in SIDES]
    print(table(("", *head, "max |Δ| of a weight"), [("same order, no dropout", *exact)]), flush=True)
    varied, within = compare_seeds(here, seeded, work)
    head = [f"{side}, {len(seeded)} seeds" for side in SIDES]
    print(table(("", *head, "difference", "two errors", "within"), [(f"dropout, {score}", *varied)]), flush=True)
    taken = compare_time(here, timed, options, work)
    head = [f"{side}, ms" for side in SIDES]
    print(table(("", *head, "ratio", "interval of the median"), [("a step", *taken)]), flush=True)
    return same and within


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=list(FILES), default=list(FILES), help="default: both")
    parser.add_argument("--model", metavar="MODEL", help="minilm, base (bert-base's shape) or a folder, for all tasks")
    parser.add_argument("--train", type=Path, metavar="FILE", help="your own data, for one task")
    parser.add_argument("--dev", type=Path, metavar="FILE")
    numbers = {"texts": 2000, "epochs": 2, "batch-size": 32, "seeds": 3, "steps": 40, "uncounted": 5}
    helps = {"texts": "rows of training data; of dev data at most as many", "seeds": "runs with dropout, at least 2"}
    for name, usual in numbers.items():
        text = f"{helps[name]} (default {usual:,})" if name in helps else f"default {usual}"
        parser.add_argument(f"--{name}", type=material.positive, default=usual, metavar="N", help=text)
    parser.add_argument("--learning-rate", type=float, default=1e-4, metavar="RATE", help="default 1e-4")
    material.add_rounds(parser, 9)
    options = parser.parse_args(arguments)
    if options.seeds < 2:
        parser.error("--seeds 1 gives no standard error; at least 2 are needed.")
    if (options.train or options.dev) and (len(options.tasks) > 1 or not (options.train and options.dev)):
        parser.error("--train and --dev belong together, and to one task: --tasks sentiment, or entities.")
    if options.quick:
        options.texts, options.rounds, options.epochs = min(options.texts, 64), 2, 1
        options.seeds, options.steps, options.uncounted = 2, 3, 1
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when the scores differ."""
    options = parsed(arguments)
    if missing := [name for name in ("transformers", "accelerate") if not rounds.versions(name)]:
        sys.exit(f"The peer is missing ({', '.join(missing)}): pip install '.[train,test]'.")
    threads = material.use_threads(options.threads)
    print(f"{rounds.versions('transformers', 'accelerate', 'torch')}; {threads} threads; {rounds.machine()}")
    with tempfile.TemporaryDirectory() as work:
        fine = [measure(task, options, Path(work) / task) for task in options.tasks]
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
