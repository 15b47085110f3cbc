"""Training sentence embeddings, ours against sentence-transformers: the same losses and dev scores, and the time.

    python scripts/bench/bench_sentences.py                        both tasks below, a quarter of an hour
    python scripts/bench/bench_sentences.py --tasks scored --rows 5749 --epochs 2 --seeds 5

    scored   KorSTS: pairs with a score, CoSENTLoss
    pairs    KorSTS: the pairs with a score of 4 and more, MultipleNegativesRankingLoss, no text twice in a step

From the demo checkpoint, mean pooling; the score is Spearman's correlation on KorSTS' dev data, by us for both sides.
Both sides begin with the same weights and have the same examples in each step, and the same hyper-parameters, schedule,
fused AdamW, clipping and threads.  Theirs is that library's model, collation and loss in transformers' Trainer, which
its SentenceTransformerTrainer extends; that class itself needs the package datasets.  It does not log, save, evaluate
or draw a bar meanwhile; ours writes its metrics log as always.  Three tables:

    same order, no dropout   losses of the first step and of all steps, and the dev score
    dropout                  --seeds runs, each with its own order and draws: mean scores, and whether they lie within
                             two standard errors of each other
    time                     they take turns; a run is --steps steps after --uncounted more, in CPU time of all threads;
                             the ratio is theirs / ours within a round, so above 1 we are faster

Needs pip install '.[train,test]' and the data in ../shared, or --train and --dev with columns of usual names.
"""

import argparse
import copy
import logging
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import material
import rounds

if TYPE_CHECKING:
    from minibert.finetuning.embedding_rows import EmbeddingExamples
    from minibert.pretrained import BertPreTrainedModel
    from minibert.training.settings import Settings

DATA = material.SHARED / "data" / "korsts"
LOSSES = {"scored": "CoSENTLoss", "pairs": "MultipleNegativesRankingLoss"}
OURS, THEIRS = SIDES = ("minibert", "sentence-transformers")
DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")
BELONG = 4.0  # the score from which a pair's texts belong together
COUNTLESS = 10**9


@dataclass(frozen=True)
class Ended:
    """A model that was trained; the loss of each step, and the CPU time after it, in seconds."""

    model: "BertPreTrainedModel"
    losses: list[float]
    clock: list[float]

    def seconds_per_step(self, uncounted: int) -> float:
        """The mean of the steps after the first ``uncounted``."""
        return (self.clock[-1] - self.clock[uncounted - 1]) / (len(self.clock) - uncounted)


class Contest:
    """A loss, its data, and a checkpoint to begin with."""

    def __init__(self, loss: str, checkpoint: Path, train: Path, dev: Path, rows: int, batch_size: int) -> None:
        """Read and tokenize; ``rows``: of the training data that are used, and of the dev data at most."""
        from minibert import BertConfig, BertTokenizer
        from minibert.finetuning import Embeddings
        from minibert.finetuning.run import fix_length
        from minibert.source import Checkpoint

        self.checkpoint, self.tokenizer = checkpoint, BertTokenizer.from_pretrained(checkpoint)
        reader = Embeddings().of_checkpoint(Checkpoint.open(checkpoint))
        groups = reader.read(train)
        if loss == LOSSES["pairs"]:
            groups = [group._replace(score=None) for group in groups if group.score is None or group.score >= BELONG]
        groups = groups if len(groups) <= rows else random.Random(0).sample(groups, rows)
        config = BertConfig.from_pretrained(checkpoint)
        self.task: Embeddings = fix_length(
            Embeddings(loss=loss).of_checkpoint(Checkpoint.open(checkpoint)), self.tokenizer, config
        )
        self.examples = self.task.examples(groups, self.tokenizer, config, batch_size)
        dev_groups = reader.read(dev, config)
        dev_groups = dev_groups if len(dev_groups) <= rows else random.Random(0).sample(dev_groups, rows)
        self.dev = self.task.examples(dev_groups, self.tokenizer, config)

    def model(self, seed: int, dropout: float | None) -> "BertPreTrainedModel":
        """The checkpoint; ``dropout``: instead of its own."""
        from minibert.finetuning.run import prepare_model

        settings = {} if dropout is None else dict.fromkeys(DROPOUTS, dropout)
        return prepare_model(self.task, self.checkpoint, settings, seed=seed)

    def run(self, side: str, settings: "Settings", work: Path, dropout: float | None = None) -> Ended:
        """Train; ``settings.seed`` is that of the order and the dropout."""
        examples = copy.copy(self.examples)
        examples.seed = settings.seed
        train = train_ours if side == OURS else train_theirs
        work.mkdir(parents=True, exist_ok=True)
        return train(self, self.model(settings.seed, dropout), examples, settings, work)

    def score(self, model: "BertPreTrainedModel") -> float:
        """Spearman's correlation on the dev data."""
        return self.task.evaluate(model, self.dev)["spearman"]


