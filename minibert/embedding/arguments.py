"""Checks of an Embedder's arguments: texts, numbers, and the arguments of sentence-transformers' encode.

Each value is used or refused with a sentence; none that would change the vectors is ignored.  Start with
:func:`read_texts`.
"""

from collections.abc import Iterable, Mapping
from operator import index
from typing import Any

from torch import Tensor

from minibert.data.memory import is_table
from minibert.errors import InputError

LONGEST_SHOWN = 60  # characters of a wrong value in a message

# Arguments of sentence-transformers' encode that an Embedder does not have: values that change nothing, and why others
# are refused.
NOT_HERE: dict[str, tuple[tuple[Any, ...], str]] = {
    "output_value": (
        ("sentence_embedding",),
        "encode gives one vector per text; the vectors of tokens are model(**inputs).last_hidden_state, those of words "
        "Embedder.words()",
    ),
    "pool": ((None,), "encode runs in one process; embed_corpus(…, worker=(0, 2)) shares a file among processes"),
    "chunk_size": ((None,), "encode runs in one process and keeps its memory flat by itself"),
    "task": ((None, "query", "document"), "there is no Router; the tasks that encode knows are 'query' and 'document'"),
    "processing_kwargs": ((None, {}), "give max_length to Embedder.from_pretrained"),
}


def read_texts(texts: Any, argument: str = "texts") -> tuple[list[str], bool]:
    """``texts`` as a list, and whether it was a single text; InputError for anything but texts."""
    if isinstance(texts, str):
        return [texts], True
    if isinstance(texts, bytes | bytearray | Mapping | set | frozenset | Tensor) or not isinstance(texts, Iterable):
        raise InputError(f"{argument} is {described(texts)}; expected a text (str) or a list of texts.")
    if is_table(texts):
        raise InputError(
            f"{argument} is a {type(texts).__name__} with columns or dicts; expected a list of texts. Give the column, "
            "such as data['text'], or the table to embed_corpus."
        )
    listed = list(texts)
    for number, text in enumerate(listed):
        if not isinstance(text, str):
            hint = "; a pair is no text: embed its texts one by one" if isinstance(text, list | tuple) else ""
            raise InputError(f"{argument}[{number}] is {described(text)}; expected a text (str){hint}.")
    return listed, False


def described(value: Any) -> str:
    """``value`` and its type, cut to a readable length."""
    if value is None:
        return "None"
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    try:
        shown = repr(value)
    except Exception:  # somebody else's __repr__
        shown = "something"
    shown = shown if len(shown) <= LONGEST_SHOWN else f"{shown[: LONGEST_SHOWN - 1]}…"
    return f"{shown} ({type(value).__name__})"


def check_whole(argument: str, value: Any, least: int) -> int:
    """``value`` as an int; InputError unless it is a whole number, not a bool, of at least ``least`` and below 2^63."""
    try:
        number = -1 if isinstance(value, bool) else index(value)  # NumPy's integers, too
    except TypeError:
        number = -1
    if not least <= number < 1 << 63:
        raise InputError(f"{argument} is {described(value)}; expected a whole number of at least {least}.")
    return number


def check_flag(argument: str, value: Any) -> bool:
    """``value``; InputError unless it is True or False."""
    if not isinstance(value, bool):
        raise InputError(f"{argument} is {described(value)}; expected True or False.")
    return value


def check_text(argument: str, value: Any) -> str:
    """``value``; InputError unless it is a text."""
    if not isinstance(value, str):
        raise InputError(f"{argument} is {described(value)}; expected a text (str).")
    return value


def check_choice(argument: str, value: Any, choices: Iterable[str]) -> str:
    """``value``; InputError unless it is one of ``choices``."""
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{argument} is {described(value)}; expected one of {', '.join(choices)}.")
    return value


def check_long(long: Any, stride: Any) -> None:
    """Raise InputError unless ``long`` and ``stride`` are what ``Embedder.encode`` takes."""
    if long not in ("truncate", "windows"):
        raise InputError(f"long is {described(long)}; a long text is either 'truncate'd or read in 'windows'.")
    check_whole("stride", stride, 0)


def check_prompts(prompts: Any) -> dict[str, str]:
    """``prompts`` as a dict; InputError unless names and prompts are texts."""
    if not isinstance(prompts, Mapping):
        raise InputError(f"prompts is {described(prompts)}; expected a dict of texts by name.")
    return {
        check_text("The name of a prompt", name): check_text(f"prompts[{name!r}]", prompts[name]) for name in prompts
    }


def refuse_unsupported(arguments: Mapping[str, Any]) -> None:
    """Raise InputError for an argument of NOT_HERE that would change something, TypeError for an unknown one."""
    for name, value in arguments.items():
        if name not in NOT_HERE:
            raise TypeError(f"encode() got an unexpected keyword argument {name!r}")
        accepted, why = NOT_HERE[name]
        if not any(type(value) is type(other) and value == other for other in accepted):
            raise InputError(f"encode() got {name}={described(value)}: {why}.")
