"""Input validation and its error messages.

Separate from model.py, so that the page people print holds the model alone.  Shapes and dtypes are checked on every
call, which costs nothing.  Ids are never scanned: where one is out of range the embedding lookup fails, and
:func:`explain_lookup_failure` finds which.
"""

import operator
from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from minibert.config import BertConfig
from minibert.errors import InputError

# Arguments of other BERT implementations, of tokenizers and of trainers: ignoring them would change the result, or
# they have another name here.
NO_CROSS = "there is no cross-attention in an encoder"
NO_CACHE = "a bidirectional encoder has no cache of past tokens"
ABOUT_TEXT = "it describes the text and is no input of the model; remove it from the batch first"
WHY_NOT = {
    "encoder_hidden_states": NO_CROSS,
    "encoder_attention_mask": NO_CROSS,
    "cross_attn_head_mask": NO_CROSS,
    "past_key_values": NO_CACHE,
    "use_cache": NO_CACHE,
    "cache_position": NO_CACHE,
    "head_mask": "take heads out with minibert.ablate_heads, or multiply a head's context in a forward hook on "
    "attention.self",
    "labels": "this model has no loss; choose a head (BertForMaskedLM, BertForSequenceClassification, …)",
    "num_items_in_batch": "this model has no loss to divide by it",
    "masked_lm_labels": "its name is labels, with -100 where there is nothing to guess",
    "lm_labels": "its name is labels, with -100 where there is nothing to guess",
    "next_sentence_labels": "its name is next_sentence_label in BertForPreTraining and labels in "
    "BertForNextSentencePrediction",
    "next_sentence_label": "its name is labels in BertForNextSentencePrediction; only BertForPreTraining has both",
    "start_positions": "only BertForQuestionAnswering has answers in the text",
    "end_positions": "only BertForQuestionAnswering has answers in the text",
    **dict.fromkeys(("special_tokens_mask", "offset_mapping", "overflow_to_sample_mapping", "length"), ABOUT_TEXT),
    **dict.fromkeys(("overflowing_tokens", "num_truncated_tokens", "texts", "word_ids"), ABOUT_TEXT),
}


class Model(Protocol):
    """The parts of a model that the checks read."""

    config: BertConfig

    @property
    def dtype(self) -> torch.dtype: ...
    def get_input_embeddings(self) -> nn.Module: ...


def refuse_unsupported(arguments: dict[str, Any], **flags: Any) -> None:
    """Raise InputError for a keyword argument that forward does not have, unless its value is None or False.

    ``flags`` are boolean arguments that it has: see :func:`check_flag`.
    """
    for name, value in arguments.items():
        if value is None or value is False:
            continue
        why = WHY_NOT.get(name, "it is not an argument of this model's forward")
        raise InputError(f"forward() got {name}=…: {why}.")
    for name, value in flags.items():
        check_flag(name, value)


def check_flag(name: str, value: Any) -> None:
    """Raise InputError unless ``value`` is True or False (or an int, such as 0 and 1), or None for the default."""
    if value is not None and not isinstance(value, int):
        raise InputError(f"{name} is a {kind_of(value)}; expected True or False.")


