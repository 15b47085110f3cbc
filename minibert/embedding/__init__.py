"""Vectors for texts.  So far the plain way: one padded batch, mean over the tokens, unit length."""

from minibert.embedding.pooling import embed_texts, mean_pooling

__all__ = ["embed_texts", "mean_pooling"]
