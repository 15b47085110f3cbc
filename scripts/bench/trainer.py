"""One fine-tuning run, by us or by transformers' Trainer, with everything else the same: for bench_training.py.

Both begin with the same weights, have the same rows in the same order, and make the same steps; each puts its batches
together in its own way.  Start with :class:`Contest`.
"""

import copy
import logging
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Sampler

from minibert import BertTokenizer
from minibert.finetuning.examples import TaskExamples
from minibert.finetuning.run import fix_length, prepare_model, quiet
from minibert.finetuning.task import Task
from minibert.pretrained import BertPreTrainedModel
from minibert.training.distributed import SINGLE_PROCESS
from minibert.training.loop import Trainer
from minibert.training.settings import Settings

OURS, THEIRS = "minibert", "Trainer"
DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")


@dataclass(frozen=True)
class Ended:
    """A model that was trained, and the clock after each step."""

    model: BertPreTrainedModel
    clock: list[float]

    def seconds_per_step(self, uncounted: int) -> float:
        """The mean of the steps after the first ``uncounted``."""
        return (self.clock[-1] - self.clock[uncounted - 1]) / (len(self.clock) - uncounted)


class Contest:
    """A task, its data, and a checkpoint to begin with."""

    def __init__(
        self, task: Task[Any, Any], checkpoint: Path, train: Path, dev: Path, texts: int, batch_size: int
    ) -> None:
        """Read and tokenize; ``texts``: rows of the training data that are used, and of the dev data at most."""
        self.checkpoint = checkpoint
        self.tokenizer = BertTokenizer.from_pretrained(checkpoint)
        rows = task.read(train)
        self.found = task.settings(rows)  # of all rows: the dev data may have a label that the chosen ones lack
        config = prepare_model(task, checkpoint, self.found, fresh_head=True).config
        self.task = fix_length(task, self.tokenizer, config)
        rows, dev_rows = chosen(rows, texts), chosen(self.task.read(dev, config), texts)
        self.examples: TaskExamples = self.task.examples(rows, self.tokenizer, config, batch_size)
        self.dev: TaskExamples = self.task.examples(dev_rows, self.tokenizer, config)
        self.features = [feature(self.examples, number) for number in range(len(self.examples))]

    def model(self, seed: int, dropout: float | None) -> BertPreTrainedModel:
        """The checkpoint with a new head; ``dropout``: instead of the checkpoint's."""
        settings = {} if dropout is None else dict.fromkeys(DROPOUTS, dropout)
        with quiet(True):  # that the head is new
            return prepare_model(self.task, self.checkpoint, {**self.found, **settings}, fresh_head=True, seed=seed)

    def in_order(self, seed: int) -> TaskExamples:
        """The training data in the order of that seed."""
        examples = copy.copy(self.examples)
        examples.seed = seed
        return examples

    def run(self, side: str, settings: Settings, work: Path, dropout: float | None = None) -> Ended:
        """Train; ``settings.seed`` is that of the head, the order and the dropout."""
        make = {OURS: train_ours, THEIRS: train_theirs}[side]
        return make(self, self.model(settings.seed, dropout), self.in_order(settings.seed), settings, work)

    def score(self, model: BertPreTrainedModel) -> float:
        """The task's main score on the dev data."""
        return self.task.evaluate(model, self.dev)[self.task.main_score]


class Timed(Trainer):
    """Our loop, with a look at the clock."""

    clock: list[float]

    def advance(self) -> None:
        """Note when a step ended."""
        super().advance()
        self.clock.append(time.perf_counter())


def train_ours(
    contest: Contest, model: BertPreTrainedModel, examples: TaskExamples, settings: Settings, work: Path
) -> Ended:
    """By minibert; metrics log and final snapshot as always."""
    run = Timed(contest.task.objective(model), examples, settings, work, None, SINGLE_PROCESS)
    run.clock = []
    run.run(OURS)
    return Ended(model, run.clock)


def train_theirs(
    contest: Contest, model: BertPreTrainedModel, examples: TaskExamples, settings: Settings, work: Path
) -> Ended:
    """By Trainer, with nothing that is not training; the weights come back into ``model``."""
    import transformers

    logging.getLogger("transformers").setLevel(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(work / "start")
    theirs = getattr(transformers, type(model).__name__).from_pretrained(work / "start", attn_implementation="sdpa")
    trainer = ordered_trainer(examples)(
        model=theirs,
        args=arguments(settings, examples, work),
        train_dataset=contest.features,
        data_collator=collator(contest),
        callbacks=[clock := stopwatch()],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    model.load_state_dict(theirs.state_dict())
    return Ended(model, clock.times)


def arguments(settings: Settings, examples: TaskExamples, work: Path) -> Any:
    """The same hyper-parameters in Trainer's names, and nothing that is not training."""
    import transformers

    total = settings.steps or settings.epochs * len(examples.steps(0))
    return transformers.TrainingArguments(
        output_dir=str(work / "trainer"), use_cpu=True, seed=settings.seed, max_steps=total,
        per_device_train_batch_size=examples.batch_size, learning_rate=settings.learning_rate,
        lr_scheduler_type="linear", warmup_steps=int(settings.warmup * total), optim="adamw_torch_fused",
        adam_beta1=settings.betas[0], adam_beta2=settings.betas[1], adam_epsilon=settings.eps,
        weight_decay=settings.weight_decay, max_grad_norm=settings.max_grad_norm, logging_strategy="no",
        save_strategy="no", eval_strategy="no", report_to="none", disable_tqdm=True, remove_unused_columns=False,
        logging_nan_inf_filter=False, dataloader_pin_memory=False,
    )  # fmt: skip


def ordered_trainer(examples: TaskExamples) -> type[Any]:
    """Trainer, with the order of ``examples``."""
    import transformers

    class Ordered(transformers.Trainer):  # type: ignore[misc]
        def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
            return Order(examples)

    return Ordered


class Order(Sampler[int]):
    """The numbers of the examples, epoch by epoch."""

    def __init__(self, examples: TaskExamples) -> None:
        self.examples, self.epoch = examples, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Trainer."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.examples)

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(self.examples.steps(self.epoch))


def stopwatch() -> Any:
    """A callback that notes when each step ended, in ``times``."""
    import transformers

    class Stopwatch(transformers.TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.times: list[float] = []

        def on_step_end(self, *arguments: Any, **others: Any) -> None:
            self.times.append(time.perf_counter())

    return Stopwatch()


def collator(contest: Contest) -> Any:
    """Transformers' own, which pads to the longest."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(contest.checkpoint)
    if contest.task.name == "entities":
        return transformers.DataCollatorForTokenClassification(tokenizer)
    return transformers.DataCollatorWithPadding(tokenizer)


def feature(examples: TaskExamples, number: int) -> dict[str, Any]:
    """A row as transformers' tokenizers give it, with its label."""
    return {name: tensor[0].tolist() for name, tensor in examples.collate([number]).items()}


def chosen(rows: Sequence[Any], count: int) -> list[Any]:
    """``count`` of the rows, drawn; all of them in their order where there are no more."""
    return list(rows) if len(rows) <= count else random.Random(0).sample(list(rows), count)


def largest_difference(first: nn.Module, second: nn.Module) -> float:
    """Of all weights."""
    others: dict[str, Tensor] = dict(second.named_parameters())
    with torch.no_grad():
        return max(float((value - others[name]).abs().max()) for name, value in first.named_parameters())
