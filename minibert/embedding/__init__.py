"""Vectors for texts and words.

``embedder.py`` is the public class.  ``runner.py`` cuts texts into batches and runs them, ``packed.py`` without
padding; ``layers.py`` and ``pooling.py`` say what a vector is made of.  ``words.py`` gives the vectors of words,
``similarity.py`` compares them.  ``retrieval.py`` searches in the vectors of texts, ``precision.py`` puts them into
fewer bytes.
"""

from minibert.embedding.embedder import Embedder, embed_texts
from minibert.embedding.pooling import mean_pooling
from minibert.embedding.precision import dequantize_embeddings, quantize_embeddings
from minibert.embedding.retrieval import (
    community_detection,
    paraphrase_mining,
    paraphrase_mining_embeddings,
    semantic_search,
)
from minibert.embedding.similarity import WordSimilarity, word_similarity
from minibert.embedding.similarity_functions import cos_sim, dot_score, euclidean_sim, manhattan_sim
from minibert.embedding.words import WordVector, WordVectors, span_vectors

__all__ = [
    "Embedder",
    "WordSimilarity",
    "WordVector",
    "WordVectors",
    "community_detection",
    "cos_sim",
    "dequantize_embeddings",
    "dot_score",
    "embed_texts",
    "euclidean_sim",
    "manhattan_sim",
    "mean_pooling",
    "paraphrase_mining",
    "paraphrase_mining_embeddings",
    "quantize_embeddings",
    "semantic_search",
    "span_vectors",
    "word_similarity",
]
