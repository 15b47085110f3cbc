"""From plain text to a checkpoint: a vocabulary, passages, a model, a run (paper, section 3.1).

The vocabulary and the tokenized text are made once and stored in the run's folder; everything else is a function of the
settings.  So the same call resumes a run that was interrupted.  The arguments and the text are checked before anything
is made.  Start with :func:`pretrain`.
"""

import logging
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from minibert.checkpoint.names import read_name
from minibert.checkpoint.weights import open_weights
from minibert.checksum import file_digest, read_sealed, write_sealed
from minibert.config import BertConfig
from minibert.data.formats import ROWS, check_format
from minibert.data.memory import Data
from minibert.destination import check_folder
from minibert.errors import CheckpointError, InputError
from minibert.files import is_file, write_text
from minibert.heads import BertForMaskedLM, BertForNextSentencePrediction, BertForPreTraining
from minibert.lock import alone_in
from minibert.pretrained import BertPreTrainedModel
from minibert.pretraining.decontamination import HeldOut, without_heldout
from minibert.pretraining.distillation import (
    TaughtExamples,
    TaughtPretraining,
    TeacherVectors,
    check_teacher,
    tokenize_sentences,
)
from minibert.pretraining.documents import Document, check_reading, is_held_out, read_documents, sources_of
from minibert.pretraining.evaluation import heldout_scores
from minibert.pretraining.examples import TASKS, PretrainingExamples
from minibert.pretraining.objective import Pretraining, heads_of
from minibert.pretraining.passages import SPECIAL_TOKENS
from minibert.pretraining.statistics import text_statistics
from minibert.pretraining.tokenized import TokenizedText, origin_of
from minibert.pretraining.vocabulary import need_tokenizers, train_vocabulary
from minibert.source import Checkpoint, Source
from minibert.tokenizer import BertTokenizer
from minibert.training.distributed import SINGLE_PROCESS, Processes, save_model
from minibert.training.examples import Examples
from minibert.training.identity import check_version
from minibert.training.loop import Result, train
from minibert.training.metrics import need_tensorboard
from minibert.training.settings import Settings

logger = logging.getLogger("minibert.pretraining")
VOCABULARY, TRAINING, HELD_OUT = "vocab.txt", "data/training.safetensors", "data/heldout.safetensors"
RECORD = "data/vocabulary.json"
# The tensors that each task trains besides the encoder's, and the class that has no other head.
HEADS: dict[str, tuple[str, str, type[BertPreTrainedModel]]] = {
    "mlm": ("masked words", "cls.predictions.transform.dense.weight", BertForMaskedLM),
    "nsp": ("next sentences", "cls.seq_relationship.weight", BertForNextSentencePrediction),
}


@dataclass(frozen=True)
class TrainingText:
    """The files to train on, how they are read, and how their text becomes examples.

    In a file's place there may be rows in memory (:mod:`minibert.data.memory`), each a document: ``files=frame``, or
    ``files=[["a text", "another"]]``, since a list of str names files.
    """

    files: tuple[Data, ...]
    heldout_files: tuple[Data, ...] = ()  # for scores
    heldout_share: float = 0.01  # of the documents of ``files``, if there are no heldout_files
    reading: dict[str, Any] = field(default_factory=dict)  # arguments of read_documents
    max_length: int = 128
    step_tokens: int = 4096
    mask_share: float = 0.15
    whole_word: bool = False
    shortest: int | None = None  # pieces of A and of B in a pair, at least
    task: str | None = None  # "mlm" or "nsp" alone; None: both.  Held-out scores are of both

    def __post_init__(self) -> None:
        """Raises InputError for files that are no paths."""
        for name in ("files", "heldout_files"):
            object.__setattr__(self, name, sources_of(getattr(self, name), f"one of {name}"))
        if not self.files:
            raise InputError("files is empty; name at least one file to learn from.")

    def documents(self, held_out: bool) -> Iterator[Document]:
        """The held-out documents, or those to train on, among which no held-out one is."""
        if self.heldout_files:
            if held_out:
                yield from read_documents(self.heldout_files, **self.reading)
                return
            known = HeldOut(read_documents(self.heldout_files, **self.reading))
            documents = read_documents(self.files, **self.reading)
            yield from (document for document in documents if not known.contains(document))
            return
        for document in read_documents(self.files, **self.reading):
            if is_held_out(document, self.heldout_share) == held_out:
                yield document

    def origin(self, tokenizer: BertTokenizer) -> dict[str, Any]:
        """What the tokenized text depends on."""
        share = 0.0 if self.heldout_files else self.heldout_share
        count = len(self.heldout_files)  # these are the last of the files
        files = [*self.files, *self.heldout_files]
        return origin_of(files, tokenizer, heldout_share=share, heldout_files=count, **self.reading)


