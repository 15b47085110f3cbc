"""The passages of a text as examples of masked language modelling and next-sentence prediction (paper, appendix A.2).

An example is [CLS] A [SEP] B [SEP], or [CLS] A [SEP] where a passage has one sentence.  Masks, cuts and the choice of B
are drawn anew in every epoch, and an epoch shows each passage twice, with its own B and with another's (pairs.py).
Read :meth:`PretrainingExamples.collate` first.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from minibert.errors import InputError
from minibert.losses import IGNORE_INDEX
from minibert.pretraining.documents import Document
from minibert.pretraining.masking import Masking
from minibert.pretraining.pairs import PAIRING, RANDOM, SPREAD, TRUE, Pairs, draw_pairs
from minibert.pretraining.passages import SPECIAL_TOKENS, pack
from minibert.pretraining.surface_features import SurfaceFeatures, piece_kinds
from minibert.pretraining.tokenized import Label, TokenizedText
from minibert.source import Source
from minibert.tokenizer import BertTokenizer
from minibert.tokenizer.batch_encoding import collate
from minibert.tokenizer.wordpiece import CONTINUATION
from minibert.training.examples import Batch, generator, token_steps

STEPS = 4  # seeds the generator; see passages.py
TEXT_FILE = "text.safetensors"
TASKS = (None, "mlm", "nsp")


class PretrainingExamples:
    """The N passages of a text, masked and paired anew in each epoch.

    There are 2 N examples: n is passage n as it is in the text; N + n is its A with its partner's B, or the passage
    once more if it has no partner.  ``pairs(epoch)`` holds the partners.  ``lengths`` are upper bounds over all epochs:
    a partner's B may be longer by ``SPREAD`` pieces.
    """

    def __init__(
        self,
        text: TokenizedText,
        tokenizer: BertTokenizer,
        *,
        max_length: int = 128,
        step_tokens: int = 4096,
        seed: int = 0,
        short_share: float = 0.1,
        mask_share: float = 0.15,
        whole_word: bool = False,
        shortest: int | None = None,
        task: str | None = None,
    ) -> None:
        """Divide a tokenized text into passages.

        Args:
            text: tokenized with ``tokenizer``.
            tokenizer: with [PAD], [UNK], [CLS], [SEP] and [MASK].
            max_length: tokens of an example, at most.
            step_tokens: tokens of a step, padding counted.
            seed: of all random draws.
            short_share: share of passages that are shorter on purpose.
            mask_share: share of pieces to predict.
            whole_word: whether all pieces of a word are masked together.
            shortest: least number of pieces of A and of B in a pair; None: any.  A segment such as "Really?" says
                nothing about its neighbour, and many such pairs drown the others.
            task: ``"mlm"`` (pairs have no labels) or ``"nsp"`` (only couples, nothing masked); None: both.

        Raises InputError for an unknown task, and for ``"nsp"`` when there is no couple.
        """
        if task not in TASKS:
            raise InputError(f"task is {task!r}; there are 'mlm' and 'nsp', and None for both.")
        self.text, self.seed, self.step_tokens, self.max_length = text, seed, step_tokens, max_length
        self.task = task
        self.shortest = 1 if shortest is None else shortest
        mask_id = check_special_tokens(tokenizer)
        self.frame = tokenizer.frame
        self.vocab_size = len(tokenizer)
        ordinary, continues = ordinary_pieces(tokenizer), continuing_pieces(tokenizer)
        self.masking = Masking(mask_id, ordinary, continues, mask_share, whole_word)
        self.passages = pack(text, continues, max_length=max_length, short_share=short_share, seed=seed)
        kinds = piece_kinds(tokenizer.get_vocab(), frozenset(tokenizer.all_special_tokens))
        self.surface = SurfaceFeatures.of(text, self.passages.starts, kinds)
        first, end = self.passages.first, self.passages.end
        is_pair = (end - first > 1).long()
        tokens = self.surface.lengths(first, end) + 2 + is_pair * (1 + SPREAD)  # [CLS] and [SEP], once or twice
        self.lengths: list[int] = tokens.clamp(max=max_length).repeat(2).tolist()
        self._epoch: tuple[int, Pairs, Tensor, Tensor] | None = None
        if task == "nsp":
            self.steps(0)  # raises if there is no couple

    @classmethod
    def of(
        cls, documents: Iterable[Document], tokenizer: BertTokenizer, *, label: Label | None = None, **settings: Any
    ) -> Self:
        """Tokenize documents; ``settings`` are those of the class, ``label`` is TokenizedText's."""
        return cls(TokenizedText.of(documents, tokenizer, label), tokenizer, **settings)

    def save(self, folder: Source, origin: dict[str, Any]) -> None:
        """Write the tokenized text and its origin (:func:`minibert.pretraining.tokenized.origin_of`)."""
        self.text.save(Path(folder) / TEXT_FILE, origin)

    @classmethod
    def load(cls, folder: Source, tokenizer: BertTokenizer, origin: dict[str, Any], **settings: Any) -> Self:
        """Load what :meth:`save` wrote, mapped into memory; ``settings`` may differ.

        Raises InputError when it has another origin, CheckpointError when it is missing.
        """
        return cls(TokenizedText.load(Path(folder) / TEXT_FILE, origin), tokenizer, **settings)

    def __len__(self) -> int:
        return len(self.lengths)

    def steps(self, epoch: int) -> list[list[int]]:
        """The epoch's examples in steps of about ``step_tokens`` tokens, in random order; a couple is in one step.

        Raises InputError when there are none.
        """
        groups = self.groups(epoch)
        if not groups:
            raise InputError(
                f"No two passages can exchange segments of {self.shortest} pieces or more, so next-sentence prediction "
                "alone has nothing to learn from. Give more text, or ask for shorter segments (shortest)."
            )
        return token_steps(self.lengths, self.step_tokens, generator(self.seed, STEPS, epoch), groups)

    def groups(self, epoch: int) -> list[list[int]]:
        """The examples with labels in this epoch: the four of a couple together, the others one by one."""
        N, couples = len(self.passages), self.pairs(epoch).couples
        alone = torch.ones(2 * N, dtype=torch.bool)
        alone[couples] = alone[couples + N] = False
        groups = torch.cat([couples, couples + N], dim=1).tolist()
        return groups if self.task == "nsp" else groups + alone.nonzero().tolist()

    def pairs(self, epoch: int) -> Pairs:
        """The cuts and couples of an epoch."""
        return self._drawn(epoch)[0]

    def collate(self, numbers: Sequence[int], epoch: int) -> Batch:
        """The batch of some examples, padded to the longest.

        ``input_ids``, ``token_type_ids`` and ``labels`` (B, T) int64; ``attention_mask`` (B, T) int64, only if
        there is padding; ``next_sentence_label`` (B,) int64: 0 where B follows A, 1 where it does not, IGNORE_INDEX
        where there is no pair.
        """
        _, bounds, labels = self._drawn(epoch)
        chosen = torch.tensor(numbers, dtype=torch.int64)
        pieces = self.text.pieces
        rows = [
            self.frame.row(pieces[begin:cut].tolist(), pieces[other:end].tolist() if other < end else None)
            for begin, cut, other, end in bounds[chosen].tolist()
        ]
        batch = collate(rows, self.frame.pad[0])
        input_ids, lengths = batch["input_ids"], [len(row) for row in rows]
        masked_labels = torch.full_like(input_ids, IGNORE_INDEX)
        if self.task != "nsp":
            random = self.masking.draw(self.seed, epoch, numbers, lengths, max(lengths))
            input_ids, masked_labels = self.masking.mask(input_ids, random)
        if min(lengths) == max(lengths):
            del batch["attention_mask"]
        return {**batch, "input_ids": input_ids, "labels": masked_labels, "next_sentence_label": labels[chosen]}

    def _drawn(self, epoch: int) -> tuple[Pairs, Tensor, Tensor]:
        """The pairs of an epoch; (2 N, 4) where A and B begin and end in each example; (2 N,) labels."""
        if self._epoch is None or self._epoch[0] != epoch:
            draw, room = generator(self.seed, PAIRING, epoch), self.max_length - SPECIAL_TOKENS
            pairs = draw_pairs(self.passages, self.surface, self.text.labels, room, draw, self.shortest)
            starts, itself = self.passages.starts, torch.arange(len(self.passages))
            partners = pairs.partners()
            owner_of_b = torch.cat([itself, partners])
            first, cut = (place.repeat(2) for place in (self.passages.first, pairs.cut))
            places = torch.stack([first, cut, pairs.cut[owner_of_b], self.passages.end[owner_of_b]], dim=1)
            labels = torch.cat([torch.full_like(itself, label) for label in (TRUE, RANDOM)])
            labels[(partners == itself).repeat(2)] = IGNORE_INDEX
            if self.task == "mlm":
                labels.fill_(IGNORE_INDEX)
            self._epoch = epoch, pairs, starts[places], labels
        return self._epoch[1:]

    def languages(self) -> Tensor:
        """(2 N,) int64: the index of each example's language in ``text.names``."""
        return self.text.labels[self.passages.document].long().repeat(2)

    def summary(self, epoch: int = 0) -> dict[str, int]:
        """Numbers of passages, of those with one sentence or without a partner, and of an epoch's pairs and tokens."""
        N, couples = len(self.passages), len(self.pairs(epoch).couples)
        single = int((self.passages.end - self.passages.first == 1).sum())
        pieces = int(self.surface.lengths(self.passages.first, self.passages.end).sum())
        return {
            "passages": N,
            "of_one_sentence": single,
            "without_partner": N - single - 2 * couples,
            "true_pairs": 2 * couples,
            "random_pairs": 2 * couples,
            "tokens": 2 * (pieces + SPECIAL_TOKENS * N - single),
        }


