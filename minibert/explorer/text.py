"""A text as the model reads it: its pieces, ids, segments, positions, and which pieces are one word.

The page shows what the user typed, so nothing is dropped in silence: where a text is longer than the model reads, how
many pieces it had stands beside those that are left.
"""

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from minibert.errors import InputError
from minibert.pretrained import BertPreTrainedModel
from minibert.tokenizer import BertTokenizer


@dataclass(frozen=True)
class Reading:
    """One text, tokenized for one model."""

    text: str
    inputs: dict[str, Tensor]  # (1, T) int64 each
    tokens: list[str]
    special: list[bool]
    words: list[int | None]  # which word of the text a piece belongs to
    written: list[str]  # the pieces of the text itself: what stands where ``masked`` has put a mask token
    masked: tuple[int, ...]  # positions whose piece was replaced by the mask token
    hidden: list[int]  # positions of all mask tokens, typed or put there: what the model does not see
    whole_length: int  # pieces of the whole text, before it was cut to what the model reads

    @property
    def length(self) -> int:
        """T, the number of pieces that the model reads."""
        return len(self.tokens)

    def describe(self) -> dict[str, Any]:
        """What the page says about the text itself."""
        positions = list(range(self.length))
        segments = self.inputs.get("token_type_ids", torch.zeros(1, self.length, dtype=torch.long))
        return {
            "text": self.text,
            "language": language_of(self.text),
            "tokens": self.tokens,
            "ids": self.inputs["input_ids"][0].tolist(),
            "segments": segments[0].tolist(),
            "positions": positions,
            "special": self.special,
            "written": self.written,
            "masked": list(self.masked),
            "hidden": self.hidden,
            "wholeLength": self.whole_length,
        }


def read(model: BertPreTrainedModel, tokenizer: BertTokenizer, text: str, masked: tuple[int, ...] = ()) -> Reading:
    """Tokenize ``text``, cut to what ``model`` reads, with the mask token at the positions ``masked``.

    Raises InputError for a text with nothing in it, and for positions that cannot be masked.
    """
    if not isinstance(text, str) or not text.strip():
        raise InputError("The text is empty: there is nothing to look at.")
    whole = tokenizer(text, verbose=False)["input_ids"]
    longest = min(tokenizer.model_max_length, model.config.max_position_embeddings)
    encoding = tokenizer(
        text, truncation=True, max_length=longest, return_special_tokens_mask=True, return_tensors="pt"
    )
    written, special = encoding.tokens(), [bool(flag) for flag in encoding["special_tokens_mask"][0].tolist()]
    tokens, mask = list(written), tokenizer.mask_token_id
    for position in masked:
        if not 0 <= position < len(tokens) or special[position]:
            raise InputError(f"There is no word piece at position {position} to be masked.")
        if mask is None:
            raise InputError("This tokenizer has no mask token.")
        encoding["input_ids"][0, position] = mask
        tokens[position] = str(tokenizer.mask_token)
    return Reading(
        text=text,
        inputs={name: encoding[name] for name in ("input_ids", "token_type_ids", "attention_mask") if name in encoding},
        tokens=tokens,
        special=special,
        words=encoding.word_ids(),
        written=written,
        masked=masked,
        hidden=[position for position, number in enumerate(encoding["input_ids"][0].tolist()) if number == mask],
        whole_length=len(whole),
    )


LETTERS = (  # tried in this order: Japanese has Chinese characters, too
    ("ko", "[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]"),
    ("ja", "[\u3040-\u30ff]"),
    ("zh", "[\u3400-\u9fff]"),
    ("ar", "[\u0600-\u06ff]"),
    ("he", "[\u0590-\u05ff]"),
)


def language_of(text: str) -> str:
    """The language tag that makes a browser choose the right letterforms; empty where the letters do not tell."""
    return next((tag for tag, letters in LETTERS if re.search(letters, text)), "")
