"""Vectors for texts.  ``embedder.py`` is what people call; ``packed.py`` how it runs without padding, ``layers.py`` and
``pooling.py`` what a vector may be made of.
"""

from minibert.embedding.embedder import Embedder, embed_texts
from minibert.embedding.pooling import mean_pooling

__all__ = ["Embedder", "embed_texts", "mean_pooling"]
