"""Hidden states computed by another library than torch: onnxruntime or OpenVINO, on the CPU in float32.

Texts, tokenizer, sorting, batches and pooling stay those of ``Embedder``; the runtime computes what stands between a
batch of ids and its hidden states.  ``backend.py`` joins the two, ``onnxruntime_backend.py`` and
``openvino_backend.py`` are the libraries; ``openvino_graph.py`` is BERT in OpenVINO's operations.  A graph is built
once and proven once (``proof.py``), then kept (``cache.py``); ``choosing.py`` measures which is the fastest here.
Start with ``backend.py``.
"""

from minibert.embedding.backends.backend import Backend, Report
from minibert.embedding.backends.choosing import BACKENDS, NAMES, check_backend, set_up

__all__ = ["BACKENDS", "NAMES", "Backend", "Report", "check_backend", "set_up"]