@dataclass(frozen=True)
class Start:
    """What a run starts from: an architecture with random weights, or a checkpoint.

    A checkpoint must have the heads of the task, unless ``fresh_head``.
    """

    config: Source | BertConfig = "bert-mini"  # a name, a file, a folder or a config; its vocab_size is ignored
    vocab_size: int = 8000
    lowercase: bool = False
    tokenizer: Source | None = None  # whose vocabulary to use; None: train one on the text
    checkpoint: Source | None = None  # whose weights and vocabulary to start from
    dropout: float | None = None  # of hidden states and of attention; None: as the config or the checkpoint
    fresh_head: bool = False  # draw the weights of the heads anew


@alone_in("output")
def pretrain(
    text: TrainingText,
    output: Source,
    settings: Settings,
    *,
    start: Start | None = None,
    gather: bool = True,
    teacher: TeacherVectors | None = None,
    processes: Processes = SINGLE_PROCESS,
) -> Result:
    """Pre-train on ``text`` and write a checkpoint to ``output``; called again after an interruption, resume.

    Args:
        text: the files, and how their text becomes examples.
        output: a folder: new, or of an earlier call with the same arguments.
        settings: of the run.
        start: the architecture and vocabulary, or a checkpoint.
        gather: whether only the masked positions are projected to the vocabulary; the losses are the same.
        teacher: sentences whose vectors the mean of the last layer learns beside the tasks.
        processes: those that train together (:func:`minibert.training.distributed.join_processes`).

    Scores on the held-out text (:func:`minibert.pretraining.evaluation.heldout_scores`) are in metrics.jsonl.
    Raises what :func:`minibert.training.loop.train` raises, InputError for text that cannot be used, and
    MissingExtraError when a vocabulary is to be trained without the extra.
    """
    start, folder = Start() if start is None else start, check_folder(output)
    check_types(text, start, settings)
    check(text, start, settings, folder)
    if start.checkpoint is not None:
        start = replace(start, checkpoint=Checkpoint.open(start.checkpoint))
    text, removed = remove_heldout_files(text)
    model = None if start.checkpoint is None else prepare_model(start, 0, text, settings.seed)
    began = time.monotonic()
    with processes.main_first():
        if not all(is_file(folder / name) for name in (TRAINING, HELD_OUT)):
            statistics = text_statistics(text.files, text.heldout_files, text.heldout_share, text.reading)
            statistics.log(removed)
            statistics.check(text.task, text.reading)
        tokenizer = prepare_tokenizer(text, start, folder)
        layout: dict[str, Any] = {"max_length": text.max_length, "step_tokens": text.step_tokens, "seed": settings.seed}
        layout |= {"mask_share": text.mask_share, "whole_word": text.whole_word, "shortest": text.shortest}
        texts = [tokenized(text, tokenizer, folder, held_out) for held_out in (False, True)]
        if processes.is_main:
            log_preparation(time.monotonic() - began)
        training, heldout = (
            PretrainingExamples(one, tokenizer, **layout, task=task)
            for one, task in zip(texts, (text.task, None), strict=True)
        )
        if processes.is_main:
            log_summary(training)
    model = model or prepare_model(start, len(tokenizer), text, settings.seed)
    counts = training.text.piece_counts(len(tokenizer))

    def evaluate(model: BertPreTrainedModel) -> dict[str, float]:
        assert isinstance(model, BertForPreTraining)
        return heldout_scores(model, heldout, counts)

    identity = {
        "text": text.origin(tokenizer),
        "layout": {**layout, "task": text.task},
        "gather": gather,
        # An existing vocabulary is used as it is, so another size or case would go unnoticed.
        "vocabulary": [start.vocab_size, start.lowercase] if start.checkpoint is start.tokenizer is None else None,
        "model": model.config.to_dict(),
    }
    objective = Pretraining(model, gather=gather)
    examples: Examples = training
    if teacher is not None:
        check_teacher(teacher, model.config)
        taught = TaughtExamples(training, teacher, tokenizer, tokenize_sentences(teacher, tokenizer))
        objective, examples = TaughtPretraining(model, gather=gather, weight=teacher.weight), taught
        identity |= teacher.identity()
    result = train(
        objective, examples, settings, folder,
        evaluate=evaluate, processes=processes, identity=identity, name="pre-training",
    )  # fmt: skip
    if not result.interrupted:
        save_model(model, folder, processes, trained_class(model, text.task))
    return result


