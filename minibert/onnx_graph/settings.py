"""The settings of a BERT, from its graph alone: for an ONNX file without a config.json."""

import os
from pathlib import Path
from typing import Any

from minibert.errors import CheckpointError
from minibert.onnx_graph.bert import find_bert
from minibert.onnx_graph.file import find_onnx, read_graph
from minibert.source import Checkpoint

# Fields of BertConfig that decide what is computed.  Others, such as dropout, are of the training.
NEEDED = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
    "max_position_embeddings", "type_vocab_size", "layer_norm_eps",
)  # fmt: skip


def settings_of_graph(checkpoint: Checkpoint) -> tuple[Path, dict[str, Any]] | None:
    """The ONNX file of a checkpoint and the settings that it shows; None where there is no such file.

    Raises CheckpointError when it does not show all of them.
    """
    found = find_onnx(checkpoint)
    if found is None:
        return None
    bert = find_bert(read_graph(*found))
    unknown = [name for name in NEEDED if bert.settings.get(name) is None]
    if unknown:
        raise CheckpointError(
            f"{os.fspath(checkpoint)} holds no config.json, and {found[0]} does not show {', '.join(unknown)}"
            f"{f' ({bert.problem})' if bert.problem else ''}. Put the config.json of the weights beside them."
        )
    return found[0], {"model_type": "bert", **bert.settings}
