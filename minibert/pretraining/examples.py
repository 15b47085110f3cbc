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
from minibert.pretraining.documents import Document
from minibert.pretraining.leakage_probe import probe_accuracy
from minibert.pretraining.masking import NOT_ASKED, Masking
from minibert.pretraining.pairs import NEITHER, PAIRING, RANDOM, SPREAD, TRUE, Pairs, draw_pairs
from minibert.pretraining.passages import SPECIAL_TOKENS, pack
from minibert.pretraining.surface_features import Surface, piece_kinds
from minibert.pretraining.tokenized import Label, TokenizedText
from minibert.source import Source
from minibert.tokenizer import BertTokenizer
from minibert.tokenizer.batch_encoding import collate
from minibert.tokenizer.wordpiece import CONTINUATION
from minibert.training.examples import Batch, generator, token_steps

STEPS = 4  # what a generator is for; see passages.py
TEXT_FILE = "text.safetensors"
TASKS = (None, "mlm", "nsp")


class PretrainingExamples:
    """The passages of a text, N of them, masked and paired anew in each epoch.

    There are 2 N examples: n is passage n as it stands in the text, N + n its A with the B of its partner, or the
    passage once more where it has none.  ``pairs(epoch)`` says whose partner is who.  ``lengths`` are the most tokens
    that each may have in any epoch: a partner's B may be longer by ``SPREAD`` pieces.
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
        """Lay a tokenized text out.

        Args:
            text: in the pieces of ``tokenizer``.
            tokenizer: with [PAD], [UNK], [CLS], [SEP] and [MASK].
            max_length: tokens of an example, at most.
            step_tokens: tokens of a step, padding counted.
            seed: of everything that is drawn.
            short_share: passages that are shorter on purpose.
            mask_share: pieces that are to be guessed.
            whole_word: whether all pieces of a word are hidden together.
            shortest: pieces that A and B have at least where next-sentence prediction is asked; None: any.  What is as
                short as "Really?" tells nothing, and many such pairs bury what the others teach.
            task: ``"mlm"`` (nothing is asked about pairs) or ``"nsp"`` (couples alone, nothing hidden); None: both.

        Raises InputError for an unknown task, and where next sentences are the only task and there is no couple.
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
        self.surface = Surface.of(text, self.passages.starts, kinds)
        first, end = self.passages.first, self.passages.end
        is_pair = (end - first > 1).long()
        tokens = self.surface.lengths(first, end) + 2 + is_pair * (1 + SPREAD)  # [CLS] and [SEP], once or twice
        self.lengths: list[int] = tokens.clamp(max=max_length).repeat(2).tolist()
        self._epoch: tuple[int, Pairs, Tensor, Tensor] | None = None
        if task == "nsp":
            self.steps(0)  # says that there is no couple before a run begins

    @classmethod
    def of(
        cls, documents: Iterable[Document], tokenizer: BertTokenizer, *, label: Label | None = None, **settings: Any
    ) -> Self:
        """Tokenize documents and lay them out; ``settings`` are those of the class, ``label`` TokenizedText's."""
        return cls(TokenizedText.of(documents, tokenizer, label), tokenizer, **settings)

    def save(self, folder: Source, origin: dict[str, Any]) -> None:
        """Write the tokenized text, with what it was made from (:func:`minibert.pretraining.tokenized.origin_of`)."""
        self.text.save(Path(folder) / TEXT_FILE, origin)

    @classmethod
    def load(cls, folder: Source, tokenizer: BertTokenizer, origin: dict[str, Any], **settings: Any) -> Self:
        """What :meth:`save` wrote, mapped into memory; ``settings`` may be others than before.

        Raises InputError when it was made from something else, CheckpointError when it is not there.
        """
        return cls(TokenizedText.load(Path(folder) / TEXT_FILE, origin), tokenizer, **settings)

    def __len__(self) -> int:
        return len(self.lengths)

    def steps(self, epoch: int) -> list[list[int]]:
        """The examples in steps of about ``step_tokens`` tokens, in an order drawn for this epoch; a couple in one.

        Raises InputError when there is none.
        """
        groups = self.groups(epoch)
        if not groups:
            raise InputError(
                f"No two passages can exchange segments of {self.shortest} pieces or more, so next-sentence prediction "
                "alone has nothing to learn from. Give more text, or ask for shorter segments (shortest)."
            )
        return token_steps(self.lengths, self.step_tokens, generator(self.seed, STEPS, epoch), groups)

    def groups(self, epoch: int) -> list[list[int]]:
        """The examples that this epoch asks something about: the four of a couple together, the others one by one."""
        N, couples = len(self.passages), self.pairs(epoch).couples
        alone = torch.ones(2 * N, dtype=torch.bool)
        alone[couples] = alone[couples + N] = False
        groups = torch.cat([couples, couples + N], dim=1).tolist()
        return groups if self.task == "nsp" else groups + alone.nonzero().tolist()

    def pairs(self, epoch: int) -> Pairs:
        """Cuts and couples of this epoch."""
        return self._drawn(epoch)[0]

    def collate(self, numbers: Sequence[int], epoch: int) -> Batch:
        """Examples as a batch, padded to the longest.

        ``input_ids``, ``token_type_ids`` and ``labels`` (B, T) int64; ``attention_mask`` (B, T) int64, only where
        something is padded; ``next_sentence_label`` (B,) int64, 0 where B follows A, 1 where it is another's, -100
        where there is no telling.
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
        hidden = torch.full_like(input_ids, NOT_ASKED)
        if self.task != "nsp":
            chance = self.masking.draws(self.seed, epoch, numbers, lengths, max(lengths))
            input_ids, hidden = self.masking.hide(input_ids, chance)
        if min(lengths) == max(lengths):
            del batch["attention_mask"]
        return {**batch, "input_ids": input_ids, "labels": hidden, "next_sentence_label": labels[chosen]}

    def _drawn(self, epoch: int) -> tuple[Pairs, Tensor, Tensor]:
        """The pairs of an epoch; of its examples (2 N, 4) where A begins and ends and where B does, (2 N,) labels."""
        if self._epoch is None or self._epoch[0] != epoch:
            draw, room = generator(self.seed, PAIRING, epoch), self.max_length - SPECIAL_TOKENS
            pairs = draw_pairs(self.passages, self.surface, self.text.labels, room, draw, self.shortest)
            starts, itself = self.passages.starts, torch.arange(len(self.passages))
            partners = pairs.partners()
            whose = torch.cat([itself, partners])  # B it is
            first, cut = (place.repeat(2) for place in (self.passages.first, pairs.cut))
            places = torch.stack([first, cut, pairs.cut[whose], self.passages.end[whose]], dim=1)
            labels = torch.cat([torch.full_like(itself, label) for label in (TRUE, RANDOM)])
            labels[(partners == itself).repeat(2)] = NEITHER
            if self.task == "mlm":
                labels.fill_(NEITHER)
            self._epoch = epoch, pairs, starts[places], labels
        return self._epoch[1:]

    def languages(self) -> Tensor:
        """(2 N,) int64: the number of each example's name in ``text.names``."""
        return self.text.labels[self.passages.document].long().repeat(2)

    def summary(self, epoch: int = 0) -> dict[str, int]:
        """How much of what: passages, those of one sentence, those without a partner; an epoch's pairs and tokens."""
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


