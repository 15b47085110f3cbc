"""Entities as spans of a text: ``{"text": "Kim in Seoul", "entities": [{"start": 0, "end": 3, "label": "PER"}]}``.

spaCy, Prodigy (``spans``), doccano (``label``; also ``[[0, 3, "PER"]]`` and ``start_offset``) and Label Studio write
so.  ``start`` and ``end`` count characters (code points) of the text; ``end`` is the first behind the entity.  Such a
text is learned by character, as KLUE's are: an entity may end inside a word, as 서울 does in 서울에서.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from reprlib import repr as shortened
from typing import Any, NamedTuple

from minibert.data.cells import Cells, value_in
from minibert.data.columns import TEXTS, usual_name
from minibert.data.labels import listed
from minibert.data.rows import Unreadable

SPANS = ("entities", "spans", "label", "labels")
STARTS = ("start", "start_offset", "start_char", "begin")
ENDS = ("end", "end_offset", "end_char")
KINDS = ("label", "labels", "type", "tag", "entity_group", "entity", "category")
CONTENTS = ("text", "word")  # what stands there, where a span says it


class Span(NamedTuple):
    """An entity of a text."""

    start: int
    end: int
    kind: str


def has_spans(names: Sequence[str]) -> bool:
    """Whether columns of these names hold texts and spans."""
    return usual_name(names, TEXTS) is not None and usual_name(names, SPANS) is not None


def spans_in(
    cells: Cells, name: str, text: str, names: Sequence[str] | None, known: Collection[str] | None
) -> tuple[list[Span], int]:
    """The entities in a column, in the order of the text, and how many had spaces around them, which are left out.

    ``names``: of kinds that are numbers; ``known``: kinds that there may be.  Raises Unreadable for spans that are
    none, outside of the text, empty, or over each other.
    """
    found = cells.get(name)
    if isinstance(found, Mapping):  # {"start": [0], "end": [3], "label": ["PER"]}
        found = rows_of(found, name)
    if not isinstance(found, list | tuple):
        value_in(cells, name)
        raise Unreadable(f"has {shortened(found)} in {name!r}, expected a list of spans: start, end, label")
    given = [span_of(one, name, text, names) for one in found]
    if known is not None:
        for span in given:
            if span.kind not in known:
                kinds = listed(sorted(known))
                raise Unreadable(f"has an entity {shortened(span.kind)} in {name!r}; the training data has {kinds}")
    spans = sorted(dict.fromkeys(trimmed(span, text) for span in given))
    for before, after in pairwise(spans):
        if after.start < before.end:
            one, other = (f"{shortened(text[x.start : x.end])} ({x.kind}, {x.start}–{x.end})" for x in (before, after))
            raise Unreadable(f"has entities in {name!r} that overlap: {one} and {other}; a character has one label")
    return spans, sum(trimmed(span, text) != span for span in given)


def rows_of(found: Mapping[str, Any], name: str) -> list[Any]:
    """The spans of an object of lists."""
    lists = [value for value in found.values() if isinstance(value, list)]
    if len(lists) != len(found) or len({len(one) for one in lists}) != 1:
        raise Unreadable(f"has {shortened(dict(found))} in {name!r}, expected as many starts as ends and labels")
    return [dict(zip(found, one, strict=True)) for one in zip(*lists, strict=True)]


def span_of(one: Any, name: str, text: str, names: Sequence[str] | None) -> Span:
    """One span, as it stands in the data; raises Unreadable."""
    if isinstance(one, Mapping):
        parts = [next((one[key] for key in keys if key in one), None) for keys in (STARTS, ENDS, KINDS)]
    else:
        parts = list(one) if isinstance(one, list | tuple) and len(one) == 3 else [None]
    if any(part is None for part in parts):
        raise Unreadable(f"has {shortened(one)} in {name!r}, expected a span: start, end, label")
    start, end = (place_in(part, one, name) for part in parts[:2])
    if not 0 <= start <= end <= len(text):
        raise Unreadable(f"has an entity from {start} to {end} in {name!r}; its text has {len(text)} characters")
    content = text[start:end]
    if not content.strip():
        raise Unreadable(f"has an entity from {start} to {end} in {name!r} that is empty ({shortened(content)})")
    said = [one[key] for key in CONTENTS if isinstance(one.get(key), str)] if isinstance(one, Mapping) else []
    if said and said[0].strip() != content.strip():
        place = text.find(said[0])
        hint = f"it stands at {place}" if place >= 0 else "it stands nowhere in the text"
        there = shortened(content)
        raise Unreadable(
            f"has the entity {shortened(said[0])} from {start} to {end}, where its text has {there}; {hint}"
        )
    return Span(start, end, kind_in(parts[2], name, names))


def place_in(part: Any, one: Any, name: str) -> int:
    """A place in a text; raises Unreadable."""
    if isinstance(part, float) and math.isfinite(part) and part.is_integer():
        part = int(part)  # as tables write it
    if type(part) is not int:
        raise Unreadable(f"has {shortened(one)} in {name!r}; start and end are whole numbers of characters")
    return part


def kind_in(part: Any, name: str, names: Sequence[str] | None) -> str:
    """The kind of an entity; raises Unreadable."""
    if isinstance(part, list | tuple) and len(part) == 1:  # Label Studio
        part = part[0]
    if type(part) is int:
        if names is None:
            raise Unreadable(f"has labels that are numbers in {name!r}; say what they mean: --labels PER,LOC,…")
        if not 0 <= part < len(names):
            raise Unreadable(f"has the label {part} in {name!r}; there are names for 0 to {len(names) - 1}")
        part = names[part]
    if not isinstance(part, str) or not part.strip():
        raise Unreadable(f"has the label {shortened(part)} in {name!r}, expected the kind of an entity, such as PER")
    kind = str(value_in({name: part}, name)).strip()
    if kind[:2] in ("B-", "I-") or "\n" in kind:
        raise Unreadable(f"has the label {shortened(kind)} in {name!r}; a span has the kind alone, such as PER")
    return kind


def trimmed(span: Span, text: str) -> Span:
    """The span without white space at its ends."""
    content = text[span.start : span.end]
    start = span.start + len(content) - len(content.lstrip())
    return Span(start, start + len(content.strip()), span.kind)


def labels_of_characters(text: str, spans: Sequence[Span]) -> list[str]:
    """A BIO label for each character."""
    labels = ["O"] * len(text)
    for span in spans:
        labels[span.start : span.end] = [f"B-{span.kind}", *[f"I-{span.kind}"] * (span.end - span.start - 1)]
    return labels
