"""Vectors for texts.  ``embedder.py`` is what people call; ``packed.py`` how it runs without padding, ``layers.py`` and
``pooling.py`` what a vector may be made of.  ``words.py`` gives the vectors of words, ``similarity.py`` compares them.
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