def leak_probe(examples: PretrainingExamples, epoch: int, *, seed: int = 0) -> float:
    """How often a probe that sees no more than surfaces tells true pairs from random ones; 0.5 is as it should be."""
    passages, languages = examples.passages, examples.languages()
    return probe_accuracy(passages, examples.pairs(epoch), examples.surface, languages[: len(passages)], seed=seed)


def check_special_tokens(tokenizer: BertTokenizer) -> int:
    """The id of [MASK]; InputError when the tokenizer lacks one of the tokens that pre-training needs."""
    vocabulary = tokenizer.get_vocab()
    for name in ("pad_token", "cls_token", "sep_token", "mask_token"):
        if getattr(tokenizer, name) not in vocabulary:
            raise InputError(f"The tokenizer has no {name}; pre-training needs [PAD], [CLS], [SEP] and [MASK].")
    mask_id: int = tokenizer.mask_token_id
    return mask_id


def ordinary_pieces(tokenizer: BertTokenizer) -> Tensor:
    """(V,) bool: all but the special tokens."""
    ordinary = torch.zeros(len(tokenizer), dtype=torch.bool)
    ordinary[list(tokenizer.get_vocab().values())] = True
    ordinary[tokenizer.all_special_ids] = False
    return ordinary


def continuing_pieces(tokenizer: BertTokenizer) -> Tensor:
    """(V,) bool: the pieces that go on with a word."""
    continues = torch.zeros(len(tokenizer), dtype=torch.bool)
    continues[[number for piece, number in tokenizer.get_vocab().items() if piece.startswith(CONTINUATION)]] = True
    return continues
