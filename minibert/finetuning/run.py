"""From a checkpoint and labelled data to a fine-tuned checkpoint, which minibert and transformers load.

The paper's recipe (appendix A.3): 3 epochs, a learning rate of 5e-5, 32 examples per step.  With dev data the weights
that score best on it are kept.  Read :func:`finetune` from top to bottom; :func:`prepare_model` decides about the head.
"""

import dataclasses
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from minibert.auto import architecture_of, named_architecture
from minibert.checkpoint import open_weights
from minibert.checksum import json_digest
from minibert.config import BertConfig
from minibert.data.memory import Data, as_data, data_digest
from minibert.errors import InputError
from minibert.finetuning.answers import Answers
from minibert.finetuning.choice import MultipleChoice
from minibert.finetuning.classify import Classify, MultiLabel
from minibert.finetuning.crossencoder import activation_in, without_activation
from minibert.finetuning.devdata import check_dev_file, warn_of_overlap
from minibert.finetuning.devshare import share_identity, share_of, split_rows
from minibert.finetuning.embeddings import Embeddings
from minibert.finetuning.entities import Entities, check_bio
from minibert.finetuning.examples import longest_row
from minibert.finetuning.labels import check_labels
from minibert.finetuning.lora import (
    LEARNING_RATE,
    Lora,
    adapter_identity,
    add_adapters,
    check_base,
    check_lora,
    save_adapter,
)
from minibert.finetuning.packing import call_cost
from minibert.finetuning.score import Score
from minibert.finetuning.scores import need
from minibert.finetuning.task import Task
from minibert.lock import alone_in
from minibert.pretrained import BertPreTrainedModel
from minibert.renamed import ARGUMENTS, older_arguments
from minibert.schema import FLAG, SIZE, check_settings, shown
from minibert.source import Checkpoint, Source, as_path, take_where
from minibert.tokenizer import BertTokenizer
from minibert.training.distributed import SINGLE_PROCESS, Processes, save_model
from minibert.training.examples import seed_of
from minibert.training.loop import train
from minibert.training.metrics import need_tensorboard
from minibert.training.settings import Settings

logger = logging.getLogger("minibert.finetuning")
KINDS: tuple[type[Task[Any, Any]], ...] = (Classify, Score, Entities, Answers, MultipleChoice, Embeddings)
TASKS = {task.name: task for task in KINDS}
RECIPE = {"epochs": 3, "learning_rate": 5e-5}
RUNS_OF_SEEDS = "seed-*/run.json"  # in a folder of seeds.py


@dataclass(frozen=True)
class Finetuned:
    """How a run ended."""

    folder: str
    task: str
    labels: tuple[str, ...]  # of the head
    examples: int  # each window of a long text counts
    fresh: tuple[str, ...]  # parameters that were initialised at random
    steps: int
    total: int  # more than ``steps`` when the run was interrupted, or stopped on purpose
    scores: dict[str, float] = field(default_factory=dict)  # on the dev data, of the weights that were kept
    metric: str = ""  # what the first of the scores measures, in words; it selects the weights
    kept_step: int = 0  # the step whose weights were kept
    stopped: bool = False  # at ``stop_after``

    @property
    def interrupted(self) -> bool:
        """Whether steps remain that were to be done; the same call continues with them."""
        return self.steps < self.total and not self.stopped

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        if self.interrupted:
            return f"{self.folder}: stopped after {self.steps:,} of {self.total:,} steps; the same command goes on"
        steps = f"{self.steps:,} of {self.total:,}" if self.stopped else f"{self.steps:,}"
        sentence = f"{self.folder}: {self.task}, {self.examples:,} examples, {steps} steps"
        if not self.scores:
            return f"{sentence}; no dev data, so the weights are those of the last step"
        names = [name.replace("_", " ") for name in self.scores]
        names[0] = self.metric or names[0]
        scores = ", ".join(f"{name} {value:.4f}" for name, value in zip(names, self.scores.values(), strict=True))
        return f"{sentence}; on the dev data {scores} (step {self.kept_step:,})"


