"""The two sides of a comparison of tokenizers: somebody's, from whatever names it, and ours with some mistakes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from minibert.errors import InputError, MissingExtraError
from minibert.verify.tokenizer_report import Result
from minibert.verify.tokenizer_rules import Rules
from minibert.verify.user_code import load_callable, names_code, running

Tokenize = Callable[[str], Any]


class Theirs:
    """Their side: a function from text to ids or pieces, whose results are kept."""

    def __init__(self, function: Tokenize, name: str, file: str | None, is_stored: bool, vocab: Any = None) -> None:
        self.name = name
        self.is_stored = is_stored  # a file or folder: its [CLS] and [SEP] are compared
        self.vocab: dict[str, int] | None = vocab
        self._function, self._file = function, file
        self._results: dict[str, tuple[Result, Result | None]] = {}
        self.kind = ""

    @classmethod
    def of(cls, theirs: Any) -> "Theirs":
        """From what the user named."""
        if names_code(theirs):
            return cls(load_callable(theirs), theirs, theirs.rpartition(":")[0], False)
        if isinstance(theirs, str | Path):
            path = Path(theirs).expanduser()
            if path.is_dir():
                tokenizer = _with_transformers(path)
                return cls(_encoder_of(tokenizer), f"transformers with {theirs}", None, True, _vocab_of(tokenizer))
            if path.is_file():
                tokenizer = _with_tokenizers(path)
                return cls(_encoder_of(tokenizer), f"tokenizers with {theirs}", None, True, _vocab_of(tokenizer))
            raise InputError(
                f"{theirs} is neither a tokenizer.json nor a folder on this disk, and names no function as in "
                "path/to/file.py:tokenize."
            )
        function = _encoder_of(theirs)
        if not callable(function):
            raise InputError(
                f"A tokenizer to compare with must be a callable, a file or a folder, got {type(theirs).__name__}."
            )
        name = getattr(theirs, "__name__", type(theirs).__name__)
        return cls(function, name, None, function is not theirs, _vocab_of(theirs))

    def __call__(self, text: str) -> Result:
        return self._result(text)[0]

    def pieces(self, text: str) -> Result | None:
        """Their pieces where an encoding has them."""
        return self._result(text)[1]

    def _result(self, text: str) -> tuple[Result, Result | None]:
        if text not in self._results:
            with running(self._file, f"{self.name} fails on the text {text[:80]!r}"):
                value = self._function(text)
            found, pieces = _as_result(value, self.name, text)
            if found and not self.kind:
                self.kind = "pieces" if isinstance(found[0], str) else "ids"
            if found and isinstance(found[0], str) != (self.kind == "pieces"):
                raise InputError(f"{self.name} gives {self.kind} for some texts, and something else for {text[:80]!r}.")
            self._results[text] = found, pieces
        return self._results[text]


def _encoder_of(tokenizer: Any) -> Any:
    """The function from text to an encoding, for the libraries' tokenizers; anything else as it is."""
    module = type(tokenizer).__module__.partition(".")[0]
    if module == "tokenizers" and hasattr(tokenizer, "encode"):
        return tokenizer.encode
    if module == "transformers" and hasattr(tokenizer, "convert_ids_to_tokens"):
        return lambda text: tokenizer(text, verbose=False)
    return tokenizer


def _vocab_of(tokenizer: Any) -> dict[str, int] | None:
    vocab = tokenizer.get_vocab() if hasattr(tokenizer, "get_vocab") else None
    return vocab if isinstance(vocab, dict) else None


def _with_transformers(path: Path) -> Any:
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise MissingExtraError.of("transformers is not installed", "test") from None
    with running(None, f"transformers cannot load the tokenizer of {path}"):
        return AutoTokenizer.from_pretrained(str(path))


def _with_tokenizers(path: Path) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise MissingExtraError.of("The tokenizers library is not installed", "train") from None
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises Exception itself
        raise InputError(f"{path} cannot be read by the tokenizers library: {str(error)[:200]}.") from error


def _as_result(value: Any, name: str, text: str) -> tuple[Result, Result | None]:
    """Ids or pieces of one row without padding, and the pieces of an encoding."""
    pieces: Result | None = None
    mask: Any = None
    if hasattr(value, "ids") and hasattr(value, "tokens"):
        value, mask, tokens = value.ids, getattr(value, "attention_mask", None), value.tokens
        pieces = tuple(tokens() if callable(tokens) else tokens)
    elif isinstance(value, Mapping) or hasattr(value, "input_ids"):
        row = value["input_ids"] if isinstance(value, Mapping) or hasattr(value, "__getitem__") else value.input_ids
        mask = value.get("attention_mask") if hasattr(value, "get") else None
        value = row
    row, mask = _as_list(value), _as_list(mask)
    if row is None or (
        not all(isinstance(x, str) for x in row)
        and not all(isinstance(x, int) and not isinstance(x, bool) for x in row)
    ):
        raise InputError(
            f"{name} returns {value!r:.80} for the text {text[:40]!r}; expected pieces or ids: a list of text or of "
            "whole numbers, or an encoding with input_ids."
        )
    if mask is not None and len(mask) == len(row) and not all(mask):
        kept = [i for i, seen in enumerate(mask) if seen]
        row = [row[i] for i in kept]
        pieces = None if pieces is None or len(pieces) != len(mask) else tuple(pieces[i] for i in kept)
    return tuple(row), pieces


def _as_list(value: Any) -> list[Any] | None:
    """A list, tuple, array or tensor of one row as a list; None for anything else."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        return None
    if len(value) == 1 and isinstance(value[0], list | tuple):
        value = value[0]
    return list(value)


def agree(ours: Result, theirs: Result) -> bool:
    """Equal; an id of ours that is not known (None) agrees with any."""
    if ours == theirs:
        return True
    return (
        None in ours
        and len(ours) == len(theirs)
        and all(a is None or a == b for a, b in zip(ours, theirs, strict=True))
    )


class State:
    """Our tokenizer with the mistakes named so far, and its results."""

    def __init__(self, rules: Rules, kind: str) -> None:
        self.rules = rules
        self._kind = kind
        self._results: dict[str, Result] = {}

    def __call__(self, text: str) -> Result:
        if text not in self._results:
            pieces = self.rules.pieces(text)
            self._results[text] = tuple(self.rules.ids(pieces) if self._kind == "ids" else pieces)
        return self._results[text]