def is_traced() -> bool:
    """Whether torch.jit.trace is recording."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


def has_values(tensor: Tensor) -> bool:
    """Whether Python may read the numbers: not while a graph is recorded, nor inside vmap, nor on the meta device."""
    return (
        type(tensor) is Tensor
        and not tensor.is_meta
        and not torch.compiler.is_compiling()
        and not is_traced()
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    )


def check_tensor(name: str, value: Any) -> None:
    """Raise InputError, with advice, unless ``value`` is a plain (strided) tensor."""
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.is_nested:
            layout = "nested" if value.is_nested else str(value.layout).removeprefix("torch.")
            raise InputError(f"{name} is a {layout} tensor, expected a dense one: rows of one length, padded.")
        return
    if isinstance(value, str) or (isinstance(value, list | tuple) and any(isinstance(item, str) for item in value)):
        what = "is text; tokenize it first: model(**tokenizer(text, return_tensors='pt'))"
    elif hasattr(value, "keys"):
        what = f"is a {kind_of(value)} with the inputs by name; unpack it: model(**inputs)"
    elif isinstance(value, list | tuple):
        what = f"is a {kind_of(value)}, expected a tensor: torch.tensor({name}), or tokenize with return_tensors='pt'"
    elif hasattr(value, "__array__"):
        what = f"is a {kind_of(value)}, expected a tensor: torch.from_numpy({name})"
    else:
        what = f"is a {kind_of(value)}, expected a tensor"
    raise InputError(f"{name} {what}.")


def kind_of(value: Any) -> str:
    """The class of a value, for messages."""
    return "numpy array" if type(value).__module__ == "numpy" else type(value).__name__


def check_inputs(
    model: Model,
    input_ids: Tensor | None,
    attention_mask: Tensor | None,
    token_type_ids: Tensor | None,
    position_ids: Tensor | None,
    inputs_embeds: Tensor | None,
) -> None:
    """Raise InputError when the shapes or dtypes of the inputs do not fit each other or the model."""
    if (input_ids is None) == (inputs_embeds is None):
        which = "neither" if input_ids is None else "both"
        raise InputError(f"Give exactly one of input_ids and inputs_embeds; got {which}.")
    names = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds")
    inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
    for name, value in zip(names, inputs, strict=True):
        if value is not None:
            check_tensor(name, value)
    if is_traced():
        return  # a trace would record the operations on shapes, too
    config = model.config
    B, T = check_ids(input_ids) if input_ids is not None else check_vectors(inputs_embeds, config.hidden_size)
    if T == 0:
        raise InputError("The sequence has no tokens; the shortest text has two, [CLS] and [SEP].")
    if T > config.max_position_embeddings and position_ids is None:
        raise InputError(
            f"The sequence has {T} tokens; this model has position embeddings for {config.max_position_embeddings} "
            f"(max_position_embeddings). Tokenize with truncation=True, max_length={config.max_position_embeddings}."
        )
    for name, ids in (("token_type_ids", token_type_ids), ("position_ids", position_ids)):
        if ids is not None:
            check_id_dtype(name, ids)
            if ids.dim() not in (1, 2) or ids.shape[-1] != T or (ids.dim() == 2 and ids.shape[0] not in (1, B)):
                raise InputError(f"{name} has shape {shape_of(ids)}, expected ({B}, {T}), as the tokens have.")
    if attention_mask is not None:
        check_mask(attention_mask, B, T, config.num_attention_heads)
        if attention_mask.is_meta and not any(
            value is not None and value.is_meta for value in (input_ids, inputs_embeds)
        ):
            raise InputError("attention_mask is on the meta device, where tensors have no values.")
        if attention_mask.dim() == 4 and attention_mask.is_floating_point():
            check_scores_mask(attention_mask, model.dtype)


def check_ids(input_ids: Tensor) -> tuple[int, int]:
    """B and T of (B, T) ids; InputError for another shape or dtype."""
    if input_ids.dim() != 2:
        hint = " Add the batch dimension: input_ids.unsqueeze(0)." if input_ids.dim() == 1 else ""
        raise InputError(f"input_ids has shape {shape_of(input_ids)}, expected (B, T): batch, tokens.{hint}")
    check_id_dtype("input_ids", input_ids)
    return input_ids.shape[0], input_ids.shape[1]


def check_vectors(inputs_embeds: Tensor | None, H: int) -> tuple[int, int]:
    """B and T of (B, T, H) vectors; InputError for another shape or dtype."""
    assert inputs_embeds is not None
    if inputs_embeds.dim() != 3 or inputs_embeds.shape[2] != H:
        raise InputError(
            f"inputs_embeds has shape {shape_of(inputs_embeds)}, expected (B, T, {H}): "
            "batch, tokens, the hidden size of this model."
        )
    if not inputs_embeds.is_floating_point():
        raise InputError(f"inputs_embeds is {inputs_embeds.dtype}, expected vectors: floating-point numbers.")
    return inputs_embeds.shape[0], inputs_embeds.shape[1]


def check_id_dtype(name: str, ids: Tensor) -> None:
    """Raise InputError unless ``ids`` are int64 or int32, the dtypes that an embedding can look up."""
    if ids.dtype not in (torch.int64, torch.int32):
        raise InputError(f"{name} is {ids.dtype}, expected torch.int64: they are numbers of rows. Use {name}.long().")


def check_mask(mask: Tensor, B: int, T: int, N: int) -> None:
    """Raise InputError unless ``mask`` has one of the three accepted shapes."""
    if mask.is_complex():
        raise InputError(f"attention_mask is {mask.dtype}, expected 0 and 1, or True and False.")
    fits = {
        2: mask.shape == (B, T),
        3: mask.shape == (B, T, T),
        4: mask.dim() == 4 and mask.shape[0] in (1, B) and mask.shape[1] in (1, N) and mask.shape[2] in (1, T)
        and mask.shape[3] == T,
    }  # fmt: skip
    if not fits.get(mask.dim(), False):
        raise InputError(
            f"attention_mask has shape {shape_of(mask)}, expected ({B}, {T}) for padding, ({B}, {T}, {T}) for one row "
            f"per query token, or ({B}, 1 or {N}, {T}, {T})."
        )
    if mask.dim() == 4 and not (mask.dtype == torch.bool or mask.is_floating_point()):
        raise InputError(
            f"A 4-D attention_mask is taken as it is, so it must be boolean (True: may be seen) or floating point "
            f"(added to the scores); found {mask.dtype}."
        )


def check_scores_mask(mask: Tensor, dtype: torch.dtype) -> None:
    """Raise InputError for a mask that is added to scores of another dtype."""
    if mask.dtype != dtype and not torch.is_autocast_enabled(mask.device.type):
        raise InputError(
            f"A 4-D floating-point attention_mask is added to the scores, so it must have the model's dtype, {dtype}; "
            f"found {mask.dtype}. Use attention_mask.to(model.dtype), or a boolean mask."
        )


def check_choices(inputs: tuple[Tensor | None, ...]) -> int:
    """The number C of choices in inputs of shape (B, C, T); InputError for another shape."""
    names = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds")
    by_name = {name: value for name, value in zip(names, inputs, strict=True) if value is not None}
    for name, value in by_name.items():
        check_tensor(name, value)
    first = "input_ids" if "input_ids" in by_name else "inputs_embeds"
    tokens = by_name.get(first)
    if tokens is None or tokens.dim() != (3 if first == "input_ids" else 4):
        found = "neither of them" if tokens is None else f"shape {shape_of(tokens)}"
        raise InputError(f"Multiple choice reads input_ids (B, C, T) or inputs_embeds (B, C, T, H); found {found}.")
    if is_traced():
        return tokens.shape[1]
    if 0 in tokens.shape[1:3]:
        raise InputError(f"{first} has shape {shape_of(tokens)}: no choice, or no token in it.")
    for name, value in by_name.items():
        if value.shape[:3] != tokens.shape[:3]:
            raise InputError(f"{name} has shape {shape_of(value)}, expected {tuple(tokens.shape[:3])}, as {first} has.")
    return tokens.shape[1]


def explain_lookup_failure(
    model: Model,
    error: Exception,
    input_ids: Tensor | None,
    token_type_ids: Tensor | None,
    position_ids: Tensor | None,
    inputs_embeds: Tensor | None,
) -> None:
    """Raise the InputError for a failed embedding: a wrong device or dtype, or the first id that is out of range.

    Returns when the inputs are not the cause.
    """
    config = model.config
    weight = model.get_input_embeddings().get_parameter("weight")
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
    for name, value in (*(table[:2] for table in tables), ("inputs_embeds", inputs_embeds)):
        if value is not None and value.device != weight.device:
            raise InputError(
                f"{name} is on {value.device}, the model on {weight.device}. Move the inputs: {name}.to(model.device)."
            ) from error
    if inputs_embeds is not None and inputs_embeds.dtype != weight.dtype:
        raise InputError(
            f"inputs_embeds is {inputs_embeds.dtype}, the model {weight.dtype}. Use inputs_embeds.to(model.dtype)."
        ) from error
    for name, ids, limit, field, hint in tables:
        if ids is None:
            continue
        outside = ((ids < 0) | (ids >= limit)).nonzero()
        if len(outside):
            place = tuple(outside[0].tolist())
            raise InputError(
                f"{name} holds {int(ids[place])} at {place}; this model's are 0 to {limit - 1} ({field} is {limit}). "
                f"{hint}"
            ) from error
    if isinstance(error, IndexError):
        raise InputError(
            "An embedding lookup failed although every id is within its table: the weights do not fit config."
        ) from error


def shape_of(tensor: Tensor) -> str:
    """A shape, for messages."""
    return str(tuple(tensor.shape))


def whole_number(name: str, value: object) -> int:
    """``value`` as an int, also from NumPy or a tensor; InputError, naming the argument, for anything else."""
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