def check_types(text: TrainingText, start: Start, settings: Settings) -> None:
    """Raise InputError for arguments of the wrong type."""
    for name, value, expected in (
        ("text", text, TrainingText), ("start", start, Start), ("settings", settings, Settings),
    ):  # fmt: skip
        if not isinstance(value, expected):
            raise InputError(
                f"{name} is a {type(value).__name__}; expected {expected.__module__}.{expected.__name__}, such as "
                'TrainingText(("book.txt",)), Start("bert-mini"), Settings(epochs=5).'
            )
    for name in ("checkpoint", "tokenizer", "config"):
        value = getattr(start, name)
        if not (value is None and name != "config") and not isinstance(value, str | os.PathLike | BertConfig):
            raise InputError(
                f"start.{name} is a {type(value).__name__}; expected a folder, or a name. A model in memory goes into "
                "a folder first: save_pretrained(folder), of the tokenizer too."
            )


def check(text: TrainingText, start: Start, settings: Settings, folder: Path) -> None:
    """Raise InputError for everything about the arguments that can be checked without reading the text."""
    if text.task not in TASKS:
        raise InputError(f"task is {text.task!r}; there are 'mlm' and 'nsp', and None for both.")
    if text.max_length < SPECIAL_TOKENS + 2:
        raise InputError(f"max_length is {text.max_length}; [CLS] A [SEP] B [SEP] needs at least 5 tokens.")
    if not 0 < text.heldout_share < 1 and not text.heldout_files:
        raise InputError(f"heldout_share is {text.heldout_share}; it must lie between 0 and 1, and be neither.")
    if start.checkpoint is not None and start.tokenizer is not None:
        raise InputError(
            f"{start.checkpoint} brings its own vocabulary (--from), so that of {start.tokenizer} (--tokenizer) cannot "
            "be used. Leave one of them out."
        )
    source = start.checkpoint if start.checkpoint is not None else start.tokenizer
    if start.lowercase and source is not None:
        raise InputError(f"The vocabulary of {source} decides about capitals; leave lowercase (--lowercase) out.")
    if start.fresh_head and start.checkpoint is None:
        raise InputError("A fresh head (--fresh-head) is for a checkpoint to go on from: --from CHECKPOINT.")
    formats = {
        check_format(data, "documents") if isinstance(data, Path) else ROWS[0]
        for data in sources_of((*text.files, *text.heldout_files))
    }
    reading = text.reading
    check_reading(reading.get("document"), reading.get("heading"), reading.get("encoding", "utf-8"))
    if reading.get("heading") is not None and reading.get("document") == "line":
        raise InputError("Every line is a document (--document line), so --heading has nothing to do. Leave one out.")
    if reading.get("column") is not None and not formats & {*ROWS}:
        raise InputError("A column (--column) is for tables (.csv, .tsv, .jsonl, .parquet), and none is given.")
    if start.checkpoint is None:
        config_of(start, start.vocab_size, text)
    if source is None and not is_file(folder / VOCABULARY):
        need_tokenizers()
    if settings.tensorboard:
        need_tensorboard()
    settings.warn()


