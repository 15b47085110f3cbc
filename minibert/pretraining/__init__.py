"""Pre-training: from plain text to a checkpoint.

Start with :mod:`minibert.pretraining.run`.  A text goes through these modules in turn: documents, vocabulary,
tokenized, passages, pairs, masking, examples.  A teacher's sentence vectors (distillation) are learned beside them.
"""