def check_special_tokens(tokenizer: BertTokenizer) -> int:
    """The id of [MASK].

    Raises InputError when a special token that pre-training needs is missing, and for a tokenizer that is not BERT's:
    passages are measured with three special tokens, and whole words masked by their "##".
    """
    if tokenizer.pipeline is not None:
        raise InputError(
            "Pre-training reads BERT's own tokenizer: its rows [CLS] A [SEP] B [SEP], its pieces with '##'. This one "
            "is run by the tokenizers library, and has others. Fine-tuning (minibert finetune) takes it."
        )
    vocabulary = tokenizer.get_vocab()
    for name in ("pad_token", "cls_token", "sep_token", "mask_token"):
        if getattr(tokenizer, name) not in vocabulary:
            raise InputError(f"The tokenizer has no {name}; pre-training needs [PAD], [CLS], [SEP] and [MASK].")
    mask_id: int = tokenizer.mask_token_id
    return mask_id


def ordinary_pieces(tokenizer: BertTokenizer) -> Tensor:
    """(V,) bool: all pieces but the special tokens."""
    ordinary = torch.zeros(len(tokenizer), dtype=torch.bool)
    ordinary[list(tokenizer.get_vocab().values())] = True
    ordinary[tokenizer.all_special_ids] = False
    return ordinary


def continuing_pieces(tokenizer: BertTokenizer) -> Tensor:
    """(V,) bool: the pieces that continue a word ("##ing")."""
    continues = torch.zeros(len(tokenizer), dtype=torch.bool)
    continues[[number for piece, number in tokenizer.get_vocab().items() if piece.startswith(CONTINUATION)]] = True
    return continues
