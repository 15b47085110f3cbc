"""How a notebook shows a batch: for each text its tokens side by side, and beneath each its numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

from minibert.display.elements import Child, note
from minibert.display.tables import code, side_table, tabled

MOST_TEXTS, MOST_TOKENS = 8, 64


def batch_html(data: Mapping[str, Any], tokens: Sequence[Sequence[str]]) -> str:
    """The fields of a batch; ``tokens`` of its texts, where they are known."""
    plain = {name: as_lists(values) for name, values in data.items()}
    ids = plain.get("input_ids")
    if not isinstance(ids, list) or not ids:
        return tabled(note(f"A batch with the fields {', '.join(map(str, data)) or 'none'}."))
    if not isinstance(ids[0], list):  # one text, as lists without a batch
        plain = {name: [values] if isinstance(values, list) else values for name, values in plain.items()}
        ids = plain["input_ids"]
    sizes = [len(row) for row in ids]
    per_token = {name: rows for name, rows in plain.items() if fits(rows, sizes)}
    parts: list[Child] = [note(f"{', '.join(map(str, per_token))}: {kind(data['input_ids'], sizes)}")]
    for number, size in enumerate(sizes[:MOST_TEXTS]):
        shown = min(size, MOST_TOKENS)
        rows: list[tuple[str, Sequence[Child]]] = [("position", list(map(str, range(shown))))]
        if number < len(tokens) and len(tokens[number]) == size:
            rows.append(("token", [code(token) for token in tokens[number][:shown]]))
        rows += [(str(name), [cell(value) for value in values[number][:shown]]) for name, values in per_token.items()]
        parts.append(side_table(rows, f"text {number}"))
        if shown < size:
            parts.append(note(f"Shown are the first {shown} of {size} tokens."))
    if len(sizes) > MOST_TEXTS:
        parts.append(note(f"Shown are the first {MOST_TEXTS} of {len(sizes)} texts."))
    parts += [note(f"{name}: {values!r:.200}") for name, values in plain.items() if name not in per_token]
    return tabled(parts)


def as_lists(values: Any) -> Any:
    """A tensor or an array as nested lists, also within lists."""
    if hasattr(values, "tolist"):
        return values.tolist()
    return [as_lists(value) for value in values] if isinstance(values, list) else values


def fits(rows: Any, sizes: Sequence[int]) -> bool:
    """Whether a field has a value for each token."""
    return (
        isinstance(rows, list)
        and len(rows) == len(sizes)
        and all(isinstance(row, list) and len(row) == size for row, size in zip(rows, sizes, strict=True))
    )


def kind(ids: Any, sizes: Sequence[int]) -> str:
    """``2 × 9, torch.int64``, or how long the lists are."""
    if hasattr(ids, "shape"):
        return f"{' × '.join(map(str, ids.shape))}, {ids.dtype}"
    if len(sizes) == 1:
        return f"{sizes[0]} tokens"
    some = f"{min(sizes)} to {max(sizes)}" if min(sizes) < max(sizes) else f"{sizes[0]}"
    return f"{len(sizes)} texts of {some} tokens"


def cell(value: Any) -> str:
    """A number, or a span of characters."""
    return "–".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