@older_arguments
@alone_in("output")
def finetune(
    task: str | Task[Any, Any],
    model: Source,
    train_file: Data,
    output: Source,
    dev_file: Data | None = None,
    *,
    batch_size: int = 32,
    fresh_head: bool = False,
    from_scratch: bool = False,
    padded: bool = False,
    lora: Lora | None = None,
    dev_seed: int | None = None,
    processes: Processes = SINGLE_PROCESS,
    **settings: Any,
) -> Finetuned:
    """Fine-tune a checkpoint for a task.  After an interruption, the same call continues the run.

    Args:
        task: ``"classify"``, ``"score"``, ``"entities"``, ``"answers"``, ``"choice"``, ``"embedding"``, or a task with
            choices of its own: ``Classify(column="review", label_column="stars", max_length=128)``,
            ``MultiLabel(separator=";")``, ``Embeddings(loss="CoSENTLoss")``.
        model: the checkpoint to begin with: a folder, or a name on the hub.
        train_file: the training data: a file, or rows in memory (:mod:`minibert.data.memory`): a list of dicts or
            tuples, a DataFrame, a Dataset.  Its labels become those of the model.
        output: a folder: new, or of an earlier call with the same arguments.
        dev_file: the data to measure scores on after each epoch; the best weights are kept.  ``"10%"``: so many of
            the training rows, drawn by the seed; rows of one text or context stay together.
        batch_size: examples per step.
        fresh_head: train a new head even where the checkpoint was fine-tuned for this task already.
        from_scratch: take the checkpoint's shape and vocabulary, but random weights: shows what pre-training gains.
        padded: run each step as one batch padded to its longest text, as other trainers do, instead of packed
            (:mod:`minibert.finetuning.packing`): slower, and the same but for rounding and the draws of dropout.
        lora: train adapters and the head alone, as ``Lora(r=8)`` says (:mod:`minibert.finetuning.lora`).  The folder
            then holds these and the name of ``model``, and is loaded as any other.  Needs the extra "lora".
        dev_seed: by which a share of dev rows is drawn; default the run's seed.
        processes: those that train together (:func:`minibert.training.distributed.join_processes`).
        settings: fields of :class:`minibert.training.settings.Settings` (``epochs=3``, ``learning_rate=5e-5``, with
            ``lora`` 5e-4; ``seed=0`` …), and ``revision=`` and the like for a checkpoint of the hub.

    Raises InputError, before anything is written, for data that cannot be learned from or does not fit the checkpoint;
    and what :func:`minibert.training.loop.train` raises.
    """
    chosen, where = choose_task(task), take_where(settings)
    check_switches(chosen, batch_size=batch_size, fresh_head=fresh_head, padded=padded)
    check_lora(lora, settings, from_scratch)
    with quiet(not processes.is_main):
        recipe = RECIPE if lora is None else {**RECIPE, "learning_rate": LEARNING_RATE}
        run_settings = make_settings(chosen, {**recipe, **settings}, with_scores=dev_file is not None)
        share = share_of(dev_file)
        train_file = as_data(train_file, "training data", "the training data")
        dev_file = None if dev_file is None or share is not None else as_data(dev_file, "dev data", "the dev data")
        check_arguments(run_settings, model, train_file, dev_file, as_path(output))
        checkpoint = Checkpoint.open(model, **where)
        chosen = chosen.of_checkpoint(checkpoint)
        tokenizer = BertTokenizer.from_pretrained(checkpoint)
        fix_length(chosen, tokenizer, BertConfig.from_pretrained(checkpoint))  # refuses one that is too long
        rows = chosen.read(train_file)
        dev_rows: list[Any] | None = None
        label_fields, chosen, seed = chosen.settings(rows), chosen.fitted(rows), run_settings.seed
        ready = prepare_model(
            chosen, checkpoint, label_fields, fresh_head=fresh_head, scratch=from_scratch, seed=seed, lora=lora
        )
        if share is not None:
            rows, dev_rows = split_rows(rows, share, seed if dev_seed is None else dev_seed)
        elif dev_file is not None:
            dev_rows = chosen.read(dev_file, ready.config)
            warn_of_overlap(rows, dev_rows)
        chosen = fix_length(chosen, tokenizer, ready.config)
        examples = chosen.examples(rows, tokenizer, ready.config, batch_size, seed)
        evaluate, metric = None, ""
        if dev_rows is not None:
            dev = chosen.examples(dev_rows, tokenizer, ready.config)
            evaluate, metric = partial(chosen.evaluate, examples=dev), chosen.metric(dev)
            if "keep_best" not in settings:
                run_settings = dataclasses.replace(run_settings, keep_best=chosen.best_by(dev))
        objective = chosen.objective(ready)
        if not objective.divisible and processes.world_size > 1:
            raise InputError(
                f"The task {chosen.name!r} compares the texts of a step with each other, in one process. Start it "
                "without torchrun; --micro-tokens saves memory."
            )
    identity = {
        "task": chosen.name,
        "choices": json.loads(json.dumps(dataclasses.asdict(chosen))),
        "model": str(model),
        "vocabulary and config": json_digest([tokenizer.get_vocab(), ready.config.to_dict()]),
        "data": [data_digest(data) for data in (train_file, dev_file) if data is not None],
        "batch_size": batch_size,
        "fresh_head": fresh_head,
        "from_scratch": from_scratch,
    }
    if objective.takes_packed and not padded and ready.config.attn_implementation != "eager":
        examples.call_cost = call_cost(ready.config, processes.device)
    identity |= share_identity(share, seed, dev_seed) | adapter_identity(lora, ready)
    result = train(
        objective, examples, run_settings, output,
        evaluate=evaluate, processes=processes, identity=identity, name=chosen.name,
    )  # fmt: skip
    if not result.interrupted:
        save_folder(chosen, ready, tokenizer, as_path(output), processes, lora, checkpoint)
    return Finetuned(
        folder=str(output),
        task=chosen.name,
        labels=() if ready.base_model is ready else tuple(ready.config.id2label.values()),
        examples=len(examples),
        fresh=() if ready.load_report is None else ready.load_report.fresh,
        steps=result.steps,
        total=result.total,
        scores=result.scores,
        metric=metric,
        kept_step=result.kept_step,
        stopped=result.stopped,
    )


