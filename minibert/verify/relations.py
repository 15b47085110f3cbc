"""What can be said of a wrong value that no known mistake makes: how it relates to the right one.

Each relation is checked on every number that counts; what none fits is said to be unknown.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from minibert.verify.layouts import Index, Value

NEAR = 1e-3  # of the largest number: closer than any other value of BERT, further than rounding


@dataclass(frozen=True, eq=False)
class Relation:
    """How their value relates to the right one."""

    key: str  # of sentences/
    details: dict[str, str]  # what its sentence has blanks for
    value: Value | None  # where the relation is unknown: the nearest of theirs, if one is like it at all
    tensor: Tensor  # their value in BERT's layout; where the relation is unknown, the right one
    ulps: float = (
        0.0  # where it is unknown: how far the nearest is at most, in units in the last place of the largest number
    )


def describe(index: Index, axes: str, expected: Tensor, units: float) -> Relation:
    """The relation of a right value to the value of theirs that is most like it.

    Keys: "relation.factor", "relation.offset", "relation.heads_permuted", "relation.tokens_permuted",
    "relation.one_sample", "relation.rounding_grows", "relation.unknown".
    """
    counts = index.counts(axes)
    right = expected[counts]
    scale = float(right.abs().max())
    norm = float((right * right).sum())
    partly: Relation | None = None
    nearest, distance = Relation("relation.unknown", {}, None, expected), norm  # further than zeros is no likeness
    for value, theirs in readings(index, axes, expected):
        bound = units * value.eps * scale
        numbers = theirs[counts]
        if not numbers.isfinite().all():
            continue

        def told(key: str, value: Value = value, theirs: Tensor = theirs, **details: str) -> Relation:
            return Relation(f"relation.{key}", details, value, theirs)

        far = float((numbers - right).abs().max())
        away = far / (value.eps * scale) if scale else 0.0
        if far <= NEAR * scale:
            return told("rounding_grows", ulps=f"{away:.0f}")
        if (apart := float((numbers - right).square().sum())) < distance:
            nearest, distance = Relation("relation.unknown", {}, value, expected, away), apart
        factor = float((numbers * right).sum()) / norm if norm else 0.0
        if abs(factor) > 1e-6 and float((numbers - factor * right).abs().max()) <= bound * max(1.0, abs(factor)) * 4:
            return told("factor", factor=f"{factor:.6g}")
        offset = float((numbers - right).mean())
        if float((numbers - right - offset).abs().max()) <= bound * 4:
            return told("offset", offset=f"{offset:.6g}")
        wrong = [b for b in range(len(theirs)) if not _equal(theirs[b], expected[b], counts[b], bound)]
        if partly is None and len(wrong) < len(theirs):
            partly = told("one_sample", samples=", ".join(map(str, wrong)))
        order = _permuted(theirs, expected, counts, bound, 1) if "N" in axes else None
        if order is None and axes == "BTH":
            order = _heads(theirs, expected, counts, bound, index.sizes["N"])
        if order is not None:
            return told("heads_permuted", order=", ".join(map(str, order)))
        if axes.startswith("BT") and (order := _permuted(theirs[0], expected[0], counts[0], bound, 0)) is not None:
            return told("tokens_permuted", order=", ".join(map(str, order)))
    return partly or nearest


def readings(index: Index, axes: str, expected: Tensor) -> Iterator[tuple[Value, Tensor]]:
    """Every value of theirs in every layout in which it could be this one, most like it first."""
    family = index.family(axes, "")
    if not family.choices or not family.read[0]:
        return
    for row in family.likeness(expected)[:24]:
        value, layout = family.read[0][row]
        yield value, family.whole(value, layout, expected)


def _equal(a: Tensor, b: Tensor, counts: Tensor, bound: float) -> bool:
    return bool(((a - b).abs()[counts] <= bound).all())


def _heads(theirs: Tensor, right: Tensor, counts: Tensor, bound: float, N: int) -> list[int] | None:
    """The order of the heads of (B, T, H), if it is only that."""
    a, b = (x.unflatten(-1, (N, -1)).transpose(1, 2) for x in (theirs, right))  # type: ignore[no-untyped-call]
    return _permuted(a, b, counts[:, None].expand(-1, N, -1), bound, 1)


def _permuted(theirs: Tensor, right: Tensor, counts: Tensor, bound: float, dim: int) -> list[int] | None:
    """Which slice of the right value each slice of theirs is, along an axis; None where it is not only an order."""
    order: list[int] = []
    for a, seen in zip(theirs.unbind(dim), counts.unbind(dim), strict=True):
        if not seen.any():
            order.append(len(order))
            continue
        same = [n for n, b in enumerate(right.unbind(dim)) if bool(((a - b).abs()[seen] <= bound).all())]
        if not same:
            return None
        order.append(same[0])
    return order if sorted(order) == list(range(len(order))) and order != sorted(order) else None
