"""Training: the loop that pre-training and fine-tuning share.  Start with :mod:`minibert.training.loop`."""
