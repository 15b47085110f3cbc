"""The table of known mistakes: what each makes of BERT's formulas.

A :class:`Mistake` replaces one or several formulas of computation.py.  Its ``key`` names it (sentences.py says it to a
learner, in three languages), ``details`` are what its sentence has blanks for.  One file per part of BERT, each to be
read from top to bottom; add a line there, and its sentence, and every port is searched for it.
"""

from collections.abc import Iterator

from minibert.verify.computation import Reference
from minibert.verify.mistakes.attention import attention_mistakes
from minibert.verify.mistakes.embeddings import embedding_mistakes
from minibert.verify.mistakes.heads import head_mistakes
from minibert.verify.mistakes.layer import layer_mistakes
from minibert.verify.mistakes.mistake import Mistake

__all__ = ["Mistake", "known_mistakes"]


def known_mistakes(reference: Reference, part: str) -> Iterator[Mistake]:
    """Every mistake of a part: "embeddings", "layer" (names after ``encoder.layer.N.``) or "heads"."""
    if part == "embeddings":
        yield from embedding_mistakes(reference.config)
    elif part == "layer":
        yield from attention_mistakes(reference.config)
        yield from layer_mistakes(reference.config)
    else:
        yield from head_mistakes(reference)
