"""Pre-training: from plain text to a checkpoint.

Start with :mod:`minibert.pretraining.run`.  A text goes through these modules in turn: documents, vocabulary,
tokenized, passages, pairs, masking, examples.
"""
