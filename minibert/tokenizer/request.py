"""What a call asks for: the many spellings of ``padding=`` and ``truncation=``, and the many shapes of texts.

The ecosystem's arguments grew over years; here they become two small plain objects before any work starts.
Look first at ``Request.of``, the table of spellings, and at ``examples``, the table of shapes.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minibert.errors import TokenizerError
from minibert.tokenizer.truncation import STRATEGIES

PADDINGS = ("longest", "max_length", "do_not_pad")
NO_LIMIT = int(1e30)  # model_max_length of a tokenizer that was told of none
_LARGEST_LIMIT = int(1e20)  # a model_max_length above this is no limit

Words = Sequence[str]
Text = str | Words
Example = tuple[Text, Text | None]


@dataclass(frozen=True, slots=True)
class Request:
    """How rows are cut and filled: one of ``PADDINGS``, one of ``truncation.STRATEGIES``, and their length."""

    padding: str
    truncation: str
    max_length: int | None
    pad_to_multiple_of: int | None

    @classmethod
    def of(
        cls,
        padding: Any,
        truncation: Any,
        max_length: int | None,
        pad_to_multiple_of: int | None,
        model_max_length: int,
        verbose: bool = True,
    ) -> "Request":
        """Resolve True, False, None and names; TokenizerError for anything else or for lengths that cannot agree."""
        if max_length is not None and max_length < 0:
            raise TokenizerError(f"max_length={max_length} is negative; give the number of tokens a row may hold.")
        if truncation is None and max_length is not None and padding is False:
            truncation = True  # a bare max_length has always meant "cut there"
        pads = _named("padding", padding, PADDINGS, {True: "longest", False: "do_not_pad"})
        cuts = _named(
            "truncation",
            truncation,
            STRATEGIES,
            {True: "longest_first", False: "do_not_truncate", None: "do_not_truncate"},
        )
        if verbose and padding is True and max_length is not None and cuts == "do_not_truncate":
            warnings.warn(
                f"max_length={max_length} has no effect: padding=True pads to the longest row, nothing is truncated. "
                "Use padding='max_length' to pad to it, truncation=True to cut at it.",
                stacklevel=4,
            )
        if max_length is None and (pads == "max_length" or cuts != "do_not_truncate"):
            if model_max_length > _LARGEST_LIMIT:
                pads = "do_not_pad" if pads == "max_length" else pads
                cuts = "do_not_truncate"
            else:
                max_length = model_max_length
        multiple = pad_to_multiple_of
        if cuts != "do_not_truncate" and pads != "do_not_pad" and multiple and max_length and max_length % multiple:
            raise TokenizerError(
                f"max_length={max_length} is not a multiple of pad_to_multiple_of={multiple}, so a row that is cut and "
                f"padded cannot satisfy both; use max_length={max_length - max_length % multiple or multiple}."
            )
        return cls(pads, cuts, max_length, multiple)

    def padded_length(self, longest: int) -> int:
        """The length of padded rows when the longest row has ``longest`` tokens."""
        length = self.max_length if self.padding == "max_length" and self.max_length is not None else longest
        multiple = self.pad_to_multiple_of
        return length if not multiple or multiple < 0 else -(-length // multiple) * multiple


def _named(argument: str, value: Any, names: Sequence[str], shorthands: dict[Any, str]) -> str:
    if value is None or isinstance(value, bool):
        if value in shorthands:
            return shorthands[value]
    else:
        value = getattr(value, "value", value)  # an enumeration's member
        if value in names:
            return str(value)
    raise TokenizerError(f"{argument}={value!r} is not known; use True, False or one of {', '.join(map(repr, names))}.")


def check_side(argument: str, side: str) -> str:
    """``side`` if it is "left" or "right"."""
    if side not in ("left", "right"):
        raise TokenizerError(f"{argument}={side!r} is not known; use 'left' or 'right'.")
    return side


def examples(text: Any, text_pair: Any, is_split_into_words: bool) -> tuple[list[Example], bool]:
    """The examples of a call, each a text and its pair or None, and whether the call was a batch.

    Accepted: a text; a list of texts, pairs or both; two lists; and the same with lists of words for texts.
    An empty ``text_pair`` of a single text is no pair.
    """
    if is_split_into_words:
        is_batch = isinstance(text, list | tuple) and bool(text) and isinstance(text[0], list | tuple)
    else:
        is_batch = isinstance(text, list | tuple)
    if not is_batch:
        return [_example((text, text_pair) if text_pair else text, None, is_split_into_words)], False
    if not text:
        raise TokenizerError("The batch is empty: there is no text to tokenize.")
    if text_pair is None:
        return [_example(item, i, is_split_into_words) for i, item in enumerate(text)], True
    if not isinstance(text_pair, list | tuple):
        raise TokenizerError(f"text is a batch of {len(text)}, so text_pair must be a list, not one text.")
    if len(text_pair) != len(text):
        raise TokenizerError(f"text holds {len(text)} entries and text_pair {len(text_pair)}; they must pair up.")
    pairs = zip(text, text_pair, strict=True)
    return [_example(pair, i, is_split_into_words) for i, pair in enumerate(pairs)], True


def _example(item: Any, index: int | None, split: bool) -> Example:
    if _is_text(item, split):
        return item, None
    if isinstance(item, list | tuple) and len(item) == 2 and _is_text(item[0], split) and _is_text(item[1], split):
        return item[0], item[1]
    where = "The text" if index is None else f"Entry {index} of the batch"
    wanted = "a list of words (is_split_into_words=True)" if split else "text (str)"
    raise TokenizerError(f"{where} is {_described(item)}; expected {wanted}, or a pair of them.")


def _is_text(item: Any, split: bool) -> bool:
    if not split:
        return isinstance(item, str)
    return isinstance(item, list | tuple) and all(isinstance(word, str) for word in item)


def _described(item: Any) -> str:
    if isinstance(item, list | tuple):
        kinds = ", ".join(sorted({type(part).__name__ for part in item})) or "nothing"
        return f"a {type(item).__name__} of {len(item)} holding {kinds}"
    return f"{item!r:.40}, a {type(item).__name__}"
