"""How well a model reads text it never saw: masked pieces and pairs, against the frequencies of pieces alone."""

import math
from collections.abc import Iterator
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.errors import InputError
from minibert.heads import BertForPreTraining
from minibert.pretraining.examples import PretrainingExamples
from minibert.pretraining.masking import NOT_ASKED
from minibert.pretraining.objective import heads_of
from minibert.pretraining.pairs import NEITHER
from minibert.training.examples import Batch, padded_batches

MLM = ("mlm_loss", "unigram_loss", "top1", "top5")
NSP = "nsp_accuracy"


def heldout_scores(
    model: BertForPreTraining,
    examples: PretrainingExamples,
    training_counts: Tensor | None = None,
    *,
    batch_tokens: int = 8192,
    by_name: bool = True,
    draws: int = 1,
) -> dict[str, float]:
    """Scores on passages that were kept out of training, always with the same masks and pairs, so that they compare.

    Args:
        model: put into eval mode, and back into the mode it was in.
        examples: the passages.
        training_counts: (V,) how often each piece stands in the training text (``TokenizedText.piece_counts``), for
            ``unigram_loss``: that of guessing from frequencies alone, with one added to every count.
        batch_tokens: in one forward pass, padding counted.
        by_name: whether scores are also given for each name of the text apart, as ``"mlm_loss/latin"``.
        draws: how often the passages are asked about, with other masks and pairs each time: little text, surer scores.

    Returns ``mlm_loss`` and ``unigram_loss`` (nats a masked piece), ``mlm_gain`` (how much less the first is),
    ``top1`` and ``top5`` (shares of the masked pieces that are the model's first guess, or among its first five),
    ``nsp_accuracy``, and the numbers they are of, ``masked`` and ``pairs``.  What there is none of is left out.
    Raises InputError when ``training_counts`` are of another vocabulary.
    """
    surprise = None if training_counts is None else unigram_surprise(training_counts, examples.vocab_size)
    names = examples.text.names
    mlm = torch.zeros(len(names), len(MLM) + 1, dtype=torch.float64)  # sums of MLM's scores by name, and their number
    nsp = torch.zeros(len(names), 2, dtype=torch.float64)  # right ones, and pairs
    was_training = model.training
    model.eval()
    try:
        for batch, languages in batches(examples, batch_tokens, draws):
            scores, right = score(model, batch, surprise)
            asked = (batch["labels"] != NOT_ASKED).nonzero()[:, 0]
            mlm.index_add_(0, languages[asked], scores)
            told = batch["next_sentence_label"] != NEITHER
            nsp.index_add_(0, languages[told], right)
    finally:
        model.train(was_training)
    found = named(mlm.sum(0), nsp.sum(0), "", surprise is not None)
    if by_name and len(names) > 1:
        for number, name in enumerate(names):
            found |= named(mlm[number], nsp[number], f"/{name}", surprise is not None)
    return found


def batches(examples: PretrainingExamples, batch_tokens: int, draws: int) -> Iterator[tuple[Batch, Tensor]]:
    """All examples that each of the first epochs has, those of like length together, with the language (B,) of each."""
    languages, lengths = examples.languages(), examples.lengths
    for epoch in range(draws):
        order = sorted(chain.from_iterable(examples.groups(epoch)), key=lambda number: (lengths[number], number))
        for numbers in padded_batches(order, lengths, batch_tokens):
            yield examples.collate(numbers, epoch), languages[numbers]


@torch.no_grad()  # not inference_mode: weights that FSDP fetches meanwhile could not be trained with afterwards
def score(model: BertForPreTraining, batch: Batch, surprise: Tensor | None) -> tuple[Tensor, Tensor]:
    """(masked, 5) and (pairs, 2) float64: for each piece the scores of ``MLM`` and a 1, for each pair whether and 1."""
    inputs = {name: batch[name].to(model.device) for name in ("input_ids", "token_type_ids")}
    mask = batch.get("attention_mask")
    outputs = model.bert(**inputs, attention_mask=None if mask is None else mask.to(model.device))
    labels = batch["labels"].flatten()
    asked = (labels != NOT_ASKED).nonzero()[:, 0]
    labels = labels[asked]
    heads = heads_of(model)
    logits = heads.predictions(outputs.last_hidden_state.flatten(0, 1)[asked.to(model.device)]).float().cpu()
    loss = F.cross_entropy(logits, labels, reduction="none")
    guesses = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
    unigram = torch.zeros_like(loss) if surprise is None else surprise[labels]
    columns = (loss, unigram, guesses[:, 0], guesses.any(1), torch.ones_like(loss))
    relation, told = batch["next_sentence_label"], batch["next_sentence_label"] != NEITHER
    right = heads.seq_relationship(outputs.pooler_output).float().cpu().argmax(1)[told] == relation[told]
    return torch.stack([column.double() for column in columns], 1), torch.stack([right, right | True], 1).double()


def named(mlm: Tensor, nsp: Tensor, ending: str, has_unigram: bool) -> dict[str, float]:
    """The means of sums, under their names."""
    masked, pairs = float(mlm[-1]), float(nsp[-1])
    found: dict[str, float] = {}
    if masked:
        found = {name: float(value) / masked for name, value in zip(MLM, mlm, strict=False)}
        if has_unigram:
            found["mlm_gain"] = found["unigram_loss"] - found["mlm_loss"]
        else:
            del found["unigram_loss"]
    if pairs:
        found[NSP] = float(nsp[0]) / pairs
    return {name + ending: value for name, value in {**found, "masked": masked, "pairs": pairs}.items()}


def unigram_surprise(counts: Tensor, size: int) -> Tensor:
    """(V,) float64: minus the logarithm of each piece's share of the training text, one added to every count."""
    if counts.shape != (size,):
        raise InputError(f"training_counts has shape {tuple(counts.shape)}, expected ({size},): one for each piece.")
    smoothed = counts.double() + 1
    return math.log(float(smoothed.sum())) - smoothed.log()
