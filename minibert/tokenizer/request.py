"""The arguments of a call, resolved: the spellings of ``padding=`` and ``truncation=``, and the forms of texts.

These arguments grew over years.  Here they become plain values before any work starts.  Start with ``Request.of``, the
table of spellings, and ``as_examples``, the table of forms.
"""

import operator
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minibert.errors import TokenizerError
from minibert.schema import Kind, check_settings, is_real, optional, shown
from minibert.tokenizer.windows import STRATEGIES

PADDINGS = ("longest", "max_length", "do_not_pad")
NO_LIMIT = int(1e30)  # model_max_length of a tokenizer without a limit
_LARGEST_LIMIT = int(1e20)  # a larger model_max_length means no limit

LONGEST_PADDED = 1 << 24  # tokens of one padded row, a thousand times what any model reads


def is_switch(value: Any) -> bool:
    """Whether ``value`` is True, False, 0 or 1, of Python or NumPy; never for text: bool("false") is True."""
    if value is True or value is False:
        return True
    return type(value).__name__ in ("bool", "bool_") or (is_whole(value) and operator.index(value) in (0, 1))


def is_whole(value: Any) -> bool:
    """Whether ``value`` is an integer of Python, NumPy or torch, and not a bool."""
    if type(value) is int:
        return True
    if isinstance(value, bool) or getattr(value, "ndim", 0) != 0:  # operator.index also accepts a tensor of one number
        return False
    try:
        operator.index(value)
    except (TypeError, ValueError, RuntimeError):
        return False
    return True


SWITCH = Kind(is_switch, "True or False")
WHOLE = Kind(is_whole, "a whole number")
SOME = Kind(lambda x: is_whole(x) and x >= 0, "a whole number of at least 0")
ANY = Kind(lambda x: True, "anything")  # an error message of its own says what is wrong
NUMBERS = {"stride": SOME, "max_length": optional(WHOLE), "pad_to_multiple_of": optional(WHOLE)}
SWITCHES = (
    *("is_split_into_words", "verbose", "split_special_tokens", "return_token_type_ids", "return_attention_mask"),
    *("return_overflowing_tokens", "return_special_tokens_mask", "return_offsets_mapping", "return_length"),
)
# The arguments of a call, texts apart.
CALL: dict[str, Kind] = {
    "add_special_tokens": SWITCH,
    **dict.fromkeys(("padding", "truncation", "padding_side", "return_tensors"), ANY),
    **dict.fromkeys(SWITCHES, optional(SWITCH)),
    **NUMBERS,
}


def check_call(call: Mapping[str, Any]) -> None:
    """TokenizerError for an argument of a wrong type.  Every call comes here, so that the usual values are quick."""
    unusual = [value for name in SWITCHES if (value := call.get(name)) is not None and value is not False]
    is_usual = all(value is True for value in unusual) and isinstance(call.get("add_special_tokens", True), bool)
    check_settings(call, NUMBERS if is_usual else CALL, "The tokenizer", TokenizerError)


TextOrWords = str | Sequence[str]
Example = tuple[TextOrWords, TextOrWords | None]  # a text and its pair


