"""What an export has to give: our own model, run in float32 with attention written out.

This is written without the modules that are exported, on purpose: a mistake in those must not be on both sides.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.embedding import Embedder
from minibert.embedding.pooling import pool
from minibert.lens import trace
from minibert.model import BertModel
from minibert.points import LOGITS
from minibert.pretrained import BertPreTrainedModel
from minibert.verify.batches import Batch

Run = Callable[[Batch], dict[str, Tensor]]
OUTPUTS = ("hidden_states", "sentence", "logits", "all-points")


def right_values(model: BertPreTrainedModel, output: str, embedder: Embedder | None = None) -> Run:
    """A function of a batch that gives every value of ``output`` by its name.

    Args:
        model: in float32, with eager attention, in eval mode.
        output: one of OUTPUTS.
        embedder: how the hidden states of ``model`` become a sentence's vector; for ``sentence``.
    """
    base = model.base_model
    assert isinstance(base, BertModel)

    def hidden_states(batch: Batch) -> dict[str, Tensor]:
        return {"last_hidden_state": base(**batch, return_dict=True).last_hidden_state}

    def logits(batch: Batch) -> dict[str, Tensor]:
        found = dict(model(**batch, return_dict=True).items())
        return {name: found[name] for name in LOGITS if name in found}

    def sentence(batch: Batch) -> dict[str, Tensor]:
        assert embedder is not None
        found = base(**batch, output_hidden_states=True, return_dict=True)
        return {"sentence_embedding": sentence_vectors(embedder, found, batch["attention_mask"])}

    def all_points(batch: Batch) -> dict[str, Tensor]:
        return dict(trace(model, batch))

    runs: dict[str, Run] = {
        "hidden_states": hidden_states, "sentence": sentence, "logits": logits, "all-points": all_points,
    }  # fmt: skip
    run = runs[output]

    def without_gradients(batch: Batch) -> dict[str, Tensor]:
        with torch.inference_mode():
            return run(batch)

    return without_gradients


def sentence_vectors(embedder: Embedder, found: object, attention_mask: Tensor) -> Tensor:
    """The vector of each text, (B, W), from its visible tokens alone, one text after the other."""
    poolings, layers = embedder.choose(embedder.pooling, "last", None)
    if poolings == ("pooler",):
        pooled = found.pooler_output  # type: ignore[attr-defined]
    else:
        states = found.hidden_states  # type: ignore[attr-defined]
        hidden_states = layers.combine([states[number] for number in layers.numbers])
        pooled = torch.stack(
            [pooled_text(row, seen.bool(), poolings) for row, seen in zip(hidden_states, attention_mask, strict=True)]
        )
    vectors = embedder.steps(pooled)
    if embedder.normalize:
        vectors = F.normalize(vectors, dim=-1)
    kept: Tensor = vectors if embedder.truncate_dim is None else vectors[:, : embedder.truncate_dim]
    return kept


def pooled_text(hidden_states: Tensor, seen: Tensor, poolings: tuple[str, ...]) -> Tensor:
    """(T, H) to (poolings · H): as the embedding engine pools the tokens where ``seen``, (T,), is true."""
    tokens = hidden_states[seen][None]
    if not tokens.shape[1]:
        return hidden_states.new_zeros(len(poolings) * hidden_states.shape[1])
    return torch.cat([pool(tokens, name, 0, tokens.shape[1], 0)[0] for name in poolings])
