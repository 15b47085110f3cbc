"""Fine-tuning, ours against transformers' Trainer: the same scores, how long a step takes, and how much memory.

    python scripts/bench/bench_training.py                                        the four tasks below
    python scripts/bench/bench_training.py --tasks wnut17 --texts 3394 --epochs 3 --seeds 5
    python scripts/bench/bench_training.py --tasks nsmc --model FOLDER --train train.tsv --dev dev.tsv --quick

    nsmc       reviews to classes, Korean, 4,000 texts      korsts     pairs of sentences to a score, Korean, 2,000
    wnut17     entities, English, all 3,394 sentences       klue-ner   entities by character, Korean, 1,500

From the demo checkpoint, or where there is none from random weights of its shape; wnut17 from all-MiniLM-L6-v2.  All
sides begin with the same weights and have the same hyper-parameters, schedule, fused AdamW, clipping and threads, and
all but the last the same rows in each step:

    minibert             packs the step (minibert/finetuning/packing.py): the default of finetune
    minibert, padded     pads it to its longest row: finetune --padded
    Trainer              the same
    Trainer, by length   train_sampling_strategy="group_by_length": steps of its own, of rows of similar length

Trainer trains transformers' model, and does not log, save, evaluate or draw a bar meanwhile; ours writes its metrics
log as always.  Four tables:

    same order, no dropout   are scores and weights the same?  Padded to the last bit, packed but for rounding
    dropout                  --seeds runs, each with its own order, head and draws: mean scores, and whether those of
                             minibert and Trainer lie within two standard errors of each other
    time                     they take turns; a run is --steps steps after --uncounted more.  The ratio is theirs / ours
                             within a round, so above 1 we are faster.  CPU time of all threads, or --clock wall
    memory                   what a run of --steps steps adds to the memory of a fresh process, at its peak

Scores are ours on the dev data, for all.  Needs pip install '.[train,test]'.
"""

import argparse
import gc
import json
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
    "nsmc": (DATA / "nsmc-from-raw" / "train.tsv", DATA / "nsmc-from-raw" / "test.tsv"),
    "korsts": (DATA / "korsts" / "sts-train.tsv", DATA / "korsts" / "sts-dev.tsv"),
    "wnut17": (DATA / "wnut17" / "wnut17train.conll", DATA / "wnut17" / "emerging.dev.conll"),
    "klue-ner": (DATA / "klue-ner" / "klue-ner-v1.1_dev.tsv",) * 2,
}
KINDS = {"nsmc": "classify", "korsts": "score", "wnut17": "entities", "klue-ner": "entities"}
TEXTS = {"nsmc": 4000, "korsts": 2000, "wnut17": 3394, "klue-ner": 1500}
TABLES = ("scores", "time", "memory")
COUNTLESS = 10**9


def starting_point(task: str, work: Path) -> tuple[Path, str]:
    """The checkpoint to begin with where none is named, and what it is."""
    from minibert import CheckpointError
    from minibert.source import DEMO, demo_folder

    if task == "wnut17":
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
    texts = options.texts or TEXTS[task]
    return Contest(TASKS[KINDS[task]](), folder, train, dev, texts, options.batch_size, options.clock), title


def compare_exactly(contest: "Contest", settings: "Settings", work: Path) -> tuple[list[str], bool]:
    """The same order, without dropout: three scores, and the largest difference of a weight from Trainer's.

    True when padded we end with Trainer's score.
    """
    from trainer import OURS, PADDED, THEIRS, largest_difference

    ended = [contest.run(side, settings, work / f"exact-{side}", 0.0).model for side in (OURS, PADDED, THEIRS)]
    scores = [contest.score(model) for model in ended]
    moved = [f"{largest_difference(model, ended[-1]):.1e}" for model in ended[:-1]]
    return [*(f"{score:.4f}" for score in scores), *moved], scores[1] == scores[2]


def compare_seeds(contest: "Contest", all_settings: "Sequence[Settings]", work: Path) -> tuple[list[str], bool]:
    """With dropout, over seeds: mean scores with their standard errors, and whether they lie within two of these.

    The last cell is the mean of Trainer by length.
    """
    from trainer import BY_LENGTH, OURS, THEIRS

    scores: dict[str, list[float]] = {side: [] for side in (OURS, THEIRS, BY_LENGTH)}
    for settings in all_settings:
        for side, found in scores.items():
            ended = contest.run(side, settings, work / f"dropout-{side}-{settings.seed}")
            found.append(contest.score(ended.model))
    cells, within = verdict(scores[OURS], scores[THEIRS])
    return [*cells, mean_and_error(scores[BY_LENGTH])], within


def standard_error(values: Sequence[float]) -> float:
    """Of the mean."""
    return statistics.stdev(values) / len(values) ** 0.5


def mean_and_error(values: Sequence[float]) -> str:
    """Both in one cell."""
    return f"{statistics.mean(values):.4f} ± {standard_error(values):.4f}"


def verdict(ours: Sequence[float], theirs: Sequence[float]) -> tuple[list[str], bool]:
    """Means and their difference, in standard errors."""
    difference = statistics.mean(ours) - statistics.mean(theirs)
    error = (standard_error(ours) ** 2 + standard_error(theirs) ** 2) ** 0.5
    within = abs(difference) <= 2 * error
    cells = [mean_and_error(ours), mean_and_error(theirs)]
    return [*cells, f"{difference:+.4f}", f"{2 * error:.4f}", "yes" if within else "NO"], within


