"""From plain text to a checkpoint: a vocabulary, passages, a model, a run (paper, section 3.1).

Everything a run needs stands in its folder: the vocabulary and the tokenized text are made once, the rest is a function
of the settings.  So the same call goes on with a run that was interrupted.  What can be wrong is checked before any of
it is made.  Start with :func:`pretrain`.
"""

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from minibert.checkpoint.names import read_name
from minibert.checkpoint.weights import open_weights
from minibert.checksum import file_digest, read_sealed, write_sealed
from minibert.config import BertConfig
from minibert.data.formats import ROWS, check_format, data_path
from minibert.destination import check_folder
from minibert.errors import CheckpointError, InputError
from minibert.files import is_file, write_text
from minibert.heads import BertForMaskedLM, BertForNextSentencePrediction, BertForPreTraining
from minibert.lock import alone_in
from minibert.pretrained import BertPreTrainedModel
from minibert.pretraining.decontamination import HeldOut, without_heldout
from minibert.pretraining.documents import Document, check_reading, is_held_out, read_documents
from minibert.pretraining.evaluation import heldout_scores
from minibert.pretraining.examples import TASKS, PretrainingExamples
from minibert.pretraining.objective import Pretraining, heads_of
from minibert.pretraining.passages import SPECIAL_TOKENS
from minibert.pretraining.statistics import survey
from minibert.pretraining.tokenized import TokenizedText, origin_of
from minibert.pretraining.vocabulary import need_tokenizers, train_vocabulary
from minibert.source import Checkpoint, Source
from minibert.tokenizer import BertTokenizer
from minibert.training.distributed import SINGLE_PROCESS, Processes, save_model
from minibert.training.loop import Result, check_version, train
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
class Text:
    """Which text, and how it is laid out."""

    files: tuple[Source, ...]
    heldout_files: tuple[Source, ...] = ()  # kept for scores
    heldout_share: float = 0.01  # of the documents of ``files``, where there are no heldout_files
    reading: dict[str, Any] = field(default_factory=dict)  # arguments of read_documents
    max_length: int = 128
    step_tokens: int = 4096
    mask_share: float = 0.15
    whole_word: bool = False
    shortest: int | None = None  # pieces of A and of B, at least, where next-sentence prediction is asked
    task: str | None = None  # "mlm" or "nsp" alone; None: both.  Scores on held-out text are of both

    def __post_init__(self) -> None:
        """Raises InputError for files that are no paths."""
        for name in ("files", "heldout_files"):
            given = getattr(self, name)
            paths = (given,) if isinstance(given, str | os.PathLike) else given
            if not isinstance(paths, Iterable):
                raise InputError(f"{name} is {given!r}; expected the paths of files.")
            object.__setattr__(self, name, tuple(paths))
            for path in getattr(self, name):
                data_path(path, f"one of {name}")
        if not self.files:
            raise InputError("files is empty; name at least one file to learn from.")

    def documents(self, held_out: bool) -> Iterator[Document]:
        """Those to learn from, or those that are kept for scores; none of ``heldout_files`` is among the former."""
        if self.heldout_files:
            if held_out:
                yield from read_documents(self.heldout_files, **self.reading)
                return
            known = HeldOut(read_documents(self.heldout_files, **self.reading))
            yield from (
                document for document in read_documents(self.files, **self.reading) if not known.holds(document)
            )
            return
        for document in read_documents(self.files, **self.reading):
            if is_held_out(document, self.heldout_share) == held_out:
                yield document

    def origin(self, tokenizer: BertTokenizer) -> dict[str, Any]:
        """What the tokenized text depends on."""
        share = 0.0 if self.heldout_files else self.heldout_share
        count = len(self.heldout_files)  # which of the files they are
        files = [*self.files, *self.heldout_files]
        return origin_of(files, tokenizer, heldout_share=share, heldout_files=count, **self.reading)


@dataclass(frozen=True)
class Start:
    """What a run starts from: nothing but a shape, or a checkpoint.

    A checkpoint must have the heads that the task asks for, both or one, unless ``fresh_head``.
    """

    config: Source | BertConfig = "bert-mini"  # a name, a file, a folder, or the thing itself; but for vocab_size
    vocab_size: int = 8000
    lowercase: bool = False
    tokenizer: Source | None = None  # whose vocabulary is used; None: one is trained on the text
    checkpoint: Source | None = None  # whose weights are trained further, with its vocabulary
    dropout: float | None = None  # of hidden states and of attention; None: what the config or the checkpoint says
    fresh_head: bool = False  # begin the checkpoint's heads anew


