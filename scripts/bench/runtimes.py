"""onnxruntime, OpenVINO and CTranslate2: the checkpoint in a form of their own, run by a library of their own.

Settings were chosen in the peer's favour; each class says which.
"""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import torch
from peer import Peer, mean_over, padded, transformers_model
from torch import Tensor, nn


class OnnxRuntime(Peer):
    """The graph with the mean inside it, every optimisation on, the processor alone.

    Exported by torch's older exporter from written-out attention: of four exports this one left the smallest graph and
    was the fastest or tied, also in OpenVINO.
    """

    name = "onnxruntime"
    packages: ClassVar[tuple[str, ...]] = ("onnxruntime", "onnx", "transformers")
    file = "model.onnx"

    @classmethod
    def prepare(cls, folder: Path, work: Path) -> None:
        """Export."""
        if not (work / "model.onnx").is_file():
            export_onnx(folder, work / "model.onnx")

    def load(self, folder: Path, work: Path, threads: int) -> None:
        """A session."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(work / self.file, options, providers=["CPUExecutionProvider"])

    def pooled(self, ids: Tensor, mask: Tensor) -> Tensor:
        """One run of the session."""
        given = {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
        return torch.from_numpy(self.session.run(None, given)[0])


class OnnxRuntimeFused(OnnxRuntime):
    """The same after onnxruntime's offline optimiser for BERT, which fuses whole attention blocks."""

    name = "onnxruntime-fused"
    file = "model.fused.onnx"

    @classmethod
    def prepare(cls, folder: Path, work: Path) -> None:
        """Export, then fuse."""
        super().prepare(folder, work)
        if (work / cls.file).is_file():
            return
        from onnxruntime.transformers import optimizer

        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        fused = optimizer.optimize_model(
            str(work / "model.onnx"),
            model_type="bert",
            num_heads=config["num_attention_heads"],
            hidden_size=config["hidden_size"],
            opt_level=0,
        )
        fused.save_model_to_file(str(work / cls.file))


class OpenVino(Peer):
    """The same graph, fp32, all threads on one batch (the LATENCY hint)."""

    name = "openvino"
    packages = ("openvino", "onnx", "transformers")
    hint = "LATENCY"

    @classmethod
    def prepare(cls, folder: Path, work: Path) -> None:
        """Export."""
        OnnxRuntime.prepare(folder, work)

    def load(self, folder: Path, work: Path, threads: int) -> None:
        """Compile."""
        import openvino

        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": self.hint,
            "INFERENCE_NUM_THREADS": threads,
        }
        core = openvino.Core()
        self.compiled = core.compile_model(core.read_model(work / "model.onnx"), "CPU", settings)
        self.request = self.compiled.create_infer_request()

    def pooled(self, ids: Tensor, mask: Tensor) -> Tensor:
        """One request; the output is copied, since the next request writes over it."""
        found = self.request.infer([ids.numpy(), mask.numpy()], share_inputs=True)
        return torch.from_numpy(found[self.compiled.output(0)])


class OpenVinoThroughput(OpenVino):
    """The same, several batches at once on a thread each (the THROUGHPUT hint): for corpora, not for single texts."""

    name = "openvino-throughput"
    hint = "THROUGHPUT"

    def run(self, batches: Iterator[tuple[Tensor, Tensor]]) -> list[Tensor]:
        """A queue of requests."""
        import openvino

        queue = openvino.AsyncInferQueue(self.compiled)
        found: dict[int, Tensor] = {}

        def keep(request: Any, number: int) -> None:
            found[number] = torch.from_numpy(request.get_output_tensor(0).data.copy())

        queue.set_callback(keep)
        for number, (ids, mask) in enumerate(batches):
            queue.start_async([ids.numpy(), mask.numpy()], number)
        queue.wait_all()
        return [found[number] for number in range(len(found))]


class CTranslate2(Peer):
    """Its Encoder, fp32; padding is told by lengths, which lets it skip what it can."""

    name = "ctranslate2"
    packages = ("ctranslate2", "transformers")

    @classmethod
    def prepare(cls, folder: Path, work: Path) -> None:
        """Convert; its converter wants a word in config.json that newer checkpoints do not have."""
        if (work / "ctranslate2" / "model.bin").is_file():
            return
        from ctranslate2.converters import TransformersConverter

        source = work / "for_ctranslate2"
        source.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if path.is_file() and not (source / path.name).exists():
                (source / path.name).symlink_to(path.resolve())
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        (source / "config.json").unlink()
        (source / "config.json").write_text(
            json.dumps({"position_embedding_type": "absolute", **config}), encoding="utf-8"
        )
        TransformersConverter(str(source)).convert(str(work / "ctranslate2"), force=True)

    def load(self, folder: Path, work: Path, threads: int) -> None:
        """An encoder."""
        import ctranslate2

        self.library = ctranslate2
        self.encoder = ctranslate2.Encoder(
            str(work / "ctranslate2"), device="cpu", compute_type="float32", inter_threads=1, intra_threads=threads
        )

    def pooled(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The encoder, then the mean."""
        import numpy

        view = self.library.StorageView.from_array
        rows, lengths = ids.to(torch.int32).numpy(), mask.sum(1, dtype=torch.int32).numpy()
        found = self.encoder.forward_batch(view(rows), view(lengths))
        return mean_over(torch.from_numpy(numpy.asarray(found.last_hidden_state)), mask)


class MeanPooled(nn.Module):
    """A model and the mean over its tokens, to be exported as one graph."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, T) to (B, H)."""
        hidden_states = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask.to(hidden_states.dtype)[:, :, None]
        return (hidden_states * weights).sum(1) / weights.sum(1)


def export_onnx(folder: Path, file: Path) -> None:
    """Write the graph from ids to mean-pooled vectors; any number of texts and tokens."""
    axes = {0: "texts", 1: "tokens"}
    ids, mask = padded([[5] * 9, [6] * 5], 0)
    unfinished = file.with_suffix(".part")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is the older exporter, and that shapes are traced
        torch.onnx.export(
            MeanPooled(transformers_model(folder, "eager")).eval(),
            (ids, mask),
            str(unfinished),
            dynamo=False,
            input_names=["input_ids", "attention_mask"],
            output_names=["pooled"],
            dynamic_axes={"input_ids": axes, "attention_mask": axes},
            opset_version=17,
        )
    unfinished.rename(file)
