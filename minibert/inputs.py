"""The sentences a model says when its inputs do not fit it.

Kept out of model.py so that the page people print holds the model alone.  Shapes are compared on every call (they
cost nothing); the ids themselves are never scanned: when one is outside a table, the lookup fails by itself
and :func:`explain_lookup_failure` finds out which.
"""

import operator
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from minibert.config import BertConfig
from minibert.errors import InputError

# Arguments of other BERT implementations that would change the result if they were silently ignored.
WHY_NOT = {
    "encoder_hidden_states": "there is no cross-attention in an encoder",
    "encoder_attention_mask": "there is no cross-attention in an encoder",
    "past_key_values": "a bidirectional encoder has no cache of past tokens",
    "use_cache": "a bidirectional encoder has no cache of past tokens",
    "head_mask": "multiply a head's context instead, in a forward hook on attention.self",
}


def refuse_unsupported(arguments: dict[str, Any]) -> None:
    """Raise InputError for a keyword argument that forward does not have, unless it asks for nothing."""
    for name, value in arguments.items():
        if value is None or value is False:
            continue
        why = WHY_NOT.get(name, "it is not an argument of this model's forward")
        raise InputError(f"forward() got {name}=…: {why}.")


def check_inputs(
    config: BertConfig,
    input_ids: Tensor | None,
    attention_mask: Tensor | None,
    token_type_ids: Tensor | None,
    position_ids: Tensor | None,
    inputs_embeds: Tensor | None,
) -> None:
    """Raise InputError when the shapes or kinds of the inputs do not fit each other or the model."""
    if (input_ids is None) == (inputs_embeds is None):
        given = "neither" if input_ids is None else "both"
        raise InputError(f"Give exactly one of input_ids and inputs_embeds; got {given}.")
    if input_ids is not None:
        if input_ids.dim() != 2:
            hint = " Add the batch dimension: input_ids.unsqueeze(0)." if input_ids.dim() == 1 else ""
            raise InputError(f"input_ids has shape {shape_of(input_ids)}, expected (B, T): batch, tokens.{hint}")
        check_kind("input_ids", input_ids)
        B, T = input_ids.shape
    else:
        assert inputs_embeds is not None
        if inputs_embeds.dim() != 3 or inputs_embeds.shape[2] != config.hidden_size:
            raise InputError(
                f"inputs_embeds has shape {shape_of(inputs_embeds)}, expected (B, T, {config.hidden_size}): "
                "batch, tokens, the hidden size of this model."
            )
        B, T = inputs_embeds.shape[:2]
    if T > config.max_position_embeddings and position_ids is None:
        raise InputError(
            f"The sequence has {T} tokens; this model has position embeddings for {config.max_position_embeddings} "
            f"(max_position_embeddings). Tokenize with truncation=True, max_length={config.max_position_embeddings}."
        )
    for name, ids in (("token_type_ids", token_type_ids), ("position_ids", position_ids)):
        if ids is not None:
            check_kind(name, ids)
            if ids.dim() > 2 or ids.shape[-1] != T or (ids.dim() == 2 and ids.shape[0] not in (1, B)):
                raise InputError(f"{name} has shape {shape_of(ids)}, expected ({B}, {T}), as the tokens have.")
    if attention_mask is not None:
        check_mask(attention_mask, B, T, config.num_attention_heads)


def check_kind(name: str, ids: Tensor) -> None:
    """Raise InputError unless ``ids`` are int64 or int32, the kinds an embedding can look up."""
    if ids.dtype not in (torch.int64, torch.int32):
        raise InputError(f"{name} is {ids.dtype}, expected torch.int64: they are numbers of rows. Use {name}.long().")


def check_mask(mask: Tensor, B: int, T: int, N: int) -> None:
    """Raise InputError unless ``mask`` has one of the three accepted shapes."""
    fits = {
        2: mask.shape == (B, T),
        3: mask.shape == (B, T, T),
        4: mask.dim() == 4 and mask.shape[0] in (1, B) and mask.shape[1] in (1, N) and mask.shape[2] in (1, T)
        and mask.shape[3] == T,
    }  # fmt: skip
    if not fits.get(mask.dim(), False):
        raise InputError(
            f"attention_mask has shape {shape_of(mask)}, expected ({B}, {T}) for padding, ({B}, {T}, {T}) for one row "
            f"per asking token, or ({B}, 1 or {N}, {T}, {T})."
        )
    if mask.dim() == 4 and not (mask.dtype == torch.bool or mask.is_floating_point()):
        raise InputError(
            f"A 4-D attention_mask is taken as it is, so it must be boolean (True: may be seen) or floating point "
            f"(added to the scores); found {mask.dtype}."
        )


def explain_lookup_failure(
    config: BertConfig, input_ids: Tensor | None, token_type_ids: Tensor | None, position_ids: Tensor | None
) -> InputError:
    """The InputError for a failed embedding lookup: which ids, the limit, and the first one outside it."""
    tables = (
        ("input_ids", input_ids, config.vocab_size, "vocab_size", "Was the text tokenized with another vocabulary?"),
        (
            "token_type_ids",
            token_type_ids,
            config.type_vocab_size,
            "type_vocab_size",
            "Most models have segments 0, 1.",
        ),
        ("position_ids", position_ids, config.max_position_embeddings, "max_position_embeddings", "Truncate the text."),
    )
    for name, ids, limit, field, hint in tables:
        if ids is None:
            continue
        outside = ((ids < 0) | (ids >= limit)).nonzero()
        if len(outside):
            place = tuple(outside[0].tolist())
            return InputError(
                f"{name} holds {int(ids[place])} at {place}; this model's are 0 to {limit - 1} ({field} is {limit}). "
                f"{hint}"
            )
    return InputError(
        "An embedding lookup failed although every id is within its table: the weights do not fit config."
    )


def shape_of(tensor: Tensor) -> str:
    """A shape as people write it."""
    return str(tuple(tensor.shape))


def whole_number(name: str, value: object) -> int:
    """``value`` as an int, also NumPy's or a tensor's; InputError, naming the argument, for anything else."""
    try:
        if type(value) is not bool:
            return operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        pass
    raise InputError(f"{name} is {value!r:.80}; expected a whole number.")


def whole_numbers(name: str, values: object) -> list[int]:
    """One whole number or several, as a list; InputError, naming the argument, for anything else."""
    several = values.tolist() if isinstance(values, Tensor) else values
    if not isinstance(several, Iterable) or isinstance(several, str | bytes):
        several = [several]
    return [whole_number(name, value) for value in several]
