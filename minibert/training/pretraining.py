"""Pre-training: passages of a text as examples, and the sum of both losses (paper, sections 3.1 and A.2).

An example is [CLS] A [SEP] B [SEP], or [CLS] A [SEP] where a passage has one sentence; masks, cuts and the choice of B
are drawn anew in every epoch.  Only the masked positions, a seventh of all, go through the projection to the
vocabulary, as in Google's run_pretraining.py (gather_indexes).  Look first at :meth:`PretrainingExamples.collate` and
:meth:`Pretraining.forward`.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.errors import InputError
from minibert.heads import BertForPreTraining, BertPreTrainingHeads
from minibert.source import Source
from minibert.tokenizer import BertTokenizer
from minibert.tokenizer.wordpiece import CONTINUATION
from minibert.training.documents import Document
from minibert.training.examples import Batch, generator, token_steps
from minibert.training.masking import NOT_ASKED, Masking
from minibert.training.objective import Objective
from minibert.training.pairs import NEITHER, PAIRING, RANDOM, Pairs, draw_pairs
from minibert.training.passages import pack
from minibert.training.probe import probe_accuracy
from minibert.training.surface import Surface, piece_kinds
from minibert.training.tokenized import Label, TokenizedText

STEPS = 4  # what a generator is for; see passages.py
TEXT_FILE = "text.safetensors"


class PretrainingExamples:
    """The passages of a text, masked and paired anew in each epoch.

    ``pairs(epoch)`` says which are true; ``lengths`` are the same in every epoch, since B's are only exchanged for B's
    of the same length.
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
        """
        self.text, self.seed, self.step_tokens = text, seed, step_tokens
        self.pad_id, self.cls_id, self.sep_id, mask_id = special_ids(tokenizer)
        self.vocab_size = len(tokenizer)
        ordinary, continues = ordinary_pieces(tokenizer), continuing_pieces(tokenizer)
        self.masking = Masking(mask_id, ordinary, continues, mask_share, whole_word)
        self.passages = pack(text, continues, max_length=max_length, short_share=short_share, seed=seed)
        kinds = piece_kinds(tokenizer.get_vocab(), frozenset(tokenizer.all_special_tokens))
        self.surface = Surface.of(text, self.passages.starts, kinds)
        first, end = self.passages.first, self.passages.end
        tokens = self.surface.lengths(first, end) + 2 + (end - first > 1).long()  # [CLS] and [SEP], once or twice
        self.lengths: list[int] = tokens.tolist()
        self._epoch: tuple[int, Pairs, Tensor] | None = None

    @classmethod
    def of(
        cls, documents: Iterable[Document], tokenizer: BertTokenizer, *, label: Label | None = None, **settings: Any
    ) -> Self:
        """Tokenize documents and lay them out; ``settings`` are those of the class, ``label`` TokenizedText's."""
        return cls(TokenizedText.of(documents, tokenizer, label), tokenizer, **settings)

    def save(self, folder: Source, origin: dict[str, Any]) -> None:
        """Write the tokenized text, with what it was made from (:func:`minibert.training.tokenized.origin_of`)."""
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
        """All passages in steps of about ``step_tokens`` tokens, in an order drawn for this epoch."""
        return token_steps(self.lengths, self.step_tokens, generator(self.seed, STEPS, epoch))

    def pairs(self, epoch: int) -> Pairs:
        """Cuts, partners and labels of this epoch."""
        return self._drawn(epoch)[0]

    def collate(self, numbers: Sequence[int], epoch: int) -> Batch:
        """Examples as a batch, padded to the longest.

        ``input_ids``, ``token_type_ids`` and ``labels`` (B, T) int64; ``attention_mask`` (B, T) int64, only where
        something is padded; ``next_sentence_label`` (B,) int64, 0 where B follows A, 1 where it is another's, -100
        where there is no telling.
        """
        pairs, bounds = self._drawn(epoch)
        chosen = torch.tensor(numbers, dtype=torch.int64)
        rows = bounds[chosen].tolist()
        lengths = [self.lengths[number] for number in numbers]
        T = max(lengths)
        input_ids = torch.full((len(rows), T), self.pad_id)
        token_type_ids = torch.zeros_like(input_ids)
        for row, (begin, cut, other, end) in enumerate(rows):
            first = cut - begin + 1  # where the first [SEP] stands
            input_ids[row, 0] = self.cls_id
            input_ids[row, 1:first] = self.text.pieces[begin:cut]
            input_ids[row, first] = self.sep_id
            if other < end:
                last = first + 1 + end - other
                input_ids[row, first + 1 : last] = self.text.pieces[other:end]
                input_ids[row, last] = self.sep_id
                token_type_ids[row, first + 1 : last + 1] = 1
        chance = self.masking.draws(self.seed, epoch, numbers, lengths, T)
        input_ids, labels = self.masking.hide(input_ids, chance)
        batch = {"input_ids": input_ids, "token_type_ids": token_type_ids, "labels": labels}
        if min(lengths) < T:
            batch["attention_mask"] = (torch.arange(T) < torch.tensor(lengths)[:, None]).long()
        return {**batch, "next_sentence_label": pairs.label[chosen]}

    def _drawn(self, epoch: int) -> tuple[Pairs, Tensor]:
        """The pairs of an epoch, and (N, 4) int64: where A begins and ends in the pieces, and where B does."""
        if self._epoch is None or self._epoch[0] != epoch:
            labels = self.text.labels
            pairs = draw_pairs(self.passages, self.surface, labels, generator(self.seed, PAIRING, epoch))
            starts, other = self.passages.starts, pairs.partner
            places = (self.passages.first, pairs.cut, pairs.cut[other], self.passages.end[other])
            self._epoch = epoch, pairs, torch.stack([starts[place] for place in places], dim=1)
        return self._epoch[1:]

    def languages(self) -> Tensor:
        """(N,) int64: the number of each passage's name in ``text.names``."""
        return self.text.labels[self.passages.document].long()

    def summary(self, epoch: int = 0) -> dict[str, int]:
        """How much of what: passages, those of one sentence, pairs, random ones, those without a partner, tokens."""
        label = self.pairs(epoch).label
        single = int((self.passages.end - self.passages.first == 1).sum())
        pairs = int((label != NEITHER).sum())
        return {
            "passages": len(self),
            "of_one_sentence": single,
            "pairs": pairs,
            "random_pairs": int((label == RANDOM).sum()),
            "without_partner": len(self) - single - pairs,
            "tokens": sum(self.lengths),
        }


