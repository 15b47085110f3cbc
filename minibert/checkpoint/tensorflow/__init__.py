"""TensorFlow's checkpoints without TensorFlow: the format in which Google published BERT.  Start with ``bundle.py``."""

from minibert.checkpoint.tensorflow.bundle import TensorBundle, find_bundle_prefix, read_tensor_bundle

__all__ = ["TensorBundle", "find_bundle_prefix", "read_tensor_bundle"]
