"""The model card beside an exported file: what it was made from, what it takes and gives, the proof, how to run it."""

from minibert._version import __version__
from minibert.export.report import ExportReport

ONNX = """```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("{name}", providers=["CPUExecutionProvider"])
{inputs}
({outputs},) = session.run({names}, inputs)
```"""
TORCH = """```python
import torch

program = torch.export.load("{name}").module()
{inputs}
with torch.no_grad():
    ({outputs},) = program(inputs["input_ids"], inputs["attention_mask"], inputs["token_type_ids"])
```"""
OPENVINO = """```python
import numpy as np
import openvino

model = openvino.Core().compile_model("{name}", "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})
{inputs}
({outputs},) = model(inputs).to_tuple()
```"""
FLOAT32 = {
    "onnx": "onnxruntime computes this graph in float32 on its CPU provider. Other providers may not: CUDA takes TF32 "
    "unless `use_tf32` is 0, CoreML and TensorRT take float16 where they are told to; on ARM, the session option "
    "`mlas.enable_gemm_fastmath_arm64_bfloat16` is off, and has to stay so.",
    "torch": "torch computes this program in float32 on a CPU, unless `torch.set_float32_matmul_precision` was set to "
    "`medium`. It was exported by the release named above; torch promises to read it with the same or a later one.",
    "openvino": "OpenVINO takes bfloat16 or float16 where the processor has them, unless it is told not to: "
    '`INFERENCE_PRECISION_HINT="f32"`, as below. The file says so too, in `rt_info/runtime_options`, which not every '
    "release obeys.",
}
INT8 = (
    "## What int8 loses\n\nThe proof above is of the graph in float32, from which this file was made. Weights, "
    "activations and tables of embeddings have 8 bits; attention, LayerNorm and the widest inputs of each layer stay "
    "in float32. No product can saturate in 16 bits, so processors without VNNI give these vectors too."
)
NO_INNER = "OpenVINO fuses operations and keeps no inner values, so outputs alone were compared."


def card(report: ExportReport, ids: list[list[int]] | None = None, name: str | None = None) -> str:
    """The card as Markdown.

    ``ids``: a batch for the example, rows of one length; default two made-up rows.  ``name``: of the file, as seen from
    where the card is; default that of ``report.destination``.
    """
    facts = [
        ("made from", f"{report.source} ({report.architecture})"),
        *((f"SHA-256 of {name}", f"`{digest}`") for name, digest in report.sha256.items()),
        ("output", report.output),
        ("format", report.format if report.opset is None else f"{report.format}, opset {report.opset}"),
        ("made by", ", ".join(f"{name} {version}" for name, version in report.versions.items())),
    ]
    proof = report.proof
    table = [row(proof.heads), row("---" for _ in proof.heads), *map(row, proof.rows())]
    notes = [f"- {note}" for note in (*report.notes, *proof.notes)]
    name = report.destination.name if name is None else name
    parts = [
        f"# {report.destination.name}",
        f"Written by minibert {__version__}, after it was compared with the model that it was made from.",
        "\n".join([row(("what", "which")), row(("---", "---")), *map(row, facts)]),
        "\n".join(notes),
        "## Inputs and outputs",
        "\n".join(
            [
                row(("name", "type", "axes")),
                row(("---", "---", "---")),
                *(row((f"`{name}`", "int64", axes)) for name, axes in report.inputs.items()),
                *(row((f"`{name}`", "float32", axes)) for name, axes in report.outputs.items()),
            ]
        ),
        "`attention_mask` is 1 for a token and 0 for padding. `batch` and `length` are free; `length` is at most the "
        "number of positions of the model.",
        "## Proof",
        f"Run by {proof.runtime} on {len(proof.kinds)} kinds of input and compared with minibert's model, run in "
        f"float32 with attention written out. {proof.criterion.capitalize()}: at most {proof.figure:.2e}; the bound is "
        f"{proof.bound:g}. Of several outputs the one that is furthest from its own is shown.",
        "\n".join(table),
        NO_INNER if report.format == "openvino" else "",
        "" if report.loss is None else INT8,
        "" if report.loss is None else "\n".join(f"- {line}" for line in report.loss.lines()),
        "## How to run it",
        FLOAT32[report.format],
        snippet(report, ids, name),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def snippet(report: ExportReport, ids: list[list[int]] | None, name: str) -> str:
    """Python that runs the file on ``ids``, default made-up ones, where 0 after the first token is padding."""
    origin = "what a tokenizer of this vocabulary gives" if ids else "made-up numbers: take what the tokenizer gives"
    ids = ids or [[2, 7, 9, 3], [2, 8, 3, 0]]
    array, dtype = ("torch.tensor", "torch.int64") if report.format == "torch" else ("np.array", "np.int64")
    mask = [[int(number != 0 or place == 0) for place, number in enumerate(line)] for line in ids]
    zeros = [[0] * len(line) for line in ids]
    if "choices" in report.inputs["input_ids"]:
        ids, mask, zeros = [ids], [mask], [zeros]  # type: ignore[list-item]
    values = {"input_ids": ids, "attention_mask": mask, "token_type_ids": zeros}
    inputs = "\n".join(
        [
            f"inputs = {{  # {origin}",
            *(f'    "{name}": {array}({value}, dtype={dtype}),' for name, value in values.items()),
            "}",
        ]
    )
    names = list(report.outputs)
    several = len(names) > 2
    outputs = "*values" if several else ", ".join(names)
    template = {"onnx": ONNX, "torch": TORCH, "openvino": OPENVINO}[report.format]
    shown = "None" if several else "[" + ", ".join(f'"{name}"' for name in names) + "]"
    return template.format(name=name, inputs=inputs, outputs=outputs, names=shown)


def row(cells: object) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"  # type: ignore[attr-defined]