def check_switches(task: Task[Any, Any], *, batch_size: int, fresh_head: bool, padded: bool) -> None:
    """Raise InputError for arguments of :func:`finetune` that are of the wrong type or not for this task."""
    kinds = {"batch_size": SIZE, "padded": FLAG}
    check_settings({"batch_size": batch_size, "padded": padded}, kinds, "finetune", InputError)
    if fresh_head and isinstance(task, Embeddings):
        raise InputError("fresh_head (--fresh-head) is for tasks with a head; 'embedding' trains the BERT itself.")
    if padded and isinstance(task, Embeddings):
        raise InputError(
            "padded (--padded) is for tasks with a head; the texts of 'embedding' run in parts of similar length, each "
            "padded to its longest, and the loss is that of one padded batch."
        )


def check_arguments(settings: Settings, model: Source, train_file: Data, dev_file: Data | None, output: Path) -> None:
    """Raise InputError for arguments that are known to be wrong before the data is read."""
    if any(output.glob(RUNS_OF_SEEDS)):
        raise InputError(f"{output} holds runs of several seeds (--seeds). Name another folder for a single run.")
    if isinstance(model, BertPreTrainedModel):
        raise InputError(
            f"model is a {type(model).__name__} in memory; give the folder that it was saved to, with its tokenizer "
            "(model.save_pretrained(folder), tokenizer.save_pretrained(folder))."
        )
    if not isinstance(model, str | os.PathLike):
        raise InputError(f"model is {model!r:.60}; expected a checkpoint: a folder, or a name on the hub.")
    if dev_file is not None:
        check_dev_file(train_file, dev_file)
    if settings.tensorboard:
        need_tensorboard()
    settings.warn()


def choose_task(task: str | Task[Any, Any]) -> Task[Any, Any]:
    """The task of that name, with its default choices."""
    if isinstance(task, Task):
        return task
    if not isinstance(task, str) or task not in TASKS:
        raise InputError(f"{shown(task)} is no task; there are {', '.join(map(repr, TASKS))}, or one made: Classify().")
    return TASKS[task]()


def make_settings(task: Task[Any, Any], chosen: dict[str, Any], with_scores: bool) -> Settings:
    """The settings of the run: the ``chosen`` ones; with dev data, the weights with the best of its scores are kept."""
    known = {field.name for field in dataclasses.fields(Settings)}
    if unknown := sorted(set(chosen) - known - set(ARGUMENTS["minibert.training.settings.Settings.__init__"])):
        raise InputError(f"There is no setting {unknown[0]!r}; there are {', '.join(sorted(known))}.")
    if not with_scores and chosen.get("patience"):
        raise InputError(
            f"patience is {chosen['patience']}, and there is no dev data to score: name it (--dev FILE, or --dev 10%), "
            "or leave patience out."
        )
    if with_scores:
        for library in task.libraries:
            need(*library)  # now, not after the first epoch
    return Settings(**{"keep_best": task.main_score if with_scores else None, **chosen})


