"""A text as the model reads it: tokens, ids, segments, positions, and which tokens form one word.

A text that is longer than the model reads is cut; its full length is kept, so that the page can say so.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from minibert.errors import InputError
from minibert.explorer.sentences import PageError
from minibert.pretrained import BertPreTrainedModel
from minibert.tokenizer import BertTokenizer

Text = str | tuple[str, str]  # one text, or a pair that BERT reads at once: [CLS] A [SEP] B [SEP]


def texts_of(text: str, second: str | None = None, *, pair: bool = False) -> list[Text]:
    """The texts of a page: one, two to compare, or one ``pair``; InputError for a second one that is empty."""
    if second is None:
        if pair:
            raise InputError("A pair is two texts; give the second one, too.")
        return [text]
    if not second.strip():
        raise InputError("The second text is empty; leave it out, or give a text.")
    return [(text, second)] if pair else [text, second]


@dataclass(frozen=True)
class TokenizedText:
    """One text or one pair, tokenized for one model."""

    text: Text
    inputs: dict[str, Tensor]  # (1, T) int64 each
    tokens: list[str]
    special: list[bool]
    words: list[int | None]  # the word of the text that a token belongs to; None for [CLS], [SEP] and unknown words
    original_tokens: list[str]  # before ``masked`` tokens were replaced by the mask token
    masked: tuple[int, ...]  # positions replaced by the mask token
    mask_positions: list[int]  # of all mask tokens, also those in the text itself
    full_length: int  # tokens of the text before it was cut

    @property
    def length(self) -> int:
        """T, the number of tokens that the model reads."""
        return len(self.tokens)

    def describe(self) -> dict[str, Any]:
        """The text for the page."""
        segments = self.inputs.get("token_type_ids", torch.zeros(1, self.length, dtype=torch.long))
        return {
            "text": self.text,
            "language": language_of(" ".join(parts_of(self.text))),
            "tokens": self.tokens,
            "ids": self.inputs["input_ids"][0].tolist(),
            "segments": segments[0].tolist(),
            "positions": list(range(self.length)),
            "special": self.special,
            "original_tokens": self.original_tokens,
            "masked": list(self.masked),
            "mask_positions": self.mask_positions,
            "full_length": self.full_length,
        }


def parts_of(text: Text) -> tuple[str, ...]:
    """The two texts of a pair, or the only one."""
    return text if isinstance(text, tuple) else (text,)


def tokenize(
    model: BertPreTrainedModel, tokenizer: BertTokenizer, text: Text, masked: tuple[int, ...] = ()
) -> TokenizedText:
    """Tokenize ``text``, cut to what ``model`` reads, with the mask token at the positions ``masked``.

    Raises InputError for an empty text, and for positions that cannot be masked.
    """
    if not all(isinstance(part, str) and part.strip() for part in parts_of(text)):
        raise PageError("error.empty")
    first, *others = parts_of(text)
    second = others[0] if others else None
    full_length = len(tokenizer(first, second, verbose=False)["input_ids"])
    longest = min(tokenizer.model_max_length, model.config.max_position_embeddings)
    encoding = tokenizer(
        first, second, truncation=True, max_length=longest, return_special_tokens_mask=True, return_tensors="pt"
    )
    original, special = encoding.tokens(), [bool(flag) for flag in encoding["special_tokens_mask"][0].tolist()]
    tokens, mask_id, unknown = list(original), tokenizer.mask_token_id, tokenizer.unk_token_id
    ids = encoding["input_ids"][0].tolist()  # before tokens are masked
    for position in masked:
        if not 0 <= position < len(tokens) or special[position]:
            raise PageError("error.no_piece", position=position)
        if mask_id is None:
            raise PageError("error.no_mask")
        encoding["input_ids"][0, position] = mask_id
        tokens[position] = str(tokenizer.mask_token)
    return TokenizedText(
        text=text,
        inputs={name: encoding[name] for name in ("input_ids", "token_type_ids", "attention_mask") if name in encoding},
        tokens=tokens,
        special=special,
        words=[None if id == unknown else word for id, word in zip(ids, encoding.word_ids(), strict=True)],
        original_tokens=original,
        masked=masked,
        mask_positions=[position for position, id in enumerate(encoding["input_ids"][0].tolist()) if id == mask_id],
        full_length=full_length,
    )


SCRIPTS = (  # tried in this order: Japanese also uses Chinese characters
    ("ko", "[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]"),
    ("ja", "[\u3040-\u30ff]"),
    ("zh", "[\u3400-\u9fff]"),
    ("ar", "[\u0600-\u06ff]"),
    ("he", "[\u0590-\u05ff]"),
)


def language_of(text: str) -> str:
    """The language tag with which a browser chooses glyphs; empty if the script does not tell."""
    return next((tag for tag, characters in SCRIPTS if re.search(characters, text)), "")


COVERED = 800  # words or characters of a language in a vocabulary that covers it; others hold a few hundred by chance
WRITTEN_IN = {"en": "[a-z]{3,}", "ko": "[가-힣]+", "zh": "[\u4e00-\u9fff]+", "ja": "[\u3040-\u30ff]+"}


def languages_of(tokenizer: BertTokenizer) -> list[str]:
    """The languages that the vocabulary covers, of those that the page has examples for or readers of."""
    pieces = [token.removeprefix("##").removeprefix("▁").lower() for token in tokenizer.get_vocab()]
    tokens = [unicodedata.normalize("NFC", piece) for piece in pieces]
    counts = {tag: sum(bool(re.fullmatch(letters, token)) for token in tokens) for tag, letters in WRITTEN_IN.items()}
    return [tag for tag, count in counts.items() if count >= COVERED]
