"""The configurations and inputs that the parity tests go through."""

from typing import Any

import torch
from torch import Tensor

ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swish", "tanh")


def random_settings(number: int) -> dict[str, Any]:
    """Settings of a small BERT, different for each ``number``: sizes, activation, eps, segments, positions."""
    draw = torch.Generator().manual_seed(1000 + number)

    def choose(*options: Any) -> Any:
        return options[int(torch.randint(len(options), (), generator=draw))]

    heads = choose(1, 2, 3, 4, 6)
    hidden = heads * choose(4, 8, 16, 20)
    return {
        "vocab_size": choose(60, 97, 211) + number,
        "hidden_size": hidden,
        "num_hidden_layers": choose(1, 2, 3, 4),
        "num_attention_heads": heads,
        "intermediate_size": choose(hidden * 4, hidden * 2, 37),
        "hidden_act": ACTIVATIONS[number % len(ACTIVATIONS)],
        "layer_norm_eps": choose(1e-12, 1e-12, 1e-5, 1e-7),
        "type_vocab_size": (2, 1, 3, 2)[number % 4],
        "max_position_embeddings": (512, 300, 64, 40)[number % 4],
        "chunk_size_feed_forward": (0, 0, 6, 0, 4)[number % 5],
        "pad_token_id": choose(0, 0, 3),
    }


NUMBER_OF_CONFIGURATIONS = 14


def random_inputs(settings: dict[str, Any], kind: str, attention: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Inputs of a named kind, for us and for the reference (they differ for 3-D masks, which it does not have)."""
    torch.manual_seed(7)
    B, T = 3, 12
    ids = torch.randint(settings["vocab_size"], (B, T))
    ours: dict[str, Tensor] = {"input_ids": ids}
    padding = torch.ones(B, T, dtype=torch.long)
    padding[1, 7:] = 0
    padding[2, 3:] = 0
    if kind == "padding":
        ours["attention_mask"] = padding
    elif kind == "all ones":
        ours["attention_mask"] = torch.ones(B, T, dtype=torch.long)
    elif kind == "hidden row":
        padding[2] = 0
        ours["attention_mask"] = padding
    elif kind == "pairs":
        ours["attention_mask"] = padding
        ours["token_type_ids"] = (torch.arange(T) > 5).long().expand(B, T).clamp(max=settings["type_vocab_size"] - 1)
    elif kind == "positions":
        ours["position_ids"] = torch.randint(settings["max_position_embeddings"], (B, T))
    elif kind == "embeds":
        ours = {"inputs_embeds": torch.randn(B, T, settings["hidden_size"]), "attention_mask": padding}
    elif kind in ("3-D", "4-D"):
        seen = torch.rand(B, T, T) < 0.7
        seen[:, torch.arange(T), torch.arange(T)] = True
        full = seen[:, None]
        if attention == "eager":
            full = torch.where(full, 0.0, torch.finfo(torch.float32).min)
        return {"input_ids": ids, "attention_mask": seen.long() if kind == "3-D" else full}, {
            "input_ids": ids,
            "attention_mask": full,
        }
    return ours, dict(ours)


KINDS_OF_INPUT = ("plain", "padding", "all ones", "hidden row", "pairs", "positions", "embeds", "3-D", "4-D")
