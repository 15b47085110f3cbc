"""Entities as spans of a text: ``{"text": "Kim in Seoul", "entities": [{"start": 0, "end": 3, "label": "PER"}]}``.

This is the format of spaCy, Prodigy (``spans``), doccano (``label``; also ``[[0, 3, "PER"]]`` and ``start_offset``) and
Label Studio.  ``start`` and ``end`` count characters (code points) of the text; ``end`` is exclusive.  Such a text is
labelled by character, as KLUE's are: an entity may end inside a word, as 서울 does in 서울에서.  Start with
:func:`spans_in`.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from reprlib import repr as shortened
from typing import Any, NamedTuple

from minibert.data.cells import Cells, value_in, where_it_stands
from minibert.data.columns import TEXTS, usual_name
from minibert.data.labels import listed, numbered_label
from minibert.data.rows import Unreadable, checked_text

SPAN_LISTS = ("entities", "spans", "label", "labels")
STARTS = ("start", "start_offset", "start_char", "begin")
ENDS = ("end", "end_offset", "end_char")
KINDS = ("label", "labels", "type", "tag", "entity_group", "entity", "category")
CONTENTS = ("text", "word")  # the text of the entity, where a span repeats it


class Span(NamedTuple):
    """An entity of a text."""

    start: int
    end: int
    kind: str


def has_spans(names: Sequence[str]) -> bool:
    """Whether columns of these names hold texts and spans."""
    return usual_name(names, TEXTS) is not None and usual_name(names, SPAN_LISTS) is not None


def spans_in(
    cells: Cells, name: str, text: str, names: Sequence[str] | None, known: Collection[str] | None
) -> tuple[list[Span], int]:
    """The entities in a column, in the order of the text, and how many had white space at an end, which is left out.

    ``names``: of kinds that are numbers; ``known``: kinds that there may be.  Raises Unreadable for what is no span,
    and for spans that are outside of the text, empty, or overlap.
    """
    value = cells.get(name)
    if isinstance(value, Mapping):  # {"start": [0], "end": [3], "label": ["PER"]}
        value = rows_of(value, name)
    if not isinstance(value, list | tuple):
        value_in(cells, name)
        raise Unreadable(f"has {shortened(value)} in {name!r}, expected a list of spans: start, end, label")
    untrimmed = [span_of(one, name, text, names) for one in value]
    for span in untrimmed:
        if known is not None and span.kind not in known:
            kinds = listed(sorted(known))
            raise Unreadable(f"has an entity {shortened(span.kind)} in {name!r}; the training data has {kinds}")
    spans = sorted(dict.fromkeys(trimmed(span, text) for span in untrimmed))
    for before, after in pairwise(spans):
        if after.start < before.end:
            one, other = (f"{shortened(text[x.start : x.end])} ({x.kind}, {x.start}–{x.end})" for x in (before, after))
            raise Unreadable(f"has entities in {name!r} that overlap: {one} and {other}; a character has one label")
    return spans, sum(trimmed(span, text) != span for span in untrimmed)


def rows_of(columns: Mapping[str, Any], name: str) -> list[Any]:
    """The spans of an object of lists."""
    lists = [value for value in columns.values() if isinstance(value, list)]
    if len(lists) != len(columns) or len({len(one) for one in lists}) != 1:
        raise Unreadable(f"has {shortened(dict(columns))} in {name!r}, expected as many starts as ends and labels")
    return [dict(zip(columns, one, strict=True)) for one in zip(*lists, strict=True)]


def span_of(one: Any, name: str, text: str, names: Sequence[str] | None) -> Span:
    """One span with the white space it has in the data; raises Unreadable."""
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
    repeated = [one[key] for key in CONTENTS if isinstance(one.get(key), str)] if isinstance(one, Mapping) else []
    if repeated and repeated[0].strip() != content.strip():
        raise Unreadable(
            f"has the entity {shortened(repeated[0])} from {start} to {end}, where its text has {shortened(content)}; "
            f"{where_it_stands(repeated[0], text)}"
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
        part = numbered_label(part, name, names, "PER,LOC")
    if not isinstance(part, str) or not part.strip():
        raise Unreadable(f"has the label {shortened(part)} in {name!r}, expected the kind of an entity, such as PER")
    kind = checked_text(part).strip()
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
