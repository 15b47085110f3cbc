"""sentence-transformers folders around a tiny random BERT, written file by file."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

import minibert

FOLDER = Path(minibert.__file__).parent / "goldens" / "random-bert"
HIDDEN = 16
OLD = "sentence_transformers.models."
TRANSFORMER = {"idx": 0, "name": "0", "path": "", "type": f"{OLD}Transformer"}
POOLING = {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{OLD}Pooling"}
DENSE = {"idx": 2, "name": "2", "path": "2_Dense", "type": f"{OLD}Dense"}
LAYER_NORM = {"idx": 3, "name": "3", "path": "3_LayerNorm", "type": f"{OLD}LayerNorm"}
NORMALIZE = {"idx": 4, "name": "4", "path": "4_Normalize", "type": f"{OLD}Normalize"}
MEAN = {"word_embedding_dimension": HIDDEN, "pooling_mode_mean_tokens": True}
TANH = {
    "in_features": HIDDEN, "out_features": 12, "bias": True,
    "activation_function": "torch.nn.modules.activation.Tanh",
}  # fmt: skip


def plain(**changes: Any) -> dict[str, Any]:
    """The content of each file of a folder with mean pooling; ``changes`` by file, ``/`` written as ``__``."""
    content: dict[str, Any] = {
        "modules.json": [TRANSFORMER, POOLING],
        "1_Pooling/config.json": MEAN,
        "sentence_bert_config.json": {"max_seq_length": 16, "do_lower_case": False},
        "config_sentence_transformers.json": {"__version__": {"sentence_transformers": "2.2.2"}},
    }
    return content | {name.replace("__", "/"): value for name, value in changes.items()}


def with_dense(activation: str = "torch.nn.modules.activation.Tanh", **changes: Any) -> dict[str, Any]:
    """LaBSE's steps: [CLS], Dense, unit length."""
    pooling = {"word_embedding_dimension": HIDDEN, "pooling_mode_cls_token": True}
    content = plain() | {
        "modules.json": [TRANSFORMER, POOLING, DENSE, NORMALIZE],
        "1_Pooling/config.json": pooling,
        "2_Dense/config.json": TANH | {"activation_function": activation} | changes,
    }
    return content | dense_weights(content["2_Dense/config.json"])


def dense_weights(config: dict[str, Any], seed: int = 3) -> dict[str, Any]:
    """The weights that fit a Dense of that config."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = config["out_features"], config["in_features"]
    tensors = {"linear.weight": torch.randn(rows, columns, generator=generator) / columns**0.5}
    if config.get("bias", True):
        tensors["linear.bias"] = torch.randn(rows, generator=generator) / 4
    if config.get("use_residual") and rows != columns:
        tensors["residual.weight"] = torch.randn(rows, columns, generator=generator)
    return {"2_Dense/model.safetensors": tensors}


def write(folder: Path, content: dict[str, Any], transformer: str = "") -> Path:
    """The folder with these files; a dict or list as JSON, tensors as safetensors or .bin, text as it is."""
    if folder.exists():
        shutil.rmtree(folder)
    (folder / transformer).mkdir(parents=True)
    for path in FOLDER.iterdir():  # links: no bytes are copied
        if path.is_file():
            (folder / transformer / path.name).symlink_to(path)
    for name, value in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            path.unlink()
        if name.endswith(".safetensors"):
            save_file(value, path)
        elif name.endswith(".bin"):
            torch.save(value, path)
        elif value is not None:
            path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return folder