def compare_time(
    contest: "Contest", settings: "Settings", options: argparse.Namespace, work: Path
) -> list[tuple[str, ...]]:
    """Time per step, in turns: a row for each side."""
    from trainer import OURS, SIDES

    def turn(side: str) -> Callable[[], float]:
        def run() -> float:
            with tempfile.TemporaryDirectory(dir=work) as folder:
                return contest.run(side, settings, Path(folder)).seconds_per_step(options.uncounted) * 1000

        return run

    times = rounds.take_turns({side: turn(side) for side in SIDES}, options.rounds)
    rows = []
    for side in SIDES:
        ratio = rounds.Ratio.of(times[side], times[OURS])
        compared = ("", "") if side == OURS else (str(ratio), ratio.interval)
        rows.append((side, rounds.spread(times[side], ".1f"), *compared))
    return rows


def compare_memory(task: str, options: argparse.Namespace) -> list[tuple[str, ...]]:
    """What a run adds to a fresh process's memory, in MiB, and that divided by ours: a row for each side."""
    from trainer import SIDES

    growth = {side: grown(task, side, options) for side in SIDES}
    ours = next(iter(growth.values()))
    return [(side, f"{value:.0f}", "" if value is ours else f"{value / ours:.2f}") for side, value in growth.items()]


def grown(task: str, side: str, options: argparse.Namespace) -> float:
    """The growth that a child process reports."""
    arguments = rounds.options_of(
        options, "texts", "batch_size", "steps", "learning_rate", "threads", "model", "train", "dev"
    )
    return float(rounds.in_child(side, __file__, "--one", side, "--tasks", task, *arguments)["growth"])


def one(task: str, options: argparse.Namespace) -> None:
    """The child: train as one side does, and print its growth as JSON."""
    import bench_memory
    import transformers  # noqa: F401  # what the library takes is not counted

    from minibert.training.settings import Settings

    material.use_threads(options.threads)
    with tempfile.TemporaryDirectory() as work:
        here, _ = contest(task, options, Path(work))
        settings = Settings(learning_rate=options.learning_rate, steps=options.steps, save_every=COUNTLESS)
        gc.collect()
        bench_memory.set_peak_back()
        before = bench_memory.peak()
        here.run(options.one, settings, Path(work) / "run")
        print(json.dumps({"growth": bench_memory.peak() - before}))


def measure(task: str, options: argparse.Namespace, work: Path) -> bool:
    """Everything about one task; whether the scores are what they should be."""
    from trainer import BY_LENGTH, OURS, SIDES, THEIRS

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
    print(
        f"rate {options.learning_rate:g}; {len(here.dev):,} rows of dev data; {here.padding():.0%} padding", flush=True
    )
    same = within = True
    if "scores" in options.tables:
        exact, same = compare_exactly(here, plain, work)
        head = [*(f"{score}, {side}" for side in SIDES[:3]), "max |Δ| of a weight", "the same, padded"]
        print(table(("", *head), [("same order, no dropout", *exact)]), flush=True)
        varied, within = compare_seeds(here, seeded, work)
        head = [f"{OURS}, {len(seeded)} seeds", THEIRS, "difference", "two errors", "within", BY_LENGTH]
        print(table(("", *head), [(f"dropout, {score}", *varied)]), flush=True)
    if "time" in options.tables:
        rows = compare_time(here, timed, options, work)
        print(
            table((f"a step, {options.clock} time", "ms", "theirs / ours", "interval of the median"), rows), flush=True
        )
    if "memory" in options.tables:
        print(table(("memory of a run", "MiB", "theirs / ours"), compare_memory(task, options)), flush=True)
    return same and within


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=list(FILES), default=list(FILES), help="default: all four")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES), help="default: all")
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu", help="default cpu: of all threads")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # the child's own
    parser.add_argument("--model", metavar="MODEL", help="minilm, base (bert-base's shape) or a folder, for all tasks")
    parser.add_argument("--train", type=Path, metavar="FILE", help="your own data, for one task")
    parser.add_argument("--dev", type=Path, metavar="FILE")
    numbers = {"texts": None, "epochs": 2, "batch-size": 32, "seeds": 3, "steps": 40, "uncounted": 5}
    helps = {
        "texts": "rows of training data; of dev data at most as many (default: see above)",
        "seeds": "runs with dropout, at least 2 (default 3)",
    }
    for name, usual in numbers.items():
        text = helps.get(name, f"default {usual}")
        parser.add_argument(f"--{name}", type=material.positive, default=usual, metavar="N", help=text)
    parser.add_argument("--learning-rate", type=float, default=1e-4, metavar="RATE", help="default 1e-4")
    material.add_rounds(parser, 9)
    options = parser.parse_args(arguments)
    if options.seeds < 2:
        parser.error("--seeds 1 gives no standard error; at least 2 are needed.")
    if (options.train or options.dev) and (len(options.tasks) > 1 or not (options.train and options.dev)):
        parser.error("--train and --dev belong together, and to one task, such as --tasks nsmc.")
    if options.quick:
        options.texts, options.rounds, options.epochs = min(options.texts or 64, 64), 2, 1
        options.seeds, options.steps, options.uncounted = 2, 3, 1
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when the scores differ."""
    options = parsed(arguments)
    if missing := [name for name in ("transformers", "accelerate") if not rounds.versions(name)]:
        sys.exit(f"The peer is missing ({', '.join(missing)}): pip install '.[train,test]'.")
    if options.one:
        one(options.tasks[0], options)
        return 0
    threads = material.use_threads(options.threads)
    print(f"{rounds.versions('transformers', 'accelerate', 'torch')}; {threads} threads; {rounds.machine()}")
    with tempfile.TemporaryDirectory() as work:
        fine = [measure(task, options, Path(work) / task) for task in options.tasks]
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
