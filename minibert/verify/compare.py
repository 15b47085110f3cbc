"""Compare two sets of recorded points: the largest difference at each, in units of rounding, and the first of them.

Two correct implementations that sum in different orders differ in the last bits, more with every layer.  So each point
has a bound (:func:`rounding_bounds`) and a verdict: ``same`` (identical), ``rounding`` (within the bound), ``differs``.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from minibert.display.shown import Printed
from minibert.display.tables import code, html_table, paragraph, tabled
from minibert.terminal import table
from minibert.verify.drawing import folded
from minibert.verify.explanation import Explanation
from minibert.verify.points import RETURNED, depth_of, is_outer
from minibert.verify.sentences import retold, word

# The limit of rounding errors, in units in the last place (eps) of a point's largest value, per layer above it.  In
# float32, measured on this repository's two checkpoints and all-MiniLM-L6-v2 (fused against eager attention, float32
# against float64): at most 1.3 units at the embeddings (bound 8), 4.3 at a layer's output per layer (bound 16), 18 at
# the probabilities of layer 0 (bound 64).  Real mistakes on the two trained checkpoints are larger: an eps of 1e-6 for
# 1e-12 is at least 506 units at the embeddings, tanh GELU at least 161 at the first intermediate, a missing mask
# millions.
BOUND = 16.0
SHARPER = 4.0  # at probabilities and context: the rounding of a score grows with the score, and exp preserves it


@dataclass(frozen=True)
class PointResult:
    """One point of one batch."""

    batch: str
    point: str
    shape: tuple[int, ...] | None
    difference: float | None  # the largest |Δ|; inf where one side has NaN or another shape; None: not compared
    place: tuple[int, ...]  # where the largest difference is
    found: float | None
    expected: float | None
    ulps: float | None  # the difference in units of the last place of the expected value
    bound: float  # the largest difference that counts as rounding
    verdict: str  # "same", "rounding", "differs", "absent (…)"

    @property
    def differs(self) -> bool:
        """Whether this point is beyond its bound."""
        return self.verdict == "differs"


@dataclass
class VerifyReport(Printed):
    """The whole comparison."""

    ours: str
    reference: str
    dtype: str
    attention: str  # what ran here: "eager", "sdpa", …
    reference_attention: str  # what ran in the reference
    results: list[PointResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    explanation: Explanation | None = None  # what is wrong, where a point differs or the names are not BERT's

    @property
    def first_difference(self) -> PointResult | None:
        """The first point, in the order of computation, that differs; None when all are the same."""
        return next((result for result in self.results if result.differs), None)

    @property
    def same(self) -> bool:
        """Whether something was compared and nothing differs by more than its bound."""
        return self.verdict in ("same", "rounding")

    @property
    def verdict(self) -> str:
        """``same`` (every point identical), ``rounding`` (all within their bounds), ``differs``, ``not compared``."""
        if self.first_difference is not None:
            return "differs"
        if not self.results and self.explanation is not None:
            return "rounding" if self.explanation.same else "differs"
        compared = [result.difference for result in self.results if result.difference is not None]
        return ("rounding" if any(compared) else "same") if compared else "not compared"

    def to_dict(self, language: str = "en") -> dict[str, object]:
        """The whole report as plain values, for JSON; ``language``: of sentences and notes."""
        first = self.first_difference
        plain = {name: value for name, value in vars(self).items() if name not in ("results", "explanation")}
        return plain | {
            "notes": [retold(note, language) for note in self.notes],
            "results": [asdict(result) for result in self.results],
            "explanation": None if self.explanation is None else self.explanation.to_dict(language),
            "same": self.same,
            "verdict": self.verdict,
            "first_difference": None if first is None else asdict(first),
        }

    def conclusion(self, language: str = "en") -> str:
        """The one line to read."""
        first = self.first_difference
        if not self.results and self.explanation is not None:
            return self.explanation.conclusion(language)
        if first is not None:
            place = word("first_place", language, place=first.place) if first.place else ""
            values, beyond = "", ""
            if first.found is not None:
                values = word("first_values", language, found=repr(first.found), expected=repr(first.expected))
            if first.bound:
                beyond = word("first_bound", language, bound=f"{first.bound:.2g}")
            where = {"point": first.point, "batch": first.batch, "place": place}
            return word("first_point", language, **where, values=values, beyond=beyond)
        compared = [result for result in self.results if result.difference is not None]
        if not compared:
            return word("nothing_compared", language)
        largest = max(result.difference or 0.0 for result in compared)
        key = "only_rounding" if largest else "all_identical"
        return word(key, language, count=len(compared), largest=f"{largest:.3g}")

    def __str__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        return self.to_html()

    def to_html(self, language: str = "en") -> str:
        """For a page or a notebook: the findings, or where there are none the outer points and those that differ."""
        if self.explanation is not None:
            return self.explanation.to_html(language)
        shown = self._shown(every_point=False)
        columns = _columns(language)
        rows = [(batch, code(point), *rest) for batch, point, *rest in _rows(shown, language)]
        return tabled(
            paragraph(self.conclusion(language)),
            paragraph(self.ours, self._against(language)),
            html_table(list(columns.values()), rows, right=_right(columns)) if rows else None,
            [paragraph(note) for note in self._notes(shown, language)],
            language=language,
        )

    def to_text(self, *, every_point: bool = True, language: str = "en") -> str:
        """The table, the conclusion and the mistakes; without ``every_point`` only the outer points and differences.

        ``language``: "en", "ko" or "zh".
        """
        if not self.results and self.explanation is not None:
            explained = self.explanation.to_text(every_point=every_point, language=language)
            against = word("against_values", language, reference=self.reference)
            return f"{self.ours}\n{against}\n\n{explained}"
        shown = self._shown(every_point=every_point)
        columns = _columns(language)
        body = table(list(columns.values()), list(_rows(shown, language)), right=_right(columns))
        notes = [folded(note) for note in self._notes(shown, language)]
        told = [] if self.explanation is None else ["", self.explanation.to_text(language=language)]
        header = f"{self.ours}\n{self._against(language)}\n"
        return "\n".join([header, body, *(["", *notes] if notes else []), "", folded(self.conclusion(language)), *told])

    def _shown(self, *, every_point: bool) -> list[PointResult]:
        return [result for result in self.results if every_point or result.differs or is_outer(result.point)]

    def _against(self, language: str) -> str:
        """What was compared with what."""
        attention = word("attention", language, attention=self.attention)
        if self.reference_attention != self.attention:
            attention = word("attentions", language, attention=self.attention, other=self.reference_attention)
        return word("against_points", language, reference=self.reference, dtype=self.dtype, attention=attention)

    def _notes(self, shown: list[PointResult], language: str) -> list[str]:
        notes = [retold(note, language) for note in self.notes]
        if hidden := len(self.results) - len(shown):
            notes.append(word("hidden", language, count=hidden))
        return notes


def _columns(language: str) -> dict[str, str]:
    heads = ("batch", "point", "shape", "max_difference", "at", "ulps", "bound", "verdict")
    return {key: word(key, language) for key in heads}


def _right(columns: Mapping[str, str]) -> list[str]:
    return [columns[key] for key in ("max_difference", "ulps", "bound")]


def _rows(results: Iterable[PointResult], language: str) -> Iterator[tuple[str, ...]]:
    for result in results:
        shape = "×".join(map(str, result.shape)) if result.shape else ""
        verdict = word(f"verdict {result.verdict}", language)
        if result.difference is None:
            yield result.batch, result.point, shape, "", "", "", "", verdict
            continue
        place = ", ".join(map(str, result.place)) if result.difference else ""
        ulps = "" if result.ulps is None or not result.difference else f"{result.ulps:.1f}"
        bound = f"{result.bound:.2g}" if result.bound else "0"
        yield result.batch, result.point, shape, f"{result.difference:.3g}", place, ulps, bound, verdict


def rounding_bounds(expected: Mapping[str, Tensor], layers: int, eps: float, units: float = BOUND) -> dict[str, float]:
    """The limit of rounding errors at each recorded point: ``units`` · ``eps`` · its largest finite value · its depth.

    ``eps`` is that of the coarser dtype of the two sides.  ``units=0`` requires identity.
    """
    bounds = {}
    for point, value in expected.items():
        finite = value[value.isfinite()]
        largest = float(finite.abs().max()) if finite.numel() else 0.0
        sharper = SHARPER if point.endswith(tuple(RETURNED)) else 1.0
        bounds[point] = units * eps * largest * depth_of(point, layers) * sharper
    return bounds


def compare_points(
    batch: str,
    found: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    names: list[str],
    bounds: Mapping[str, float] | None = None,
) -> list[PointResult]:
    """Compare the points ``names`` of one batch; ``bounds`` are the limits of rounding (default: identity)."""
    results = []
    for name in names:
        bound = 0.0 if bounds is None else bounds.get(name, 0.0)
        if name in found and name in expected:
            results.append(compare_tensors(batch, name, found[name], expected[name], bound))
        elif name in found or name in expected:
            side = "the reference" if name in found else "here"
            shape = tuple((found if name in found else expected)[name].shape)
            results.append(PointResult(batch, name, shape, None, (), None, None, None, bound, f"absent ({side})"))
        elif name.endswith(".probabilities"):
            results.append(PointResult(batch, name, None, None, (), None, None, None, bound, "absent (fused)"))
    return results


def compare_tensors(batch: str, point: str, found: Tensor, expected: Tensor, bound: float) -> PointResult:
    """One point: the largest difference, where it is, and its size in units of the last place."""
    shape = tuple(found.shape)
    if found.shape != expected.shape:
        return PointResult(batch, point, shape, float("inf"), (), None, None, None, bound, "differs")
    wide, reference = found.double(), expected.double()
    delta = (wide - reference).abs()
    delta[(wide == reference) | (wide.isnan() & reference.isnan())] = 0.0  # infinity minus infinity is NaN
    delta = delta.nan_to_num(nan=float("inf"), posinf=float("inf"))
    if not delta.numel():
        return PointResult(batch, point, shape, 0.0, (), None, None, None, bound, "same")
    flat = int(delta.argmax())
    place = tuple(int(index) for index in torch.unravel_index(torch.tensor(flat), delta.shape))
    difference = float(delta.reshape(-1)[flat])
    value = expected.reshape(-1)[flat].to(found.dtype)
    step = torch.nextafter(value.abs(), torch.tensor(float("inf"), dtype=value.dtype)) - value.abs()
    ulps = difference / float(step) if float(step) else float("inf")
    verdict = "same" if difference == 0.0 else "rounding" if difference <= bound < float("inf") else "differs"
    here, there = float(wide.reshape(-1)[flat]), float(reference.reshape(-1)[flat])
    return PointResult(batch, point, shape, difference, place, here, there, ulps, bound, verdict)
