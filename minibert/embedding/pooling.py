"""One vector for a text: the mean of its tokens' vectors, the way sentence-transformers' models are trained."""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.errors import InputError

if TYPE_CHECKING:
    from minibert.pretrained import BertPreTrainedModel
    from minibert.tokenizer import BertTokenizer


def mean_pooling(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    """The mean over the tokens that are not padding, [CLS] and [SEP] included (Reimers & Gurevych 2019, section 3).

    Args:
        hidden_states: (B, T, H).
        attention_mask: (B, T), nonzero for tokens.

    Returns (B, H).
    """
    weights = attention_mask.to(hidden_states.dtype)[:, :, None]  # (B, T, 1)
    return (hidden_states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)


def embed_texts(
    model: "BertPreTrainedModel",
    tokenizer: "BertTokenizer",
    texts: list[str],
    *,
    normalize: bool = True,
    batch_size: int = 32,
) -> Tensor:
    """One vector a text, (len(texts), H), on the CPU: mean pooling, unit length unless ``normalize`` is False.

    Texts longer than the model can read are cut at its last position.
    """
    if isinstance(texts, str):
        raise InputError("embed_texts takes a list of texts; for one text give [text].")
    vectors = []
    with torch.inference_mode():
        for start in range(0, len(texts), batch_size):
            inputs = tokenizer(
                texts[start : start + batch_size],
                padding=True,
                truncation=True,
                max_length=model.config.max_position_embeddings,
                return_tensors="pt",
            ).to(model.device)
            hidden_states = model.base_model(**inputs).last_hidden_state
            pooled = mean_pooling(hidden_states, inputs["attention_mask"])
            vectors.append((F.normalize(pooled, dim=-1) if normalize else pooled).cpu())
    return torch.cat(vectors) if vectors else torch.empty(0, model.config.hidden_size)
