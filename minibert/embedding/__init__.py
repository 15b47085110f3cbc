"""Vectors for texts and words.

``embedder.py`` is the public class.  ``runner.py`` cuts texts into batches and runs them, ``packed.py`` without
padding; ``layers.py`` and ``pooling.py`` say what a vector is made of.  ``words.py`` gives the vectors of words,
``similarity.py`` compares them.
"""

from minibert.embedding.embedder import Embedder, embed_texts
from minibert.embedding.pooling import mean_pooling
from minibert.embedding.similarity import WordSimilarity, word_similarity
from minibert.embedding.words import WordVector, WordVectors, span_vectors

__all__ = [
    "Embedder",
    "WordSimilarity",
    "WordVector",
    "WordVectors",
    "embed_texts",
    "mean_pooling",
    "span_vectors",
    "word_similarity",
]
