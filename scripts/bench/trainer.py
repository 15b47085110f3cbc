"""One fine-tuning run, by us or by transformers' Trainer, with everything else the same: for bench_training.py.

All begin with the same weights and make as many steps of as many rows.  ``minibert`` packs each step, ``minibert,
padded`` and ``Trainer`` pad it to its longest row; these three have the same rows in the same order.  ``Trainer, by
length`` draws its own steps, of rows of similar length.  Start with :class:`Contest`.
"""

import copy
import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Sampler

from minibert import BertTokenizer
from minibert.finetuning.examples import TaskExamples
from minibert.finetuning.packing import call_cost
from minibert.finetuning.run import fix_length, prepare_model, quiet
from minibert.finetuning.task import Task
from minibert.pretrained import BertPreTrainedModel
from minibert.training.distributed import SINGLE_PROCESS
from minibert.training.loop import Trainer
from minibert.training.settings import Settings

OURS, PADDED, THEIRS, BY_LENGTH = SIDES = ("minibert", "minibert, padded", "Trainer", "Trainer, by length")
CLOCKS: dict[str, Callable[[], float]] = {"cpu": time.process_time, "wall": time.perf_counter}
DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")


@dataclass(frozen=True)
class Ended:
    """A model that was trained, and the clock after each step, in seconds."""

    model: BertPreTrainedModel
    clock: list[float]

    def seconds_per_step(self, uncounted: int) -> float:
        """The mean of the steps after the first ``uncounted``."""
        return (self.clock[-1] - self.clock[uncounted - 1]) / (len(self.clock) - uncounted)


class Contest:
    """A task, its data, and a checkpoint to begin with."""

    def __init__(
        self,
        task: Task[Any, Any],
        checkpoint: Path,
        train: Path,
        dev: Path,
        texts: int,
        batch_size: int,
        clock: str = "cpu",
    ) -> None:
        """Read and tokenize.

        ``texts``: rows of the training data that are used, and of the dev data at most; where both are one file, the
        dev rows are others of it.  ``clock``: of ``CLOCKS``.
        """
        self.checkpoint, self.clock = checkpoint, CLOCKS[clock]
        self.tokenizer = BertTokenizer.from_pretrained(checkpoint)
        rows = task.read(train)
        self.found = task.settings(rows)  # of all rows: the dev data may have a label that the chosen ones lack
        config = prepare_model(task, checkpoint, self.found, fresh_head=True).config
        self.task = fix_length(task, self.tokenizer, config)
        if train == dev:
            drawn = random.Random(0).sample(rows, min(len(rows), 2 * texts))
            rows, dev_rows = drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]
        else:
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
        model, examples = self.model(settings.seed, dropout), self.in_order(settings.seed)
        if side == OURS:
            examples.call_cost = call_cost(model.config, model.device)
        if side in (OURS, PADDED):
            return train_ours(self, model, examples, settings, work)
        return train_theirs(self, model, examples, settings, work, by_length=side == BY_LENGTH)

    def padding(self) -> float:
        """The share of padding in the tokens of the padded steps."""
        lengths = self.examples.lengths
        steps = self.examples.steps(0)
        return 1 - sum(lengths) / sum(len(step) * max(lengths[number] for number in step) for step in steps)

    def score(self, model: BertPreTrainedModel) -> float:
        """The task's main score on the dev data."""
        return self.task.evaluate(model, self.dev)[self.task.main_score]


class Timed(Trainer):
    """Our loop, with a look at the clock."""

    clock: Callable[[], float]
    times: list[float]

    def advance(self) -> None:
        """Note when a step ended."""
        super().advance()
        self.times.append(self.clock())


def train_ours(
    contest: Contest, model: BertPreTrainedModel, examples: TaskExamples, settings: Settings, work: Path
) -> Ended:
    """By minibert; metrics log and final snapshot as always."""
    run = Timed(contest.task.objective(model), examples, settings, work, None, SINGLE_PROCESS)
    run.clock, run.times = contest.clock, []
    run.run(OURS)
    return Ended(model, run.times)


def train_theirs(
    contest: Contest,
    model: BertPreTrainedModel,
    examples: TaskExamples,
    settings: Settings,
    work: Path,
    by_length: bool = False,
) -> Ended:
    """By Trainer, with nothing that is not training; the weights come back into ``model``."""
    import transformers

    logging.getLogger("transformers").setLevel(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(work / "start")
    theirs = getattr(transformers, type(model).__name__).from_pretrained(work / "start", attn_implementation="sdpa")
    made = arguments(settings, examples, work)
    if by_length:
        made.train_sampling_strategy = "group_by_length"
    trainer = (transformers.Trainer if by_length else ordered_trainer(examples))(
        model=theirs,
        args=made,
        train_dataset=contest.features,
        data_collator=collator(contest),
        callbacks=[clock := stopwatch(contest.clock)],
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


def stopwatch(clock: Callable[[], float]) -> Any:
    """A callback that notes when each step ended, in ``times``."""
    import transformers

    class Stopwatch(transformers.TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.times: list[float] = []

        def on_step_end(self, *arguments: Any, **others: Any) -> None:
            self.times.append(clock())

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
