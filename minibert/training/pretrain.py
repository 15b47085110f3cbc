"""From plain text to a checkpoint: a vocabulary, passages, a model, a run (paper, section 3.1).

Everything a run needs stands in its folder: the vocabulary and the tokenized text are made once, the rest is a function
of the settings.  So the same call goes on with a run that was interrupted.  Start with :func:`pretrain`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from minibert.config import BertConfig
from minibert.errors import InputError
from minibert.heads import BertForPreTraining
from minibert.lock import alone_in
from minibert.pretrained import BertPreTrainedModel
from minibert.source import Source, as_path, is_file, write_text
from minibert.tokenizer import BertTokenizer
from minibert.training.documents import Document, is_held_out, read_documents
from minibert.training.heldout import heldout_scores
from minibert.training.loop import Result, train
from minibert.training.pretraining import Pretraining, PretrainingExamples
from minibert.training.settings import Settings
from minibert.training.tokenized import TokenizedText, origin_of
from minibert.training.vocabulary import train_vocabulary
from minibert.training.workers import ALONE, Workers, whole

VOCABULARY, TRAINING, HELD_OUT = "vocab.txt", "data/training.safetensors", "data/heldout.safetensors"


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

    def documents(self, held_out: bool) -> Iterator[Document]:
        """Those to learn from, or those that are kept for scores."""
        if self.heldout_files:
            yield from read_documents(self.heldout_files if held_out else self.files, **self.reading)
            return
        for document in read_documents(self.files, **self.reading):
            if is_held_out(document, self.heldout_share) == held_out:
                yield document

    def origin(self, tokenizer: BertTokenizer) -> dict[str, Any]:
        """What the tokenized text depends on."""
        share = 0.0 if self.heldout_files else self.heldout_share
        return origin_of([*self.files, *self.heldout_files], tokenizer, heldout_share=share, **self.reading)


@dataclass(frozen=True)
class Start:
    """What a run starts from: nothing but a shape, or a checkpoint."""

    config: Source | BertConfig = "bert-mini"  # a name, a file, a folder, or the thing itself; but for vocab_size
    vocab_size: int = 8000
    lowercase: bool = False
    tokenizer: Source | None = None  # whose vocabulary is used; None: one is trained on the text
    checkpoint: Source | None = None  # whose weights are trained further, with its vocabulary
    dropout: float | None = None  # of hidden states and of attention; None: what the config or the checkpoint says


@alone_in("output")
def pretrain(
    text: Text,
    output: Source,
    settings: Settings,
    *,
    start: Start | None = None,
    gather: bool = True,
    workers: Workers = ALONE,
) -> Result:
    """Pre-train on ``text``, and leave a checkpoint in ``output``; called again, go on where it was.

    Args:
        text: which, and how it is laid out.
        output: a folder: of an earlier call with the same arguments, or new.
        settings: of the run.
        start: the shape and vocabulary of the model, or a checkpoint.
        gather: whether only the masked positions are projected to the vocabulary; the losses are the same.
        workers: what :func:`minibert.training.workers.gather_workers` gives.

    Scores on the held-out text (:func:`minibert.training.heldout.heldout_scores`) are in the journal, metrics.jsonl.
    Raises what :func:`minibert.training.loop.train` raises, InputError for text that cannot be used, and
    MissingExtraError when a vocabulary is to be trained without the extra.
    """
    start, folder = start or Start(), as_path(output)
    with workers.first_alone():
        tokenizer = prepare_tokenizer(text, start, folder)
        layout: dict[str, Any] = {"max_length": text.max_length, "step_tokens": text.step_tokens, "seed": settings.seed}
        layout |= {"mask_share": text.mask_share, "whole_word": text.whole_word, "shortest": text.shortest}
        training, heldout = (
            PretrainingExamples(tokenized(text, tokenizer, folder, held_out), tokenizer, **layout, task=task)
            for held_out, task in ((False, text.task), (True, None))
        )
    model = prepare_model(start, len(tokenizer), text.max_length, settings.seed)
    counts = training.text.piece_counts(len(tokenizer))

    def evaluate(model: BertPreTrainedModel) -> dict[str, float]:
        assert isinstance(model, BertForPreTraining)
        return heldout_scores(model, heldout, counts)

    identity = {
        "text": text.origin(tokenizer),
        "layout": {**layout, "task": text.task},
        "gather": gather,
        "model": model.config.to_dict(),
    }
    objective = Pretraining(model, gather=gather)
    result = train(
        objective,
        training,
        settings,
        folder,
        evaluate=evaluate,
        workers=workers,
        identity=identity,
        name="pre-training",
    )
    if not result.interrupted:
        save_whole(model, folder, workers)
    return result


def prepare_tokenizer(text: Text, start: Start, folder: Path) -> BertTokenizer:
    """The tokenizer of the run, which its folder holds from then on."""
    source = start.checkpoint or start.tokenizer
    if not is_file(folder / VOCABULARY):
        if source is None:
            sentences = chain.from_iterable(document.sentences for document in text.documents(held_out=False))
            pieces = train_vocabulary(sentences, start.vocab_size, lowercase=start.lowercase)
            write_text(folder / f"{VOCABULARY}.new", "".join(f"{piece}\n" for piece in pieces))
            tokenizer = BertTokenizer(str(folder / f"{VOCABULARY}.new"), do_lower_case=start.lowercase)
            (folder / f"{VOCABULARY}.new").unlink()
        else:
            tokenizer = BertTokenizer.from_pretrained(source)
        tokenizer.model_max_length = text.max_length
        tokenizer.save_pretrained(folder)
    return BertTokenizer.from_pretrained(folder)


def tokenized(text: Text, tokenizer: BertTokenizer, folder: Path, held_out: bool) -> TokenizedText:
    """The text in pieces, which the folder holds from then on."""
    path, origin = folder / (HELD_OUT if held_out else TRAINING), text.origin(tokenizer)
    if not is_file(path):
        try:
            TokenizedText.of(text.documents(held_out), tokenizer).save(path, origin)
        except InputError as error:
            if not held_out or text.heldout_files:
                raise
            raise InputError(
                f"No document fell among the {text.heldout_share:.1%} that are kept for scores, as happens "
                "where there are few. Name a file that is kept instead: --heldout FILE (from Python heldout_files, or "
                "a larger heldout_share)."
            ) from error
    return TokenizedText.load(path, origin)


def prepare_model(start: Start, vocab_size: int, max_length: int, seed: int) -> BertForPreTraining:
    """A model with weights drawn from ``seed``, or with those of the checkpoint."""
    names = ("hidden_dropout_prob", "attention_probs_dropout_prob")
    dropout = {} if start.dropout is None else dict.fromkeys(names, start.dropout)
    if start.checkpoint is not None:
        model = BertForPreTraining.from_pretrained(start.checkpoint, **dropout)
    else:
        known = start.config if isinstance(start.config, BertConfig) else BertConfig.from_pretrained(start.config)
        torch.manual_seed(seed)
        model = BertForPreTraining(BertConfig(**{**known.to_dict(), **dropout, "vocab_size": vocab_size}))
    if max_length > model.config.max_position_embeddings:
        raise InputError(
            f"max_length is {max_length}, and the model has {model.config.max_position_embeddings} positions."
        )
    return model


def save_whole(model: BertPreTrainedModel, folder: Path, workers: Workers) -> None:
    """Save the model, which may be shared out among the workers."""
    if not workers.sharded:
        if workers.is_first:
            model.save_pretrained(folder)
        return
    weights = {name: whole(parameter) for name, parameter in model.named_parameters()}
    if workers.is_first:
        copy = type(model)(model.config)
        copy.load_state_dict(weights, strict=False)  # a tied tensor has one name here, and two there
        copy.save_pretrained(folder)


def files_of(paths: Iterable[Source]) -> tuple[Source, ...]:
    """``paths``, with the .txt files of a folder in the place of the folder, by name."""
    found: list[Source] = []
    for path in map(as_path, paths):
        found += sorted(path.glob("*.txt")) if path.is_dir() else [path]
        if path.is_dir() and not any(path.glob("*.txt")):
            raise InputError(f"The folder {path} holds no .txt file.")
    return tuple(found)
