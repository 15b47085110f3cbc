"""Sentence embeddings: vectors whose cosine says how much two texts have in common (Reimers & Gurevych 2019).

The model embeds all texts of a step, and a loss (embedding_losses.py) compares the vectors with each other.  The data
are pairs of texts that belong together, triplets, or pairs with a score (embedding_rows.py).  The result is a folder
that ``Embedder`` and sentence-transformers load with the same vectors.  A checkpoint that is a sentence-transformers
folder already keeps its pooling, prompts and maximum length.

Pairs and triplets are embedded as by ``encode_query`` and ``encode_document``, with the prompts of these names; scored
pairs as by ``encode``.  Start with :class:`EmbeddingObjective`, then :class:`Embeddings`.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from minibert.config import BertConfig
from minibert.data.cells import text_in
from minibert.data.columns import choose_columns
from minibert.data.memory import Data, as_data
from minibert.data.opening import open_rows
from minibert.data.rows import Make, RowFile
from minibert.embedding.embedder import Embedder
from minibert.embedding.pooling import pool_padded
from minibert.embedding.sentence_folder import write_sentence_settings
from minibert.embedding.sentence_transformers import read_sentence_settings
from minibert.embedding.similarity_functions import FUNCTIONS
from minibert.errors import CheckpointError, InputError
from minibert.finetuning.embedding_losses import LOSSES, EmbeddingLoss
from minibert.finetuning.embedding_rows import COLUMNS, EmbeddingExamples, TextGroup, read_groups
from minibert.finetuning.examples import at_least_float32, evaluating, longest_row, progress
from minibert.finetuning.outcomes import MeanOutcome, NumberOutcome, Outcome
from minibert.finetuning.packing import INPUTS
from minibert.finetuning.scores import retrieval_scores
from minibert.finetuning.task import Predictions, Task, is_pair, pair_fields
from minibert.model import BertModel
from minibert.pretrained import BertPreTrainedModel
from minibert.source import Checkpoint
from minibert.tokenizer import BertTokenizer
from minibert.tokenizer.windows import TokenRow
from minibert.training.examples import Batch, padded_batches
from minibert.training.objective import Objective

logger = logging.getLogger("minibert.finetuning")
TEXTS_PER_BLOCK = 1024  # tokenized at once
TOKENS_PER_PART = 512  # of a step, padding counted; on an accelerator sixteen times as many
Pair = tuple[str, str]


class SimilarityPrediction(NamedTuple):
    """How similar the two texts of a pair are, by the checkpoint's similarity function."""

    similarity: float


class EmbeddingObjective(Objective):
    """The vectors of all texts of a step, and a loss on them.

    The texts are sorted by length and run in parts, which leaves little padding; the loss is computed on the whole
    step.  With ``micro_tokens`` a part has so many tokens, and its activations are computed again in the backward pass
    (gradient caching, Gao et al. 2021): memory is that of a part, and the negatives are still those of the whole step.
    """

    divisible = False

    def __init__(self, model: BertPreTrainedModel, loss: EmbeddingLoss, poolings: Sequence[str]) -> None:
        super().__init__(model)
        self.loss, self.poolings = loss, poolings

    @property
    def key(self) -> str:
        """The loss's name in the metrics log."""
        return type(self.loss).__name__

    def counts(self, batch: Batch) -> dict[str, float]:
        return {self.key: self.loss.terms(batch["input_ids"].shape[1])}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The sum over the step."""
        scores = batch.get("scores")
        vectors = at_least_float32(self.vectors(batch))  # (K, B, W)
        return {self.key: self.loss.sum(vectors, None if scores is None else scores.to(vectors.dtype))}

    def vectors(self, batch: Batch) -> Tensor:
        """The pooled vectors of a step's texts, (K, B, W); ``batch``: of :meth:`EmbeddingExamples.collate`."""
        K, B, _ = batch["input_ids"].shape
        inputs = {name: batch[name].flatten(0, 1) for name in (*INPUTS, "skipped")}  # (K · B, T), (K · B,)
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        order = sorted(range(K * B), key=lengths.__getitem__)
        usual = TOKENS_PER_PART * (1 if self.model.device.type == "cpu" else 16)
        parts = []
        for numbers in padded_batches(order, lengths, self.micro_tokens or usual):
            longest = lengths[numbers[-1]]
            part = [inputs[name][numbers, :longest] for name in INPUTS]
            arguments = (*part, inputs["skipped"][numbers])
            if self.micro_tokens is not None and torch.is_grad_enabled():
                parts.append(checkpoint(self.pooled, *arguments, use_reentrant=False))
            else:
                parts.append(self.pooled(*arguments))
        place = torch.empty(K * B, dtype=torch.long)
        place[order] = torch.arange(K * B)
        return torch.cat(parts)[place.to(self.model.device)].view(K, B, -1)

    def pooled(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor, skipped: Tensor) -> Tensor:
        """The vectors of texts, (texts, T) to (texts, W)."""
        output = self.model(input_ids, attention_mask, token_type_ids, return_dict=True)
        return pool_padded(output.last_hidden_state, attention_mask, self.poolings, skipped)


