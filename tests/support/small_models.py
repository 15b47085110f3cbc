"""The small models and inputs that the lens is tested on."""

from typing import Any

import torch
from torch import Tensor, nn

import minibert

SETTINGS = {
    "vocab_size": 60,
    "hidden_size": 12,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "max_position_embeddings": 32,
}
HEADS = (
    "BertForPreTraining",
    "BertForMaskedLM",
    "BertForNextSentencePrediction",
    "BertForSequenceClassification",
    "BertForMultipleChoice",
    "BertForTokenClassification",
    "BertForQuestionAnswering",
)
ALL = ("BertModel", *HEADS)
B, T, C = 3, 9, 2


def small(name: str = "BertModel", **settings: Any) -> Any:
    """A small random model in eval mode, away from the tidy initial values, where mistakes would hide."""
    labels = {} if name == "BertForQuestionAnswering" else {"num_labels": 5}
    torch.manual_seed(len(name))
    model = getattr(minibert, name)(minibert.BertConfig(**{**SETTINGS, **labels, **settings}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def inputs_for(name: str = "BertModel", seed: int = 0) -> dict[str, Tensor]:
    """Pairs with padding; three dimensions for multiple choice."""
    draw = torch.Generator().manual_seed(seed)
    shape = (B, C, T) if name == "BertForMultipleChoice" else (B, T)
    mask = torch.ones(shape, dtype=torch.long)
    mask[1, ..., 6:] = 0
    mask[2, ..., 3:] = 0
    return {
        "input_ids": torch.randint(SETTINGS["vocab_size"], shape, generator=draw),
        "attention_mask": mask,
        "token_type_ids": (torch.arange(T) > 4).long().expand(shape).contiguous(),
    }


def labels_for(name: str) -> dict[str, Tensor]:
    """Labels that give a loss."""
    tokens, rows = torch.full((B, T), 3), torch.tensor([0, 1, 1])
    return {
        "BertModel": {},
        "BertForPreTraining": {"labels": tokens, "next_sentence_label": rows},
        "BertForMaskedLM": {"labels": tokens},
        "BertForNextSentencePrediction": {"labels": rows},
        "BertForSequenceClassification": {"labels": rows},
        "BertForMultipleChoice": {"labels": rows},
        "BertForTokenClassification": {"labels": tokens},
        "BertForQuestionAnswering": {"start_positions": rows, "end_positions": rows},
    }[name]


def eager(model: Any, inputs: dict[str, Any]) -> Any:
    """What the model computes with its attention written out, its feed-forward in one piece, and nobody watching."""
    attention, chunk = model.config.attn_implementation, model.config.chunk_size_feed_forward
    model.set_attn_implementation("eager")
    set_chunk(model, 0)
    try:
        with torch.no_grad():
            return model(**inputs, return_dict=True)
    finally:
        model.set_attn_implementation(attention)
        set_chunk(model, chunk)


def set_chunk(model: nn.Module, tokens: int) -> None:
    """How many tokens go through the feed-forward at a time, in ours and in transformers' model; 0 for all."""
    for module in model.modules():
        if hasattr(module, "chunk_size_feed_forward"):
            module.chunk_size_feed_forward = tokens


def tensors(outputs: Any) -> list[Tensor]:
    """All tensors of an output, those in tuples, too."""
    found = []
    for value in outputs.values():
        found += [value] if isinstance(value, Tensor) else list(value)
    return found


def assert_same_bits(found: Any, expected: Any) -> None:
    """Every tensor of two outputs is the same to the last bit."""
    ours, theirs = tensors(found), tensors(expected)
    assert len(ours) == len(theirs) > 0
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def assert_no_trace(model: nn.Module) -> None:
    """No hook, no attribute is left on any module."""
    for name, module in model.named_modules():
        assert not module._forward_hooks and not module._forward_pre_hooks, name
        assert "watchers" not in vars(module), name
