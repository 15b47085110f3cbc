"""A tokenizer as plain data, from which another implementation gives the same ids.

The page of ``minibert explore --live`` tokenizes in JavaScript (explorer/static/engine/tokenizer.js).  It gets three
values that JSON can hold: :func:`settings_of`, :func:`vocabulary_of` and :func:`unicode_data`.  The last one replaces
the browser's own Unicode tables, which are of another version in every browser.  Tests hold the two implementations
equal.
"""

from collections.abc import Iterable
from functools import cache
from itertools import chain
from typing import Any

from minibert.errors import TokenizerError
from minibert.tokenizer import characters
from minibert.tokenizer import unicode_tables as tables
from minibert.tokenizer.request import NO_LIMIT
from minibert.tokenizer.tokenizer import BertTokenizer
from minibert.tokenizer.wordpiece import MAX_CHARACTERS_PER_WORD

CLASSES = {
    "removed": tables.REMOVED,
    "whitespace": tables.WHITESPACE,
    "chinese": tables.CHINESE,
    "nonspacing_mark": tables.NONSPACING_MARKS,
    "punctuation": tables.PUNCTUATION,
    "white_space": tables.WHITE_SPACE,
    "word": tables.WORD,
}
# No other code point is decomposed, has a combining class or a lower case: beyond are ideographs and private use.
CHANGING = tuple(code for code in range(0x20000) if not 0xD800 <= code < 0xE000) + tuple(range(0x2F800, 0x2FA20))
HANGUL = range(0xAC00, 0xD7A4)  # decomposed by arithmetic (Unicode standard, section 3.12), not by a table

Mapping = tuple[int, tuple[int, ...]]  # a code point and those that it becomes


def settings_of(tokenizer: BertTokenizer) -> dict[str, Any]:
    """All that the tokens of a text depend on, besides the vocabulary.

    ``added`` holds the tokens that stay whole, in the order in which they were added.  ``cls``, ``sep`` and ``mask``
    are ``{"id", "token"}``; ``mask`` is None if there is no such token.  ``max_length`` is None if there is no limit.

    Raises TokenizerError for a tokenizer whose pieces the ``tokenizers`` library makes.
    """
    if tokenizer.pipeline is not None:
        raise TokenizerError(
            "A page that computes has BERT's own tokenizer in it, and this checkpoint's is run by the tokenizers "
            "library. Write a page of finished values (minibert explore, without --live), or run the model beside the "
            "page: --serve."
        )
    vocabulary, basic, frame = tokenizer._vocabulary, tokenizer._basic, tokenizer.frame
    limit, mask = tokenizer.model_max_length, tokenizer.mask_token
    return {
        "do_lower_case": basic.do_lower_case,
        "strip_accents": basic.strips_accents,
        "tokenize_chinese_chars": basic.tokenize_chinese_chars,
        "split_special_tokens": bool(tokenizer.split_special_tokens),
        "truncation_side": tokenizer.truncation_side,
        "max_length": None if limit >= NO_LIMIT else int(limit),
        "max_characters_per_word": MAX_CHARACTERS_PER_WORD,
        "unk_id": vocabulary.unk_id,
        "cls": {"id": frame.cls[0], "token": frame.cls[1]},
        "sep": {"id": frame.sep[0], "token": frame.sep[1]},
        "mask": None if mask is None else {"id": tokenizer.mask_token_id, "token": mask},
        "added": [
            {
                **token.to_json(),
                "id": vocabulary.token_to_id(token.content),
                "special": token.content in vocabulary.special,
            }
            for token in vocabulary.added.values()
        ],
    }


def vocabulary_of(tokenizer: BertTokenizer) -> list[str | None]:
    """The vocabulary that WordPiece searches: at each id its token, None at ids without one."""
    base = tokenizer._vocabulary.base
    tokens: list[str | None] = [None] * (max(base.values()) + 1)
    for token, token_id in base.items():
        tokens[token_id] = token
    return tokens


@cache
def unicode_data() -> dict[str, Any]:
    """Character classes, decompositions, combining classes and lower case, in the notation of unicode_tables.py.

    A range is "300-36f"; in a mapping, "41-5a>61" advances in step with its source, "100-12e/2>101" takes every
    second code point, and "c0>41+300" becomes two.
    """
    lower, decomposed = [], []
    combining: dict[int, list[int]] = {}
    for code in CHANGING:
        character = chr(code)
        if (small := characters.lowercase(character)) != character:
            lower.append((code, tuple(map(ord, small))))
        if code not in HANGUL and (parts := characters.decompose(character)) != character:
            decomposed.append((code, tuple(map(ord, parts))))
        if number := characters.combining_class(character):
            combining.setdefault(number, []).append(code)
    return {
        "classes": {name: " ".join(ranges.split()) for name, ranges in CLASSES.items()},
        "combining": {str(number): ranges_text(combining[number]) for number in sorted(combining)},
        "decompositions": mapping_text(decomposed),
        "lowercase": mapping_text(lower),
    }


def ranges_text(codes: Iterable[int]) -> str:
    """Ascending code points as text: ``[0x300, 0x301, 0x483]`` → ``"300-301 483"``."""
    runs: list[list[int]] = []
    for code in codes:
        if runs and runs[-1][1] == code - 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return " ".join(f"{first:x}" if first == last else f"{first:x}-{last:x}" for first, last in runs)


def mapping_text(mapping: Iterable[Mapping]) -> str:
    """A mapping of ascending code points as text; see :func:`unicode_data` for the notation."""
    runs: list[list[Mapping]] = []
    for entry in mapping:
        if runs and _continues(runs[-1], entry):
            runs[-1].append(entry)
        else:
            runs.append([entry])
    return " ".join(chain.from_iterable(map(_run_text, runs)))


def _continues(run: list[Mapping], entry: Mapping) -> bool:
    """Whether ``entry`` follows the last of ``run`` by the run's own step, 1 or 2, in source and target."""
    (last, became), (code, becomes) = run[-1], entry
    step = code - last
    if len(becomes) > 1 or len(became) > 1 or becomes[0] - became[0] != step:
        return False
    return step == run[1][0] - run[0][0] if len(run) > 1 else step in (1, 2)


def _run_text(run: list[Mapping]) -> list[str]:
    (first, target), last = run[0], run[-1][0]
    becomes = "+".join(f"{code:x}" for code in target)
    if len(run) == 1:
        return [f"{first:x}>{becomes}"]
    step = run[1][0] - first
    return [f"{first:x}-{last:x}{'' if step == 1 else f'/{step}'}>{becomes}"]