@dataclass(frozen=True)
class Embeddings(Task[TextGroup, EmbeddingExamples]):
    """Pairs, triplets or scored pairs of texts, and vectors that are alike where the texts are."""

    name: ClassVar[str] = "embedding"
    main_score: ClassVar[str] = "spearman"  # of scored dev data; recall@1 of pairs and triplets
    model_class: ClassVar[type[BertPreTrainedModel]] = BertModel
    libraries: ClassVar[tuple[tuple[str, str], ...]] = (("scipy.stats", "scipy"),)
    items: ClassVar[str] = "a pair (text, text)"

    column: str | None = None  # of the first texts
    pair_column: str | None = None  # of the texts that belong to them
    negative_column: str | None = None  # of texts that do not
    label_column: str | None = None  # of the scores
    loss: str | None = None  # a name of LOSSES; default by the data: MultipleNegativesRankingLoss, or CoSENTLoss
    scale: float = 20.0  # of the loss; the inverse of a temperature
    highest_score: float | None = None  # what the scores are divided by; CosineSimilarityLoss needs 1 at most
    pooling: str | Sequence[str] | None = None  # default the checkpoint's, else "mean"
    query_prompt: str | None = None  # put before the first texts; default the checkpoint's
    document_prompt: str | None = None  # put before the other texts; default the checkpoint's
    stored: Mapping[str, Any] = field(default_factory=dict)  # the checkpoint's sentence-transformers settings

    def of_checkpoint(self, checkpoint: Checkpoint) -> Self:
        """The task with the pooling, the maximum length and the prompts of a sentence-transformers folder.

        Raises CheckpointError for settings that minibert does not have, and InputError for steps with weights.
        """
        stored = read_sentence_settings(checkpoint)
        if stored.pop("do_lower_case", False):
            raise InputError(
                f"{checkpoint}: sentence_bert_config.json says do_lower_case; training takes the tokenizer's own "
                "settings. Say it in tokenizer_config.json, and false there."
            )
        if stored.pop("steps", None):
            raise InputError(
                f"{checkpoint} has steps with weights after its pooling (modules.json), and only the BERT is trained "
                "here. Take them out of modules.json, or begin with another checkpoint."
            )
        stored.setdefault("prompts", {})
        pooling = self.pooling or stored.pop("pooling", "mean")
        longest = stored.pop("max_length", None) if self.max_length is None else self.max_length
        stored = {name: value for name, value in stored.items() if name not in ("pooling", "max_length")}
        if longest is not None and self.max_length is None:
            longest = min(longest, BertConfig.from_pretrained(checkpoint).max_position_embeddings)
        return replace(self, pooling=pooling, max_length=longest, stored=stored)

    def read(self, source: Data, config: BertConfig | None = None) -> list[TextGroup]:
        names = {
            "text": self.column, "pair": self.pair_column, "negative": self.negative_column, "score": self.label_column,
        }  # fmt: skip
        is_training = config is None
        scored = LOSSES[self.loss].needs_scores if self.loss is not None and is_training else None
        source = as_data(source)
        rows = read_groups(source, names, scored=scored, skip_bad=self.skip_bad)
        if self.highest_score is not None:
            rows = [row if row.score is None else row._replace(score=row.score / self.highest_score) for row in rows]
        if is_training:
            self.check(rows, Path(str(source)))
        return rows

    def check(self, rows: Sequence[TextGroup], path: Path) -> None:
        """Raise InputError when there is nothing to learn."""
        scores = [row.score for row in rows if row.score is not None]
        if not scores:
            if len({row.texts for row in rows}) < 2:
                raise InputError(
                    f"{path} has one pair of texts; the negatives are the other texts of a step, so there is nothing "
                    "to learn."
                )
            return
        lowest, highest = min(scores), max(scores)
        if lowest == highest:
            raise InputError(f"{path}: all {len(rows):,} rows have the score {lowest:g}; there is nothing to learn.")
        if self.loss == "CosineSimilarityLoss" and not -1 <= lowest <= highest <= 1:
            raise InputError(
                f"{path} has scores from {lowest:g} to {highest:g}, and CosineSimilarityLoss compares them with "
                "cosines, which lie between -1 and 1. Say what the scores are to be divided by (--highest-score 5), or "
                "choose CoSENTLoss, for which their order is enough."
            )

    def settings(self, rows: Sequence[TextGroup]) -> dict[str, Any]:
        """None: the vectors have no labels."""
        return {}

    def fitted(self, rows: Sequence[TextGroup]) -> Self:
        """With the loss for pairs, or for scored pairs."""
        usual = "MultipleNegativesRankingLoss" if rows[0].score is None else "CoSENTLoss"
        return replace(self, loss=self.loss or usual)

    @property
    def chosen_loss(self) -> EmbeddingLoss:
        """The loss of a task that is fitted."""
        assert self.loss is not None
        return LOSSES[self.loss](self.scale)

    @property
    def poolings(self) -> tuple[str, ...]:
        """The names of the poolings whose vectors are concatenated."""
        chosen = self.pooling or "mean"
        return (chosen,) if isinstance(chosen, str) else tuple(chosen)

    def prompts(self, is_scored: bool) -> Pair:
        """What is put before the first text of a group, and before the others."""
        stored = self.stored.get("prompts", {})
        usual = stored.get(self.stored.get("default_prompt_name"), "")
        first, others = (usual, usual) if is_scored else (stored.get("query", ""), stored.get("document", ""))
        return (
            first if self.query_prompt is None else self.query_prompt,
            others if self.document_prompt is None else self.document_prompt,
        )

    def encode(self, rows: Sequence[TextGroup], tokenizer: BertTokenizer, config: BertConfig) -> EmbeddingExamples:
        longest = longest_row(tokenizer, config.max_position_embeddings, self.max_length)
        query, document = self.prompts(rows[0].score is not None)
        places = len(rows[0].texts)
        prompts = [query, *[document] * (places - 1)]
        token_rows: list[list[TokenRow]] = []
        cut = 0
        blocks = [rows[start : start + TEXTS_PER_BLOCK] for start in range(0, len(rows), TEXTS_PER_BLOCK)]
        for block in progress(blocks, "tokenizing", " thousand rows", many=4):
            texts = [prompt + text for row in block for prompt, text in zip(prompts, row.texts, strict=True)]
            of_block, _, cut_there = tokenizer.token_rows(texts, longest)
            token_rows += [of_block[start : start + places] for start in range(0, len(of_block), places)]
            cut += cut_there
        if cut:
            logger.warning(
                "%d of %d texts are longer than the model reads, and are cut at the end.", cut, len(rows) * places
            )
        counts = self.stored.get("include_prompt", True)
        skipped = [0 if counts or not prompt else prompt_length(tokenizer, prompt, longest) for prompt in prompts]
        apart = rows[0].score is None  # the other texts of a step are negatives
        return EmbeddingExamples(rows, token_rows, skipped, tokenizer, keeps_copies_apart=apart)

    def objective(self, model: BertPreTrainedModel) -> Objective:
        return EmbeddingObjective(model, self.chosen_loss, self.poolings)

    def embedder(self, model: BertPreTrainedModel, tokenizer: BertTokenizer) -> "QuietEmbedder":
        """The model as the saved folder will be loaded."""
        settings = {"prompts": {}, **self.stored}
        return QuietEmbedder(model, tokenizer, pooling=self.pooling or "mean", max_length=self.max_length, **settings)

    def outcome(self, model: BertPreTrainedModel, examples: EmbeddingExamples) -> Outcome:
        """Of scored pairs the correlation of similarity and score; of others how often a text finds its own.

        ``recall@k``: the share of the texts that belong to a first text among the k most similar of all.
        """
        groups = examples.groups
        with evaluating(model):
            embedder = self.embedder(model, examples.tokenizer)
            query, document = self.prompts(groups[0].score is not None)
            scores = [group.score for group in groups if group.score is not None]
            if scores:
                similarities = self.similarities(embedder, [group.texts for group in groups])
                return NumberOutcome(scores, similarities, ("spearman", "pearson"), "pairs")
            queries = list(dict.fromkeys(group.texts[0] for group in groups))
            corpus = list(dict.fromkeys(text for group in groups for text in group.texts[1:]))
            vectors = embedder.encode(queries, prompt=query), embedder.encode(corpus, prompt=document)
        numbers = {text: number for number, text in enumerate(corpus)}
        relevant: dict[str, set[int]] = {text: set() for text in queries}
        for group in groups:
            relevant[group.texts[0]].add(numbers[group.texts[1]])
        scored = retrieval_scores(*vectors, list(relevant.values()), FUNCTIONS[embedder.similarity_fn_name])
        return MeanOutcome(scored, "queries")

    def best_by(self, examples: EmbeddingExamples) -> str:
        return self.main_score if examples.groups[0].score is not None else "recall@1"

    def metric(self, examples: EmbeddingExamples) -> str:
        return self.best_by(examples)

    def similarities(self, embedder: Embedder, pairs: Sequence[Sequence[str]]) -> list[float]:
        """The similarity of the first two texts of each, as of scored pairs."""
        query, document = self.prompts(is_scored=True)
        first = embedder.encode([pair[0] for pair in pairs], prompt=query)
        second = embedder.encode([pair[1] for pair in pairs], prompt=document)
        similarities: list[float] = embedder.similarity_pairwise(first, second).tolist()
        return similarities

    def write_settings(self, folder: Path, config: BertConfig) -> None:
        """Write the files of a sentence-transformers folder; prompts that were given are its ``query`` and others."""
        assert self.max_length is not None
        given = {"query": self.query_prompt, "document": self.document_prompt}
        prompts = {**self.stored.get("prompts", {}), **{name: text for name, text in given.items() if text is not None}}
        settings = {**self.stored, "prompts": prompts}
        write_sentence_settings(
            folder, width=config.hidden_size, pooling=self.pooling or "mean", max_length=self.max_length, **settings
        )

    def keep_head(self, source: str, config: BertConfig, settings: dict[str, Any]) -> dict[str, Any]:
        """There is no head."""
        return settings

    def open(self, source: Data) -> tuple[RowFile, Make[Pair]]:
        """A file with a column of texts and one of second texts."""
        file = open_rows(source, (self.column, self.pair_column), fields=pair_fields)
        names = {"text": self.column, "pair": self.pair_column}
        chosen = choose_columns(file, {role: COLUMNS[role] for role in names}, names)
        return file, lambda number, line, cells: (text_in(cells, chosen["text"]), text_in(cells, chosen["pair"]))

    def is_item(self, item: Any) -> bool:
        return is_pair(item)

    def predict(self, model: BertPreTrainedModel, tokenizer: BertTokenizer, items: Sequence[Pair]) -> Predictions:
        """How similar the texts of each pair are; the vectors themselves are those of :class:`Embedder`."""
        embedder = self.embedder(model, tokenizer)
        similarities = self.similarities(embedder, items)
        return [SimilarityPrediction(similarity) for similarity in similarities], embedder.all_truncated

    def record(self, item: Pair, prediction: Any) -> dict[str, Any]:
        return {"text": item[0], "pair": item[1], **prediction._asdict()}

    def fields(self, item: Pair) -> tuple[str, ...]:
        return ("text", "pair", "similarity")


class QuietEmbedder(Embedder):
    """An Embedder that counts the texts that are too long and does not warn of them: that is said elsewhere."""

    all_truncated = 0  # in all calls

    def warn_if_truncated(self, texts: int) -> None:
        """Count them."""
        self.all_truncated += self.truncated


def prompt_length(tokenizer: BertTokenizer, prompt: str, longest: int) -> int:
    """How many tokens ``prompt`` has, with [CLS] and without [SEP]."""
    (row,), _, _ = tokenizer.token_rows([prompt], longest)
    return len(row) - tokenizer.frame.ends[1]


def check_folder_settings(checkpoint: Checkpoint) -> None:
    """Raise CheckpointError for a BERT without a head and without sentence-transformers settings."""
    if checkpoint.at("modules.json") is None:
        raise CheckpointError(
            f"{checkpoint} was fine-tuned for no task: it is a BertModel without sentence-transformers' modules.json, "
            "which says how its vectors are made. minibert embed gives the vectors of its texts."
        )
