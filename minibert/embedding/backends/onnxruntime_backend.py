"""onnxruntime, on the graph that ``minibert.graphs`` writes."""

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from minibert.embedding.backends.runtime import Padded, Runtime, arrays
from minibert.graphs import GraphModule, onnx_model
from minibert.graphs.modules import INPUTS

GRAPH, WEIGHTS = "model.onnx", "model.onnx.data"


class OnnxRuntime(Runtime):
    """One session, all threads on one batch; its optimisations fuse what they can when it is loaded."""

    name = "onnxruntime"
    extra = "onnx"
    needs: ClassVar[tuple[str, ...]] = ("onnxruntime", "onnx", "onnxscript")
    tokens_per_batch = 1536

    @classmethod
    def build(cls, module: GraphModule, folder: Path) -> None:
        """The graph in one file, its weights in another, which onnxruntime maps into memory."""
        import onnx

        onnx.save(onnx_model(module), str(folder / GRAPH), save_as_external_data=True, location=WEIGHTS)

    def __init__(self, folder: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        self.session: Any = onnxruntime.InferenceSession(
            str(folder / GRAPH), options, providers=["CPUExecutionProvider"]
        )

    def infer(self, batch: Padded) -> list[Tensor]:
        """One run of the session."""
        found = self.session.run(None, dict(zip(INPUTS, arrays(batch), strict=True)))
        return [torch.from_numpy(values) for values in found]
