"""Held-out scores: masked pieces and sentence pairs, against a unigram model of the training text."""

import math
from collections.abc import Iterator
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.errors import InputError
from minibert.heads import BertForPreTraining
from minibert.losses import IGNORE_INDEX
from minibert.pretraining.examples import PretrainingExamples
from minibert.pretraining.objective import heads_of
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
    samples: int = 1,
) -> dict[str, float]:
    """Scores on held-out passages, always with the same masks and pairs, so that they can be compared.

    Args:
        model: put into eval mode, and back into its mode afterwards.
        examples: the passages.
        training_counts: (V,) the count of each piece in the training text (``TokenizedText.piece_counts``), for
            ``unigram_loss``: the loss of a unigram model with add-one smoothing.
        batch_tokens: tokens of a forward pass, padding counted.
        by_name: whether to add the scores for each name in the text, such as ``"mlm_loss/latin"``.
        samples: how often masks and pairs are drawn; more samples give surer scores where there is little text.

    Returns ``mlm_loss`` and ``unigram_loss`` (nats per masked piece), ``mlm_gain`` (their difference), ``top1`` and
    ``top5`` (the share of masked pieces that are the model's first prediction, or among the first five),
    ``nsp_accuracy``, and the numbers of ``masked`` pieces and of ``pairs``.  Metrics without examples are omitted.
    Raises InputError when ``training_counts`` has the wrong shape.
    """
    unigram_losses = None if training_counts is None else unigram_losses_of(training_counts, examples.vocab_size)
    names = examples.text.names
    mlm = torch.zeros(len(names), len(MLM) + 1, dtype=torch.float64)  # per name the sums of MLM's scores, and the count
    nsp = torch.zeros(len(names), 2, dtype=torch.float64)  # per name the correct pairs, and all pairs
    was_training = model.training
    model.eval()
    try:
        for batch, languages in batches(examples, batch_tokens, samples):
            mlm_scores, nsp_scores = score_batch(model, batch, unigram_losses)
            mlm.index_add_(0, languages[(batch["labels"] != IGNORE_INDEX).nonzero()[:, 0]], mlm_scores)
            nsp.index_add_(0, languages[batch["next_sentence_label"] != IGNORE_INDEX], nsp_scores)
    finally:
        model.train(was_training)
    scores = means(mlm.sum(0), nsp.sum(0), "", unigram_losses is not None)
    if by_name and len(names) > 1:
        for number, name in enumerate(names):
            scores |= means(mlm[number], nsp[number], f"/{name}", unigram_losses is not None)
    return scores


def batches(examples: PretrainingExamples, batch_tokens: int, samples: int) -> Iterator[tuple[Batch, Tensor]]:
    """The examples of the first ``samples`` epochs, sorted by length, with the language (B,) of each."""
    languages, lengths = examples.languages(), examples.lengths
    for epoch in range(samples):
        order = sorted(chain.from_iterable(examples.groups(epoch)), key=lambda number: (lengths[number], number))
        for numbers in padded_batches(order, lengths, batch_tokens):
            yield examples.collate(numbers, epoch), languages[numbers]


@torch.no_grad()  # not inference_mode: weights that FSDP fetches in it could not be trained afterwards
def score_batch(model: BertForPreTraining, batch: Batch, unigram_losses: Tensor | None) -> tuple[Tensor, Tensor]:
    """(masked, 5) float64: the scores of ``MLM`` and a 1 per masked piece; (pairs, 2): whether correct and a 1."""
    inputs = {name: batch[name].to(model.device) for name in ("input_ids", "token_type_ids")}
    mask = batch.get("attention_mask")
    outputs = model.bert(**inputs, attention_mask=None if mask is None else mask.to(model.device))
    labels = batch["labels"].flatten()
    masked = (labels != IGNORE_INDEX).nonzero()[:, 0]
    labels = labels[masked]
    heads = heads_of(model)
    logits = heads.predictions(outputs.last_hidden_state.flatten(0, 1)[masked.to(model.device)]).float().cpu()
    loss = F.cross_entropy(logits, labels, reduction="none")
    guesses = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
    unigram = torch.zeros_like(loss) if unigram_losses is None else unigram_losses[labels]
    columns = (loss, unigram, guesses[:, 0], guesses.any(1), torch.ones_like(loss))
    relation = batch["next_sentence_label"]
    has_label = relation != IGNORE_INDEX
    predicted = heads.seq_relationship(outputs.pooler_output).float().cpu().argmax(1)
    correct = predicted[has_label] == relation[has_label]
    return torch.stack([column.double() for column in columns], 1), torch.stack([correct, correct | True], 1).double()


def means(mlm: Tensor, nsp: Tensor, suffix: str, has_unigram: bool) -> dict[str, float]:
    """The means of summed scores, under their names."""
    masked, pairs = float(mlm[-1]), float(nsp[-1])
    scores: dict[str, float] = {}
    if masked:
        scores = {name: float(value) / masked for name, value in zip(MLM, mlm, strict=False)}
        if has_unigram:
            scores["mlm_gain"] = scores["unigram_loss"] - scores["mlm_loss"]
        else:
            del scores["unigram_loss"]
    if pairs:
        scores[NSP] = float(nsp[0]) / pairs
    return {name + suffix: value for name, value in {**scores, "masked": masked, "pairs": pairs}.items()}


def unigram_losses_of(counts: Tensor, vocab_size: int) -> Tensor:
    """(V,) float64: the negative log-probability of each piece under a unigram model with add-one smoothing."""
    if counts.shape != (vocab_size,):
        raise InputError(
            f"training_counts has shape {tuple(counts.shape)}, expected ({vocab_size},): one for each piece."
        )
    smoothed = counts.double() + 1
    return math.log(float(smoothed.sum())) - smoothed.log()