def fix_length(task: Task[Any, Any], tokenizer: BertTokenizer, config: BertConfig) -> Task[Any, Any]:
    """The task with its length as a number, which the saved tokenizer gets too: predictions cut where training did."""
    longest = longest_row(tokenizer, config.max_position_embeddings, task.max_length, task.usual_length)
    tokenizer.model_max_length = longest
    return dataclasses.replace(task, max_length=longest)


def prepare_model(
    task: Task[Any, Any],
    source: Source,
    settings: dict[str, Any],
    *,
    fresh_head: bool = False,
    scratch: bool = False,
    seed: int = 0,
    lora: Lora | None = None,
) -> BertPreTrainedModel:
    """The checkpoint with a head for the task: its own if it was fine-tuned for it, else a new one, with a warning.

    ``settings``: fields of the config that the data determines.  ``lora``: of adapters to be put in.  Raises InputError
    when the checkpoint's own head does not fit the settings, or an adapter's target is not in the model.
    """
    checkpoint = Checkpoint.open(source)
    config = BertConfig.from_pretrained(checkpoint)
    weights = None if scratch else open_weights(checkpoint)
    name = task.model_class.__name__
    has_head = weights is not None and not fresh_head and architecture_of(config, weights) == name
    if has_head:
        settings = task.keep_head(str(source), config, settings)
    config = BertConfig.from_dict({**without_activation(vars(config)), **settings})
    with drawn_from(seed):
        if weights is None:
            logger.warning("All weights begin at random (seed %d), as asked.", seed)
            return task.model_class(config)
        model = task.model_class.from_pretrained(checkpoint, config=config, state_dict=weights, fresh_head=not has_head)
    assert model.load_report is not None
    if model.load_report.fresh:
        logger.warning(
            "%s brings no head for this task: %s begin at random (seed %d).",
            source, ", ".join(model.load_report.fresh), seed,
        )  # fmt: skip
    if lora is not None:
        check_base(checkpoint)
        with drawn_from(seed):
            add_adapters(model, lora, model.load_report.fresh)
    return model


def save_folder(
    task: Task[Any, Any],
    model: BertPreTrainedModel,
    tokenizer: BertTokenizer,
    folder: Path,
    processes: Processes,
    lora: Lora | None,
    base: Checkpoint,
) -> None:
    """Write what a prediction needs: the model, or the adapters of ``base``; the tokenizer; the task's settings."""
    if lora is None:
        save_model(model, folder, processes)
    else:
        save_adapter(model, lora, base, folder, processes)
    if processes.is_main:
        tokenizer.save_pretrained(folder)
        task.write_settings(folder, model.config)
    processes.wait()


@contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Random numbers from this seed; the state of the process's own generator is restored afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed))
        yield


@contextmanager
def quiet(silenced: bool) -> Iterator[None]:
    """Silence warnings about the data, as in all processes but the first."""
    loggers = logger, logging.getLogger("minibert.data")
    before = [one.disabled for one in loggers]
    for one in loggers:
        one.disabled = one.disabled or silenced
    try:
        yield
    finally:
        for one, disabled in zip(loggers, before, strict=True):
            one.disabled = disabled


def task_of(config: BertConfig) -> Task[Any, Any]:
    """The task that a checkpoint was fine-tuned for; InputError when it was for none."""
    name = named_architecture(config)
    fitting = [task for task in TASKS.values() if task.model_class.__name__ == name]
    if name == "BertForSequenceClassification":
        if config.problem_type == "regression" and config.num_labels > 1:
            raise InputError(
                f"This checkpoint's problem_type is {config.problem_type!r} with {config.num_labels} labels; the tasks "
                "here have one number a text."
            )
        check_labels(config)
        if config.problem_type == "multi_label_classification":
            return MultiLabel(activation=activation_in(config))
        is_score = config.problem_type == "regression" or config.num_labels == 1
        return (Score if is_score else Classify)(activation=activation_in(config))
    if name == "BertForTokenClassification":
        check_bio(config)
    if not fitting:
        known = ", ".join(sorted({task.model_class.__name__ for task in TASKS.values()}))
        raise InputError(
            f"This checkpoint is a {name or 'BERT'} and was fine-tuned for none of the tasks here ({known}). "
            "Fine-tune it first: minibert finetune."
        )
    return fitting[0]()