def leak_probe(examples: PretrainingExamples, epoch: int, *, seed: int = 0) -> float:
    """How often a probe that sees no more than surfaces tells true pairs from random ones; 0.5 is as it should be."""
    return probe_accuracy(examples.passages, examples.pairs(epoch), examples.surface, examples.languages(), seed=seed)


class Pretraining(Objective):
    """Masked language modelling and next-sentence prediction."""

    model: BertForPreTraining

    def __init__(self, model: BertForPreTraining, *, gather: bool = True) -> None:
        """``gather=False`` projects every position to the vocabulary, as the paper reads; the losses are the same."""
        super().__init__(model)
        self.gather = gather

    def counts(self, batch: Batch) -> dict[str, int]:
        """Pieces to be guessed, and pairs to be told."""
        return {
            "mlm": int((batch["labels"] != NOT_ASKED).sum()),
            "nsp": int((batch["next_sentence_label"] != NEITHER).sum()),
        }

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The summed cross-entropy of both tasks, in nats."""
        outputs = self.model.bert(batch["input_ids"], batch.get("attention_mask"), batch["token_type_ids"])
        hidden_states = outputs.last_hidden_state.flatten(0, 1)  # (B · T, H)
        labels = batch["labels"].flatten()  # (B · T,)
        if self.gather:
            asked = (labels != NOT_ASKED).nonzero()[:, 0]
            hidden_states, labels = hidden_states[asked], labels[asked]
        heads = heads_of(self.model)
        return {
            "mlm": summed(heads.predictions(hidden_states), labels),
            "nsp": summed(heads.seq_relationship(outputs.pooler_output), batch["next_sentence_label"]),
        }


def heads_of(model: BertForPreTraining) -> BertPreTrainingHeads:
    """Both heads."""
    assert isinstance(model.cls, BertPreTrainingHeads)
    return model.cls


def summed(logits: Tensor, labels: Tensor) -> Tensor:
    """The cross-entropy of (n, classes) against (n,), summed over those that are asked for; never in half precision."""
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    return F.cross_entropy(logits, labels, ignore_index=NOT_ASKED, reduction="sum")


def special_ids(tokenizer: BertTokenizer) -> tuple[int, int, int, int]:
    """The ids of [PAD], [CLS], [SEP] and [MASK]; InputError when the tokenizer lacks one."""
    names = ("pad_token", "cls_token", "sep_token", "mask_token")
    ids = {name: getattr(tokenizer, f"{name}_id") for name in names}
    vocabulary = tokenizer.get_vocab()
    for name in names:
        if getattr(tokenizer, name) not in vocabulary:
            raise InputError(f"The tokenizer has no {name}; pre-training needs [PAD], [CLS], [SEP] and [MASK].")
    return ids["pad_token"], ids["cls_token"], ids["sep_token"], ids["mask_token"]


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