def remove_heldout_files(text: TrainingText) -> tuple[TrainingText, list[str]]:
    """The text without held-out files among the training files, and a phrase about each that was removed."""
    if not text.heldout_files:
        return text, []
    files, removed = without_heldout(text.files, text.heldout_files)
    return replace(text, files=files), removed


def log_preparation(seconds: float) -> None:
    """Log how long the text took, and the most memory that this process had so far."""
    try:
        import resource
    except ImportError:  # Windows
        peak = ""
    else:
        unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes there, KiB elsewhere
        mebibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
        peak = f", with {mebibytes:,.0f} MiB of memory at most"
    logger.info("The text is ready after %.0f s%s.", seconds, peak)


def log_summary(training: PretrainingExamples) -> None:
    """Log what an epoch consists of."""
    summary = training.summary()
    logger.info(
        "An epoch: %s passages shown twice, %s pairs of which half are true, %s tokens.",
        f"{summary['passages']:,}", f"{summary['true_pairs'] + summary['random_pairs']:,}", f"{summary['tokens']:,}",
    )  # fmt: skip


def prepare_tokenizer(text: TrainingText, start: Start, folder: Path) -> BertTokenizer:
    """The tokenizer of the run, stored in its folder."""
    source = start.checkpoint or start.tokenizer
    check_version(folder)
    if not has_vocabulary(folder):
        if source is None:
            sentences = chain.from_iterable(document.sentences for document in text.documents(held_out=False))
            pieces = train_vocabulary(sentences, start.vocab_size, lowercase=start.lowercase)
            write_text(folder / f"{VOCABULARY}.new", "".join(f"{piece}\n" for piece in pieces))
            tokenizer = BertTokenizer(str(folder / f"{VOCABULARY}.new"), do_lower_case=start.lowercase)
            (folder / f"{VOCABULARY}.new").unlink()
        else:
            tokenizer = BertTokenizer.from_pretrained(source)
        tokenizer.model_max_length = text.max_length
        if not is_file(folder / RECORD) and is_file(folder / VOCABULARY):
            path = folder / VOCABULARY  # of a run that was killed just before it wrote the record, or of no run
            if BertTokenizer(str(path), do_lower_case=tokenizer.do_lower_case).get_vocab() != tokenizer.get_vocab():
                raise InputError(f"{path} is of no run. To use it: --tokenizer; else name a folder without one.")
        names = sorted({Path(path).name for path in tokenizer.save_pretrained(folder)})
        write_sealed(folder / RECORD, {"files": {name: file_digest(folder / name) for name in names}})
    return BertTokenizer.from_pretrained(folder)


def has_vocabulary(folder: Path) -> bool:
    """Whether the folder holds a vocabulary with the checksums of its record, which is written last."""
    if not is_file(folder / RECORD):
        return False
    try:
        record, sealed = read_sealed(folder / RECORD)
        if sealed and all(file_digest(folder / name) == digest for name, digest in record["files"].items()):
            return True
        reason = f"The vocabulary in {folder} is damaged: it does not have the checksums of {RECORD}."
    except OSError as error:  # CheckpointError among them
        reason = str(error)
    logger.warning("%s It is made again.", reason)
    return False


def tokenized(text: TrainingText, tokenizer: BertTokenizer, folder: Path, held_out: bool) -> TokenizedText:
    """The tokenized text, stored in the run's folder."""
    path = folder / (HELD_OUT if held_out else TRAINING)
    origin = {**text.origin(tokenizer), "held_out": held_out}
    if is_file(path):
        try:
            return TokenizedText.load(path, origin)
        except CheckpointError as error:
            logger.warning("%s That is done now.", error)
    TokenizedText.write(text.documents(held_out), tokenizer, path, origin)
    return TokenizedText.load(path, origin)


