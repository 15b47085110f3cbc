"""Training: from plain text to a checkpoint, and the loop that pre-training and fine-tuning share.

Start with :mod:`minibert.training.loop`; what is learned from is in :mod:`minibert.training.pretraining`.
"""
