"""A teacher's sentence vectors, learned beside masked words and next sentences (Reimers & Gurevych 2020).

Masked words teach what stands where; that two sentences mean the same they do not teach.  A larger model that knows
has turned many sentences into vectors beforehand, and the mean of the last layer learns to point the same way.  Every
step has passages, for the tasks of pre-training, and sentences for this one, so that neither spoils the other.  Start
with :class:`TeacherVectors`.
"""

import ctypes
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.config import BertConfig
from minibert.errors import InputError
from minibert.pretraining.documents import Document
from minibert.pretraining.examples import PretrainingExamples
from minibert.pretraining.objective import Pretraining
from minibert.pretraining.tokenized import TokenizedText
from minibert.tokenizer import BertTokenizer
from minibert.tokenizer.batch_encoding import collate
from minibert.training.examples import Batch, generator, token_steps

SENTENCES = 5  # seeds the generator; see passages.py


@dataclass(frozen=True)
class TeacherVectors:
    """Sentences and the vectors that a teacher gave them.

    ``vectors`` is (n, H), any floating dtype, H the hidden size of the model that learns; only directions count.  Where
    the teacher's are longer, their principal components are what to give (:func:`principal_components`).
    """

    sentences: Sequence[str] = field(repr=False)
    vectors: Tensor = field(repr=False)
    step_tokens: int = 4096  # of the sentences of a step, padding counted
    weight: float = 1.0  # of this loss, where masked words have 1

    def __post_init__(self) -> None:
        """Raises InputError for vectors that do not fit the sentences."""
        if self.vectors.dim() != 2 or len(self.vectors) != len(self.sentences) or not self.vectors.is_floating_point():
            raise InputError(
                f"The teacher's vectors are {tuple(self.vectors.shape)} {self.vectors.dtype}; expected floating point "
                f"of shape ({len(self.sentences)}, H), one for each sentence."
            )
        if not bool(torch.isfinite(self.vectors).all()):
            raise InputError("The teacher's vectors have a value that is no finite number.")

    def identity(self) -> dict[str, Any]:
        """What must be the same when a run is resumed."""
        content, flat = hashlib.sha256("\n".join(self.sentences).encode()), self.vectors.detach().cpu().contiguous()
        content.update(ctypes.string_at(flat.data_ptr(), flat.numel() * flat.element_size()))
        return {"teacher": content.hexdigest(), "teacher_tokens": self.step_tokens, "teacher_weight": self.weight}


def check_teacher(teacher: TeacherVectors, config: BertConfig) -> None:
    """Raise InputError for vectors of another size than the model's."""
    if teacher.vectors.shape[1] != config.hidden_size:
        raise InputError(
            f"The teacher's vectors have {teacher.vectors.shape[1]} numbers and the model's {config.hidden_size}; "
            "take that many principal components of them (principal_components)."
        )


def principal_components(vectors: Tensor, size: int) -> Tensor:
    """``vectors`` (n, M) without their mean, along their ``size`` directions of most variance: (n, size) float32.

    No set of vectors of that size keeps more of the differences between them (PCA).  Their mean, which all of them
    share, is left out: the vectors of many models lie in a narrow cone.
    """
    if vectors.dim() != 2 or not 0 < size <= min(vectors.shape):
        raise InputError(f"{size} components of {tuple(vectors.shape)} vectors; expected at most as many as they have.")
    centred = vectors.float() - vectors.float().mean(dim=0)
    covariance = centred.T.double() @ centred.double()  # (M, M)
    directions: Tensor = torch.linalg.eigh(covariance).eigenvectors.flip(-1)[:, :size]
    return centred @ directions.float()


class TaughtExamples:
    """The passages of pre-training, and after them the teacher's sentences; a step has some of both."""

    def __init__(
        self, passages: PretrainingExamples, teacher: TeacherVectors, tokenizer: BertTokenizer, text: TokenizedText
    ) -> None:
        """``text``: the teacher's sentences, each a document (:func:`tokenize_sentences`)."""
        self.passages, self.teacher, self.text = passages, teacher, text
        self.frame, self.room = tokenizer.frame, passages.max_length - 2
        sizes = text.sentences.diff().clamp(max=self.room) + 2  # [CLS] and [SEP]
        self.sentence_lengths: list[int] = sizes.tolist()
        self.lengths: list[int] = passages.lengths + self.sentence_lengths

    def steps(self, epoch: int) -> list[list[int]]:
        """The steps of the passages, each with sentences of similar length: all of them in turn, again and again."""
        draw = generator(self.passages.seed, SENTENCES, epoch)
        taught = token_steps(self.sentence_lengths, self.teacher.step_tokens, draw)
        first = len(self.passages.lengths)
        return [
            numbers + [first + number for number in more]
            for numbers, more in zip(self.passages.steps(epoch), cycle(taught), strict=False)
        ]

    def collate(self, numbers: Sequence[int], epoch: int) -> Batch:
        """The batch of the passages, with ``sentence_ids`` and ``sentence_mask`` (S, T) and ``vectors`` (S, H)."""
        first = len(self.passages.lengths)
        passages = [number for number in numbers if number < first]
        sentences = [number - first for number in numbers if number >= first]
        batch = self.passages.collate(passages, epoch) if passages else {}
        if sentences:
            bounds = self.text.sentences
            rows = [
                self.frame.row(self.text.pieces[int(bounds[one]) : int(bounds[one + 1])][: self.room].tolist())
                for one in sentences
            ]
            framed = collate(rows, self.frame.pad[0])
            batch |= {"sentence_ids": framed["input_ids"], "sentence_mask": framed["attention_mask"]}
            batch["vectors"] = self.teacher.vectors[torch.tensor(sentences)].float()
        return batch


def tokenize_sentences(teacher: TeacherVectors, tokenizer: BertTokenizer) -> TokenizedText:
    """The teacher's sentences as pieces, each a document.  Raises InputError for one without any."""
    documents = (Document([sentence], "", number) for number, sentence in enumerate(teacher.sentences, start=1))
    text = TokenizedText.of(documents, tokenizer, label=lambda document: "sentence")
    if len(text.sentences) - 1 != len(teacher.sentences):
        raise InputError("One of the teacher's sentences has no piece in it: leave empty ones out.")
    return text


class TaughtPretraining(Pretraining):
    """Masked words, next sentences, and the direction of the mean of the last layer."""

    def __init__(self, *arguments: Any, weight: float = 1.0, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.weight = weight

    def counts(self, batch: Batch) -> dict[str, int]:
        """The numbers of masked pieces, of labelled pairs and of sentences with a vector."""
        counts: Mapping[str, int] = super().counts(batch) if "labels" in batch else {"mlm": 0, "nsp": 0}
        return {**counts, "vectors": len(batch["vectors"]) if "vectors" in batch else 0}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The summed cross-entropy of both tasks, in nats; and of the sentences 1 - cosine, times the weight."""
        nothing = next(self.model.parameters()).new_zeros(())
        losses = super().forward(batch) if "labels" in batch else {"mlm": nothing, "nsp": nothing}
        if "vectors" not in batch:
            return {**losses, "vectors": nothing}
        mask = batch["sentence_mask"]
        hidden_states = self.model.bert(batch["sentence_ids"], mask).last_hidden_state  # (S, T, H)
        means = (hidden_states * mask[..., None]).sum(1).float()  # (S, H): a cosine has no use for the number of tokens
        cosines = F.cosine_similarity(means, batch["vectors"], dim=-1)
        return {**losses, "vectors": self.weight * (1 - cosines).sum()}