@alone_in("output")
def pretrain(
    text: Text,
    output: Source,
    settings: Settings,
    *,
    start: Start | None = None,
    gather: bool = True,
    processes: Processes = SINGLE_PROCESS,
) -> Result:
    """Pre-train on ``text``, and leave a checkpoint in ``output``; called again, go on where it was.

    Args:
        text: which, and how it is laid out.
        output: a folder: of an earlier call with the same arguments, or new.
        settings: of the run.
        start: the shape and vocabulary of the model, or a checkpoint.
        gather: whether only the masked positions are projected to the vocabulary; the losses are the same.
        processes: those that train together (:func:`minibert.training.distributed.join_processes`).

    Scores on the held-out text (:func:`minibert.pretraining.evaluation.heldout_scores`) are in metrics.jsonl.
    Raises what :func:`minibert.training.loop.train` raises, InputError for text that cannot be used, and
    MissingExtraError when a vocabulary is to be trained without the extra.
    """
    start, folder = Start() if start is None else start, check_folder(output)
    check_kinds(text, start, settings)
    check(text, start, settings, folder)
    if start.checkpoint is not None:
        start = replace(start, checkpoint=Checkpoint.open(start.checkpoint))
    text, taken = apart(text)
    model = None if start.checkpoint is None else prepare_model(start, 0, text, settings.seed)
    with processes.main_first():
        if not all(is_file(folder / name) for name in (TRAINING, HELD_OUT)):
            found = survey(text.files, text.heldout_files, text.heldout_share, text.reading)
            found.say(taken)
            found.check(text.task, text.reading)
        tokenizer = prepare_tokenizer(text, start, folder)
        layout: dict[str, Any] = {"max_length": text.max_length, "step_tokens": text.step_tokens, "seed": settings.seed}
        layout |= {"mask_share": text.mask_share, "whole_word": text.whole_word, "shortest": text.shortest}
        training, heldout = (
            PretrainingExamples(tokenized(text, tokenizer, folder, held_out), tokenizer, **layout, task=task)
            for held_out, task in ((False, text.task), (True, None))
        )
        if processes.is_main:
            tell(training)
    model = model or prepare_model(start, len(tokenizer), text, settings.seed)
    counts = training.text.piece_counts(len(tokenizer))

    def evaluate(model: BertPreTrainedModel) -> dict[str, float]:
        assert isinstance(model, BertForPreTraining)
        return heldout_scores(model, heldout, counts)

    identity = {
        "text": text.origin(tokenizer),
        "layout": {**layout, "task": text.task},
        "gather": gather,
        # The vocabulary that is there is taken as it is, so another one asked for would go unnoticed.
        "vocabulary": [start.vocab_size, start.lowercase] if start.checkpoint is start.tokenizer is None else None,
        "model": model.config.to_dict(),
    }
    objective = Pretraining(model, gather=gather)
    result = train(
        objective,
        training,
        settings,
        folder,
        evaluate=evaluate,
        processes=processes,
        identity=identity,
        name="pre-training",
    )
    if not result.interrupted:
        save_model(model, folder, processes, trained_class(model, text.task))
    return result


def check_kinds(text: Text, start: Start, settings: Settings) -> None:
    """Raise InputError for arguments of another kind, as a program may hand them over."""
    for name, value, kind in (("text", text, Text), ("start", start, Start), ("settings", settings, Settings)):
        if not isinstance(value, kind):
            raise InputError(
                f"{name} is a {type(value).__name__}; expected {kind.__module__}.{kind.__name__}, such as "
                'Text(("book.txt",)), Start("bert-mini"), Settings(epochs=5).'
            )
    for name in ("checkpoint", "tokenizer", "config"):
        value = getattr(start, name)
        if not (value is None and name != "config") and not isinstance(value, str | os.PathLike | BertConfig):
            raise InputError(
                f"start.{name} is a {type(value).__name__}; expected a folder, or a name. A model in memory goes into "
                "a folder first: save_pretrained(folder), of the tokenizer too."
            )


def check(text: Text, start: Start, settings: Settings, folder: Path) -> None:
    """Raise what is wrong with the arguments and can be known without reading the text."""
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
    formats = {check_format(data_path(path), "documents") for path in (*text.files, *text.heldout_files)}
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