def prepare_model(start: Start, vocab_size: int, text: TrainingText, seed: int) -> BertForPreTraining:
    """A model with weights drawn from ``seed``, or with those of the checkpoint."""
    torch.manual_seed(seed)
    if start.checkpoint is None:
        return BertForPreTraining(config_of(start, vocab_size, text))
    checkpoint = Checkpoint.open(start.checkpoint)
    weights = open_weights(checkpoint)
    names = {read_name(name).ours for name in weights.names()}
    lacking = {task for task, (_, tensor, _) in HEADS.items() if tensor not in names}
    needed = {text.task} if text.task else set(HEADS)
    if lacking & needed and not start.fresh_head:
        what = " and ".join(HEADS[task][0] for task in HEADS if task in lacking & needed)
        left = needed - lacking
        other = f", or train the task alone whose head it has (--task {min(left)})" if left else ""
        raise InputError(
            f"{start.checkpoint} has no head for {what}. To begin one anew, add --fresh-head (from Python "
            f"Start(fresh_head=True)){other}."
        )
    config = BertConfig.from_pretrained(checkpoint)
    # Neither head has labels, but from_pretrained accepts a missing head only when num_labels is given.
    allowed = {"num_labels": config.num_labels} if lacking else {}
    model = BertForPreTraining.from_pretrained(checkpoint, state_dict=weights, **dropout_of(start), **allowed)
    check_positions(model.config, text)
    fresh = [] if model.load_report is None else list(model.load_report.fresh)
    if start.fresh_head:
        fresh += [name for task in sorted(needed - lacking) for name in begin_anew(model, task)]
    if fresh:
        unused = sorted(HEADS[task][0] for task in lacking - needed)
        aside = f"; a head for {' and '.join(unused)} is neither trained nor saved" if unused else ""
        logger.warning("%s: %s begin at random (seed %d)%s.", start.checkpoint, ", ".join(fresh), seed, aside)
    return model


def begin_anew(model: BertForPreTraining, task: str) -> list[str]:
    """Draw the weights of a task's head anew; returns their names."""
    name = HEADS[task][1].removesuffix(".weight").removesuffix(".transform.dense")
    names = []
    for inner, module in model.get_submodule(name).named_modules(prefix=name):
        if getattr(module, "weight", None) is model.get_input_embeddings().weight:
            continue  # the decoder is tied to the embeddings
        model._init_weights(module)
        names += [f"{inner}.{one}" for one, _ in module.named_parameters(recurse=False)]
    if task == "mlm":
        torch.nn.init.zeros_(heads_of(model).predictions.bias)
    return names


def config_of(start: Start, vocab_size: int, text: TrainingText) -> BertConfig:
    """The config of a model with random weights."""
    base = start.config if isinstance(start.config, BertConfig) else BertConfig.from_pretrained(start.config)
    config = BertConfig(**{**base.to_dict(), **dropout_of(start), "vocab_size": vocab_size})
    config.validate()
    check_positions(config, text)
    return config


def dropout_of(start: Start) -> dict[str, float]:
    """The fields of a config that ``start.dropout`` sets."""
    names = ("hidden_dropout_prob", "attention_probs_dropout_prob")
    return {} if start.dropout is None else dict.fromkeys(names, start.dropout)


def check_positions(config: BertConfig, text: TrainingText) -> None:
    """Raise InputError for examples longer than the model's positions."""
    if text.max_length > config.max_position_embeddings:
        raise InputError(
            f"max_length is {text.max_length}, and the model has {config.max_position_embeddings} positions."
        )


def trained_class(model: BertForPreTraining, task: str | None) -> type[BertPreTrainedModel]:
    """The class to save as: without a head that has random weights because it was not trained."""
    fresh = () if model.load_report is None else model.load_report.fresh
    other = {"mlm": "nsp", "nsp": "mlm"}.get(task or "")
    if task is None or other is None or HEADS[other][1] not in fresh:
        return type(model)
    return HEADS[task][2]
