"""Checks of the exercises of lesson 5: what an answer is right by, and the mistakes that have a name."""

from typing import Any

import torch

from minibert.config import BertConfig
from minibert.learn.answers import which_number
from minibert.model import BertLayer


def unpack(answer: Any) -> str:
    """The index of the attentions in a record without pooler_output and hidden_states."""
    return {1: "right", -1: "right", 2: "hidden-states", 3: "all-fields", 0: "first"}.get(int(answer), "other")


def count(answer: Any) -> str:
    """How many hidden states BERT-base returns, and the number of the output of encoder.layer.5."""
    layers, layer = BertConfig().num_hidden_layers, 5
    outcomes = {
        (layers + 1, layer + 1): "right",
        (layers + 1, layer): "off-by-one",
        (layers, layer): "layers-only",
        (layers, layer + 1): "layers-only",
        (layers + 2, layer + 1): "pooler",
    }
    how_many, number = answer
    return outcomes.get((int(how_many), int(number)), "other")


def memory(answer: Any) -> str:
    """Megabytes of BERT-base's widest value in chunks of 64 tokens: B = 16, T = 512, float16."""
    B, T, size, bytes_each, config = 16, 512, 64, 2, BertConfig()
    wide, H = config.intermediate_size, config.hidden_size
    megabytes = {
        "right": B * size * wide * bytes_each / 1e6,
        "whole": B * T * wide * bytes_each / 1e6,
        "narrow": B * size * H * bytes_each / 1e6,
        "numbers": B * size * wide / 1e6,
        "one-text": size * wide * bytes_each / 1e6,
        "chunks": B * (T // size) * wide * bytes_each / 1e6,
    }
    in_mebibytes = {key: value * 1e6 / 2**20 for key, value in megabytes.items()}
    key = which_number(answer, megabytes, 0.01)
    return key if key != "other" else which_number(answer, in_mebibytes, 0.01)


def dropout(answer: Any) -> str:
    """What a 1 becomes that survives a dropout of 0.1."""
    p = 0.1
    outcomes = {"right": 1 / (1 - p), "unscaled": 1.0, "shrunk": 1 - p, "over-p": 1 / p, "plus": 1 + p}
    return which_number(answer, outcomes)


def parameters(answer: Any) -> str:
    """The parameters of one layer of BERT-base."""
    with torch.device("meta"):
        layer = BertLayer(BertConfig())
    sizes = {name: parameter.numel() for name, parameter in layer.named_parameters()}
    total = sum(sizes.values())

    def of(part: str) -> int:
        return sum(size for name, size in sizes.items() if part in name)

    biases = sum(size for name, size in sizes.items() if name.endswith("bias") and "LayerNorm" not in name)
    outcomes = {
        "right": total,
        "no-bias": total - biases,
        "matrices": sum(parameter.numel() for parameter in layer.parameters() if parameter.dim() == 2),
        "no-norm": total - of("LayerNorm"),
        "one-norm": total - of("LayerNorm") // 2,
        "no-mix": total - of("attention.output.dense"),
        "attention": of("attention"),
        "feed-forward": total - of("attention"),
        "all-layers": total * BertConfig().num_hidden_layers,
    }
    return which_number(answer, outcomes, 1e-9)
