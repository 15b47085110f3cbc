"""The frame that a tokenizer.json describes: the special tokens around one text and around two.

Its post_processor does this in the ``tokenizers`` library.  Here it becomes a ``Frame`` (windows.py), so that rows are
laid out, truncated and padded in one place for every tokenizer.  A BERT has two segments, 0 and 1, in that order; a
layout that it cannot read is refused.  Start with :func:`frame_of`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from minibert.errors import TokenizerError
from minibert.tokenizer.windows import Frame, Gaps, Special

Piece = tuple[str, int, tuple[Special, ...]]  # "A", "B" or "" for special tokens; the segment; the special tokens
NO_PAD = (0, "")
OFFSETS_ONLY = "ByteLevel"  # this one changes offsets, which the library does by itself


def frame_of(post_processor: Mapping[str, Any] | None, origin: str) -> Frame:
    """The frame of a tokenizer.json's ``post_processor``, without the padding token.

    None is a frame without special tokens, as in the library.  Raises TokenizerError for a layout that no BERT reads.
    """
    found = [frame for step in _steps(post_processor) if (frame := _frame(step, origin)) is not None]
    if len(found) > 1:
        _refuse(origin, "has several steps that add special tokens")
    return found[0] if found else Frame(((), ()), ((), (), ()), NO_PAD)


def _steps(post_processor: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """The steps of a post-processor that may be a sequence of others."""
    if post_processor is None:
        return []
    if post_processor.get("type") != "Sequence":
        return [post_processor]
    return [inner for step in post_processor.get("processors") or () for inner in _steps(step)]


def _frame(step: Mapping[str, Any], origin: str) -> Frame | None:
    kind = step.get("type")
    if kind == OFFSETS_ONLY:
        return None
    if kind == "BertProcessing":
        return Frame.bert(_token(step, "cls", origin), _token(step, "sep", origin), NO_PAD)
    if kind == "RobertaProcessing":  # <s> A </s></s> B </s>, all in segment 0
        begin, end = ((Special(*_token(step, name, origin), 0),) for name in ("cls", "sep"))
        return Frame((begin, end), (begin, end * 2, end), NO_PAD, second_segment=0)
    if kind != "TemplateProcessing":
        _refuse(origin, f"is {kind!r}, which minibert does not know")
    single, (segment,) = _gaps(_pieces(step, "single", origin), "A", origin)
    pair, segments = _gaps(_pieces(step, "pair", origin), "AB", origin)
    if segment or any(special.segment for gap in single for special in gap):
        _refuse(origin, "puts a single text into segment 1, which is the second text's in BERT")
    if segments[0] or not _ascending(pair, segments):
        _refuse(origin, "gives a pair other segments than 0 for the first text and 0 or 1 from some token on")
    return Frame(single, pair, NO_PAD, segments[1])


def _ascending(gaps: Gaps, segments: Sequence[int]) -> bool:
    """Whether the segments along a row are 0, and from some token on 1; all 0 if the second text's is 0."""
    row = [special.segment for special in gaps[0]]
    for segment, gap in zip(segments, gaps[1:], strict=True):
        row += [segment, *(special.segment for special in gap)]
    return row == sorted(row) and set(row) <= ({0, 1} if segments[1] else {0})


def _gaps(pieces: list[Piece], texts: str, origin: str) -> tuple[Gaps, list[int]]:
    """The special tokens before, between and after the ``texts``, and the segment of each text."""
    if "".join(name for name, _, _ in pieces) != texts:
        _refuse(origin, f"does not lay out the text{'s A and B' if len(texts) > 1 else ' A'} once and in order")
    gaps: list[tuple[Special, ...]] = [()]
    segments = []
    for name, segment, specials in pieces:
        gaps[-1] += specials
        if name:
            segments.append(segment)
            gaps.append(())
    return tuple(gaps), segments


def _pieces(step: Mapping[str, Any], name: str, origin: str) -> list[Piece]:
    """The pieces of a template: ``{"SpecialToken": {"id": "<s>", "type_id": 0}}`` or ``{"Sequence": {…}}``."""
    try:
        known = step.get("special_tokens") or {}
        pieces: list[Piece] = []
        for piece in step[name]:
            ((kind, part),) = piece.items()
            segment = int(part["type_id"])
            if kind == "Sequence":
                pieces.append((str(part["id"]), segment, ()))
                continue
            token = known[part["id"]]
            pairs = zip(token["ids"], token["tokens"], strict=True)
            pieces.append(("", segment, tuple(Special(int(i), str(text), segment) for i, text in pairs)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TokenizerError(f"{origin}: the template {name!r} of its post_processor is broken ({error!r}).") from error
    return pieces


def _token(step: Mapping[str, Any], name: str, origin: str) -> tuple[int, str]:
    """The id and the text of ``"cls": ["<s>", 0]``."""
    try:
        token, token_id = step[name]
        return int(token_id), str(token)
    except (KeyError, TypeError, ValueError) as error:
        raise TokenizerError(f"{origin}: {name} of its post_processor is broken ({error!r}).") from error


def _refuse(origin: str, reason: str) -> NoReturn:
    raise TokenizerError(
        f"{origin}: its post_processor {reason}. minibert lays out rows as special tokens around one text or two, in "
        "segments 0 and 1. Tokenize with the library that made it, and give the model its ids."
    )