def train_ours(
    contest: Contest, model: "BertPreTrainedModel", examples: "EmbeddingExamples", settings: "Settings", work: Path
) -> Ended:
    """By minibert; metrics log and final snapshot as always."""
    from minibert.training.distributed import SINGLE_PROCESS
    from minibert.training.loop import Trainer
    from minibert.training.metrics import read_metrics

    clock: list[float] = []

    class Timed(Trainer):
        def advance(self) -> None:
            super().advance()
            clock.append(time.process_time())

    Timed(contest.task.objective(model), examples, settings, work / "ours", None, SINGLE_PROCESS).run(OURS)
    return Ended(model, [entry["loss"] for entry in read_metrics(work / "ours") if "loss" in entry], clock)


def train_theirs(
    contest: Contest, model: "BertPreTrainedModel", examples: "EmbeddingExamples", settings: "Settings", work: Path
) -> Ended:
    """By sentence-transformers, with nothing that is not training; the weights come back into ``model``."""
    import transformers
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import losses
    from torch.utils.data import DataLoader

    logging.getLogger("transformers").setLevel(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()
    folder = work / "start"
    model.save_pretrained(folder)
    contest.tokenizer.save_pretrained(folder)
    contest.task.write_settings(folder, model.config)
    theirs = SentenceTransformer(str(folder), device="cpu")
    loss = getattr(losses, examples_loss(contest))(theirs)
    seen: list[float] = []
    clock: list[float] = []

    def collated(numbers: list[int]) -> dict[str, Any]:
        groups = [examples.groups[number] for number in numbers]
        columns = [list(column) for column in zip(*(group.texts for group in groups), strict=True)]
        return {"features": [theirs.preprocess(column) for column in columns], "scores": scores_of(groups)}

    class Peer(transformers.Trainer):  # type: ignore[misc]
        def get_train_dataloader(self) -> Any:
            return DataLoader(range(len(examples)), batch_sampler=Steps(examples), collate_fn=collated)

        def compute_loss(self, model: Any, inputs: dict[str, Any], *arguments: Any, **others: Any) -> Any:
            value = loss(inputs["features"], inputs["scores"])
            seen.append(value.item())
            return value

    class Stopwatch(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *arguments: Any, **others: Any) -> None:
            clock.append(time.process_time())

    trainer = Peer(model=theirs, args=arguments_of(settings, examples, work), callbacks=[Stopwatch()])
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    model.load_state_dict(theirs[0].model.state_dict())
    return Ended(model, seen, clock)


def examples_loss(contest: Contest) -> str:
    """The name of the loss."""
    assert contest.task.loss is not None
    return contest.task.loss


def scores_of(groups: Sequence[Any]) -> Any:
    """The labels of a batch; that library's losses without labels take any."""
    import torch

    return torch.tensor([group.score or 0.0 for group in groups])


class Steps:
    """The steps of ``examples``, epoch after epoch, as a batch sampler."""

    def __init__(self, examples: "EmbeddingExamples") -> None:
        self.examples, self.epoch = examples, 0

    def __len__(self) -> int:
        return len(self.examples.steps(0))

    def __iter__(self) -> Any:
        steps = self.examples.steps(self.epoch)
        self.epoch += 1
        return iter(steps)


def arguments_of(settings: "Settings", examples: "EmbeddingExamples", work: Path) -> Any:
    """The same hyper-parameters in Trainer's names, and nothing that is not training."""
    import transformers

    total = settings.steps or settings.epochs * len(examples.steps(0))
    return transformers.TrainingArguments(
        output_dir=str(work / "trainer"), use_cpu=True, seed=settings.seed, max_steps=total,
        learning_rate=settings.learning_rate, lr_scheduler_type="linear",
        warmup_steps=int(settings.warmup * total), optim="adamw_torch_fused", adam_beta1=settings.betas[0],
        adam_beta2=settings.betas[1], adam_epsilon=settings.eps, weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm, logging_strategy="no", save_strategy="no", eval_strategy="no",
        report_to="none", disable_tqdm=True, remove_unused_columns=False, logging_nan_inf_filter=False,
        dataloader_pin_memory=False,
    )  # fmt: skip


def compare_exactly(contest: Contest, settings: "Settings", work: Path) -> tuple[list[str], bool]:
    """The same order, without dropout; True when the first losses agree within 1e-6, relative where above 1."""
    ended = [contest.run(side, settings, work / f"exact-{number}", 0.0) for number, side in enumerate(SIDES)]
    gaps = [abs(a - b) / max(1.0, b) for a, b in zip(ended[0].losses, ended[1].losses, strict=True)]
    scores = [f"{contest.score(one.model):.4f}" for one in ended]
    return [f"{gaps[0]:.1e}", f"{max(gaps):.1e}", *scores], gaps[0] <= 1e-6


def compare_seeds(contest: Contest, all_settings: "Sequence[Settings]", work: Path) -> tuple[list[str], bool]:
    """With dropout, over seeds: mean scores, and whether they differ by less than two standard errors."""
    found: list[list[float]] = []
    for number, side in enumerate(SIDES):
        runs = [contest.run(side, one, work / f"dropout-{number}-{one.seed}") for one in all_settings]
        found.append([contest.score(one.model) for one in runs])
    errors = [statistics.stdev(values) / len(values) ** 0.5 for values in found]
    means = [statistics.mean(values) for values in found]
    two = 2 * (errors[0] ** 2 + errors[1] ** 2) ** 0.5
    within = abs(means[0] - means[1]) <= two
    cells = [f"{mean:.4f} ± {error:.4f}" for mean, error in zip(means, errors, strict=True)]
    return [*cells, f"{means[0] - means[1]:+.4f}", f"{two:.4f}", "yes" if within else "no"], within


def compare_time(contest: Contest, settings: "Settings", options: argparse.Namespace, work: Path) -> list[str]:
    """CPU milliseconds per step, turn and turn about."""
    taken: dict[str, list[float]] = {side: [] for side in SIDES}
    for number in range(options.rounds):
        for side in SIDES if number % 2 else SIDES[::-1]:
            ended = contest.run(side, settings, work / f"time-{number}-{SIDES.index(side)}")
            taken[side].append(1000 * ended.seconds_per_step(options.uncounted))
    ratio = rounds.Ratio.of(taken[THEIRS], taken[OURS])
    return [*(rounds.spread(taken[side], ".0f") for side in SIDES), str(ratio), ratio.interval]


def measure(task: str, options: argparse.Namespace, work: Path) -> bool:
    """Print the tables of a task; whether losses and scores agree."""
    from minibert.source import demo_folder
    from minibert.terminal import table
    from minibert.training.settings import Settings

    folder = demo_folder() if options.model is None else material.checkpoint(options.model, work)
    train, dev = options.train or DATA / "sts-train.tsv", options.dev or DATA / "sts-dev.tsv"
    for path in (train, dev):
        if not path.is_file():
            sys.exit(f"{path} is not there; name your own data with --train and --dev.")
    here = Contest(LOSSES[task], folder, train, dev, options.rows, options.batch_size)
    plain = Settings(learning_rate=options.learning_rate, epochs=options.epochs, save_every=COUNTLESS)
    seeded = [Settings(**{**vars(plain), "seed": seed}) for seed in range(1, options.seeds + 1)]
    timed = Settings(**{**vars(plain), "steps": options.steps + options.uncounted})
    print(
        f"\n{task}, {LOSSES[task]}, from {folder.name}; {len(here.examples):,} rows, {options.epochs} epochs, ", end=""
    )
    print(
        f"{options.batch_size} per step, rate {options.learning_rate:g}; {len(here.dev):,} rows of dev data", flush=True
    )
    exact, same = compare_exactly(here, plain, work)
    head = ("", "first losses, |Δ|", "all losses, |Δ|", *SIDES)
    print(table(head, [("same order, no dropout", *exact)]), flush=True)
    varied, within = compare_seeds(here, seeded, work)
    print(table(("", *SIDES, "difference", "two errors", "within"), [("dropout, spearman", *varied)]), flush=True)
    taken = compare_time(here, timed, options, work)
    head = ("", *(f"{side}, ms" for side in SIDES), "ratio", "interval of the median")
    print(table(head, [("a step", *taken)]), flush=True)
    return same and within


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=list(LOSSES), default=list(LOSSES), help="default: both")
    parser.add_argument("--model", metavar="MODEL", help="minilm, base (bert-base's shape) or a folder")
    parser.add_argument("--train", type=Path, metavar="FILE", help="your own data: pairs with a score")
    parser.add_argument("--dev", type=Path, metavar="FILE")
    numbers = {"rows": 800, "epochs": 1, "batch-size": 32, "seeds": 3, "steps": 10, "uncounted": 3}
    for name, usual in numbers.items():
        parser.add_argument(f"--{name}", type=material.positive, default=usual, metavar="N", help=f"default {usual:,}")
    parser.add_argument("--learning-rate", type=float, default=1e-4, metavar="RATE", help="default 1e-4")
    material.add_rounds(parser, 5)
    options = parser.parse_args(arguments)
    if options.seeds < 2:
        parser.error("--seeds 1 gives no standard error; at least 2 are needed.")
    if options.quick:
        options.rows, options.rounds, options.seeds, options.steps, options.uncounted = 64, 2, 2, 2, 1
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when losses or scores differ."""
    options = parsed(arguments)
    peers = ("sentence-transformers", "transformers", "accelerate")
    if missing := [name for name in peers if not rounds.versions(name)]:
        sys.exit(f"The peer is missing ({', '.join(missing)}): pip install '.[train,test]'.")
    threads = material.use_threads(options.threads)
    print(f"{rounds.versions(*peers, 'torch')}; {threads} threads; {rounds.machine()}")
    with tempfile.TemporaryDirectory() as work:
        fine = [measure(task, options, Path(work) / task) for task in options.tasks]
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
