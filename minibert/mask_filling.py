"""The likeliest pieces for each [MASK] of a text, by a masked-language-modelling head."""

from dataclasses import dataclass

import torch

from minibert.errors import InputError
from minibert.heads import BertForMaskedLM, BertForPreTraining
from minibert.inputs import kind_of, whole_number
from minibert.tokenizer import BatchEncoding, BertTokenizer


@dataclass(frozen=True)
class Guess:
    """A piece of the vocabulary for one [MASK]."""

    token: str
    token_id: int
    probability: float


def no_gap(tokenizer: BertTokenizer) -> InputError:
    """The error for a text without [MASK], or for a tokenizer without one."""
    if tokenizer.mask_token is None:
        return InputError("The tokenizer has no mask token, so there is no way to write a gap into a text.")
    return InputError(f"The text has no {tokenizer.mask_token}: write {tokenizer.mask_token} where a word is missing.")


def fill_mask(
    model: BertForMaskedLM | BertForPreTraining,
    tokenizer: BertTokenizer,
    text: str,
    top_k: int = 5,
    *,
    max_length: int | None = None,
) -> list[list[Guess]]:
    """For every [MASK] of ``text``, in order, the ``top_k`` likeliest pieces of the vocabulary, likeliest first.

    ``max_length``: cut the text to so many tokens; default not at all.

    Raises InputError when the text has no mask, or more tokens than the model reads; and for a model without a
    masked-language-modelling head, anything but a tokenizer, several texts at once, or a ``top_k`` below 1.
    """
    if not callable(getattr(model, "get_output_embeddings", None)) or model.get_output_embeddings() is None:
        raise InputError(
            f"fill_mask needs a model with a vocabulary at its end, BertForMaskedLM or BertForPreTraining; got a "
            f"{kind_of(model)}."
        )
    if not callable(tokenizer) or not hasattr(tokenizer, "mask_token_id"):
        raise InputError(f"tokenizer is a {kind_of(tokenizer)}; expected the BertTokenizer of the model.")
    if not isinstance(text, str):
        raise InputError(f"text is a {kind_of(text)}; expected one text. For several, call fill_mask for each.")
    top_k = whole_number("top_k", top_k)
    if top_k < 1:
        raise InputError(f"top_k is {top_k!r}; expected a whole number of at least 1.")
    inputs = tokenizer(text, return_tensors="pt", truncation=max_length is not None, max_length=max_length)
    return guesses(model, tokenizer, inputs, top_k)


def guesses(
    model: BertForMaskedLM | BertForPreTraining, tokenizer: BertTokenizer, inputs: BatchEncoding, top_k: int
) -> list[list[Guess]]:
    """The same for one text that is tokenized: ``inputs`` are (1, T) tensors."""
    inputs = inputs.to(model.device)
    if tokenizer.mask_token_id is None:
        raise no_gap(tokenizer)
    gaps = (inputs["input_ids"][0] == tokenizer.mask_token_id).nonzero()[:, 0]
    if not len(gaps):
        raise no_gap(tokenizer)
    with torch.inference_mode():
        outputs = model(**inputs, return_dict=True)
        scores = outputs["logits" if "logits" in outputs else "prediction_logits"]
        logits = scores[0, gaps]  # (gaps, V)
    probabilities, ids = logits.softmax(dim=-1).topk(min(top_k, logits.shape[-1]))
    return [
        [
            Guess(token, token_id, probability)
            for token, token_id, probability in zip(tokenizer.convert_ids_to_tokens(row), row, chances, strict=True)
        ]
        for row, chances in zip(ids.tolist(), probabilities.tolist(), strict=True)
    ]
