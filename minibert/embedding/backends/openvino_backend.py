"""OpenVINO: one text or batch on all cores, or, for many batches, each core with a batch of its own.

Both ways are compiled from one file, and each keeps its own arrangement of the weights in memory; the second is
compiled when a call first has several batches.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from minibert.embedding.backends.openvino_graph import is_writable, openvino_graph
from minibert.embedding.backends.runtime import Key, Padded, Runtime, arrays
from minibert.graphs import GraphModule, HiddenStates, exported_program
from minibert.graphs.program import quietly

GRAPH = "model.xml"  # its weights are in model.bin
AHEAD = 2  # batches given to a stream: one is computed, the next waits


class OpenVino(Runtime):
    """OpenVINO's CPU plugin, told to compute in float32."""

    name = "openvino"
    extra = "openvino"
    needs: ClassVar[tuple[str, ...]] = ("openvino",)
    tokens_per_batch = 1024

    @classmethod
    def build(cls, module: GraphModule, folder: Path) -> None:
        """Torch's exported program, read by OpenVINO; the weights stay float32."""
        os.environ.setdefault("OPENVINO_TELEMETRY_DISABLE", "1")
        import openvino

        if isinstance(module, HiddenStates) and is_writable(module.base):
            graph = openvino_graph(module)
        else:
            program = exported_program(module)
            with quietly():
                graph = openvino.convert_model(program)
        openvino.save_model(graph, str(folder / GRAPH), compress_to_fp16=False)

    def __init__(self, folder: Path, threads: int) -> None:
        import openvino

        self.threads = threads
        self.core: Any = openvino.Core()
        self.graph: Any = self.core.read_model(str(folder / GRAPH))
        self.tensor: Any = openvino.Tensor
        self.single = self.compiled("LATENCY")
        self.output_count = len(self.single.outputs)
        self.free_single: list[Any] = []  # requests; a thread takes one and puts it back
        self.free_streams: list[Any] = []

    def compiled(self, hint: str) -> Any:
        """The graph for the CPU."""
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": hint,
            "INFERENCE_NUM_THREADS": self.threads,
            "ENABLE_CPU_PINNING": False,
        }
        if hint == "THROUGHPUT":
            settings["NUM_STREAMS"] = self.threads
        return self.core.compile_model(self.graph, "CPU", settings)

    @cached_property
    def streams(self) -> Any:
        """The graph compiled for as many batches at once as there are threads."""
        return self.compiled("THROUGHPUT")

    def infer(self, batch: Padded) -> list[Tensor]:
        """One request on all threads."""
        request = self.free_single.pop() if self.free_single else self.single.create_infer_request()
        self.give(request, batch)
        request.infer(share_outputs=True)
        return self.taken(request, self.free_single)

    def give(self, request: Any, batch: Padded) -> None:
        """Set the inputs, without a copy; a third quicker than arguments to ``infer``, which looks at their types."""
        for number, values in enumerate(arrays(batch)):
            request.set_input_tensor(number, self.tensor(values, shared_memory=True))

    def taken(self, request: Any, free: list[Any]) -> list[Tensor]:
        """A copy of the outputs; the request is then free, and writes over them."""
        outputs = [
            torch.from_numpy(request.get_output_tensor(number).data.copy()) for number in range(self.output_count)
        ]
        free.append(request)
        return outputs

    def stream(self, batches: Iterable[tuple[Key, Padded]]) -> Iterator[tuple[Key, list[Tensor]]]:
        """Several batches at once on a thread each; a single batch on all threads."""
        batches = iter(batches)
        first = list(islice(batches, 2))
        if self.threads == 1 or len(first) < 2:
            for key, batch in chain(first, batches):
                yield key, self.infer(batch)
            return
        waiting: deque[tuple[Any, Key, Padded]] = deque()  # each batch is kept until it is computed
        try:
            for key, batch in chain(first, batches):
                if len(waiting) == AHEAD * self.threads:
                    yield self.finished(waiting)
                request = self.free_streams.pop() if self.free_streams else self.streams.create_infer_request()
                self.give(request, batch)
                request.start_async()
                waiting.append((request, key, batch))
            while waiting:
                yield self.finished(waiting)
        finally:  # also where the caller stopped in between
            for request, _, _ in waiting:
                request.wait()
                self.free_streams.append(request)

    def finished(self, waiting: "deque[tuple[Any, Key, Padded]]") -> tuple[Key, list[Tensor]]:
        """The outputs of the oldest request."""
        request, key, _ = waiting.popleft()
        request.wait()
        return key, self.taken(request, self.free_streams)