def apart(text: Text) -> tuple[Text, list[str]]:
    """The text without held-out files among those to learn from, and what these were."""
    if not text.heldout_files:
        return text, []
    files, taken = without_heldout(text.files, text.heldout_files)
    return replace(text, files=files), taken


def tell(training: PretrainingExamples) -> None:
    """Say what an epoch shows."""
    found = training.summary()
    logger.info(
        "An epoch: %s passages shown twice, %s pairs of which half are true, %s tokens.",
        f"{found['passages']:,}", f"{found['true_pairs'] + found['random_pairs']:,}", f"{found['tokens']:,}",
    )  # fmt: skip


def prepare_tokenizer(text: Text, start: Start, folder: Path) -> BertTokenizer:
    """The tokenizer of the run, which its folder holds from then on."""
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
            there = folder / VOCABULARY  # of a run that was killed a moment before it wrote the record; or not ours
            if BertTokenizer(str(there), do_lower_case=tokenizer.do_lower_case).get_vocab() != tokenizer.get_vocab():
                raise InputError(f"{there} is of no run. To use it: --tokenizer; else name a folder without one.")
        names = sorted({Path(path).name for path in tokenizer.save_pretrained(folder)})
        write_sealed(folder / RECORD, {"files": {name: file_digest(folder / name) for name in names}})
    return BertTokenizer.from_pretrained(folder)


def has_vocabulary(folder: Path) -> bool:
    """Whether the folder holds a vocabulary that its record, which is written last, bears out."""
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


def tokenized(text: Text, tokenizer: BertTokenizer, folder: Path, held_out: bool) -> TokenizedText:
    """The text in pieces, which the folder holds from then on."""
    path = folder / (HELD_OUT if held_out else TRAINING)
    origin = {**text.origin(tokenizer), "held_out": held_out}
    if is_file(path):
        try:
            return TokenizedText.load(path, origin)
        except CheckpointError as error:
            logger.warning("%s That is done now.", error)
    TokenizedText.of(text.documents(held_out), tokenizer).save(path, origin)
    return TokenizedText.load(path, origin)


def prepare_model(start: Start, vocab_size: int, text: Text, seed: int) -> BertForPreTraining:
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
    # num_labels, though neither head has labels: whoever names it allows a head that the file lacks, and keeps others.
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
    """Draw the weights of one task's head, which the checkpoint brought, anew; returns their names."""
    name = HEADS[task][1].removesuffix(".weight").removesuffix(".transform.dense")
    names = []
    for inner, module in model.get_submodule(name).named_modules(prefix=name):
        if getattr(module, "weight", None) is model.get_input_embeddings().weight:
            continue  # the tied decoder is the encoder's
        model._init_weights(module)
        names += [f"{inner}.{one}" for one, _ in module.named_parameters(recurse=False)]
    if task == "mlm":
        torch.nn.init.zeros_(heads_of(model).predictions.bias)
    return names


def config_of(start: Start, vocab_size: int, text: Text) -> BertConfig:
    """The shape of a model that begins at random."""
    known = start.config if isinstance(start.config, BertConfig) else BertConfig.from_pretrained(start.config)
    config = BertConfig(**{**known.to_dict(), **dropout_of(start), "vocab_size": vocab_size})
    config.validate()
    check_positions(config, text)
    return config


def dropout_of(start: Start) -> dict[str, float]:
    """The fields of a config that the dropout decides."""
    names = ("hidden_dropout_prob", "attention_probs_dropout_prob")
    return {} if start.dropout is None else dict.fromkeys(names, start.dropout)


def check_positions(config: BertConfig, text: Text) -> None:
    """Raise InputError for a text that is laid out longer than the model reads."""
    if text.max_length > config.max_position_embeddings:
        raise InputError(
            f"max_length is {text.max_length}, and the model has {config.max_position_embeddings} positions."
        )


def trained_class(model: BertForPreTraining, task: str | None) -> type[BertPreTrainedModel]:
    """The class to save as: without a head that began at random and was not trained; nobody is to take it for one."""
    fresh = () if model.load_report is None else model.load_report.fresh
    other = {"mlm": "nsp", "nsp": "mlm"}.get(task or "")
    if task is None or other is None or HEADS[other][1] not in fresh:
        return type(model)
    return HEADS[task][2]