@dataclass(frozen=True, slots=True)
class Request:
    """How rows are truncated and padded: one of ``PADDINGS``, one of ``STRATEGIES``, and their length."""

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
        """Resolve True, False, None and names; TokenizerError for other values, or contradictory lengths."""
        if not is_real(model_max_length):
            raise TokenizerError(
                f"tokenizer.model_max_length is {model_max_length!r:.80}; expected a number of tokens."
            )
        if max_length is not None and max_length < 0:
            raise TokenizerError(f"max_length={max_length} is negative; give the number of tokens a row may hold.")
        if truncation is None and max_length is not None and padding is False:
            truncation = True  # max_length alone has always meant truncation
        padding_strategy = _named("padding", padding, PADDINGS, {True: "longest", False: "do_not_pad"})
        truncation_strategy = _named(
            "truncation",
            truncation,
            STRATEGIES,
            {True: "longest_first", False: "do_not_truncate", None: "do_not_truncate"},
        )
        if verbose and padding is True and max_length is not None and truncation_strategy == "do_not_truncate":
            warnings.warn(
                f"max_length={max_length} has no effect: padding=True pads to the longest row, nothing is truncated. "
                "Use padding='max_length' to pad to it, truncation=True to cut at it.",
                stacklevel=4,
            )
        if max_length is None and (padding_strategy == "max_length" or truncation_strategy != "do_not_truncate"):
            if model_max_length > _LARGEST_LIMIT:
                padding_strategy = "do_not_pad" if padding_strategy == "max_length" else padding_strategy
                truncation_strategy = "do_not_truncate"
            else:
                max_length = int(model_max_length)
        multiple = pad_to_multiple_of
        is_cut_and_padded = truncation_strategy != "do_not_truncate" and padding_strategy != "do_not_pad"
        if is_cut_and_padded and multiple and max_length and max_length % multiple:
            raise TokenizerError(
                f"max_length={max_length} is not a multiple of pad_to_multiple_of={multiple}, so a row that is cut and "
                f"padded cannot satisfy both; use max_length={max_length - max_length % multiple or multiple}."
            )
        return cls(padding_strategy, truncation_strategy, max_length, multiple)

    def padded_length(self, longest: int) -> int:
        """The length of padded rows when the longest row has ``longest`` tokens."""
        length = self.max_length if self.padding == "max_length" and self.max_length is not None else longest
        multiple = self.pad_to_multiple_of
        length = length if not multiple or multiple < 0 else -(-length // multiple) * multiple
        if length > LONGEST_PADDED:
            raise TokenizerError(
                f"Rows would become {length} tokens long (max_length={self.max_length}, pad_to_multiple_of={multiple}) "
                "by padding, and no model reads so many. Give the length that yours reads, often 512."
            )
        return length


def _named(argument: str, value: Any, names: Sequence[str], shorthands: dict[Any, str]) -> str:
    if value is None or isinstance(value, bool):
        if value in shorthands:
            return shorthands[value]
    else:
        value = getattr(value, "value", value)  # an enumeration's member
        if isinstance(value, str) and value in names:
            return str(value)
    raise TokenizerError(f"{argument}={value!r} is not known; use True, False or one of {', '.join(map(repr, names))}.")


def check_side(argument: str, side: Any) -> str:
    """``side`` if it is "left" or "right"."""
    if not isinstance(side, str) or side not in ("left", "right"):
        raise TokenizerError(f"{argument}={side!r:.80} is not known; use 'left' or 'right'.")
    return side


def check_switch(argument: str, value: Any) -> bool:
    """``value`` as True or False, None being False; TokenizerError for anything else, text above all."""
    if value is not None and not is_switch(value):
        raise TokenizerError(f"{argument} is {shown(value)}; expected {SWITCH.expected}.")
    return bool(value)


def as_id(value: Any) -> int:
    """A token id as a Python integer; TokenizerError for anything else."""
    if not is_whole(value) or (token_id := operator.index(value)) < 0:
        raise TokenizerError(
            f"{value!r:.80} is not a token id: ids are whole numbers from 0 up (a label of -100 is not a token)."
        )
    return token_id


def as_ids(values: Any) -> list[int]:
    """A list, tuple or tensor of ids as a list."""
    row = as_lists(values)
    if not isinstance(row, list):
        raise TokenizerError(f"{values!r:.80} is not a row of token ids; expected a list of whole numbers.")
    return [as_id(value) for value in row]


def as_lists(values: Any) -> Any:
    """Tensors, arrays, tuples, ranges, and lists of them, as plain lists; for a mapping, its ``input_ids``."""
    if isinstance(values, Mapping):
        if "input_ids" not in values:
            raise TokenizerError(f"There are no input_ids among {', '.join(map(str, values)) or 'no fields'}.")
        values = values["input_ids"]
    if hasattr(values, "tolist"):
        return values.tolist()
    if isinstance(values, list | tuple | range | set | frozenset | Iterator):
        return [as_lists(value) if hasattr(value, "__len__") or hasattr(value, "tolist") else value for value in values]
    return values


def as_texts(method: str, values: Any) -> list[str]:
    """A list of texts; TokenizerError for anything else, also for a single text, which is a sequence of characters."""
    values = values.tolist() if hasattr(values, "tolist") else values
    is_list = isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping)
    texts: list[Any] = list(values) if is_list else [None]
    if not all(isinstance(text, str) for text in texts):
        raise TokenizerError(f"{method} takes a list of tokens, each a text; it got {_described(values)}.")
    return texts


def as_examples(text: Any, text_pair: Any, is_split_into_words: bool) -> tuple[list[Example], bool]:
    """The examples of a call, and whether it was a batch.

    Accepted: a text; a list of texts, of pairs or of both; two lists; and each of these with lists of words for texts.
    An empty ``text_pair`` of a single text counts as none.
    """
    if is_split_into_words:
        is_batch = isinstance(text, list | tuple) and bool(text) and isinstance(text[0], list | tuple)
    else:
        is_batch = isinstance(text, list | tuple)
    if not is_batch:
        is_pair = text_pair is not None and not (isinstance(text_pair, str | list | tuple) and not text_pair)
        return [_example((text, text_pair) if is_pair else text, None, is_split_into_words)], False
    if not text:
        raise TokenizerError("The batch is empty: there is no text to tokenize.")
    if text_pair is None:
        split = is_split_into_words
        # Fast for plain texts: most entries are, and there may be millions.
        return [(x, None) if type(x) is str and not split else _example(x, i, split) for i, x in enumerate(text)], True
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
    expected = "a list of words (is_split_into_words=True)" if split else "text (str)"
    raise TokenizerError(f"{where} is {_described(item)}; expected {expected}, or a pair of them.")


def _is_text(item: Any, split: bool) -> bool:
    if not split:
        return isinstance(item, str)
    return isinstance(item, list | tuple) and all(isinstance(word, str) for word in item)


def _described(item: Any) -> str:
    if isinstance(item, list | tuple):
        types = ", ".join(sorted({type(part).__name__ for part in item})) or "nothing"
        return f"a {type(item).__name__} of {len(item)} holding {types}"
    return f"{item!r:.40}, a {type(item).__name__}"
