"""Which value of somebody's BERT is the first that is wrong, and which known mistake made it so.

The values of BERT are taken in the order of computation.  Each is computed from *their* values before it, so that
rounding does not add up, and looked for among everything their program computed (layouts.py).  Where one is missing,
and everything that is computed from it as well, the known mistakes (mistakes/) are tried: one is named only if the
value that it makes, or one computed from it, is theirs within rounding.  Then the computation goes on with the mistake
in it, and the next one shows.

Start with :func:`explain_runs`.
"""

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from minibert.verify.computation import Computation, Formula, Reference, split
from minibert.verify.explanation import Explanation, Finding
from minibert.verify.hypotheses import Hypotheses, Hypothesis
from minibert.verify.layouts import Match, Value
from minibert.verify.mistakes import Mistake
from minibert.verify.no_evidence import NoEvidence
from minibert.verify.observe import Observation
from minibert.verify.own_rounding import TIMES, in_single, own_rounding
from minibert.verify.padding import check_padding_text
from minibert.verify.relations import Relation, describe
from minibert.verify.sentence_vectors import NAME as SENTENCE
from minibert.verify.sentence_vectors import steps_of_a_sentence

UNITS = 16.0  # what is rounding, in units in the last place of a value's largest number; right ports measured: up to 4
SURE = 4.0  # times the rounding: where the right value is nearer to theirs, one mistake alone may fit, and closely:
SURELY = 8.0  # times nearer than the right value
NEARER = 4.0  # of several mistakes that fit, those stay whose error is at most this many times the smallest

SHORT = (torch.float16, torch.bfloat16)


@dataclass(frozen=True, eq=False)
class _Evidence:
    hypothesis: Hypothesis
    at: int
    match: Match
    right: float  # how far the right value is from theirs, in the same units
    found: int  # values with the mistake in them that are theirs
    missing: int  # values after it that are not
    unseen: int  # values that it says they computed, and that are nowhere


def explain_runs(
    reference: Reference,
    batches: Mapping[str, Mapping[str, Tensor]],
    runs: Mapping[str, Observation],
    units: float = UNITS,
    *,
    padding_text: tuple[Mapping[str, Tensor], Observation] | None = None,
) -> Explanation:
    """Compare what a program computed on some batches with BERT.

    Args:
        reference: the right model.
        batches: name → ``input_ids``, ``attention_mask``, ``token_type_ids``: (B, T) int64.
        runs: name → what was seen of the program's run on that batch.
        units: what counts as rounding, in units in the last place of a value's largest number.
        padding_text: a batch of :func:`minibert.verify.padding.batch_with_padding_text` and the program's run on it.
    """
    search = _Search(reference, batches, runs, units)
    search.run()
    findings = _merged(search.findings)
    notes = list(dict.fromkeys(note for run in runs.values() for note in run.notes))
    notes += [search.further_off()] if search.rough else []
    masked = any(each.kind == "unknown" for each in findings)
    masked |= any(mistake.key.startswith(("mask.", "softmax.")) for each in findings for mistake in each.mistakes)
    if padding_text is not None and not masked and not search.is_sparse:
        replaced = search.runs[search.batches[0]].replaced
        finding, note = check_padding_text(reference, replaced, *padding_text, search.sizes, units)
        findings += [finding] if finding else []
        notes += [note] if note else []
    return Explanation(list(search.rows.values()), findings, notes, units)


class _Search(Hypotheses, NoEvidence):
    """The search, value by value."""

    def run(self) -> None:
        """Every value, in the order of computation."""
        i = 0
        while i < len(self.names):
            name = self.names[i]
            if self.locate(name):
                i += 1
            elif self.is_absent(i):
                self.rows[name].status = "absent"
                self.ends_without_tanh(name)
                i += 1
            elif self.is_over():
                for unseen in self.names[i:]:
                    self.rows[unseen].status = "unseen"
                break
            elif (none := self.their_weights.not_loaded) is not None:
                self.rows[name].status = "differs"
                self.findings.append(Finding("mistake", (none,), [name]))
                break
            elif not self.is_near(i) and self.shows_later(i):
                self.rows[name].status = "unseen"
                i += 1
            elif (evidence := self.explain(i)) is not None:
                i = self.accept(evidence, i)
            elif self.is_of_a_sentence(i):
                self.rows[name].status = "absent"
                i += 1
            elif (told := self.guess(i)) is not None:
                i = told
            else:
                break
        self.check_outputs()
        self.check_dtypes()

    def check_dtypes(self) -> None:
        """Values that are theirs only within the rounding of a dtype shorter than the reference's."""
        for dtype in dict.fromkeys(self.short.values()):
            points = [name for name, short in self.short.items() if short == dtype]
            name = str(dtype).removeprefix("torch.")
            details = {"dtype": name, "digits": str(round(-math.log10(torch.finfo(dtype).eps)))}
            rounded = Mistake("values.rounded", {}, f"{name}(…)", {"where": "", **details})
            self.findings.append(Finding("mistake", (rounded,), points, self.rows[points[0]].theirs))

    def ends_without_tanh(self, name: str) -> None:
        """A pooler's matrix and nothing after it: the tanh is missing."""
        if name == "pooler" and self.rows["pooler.dense"].status in ("found", "explained"):
            none = [each for each in self.table["heads"] if each.name == "pooler.activation (none)"]
            self.findings.append(Finding("mistake", tuple(none), [name], self.rows["pooler.dense"].theirs))

    def locate(self, name: str) -> bool:
        """Find a value in every run, and go on with theirs."""
        matches: dict[str, Match] = {}
        for batch in self.cheapest:
            match = self.find_right(batch, name, name, {})
            if match is None:
                return False
            matches[batch] = match
        row = self.rows[name]
        for batch, match in matches.items():
            self.runs[batch].known[name] = self.where_it_counts(batch, name, match)
            self.last = max(self.last, *(value.order for value in match.values))
            self.used.update(match.values)
            if batch == self.batches[0]:
                row.theirs, row.layout = match.name, str(match.layout)
                dtype = match.values[0].tensor.dtype
                if dtype in SHORT and dtype != self.reference.dtype:
                    self.short[name] = dtype
            row.ulps = max(row.ulps or 0.0, match.ulps)
        if row.ulps is not None and row.ulps > self.units:
            self.rough.append(name)
        row.status = "explained" if name in self.changed else "found"
        return True

    def find_right(self, batch: str, name: str, start: str, singles: dict[str, Computation]) -> Match | None:
        """The right value, also where it is further off than usual and its own formula in float32 is off as well.

        ``start``: the first value that is computed and not theirs; ``singles``: batch → its run in float32 from there,
        made when it is first needed.
        """
        axes, value = self.reference.axes(name), self.runs[batch][name]
        match = self.find(batch, name, value)
        if match is not None or self.reference.dtype != torch.float32:
            return match
        match = self.indexes[batch].find(axes, value, self.units * 1024, quickly=True)
        if match is None or match.values[0].tensor.dtype != torch.float32:
            return None
        if batch not in singles:
            singles[batch] = in_single(self.runs[batch], frozenset(self.names[self.order[start] :]))
        own = own_rounding(self.runs[batch], singles[batch], name, self.indexes[batch].counts(axes))
        return match if match.ulps <= TIMES * own else None

    def further_off(self) -> str:
        """Which values are further off than what is rounding elsewhere: a reader has to know."""
        far = max(self.rows[name].ulps or 0.0 for name in self.rough)
        others = f" and {len(self.rough) - 1} more" if len(self.rough) > 1 else ""
        return (
            f"{self.rough[0]}{others}: up to {far:.0f} ulps off, which counts as rounding there: the same formula in "
            f"float32 is off by an eighth of that or more"
        )

    def where_it_counts(self, batch: str, name: str, match: Match) -> Tensor:
        """Their value; of scores and probabilities only where tokens see tokens.

        What they have at the padding there may be a table from before the mask.
        """
        if self.reference.axes(name) != "BNTS":
            return match.tensor
        return torch.where(self.indexes[batch].counts("BNTS"), match.tensor, self.runs[batch][name])

    def guess(self, i: int) -> int | None:
        """Say how a value that no known mistake makes relates to the right one.

        Returns the number to go on from, with their value in place; None where the relation is not sure enough.
        """
        for number in range(i, self.end_of(i)):
            name = self.names[number]
            if self.names[i] not in self.sources[name]:
                continue
            axes = self.reference.axes(name)
            relations = {b: describe(self.indexes[b], axes, self.runs[b][name], self.units) for b in self.batches}
            if are_one(list(relations.values())):
                break
        else:
            name = self.names[i]
            batch = self.batches[0]
            self.rows[name].status = "differs"
            nearest = describe(self.indexes[batch], self.reference.axes(name), self.runs[batch][name], self.units)
            unknown = Mistake("relation.unknown", {}, "", {"where": name})
            theirs = nearest.value.name if nearest.value else ""
            if (no_number := self.first_nan()) is not None:
                unknown, theirs = Mistake("relation.nan", {}, "", {"where": name, "theirs": no_number}), no_number
            self.findings.append(Finding("unknown", (unknown,), [name], theirs, right_ulps=nearest.ulps))
            return None
        for unseen in self.names[i:number]:
            self.rows[unseen].status = "unseen"
        self.rows[name].status = "differs"
        relation = relations[self.batches[0]]
        mistake = Mistake(relation.key, {}, "", {"where": name, **relation.details})
        self.findings.append(Finding("unknown", (mistake,), [name], relation.value.name if relation.value else ""))
        self.forget(i)
        for batch, each in relations.items():
            self.runs[batch].known[name] = each.tensor
        return number + 1

    def first_nan(self) -> str | None:
        """What they call the first of their values with a NaN in it; a text of nothing but padding may have one."""
        for index in self.indexes.values():
            if index.visible.any(dim=1).all():
                for value in index.values:
                    if bool(value.tensor.isnan().any()):
                        return value.name
        return None

    def find(
        self, batch: str, name: str, value: Tensor, further: float = 1.0, *, quickly: bool = False
    ) -> Match | None:
        """A value in one run; ``further``: how much more than one step of rounding is between."""
        return self.indexes[batch].find(self.reference.axes(name), value, self.units * further, quickly=quickly)

    def shows_later(self, i: int) -> bool:
        """Whether a value that is computed from this one is found, so that this one is right and only not seen."""
        singles: dict[str, Computation] = {}
        for later in self.names[i + 1 :]:
            if self.names[i] not in self.sources[later]:
                continue
            if all(self.find_right(batch, later, self.names[i], singles) for batch in self.cheapest):
                self.forget(i)
                return True
        self.forget(i)
        return False

    def is_over(self) -> bool:
        """Whether everything that was recorded is found, so that the rest was not recorded."""
        return self.is_sparse and all(self.used.issuperset(index.values) for index in self.indexes.values())

    @cached_property
    def is_sparse(self) -> bool:
        """Whether fewer values were recorded than BERT has, so that several mistakes may lie between two of them."""
        return any(len(index.values) < len(self.names) for index in self.indexes.values())

    def is_absent(self, i: int) -> bool:
        """Whether their program does not compute this part at all, as one without a pooler or a head.

        It is so where nothing that could be the value came after the last one that was found.
        """
        name = self.names[i]
        if split(name)[0] is not None or name.startswith("embeddings") or self.their_weights.uses(name):
            return False
        axes = self.reference.axes(name)
        for batch, index in self.indexes.items():
            shape = self.runs[batch][name].shape
            known = [v for n, v in self.runs[batch].known.items() if v.shape == shape and n != name]
            after = self.last if self.observations[batch].in_order else -1
            if index.family(axes, "").computed_after(after, known, self.steps_of_a_sentence(batch)):
                return False
        return True

    def steps_of_a_sentence(self, batch: str) -> set[Value]:
        """Their values after the last hidden states that are those, pooled."""
        last = self.runs[batch].known.get(f"encoder.layer.{self.reference.config.num_hidden_layers - 1}.output")
        if last is None or not self.observations[batch].in_order:
            return set()
        if batch not in self.sentences:
            index = self.indexes[batch]
            self.sentences[batch] = steps_of_a_sentence(index.values, last, index.visible, self.last)
        return self.sentences[batch]

    def is_of_a_sentence(self, i: int) -> bool:
        """Whether their program returns a sentence's vector, so that what has the pooler's shape may belong to that."""
        return split(self.names[i])[1].startswith("pooler") and self.returned(SENTENCE) and not self.is_near(i)

    def is_near(self, i: int) -> bool:
        """Whether their program has a value that is almost this one: then it is there, and slightly wrong."""
        name = self.names[i]
        units = self.units * 1024
        axes = self.reference.axes(name)
        matches = (self.indexes[batch].find(axes, self.runs[batch][name], units) for batch in self.cheapest)
        # To a number of a short dtype, everything is near.
        return all(match is not None and match.values[0].eps < 1e-6 for match in matches)

    def explain(self, i: int) -> _Evidence | None:
        """The mistake that explains why the value of that number is nowhere."""
        named = [mistake for finding in self.findings for mistake in finding.mistakes if mistake.formulas]
        names = {mistake.name for mistake in named}
        found = self.fitting(i, names)
        if not found:
            return None
        ranks: tuple[Callable[[_Evidence], Any], ...] = (  # each narrows the choice; the last are a matter of words
            lambda e: (-e.found, e.missing, e.at),
            lambda e: not e.match.everywhere,
            lambda e: e.unseen,
            lambda e: len(e.hypothesis.replaced),
            lambda e: e.hypothesis.mistakes[0].name not in names,
        )
        for rank in ranks:
            best = min(map(rank, found))
            found = [evidence for evidence in found if rank(evidence) == best]
        error = max(1.0, min(evidence.match.ulps for evidence in found) * NEARER)
        found = [evidence for evidence in found if evidence.match.ulps <= error]
        # Of several with the same values, the one that changes no value that was found to be right.
        chosen = min(found, key=lambda e: (e.hypothesis.first(self.order) < i, e.match.ulps))
        keys = {each.key for evidence in found for each in evidence.hypothesis.mistakes}
        if chosen.right <= SURE * self.units and (len(keys) > 1 or chosen.right < SURELY * chosen.match.ulps):
            return None  # the right value is all but theirs, and so is that of anything that changes little
        mistakes = tuple(dict.fromkeys(mistake for evidence in found for mistake in evidence.hypothesis.mistakes))
        also = tuple(dict.fromkeys(mistake for evidence in found for mistake in evidence.hypothesis.also))
        if also and len(found) != len(mistakes) * len(also):  # which goes with which is not to be told
            return None
        return replace(chosen, hypothesis=replace(chosen.hypothesis, mistakes=mistakes, also=also))

    def fitting(self, i: int, told: Container[str]) -> list[_Evidence]:
        """Every mistake that fits; the likely ones first, and others only where none of these does."""
        hypotheses = list(self.hypotheses(i))
        # A mistake of one layer is most likely that of the next, and one of a matrix that of another.
        again = [each for each in hypotheses if each.mistakes[0].name in told]
        here = self.is_near(i)  # then the mistake shows here, and nothing after it has to be looked at
        found = self.together(i, again=True) or list(self.try_all(i, again))
        found = found or list(self.try_all(i, hypotheses, here=here))
        if not found and not here and not self.is_sparse:  # the first that they have in parts, a text or a head
            found = list(self.try_all(i, hypotheses, quickly=False))
        if not found:
            found = list(self.try_all(i, self.other_weights(i), here=True))
            by_weight: dict[str, _Evidence] = {}
            for evidence in sorted(found, key=lambda each: each.match.values[-1].order):
                by_weight[evidence.hypothesis.mistakes[0].details.get("weight", "")] = evidence  # with the bias added
            found = list(by_weight.values())
            found = list(self.try_all(i, self.assigned(i, [each.hypothesis for each in found]))) or found
        if here:
            return [evidence for evidence in found if evidence.at == i]
        if found:
            return found
        return list(self.try_all(i, self.systematic(i), far=True)) if self.is_sparse else self.together(i)

    def try_all(
        self,
        i: int,
        hypotheses: Iterable[Hypothesis],
        *,
        far: bool = False,
        here: bool = False,
        quickly: bool | None = None,
    ) -> Iterator[_Evidence]:
        """Those that fit."""
        quickly = not self.is_sparse if quickly is None else quickly
        for hypothesis in hypotheses:
            if any((each.name, *sorted(hypothesis.replaced)) in self.accepted for each in hypothesis.mistakes):
                continue
            evidence = self.test(i, hypothesis, far, here, quickly)
            if evidence is not None:
                yield evidence

    def test(self, i: int, hypothesis: Hypothesis, far: bool, here: bool, quickly: bool) -> _Evidence | None:
        """Whether values with this mistake in them are theirs, and how many; ``here``: only if this value shows it."""
        first = hypothesis.first(self.order)
        after = self.names[first:]
        runs = {batch: run.fork(after, hypothesis.replaced, hypothesis.weights_of) for batch, run in self.runs.items()}
        if self.changes_nothing(hypothesis, i, runs):
            return None
        further = self.reference.config.num_hidden_layers + 1.0 if far else 1.0  # rounding adds up, unseen
        near, latest, blind, end = self.reach(hypothesis, i, far, here)
        score, missing, unseen, evidence, shown = 0, 0, 0, None, None
        changed = [n for n in range(first, end) if not self.sources[self.names[n]].isdisjoint(hypothesis.replaced)]
        for number in changed:
            name = self.names[number]
            if evidence is None and number > (blind if unseen else latest):
                return None
            try:
                matches = self.find_in_all(runs, name, first, further, quickly)
            except (RuntimeError, IndexError):  # a formula that this shape of model cannot have
                return None
            if len(matches) < len(self.batches):
                if evidence is None and number >= near and not far:
                    return None
                batch = self.cheapest[len(matches)]  # where it was not found
                counted = evidence is not None or name in hypothesis.replaced
                if counted and not self.is_copy(batch, name, runs[batch][name], first):
                    missing += evidence is not None
                    unseen += name in hypothesis.replaced
                continue
            if number < i:
                continue
            if evidence is None:
                right = self.far_from(matches, name)
                if right <= max(self.units * further, NEARER * max(match.ulps for match in matches.values())):
                    continue  # theirs is the right value, which the mistake does not change here
                shown = shown or (number, matches[self.batches[0]], right)
                if not here and self.is_in_every_program(self.batches[0], name, runs[self.batches[0]][name]):
                    continue
                evidence = shown
            score += 1
        if evidence is None:
            return None
        return _Evidence(hypothesis, *evidence, score, missing, unseen)

    def reach(self, hypothesis: Hypothesis, i: int, far: bool, here: bool) -> tuple[int, int, int, int]:
        """How far a mistake is followed: the end of its own part, the last value that may show it, and the end.

        Before the end: the last value that may show it where a value that it changes is not theirs.
        """
        first = hypothesis.first(self.order)
        layer = split(self.names[max(first, i)])[0]
        end = len(self.names)
        whole = self.is_of_layers(hypothesis)
        if not far and not whole and (layer is not None or self.names[first].startswith("embeddings")):
            ahead = (layer if layer is not None else -1) + 2
            end = self.ends.get(ahead, len(self.names))
        near = self.ends.get(layer + 1, len(self.names)) if whole and layer is not None else self.end_of(max(first, i))
        # The heads read some tokens only: a mistake in a layer shows in the layer, or else makes what was there before.
        heads = layer is not None and not far and near < end and split(self.names[near])[0] is None
        latest = i if here else end
        return near, latest, min(latest, near - 1) if heads else latest, end

    def find_in_all(
        self, runs: Mapping[str, Computation], name: str, first: int, further: float, quickly: bool
    ) -> dict[str, Match]:
        """A value with a mistake in it, up to the first batch where it is not theirs, or only one from before."""
        matches: dict[str, Match] = {}
        for batch in self.cheapest:
            value = runs[batch][name]
            match = self.find(batch, name, value, further, quickly=quickly)
            if match is None or self.is_copy(batch, name, value, first):
                break
            counts = self.indexes[batch].counts(self.reference.axes(name))
            counts = counts.reshape(*counts.shape, *[1] * (value.dim() - counts.dim()))
            runs[batch].known[name] = torch.where(counts, match.tensor, value)  # theirs where it counts
            matches[batch] = match
        return matches

    def far_from(self, matches: Mapping[str, Match], name: str) -> float:
        """How far the right value is from theirs at most, in units in the last place of its largest number."""
        largest = 0.0
        for batch, match in matches.items():
            right = self.runs[batch][name]
            counts = self.indexes[batch].counts(self.reference.axes(name))
            far = float((right - match.tensor).abs()[counts].max())
            scale = float(right[counts].abs().max()) * match.values[0].eps
            largest = max(largest, far / scale if scale else float("inf"))
        self.forget(self.order[name])
        return largest

    @staticmethod
    def is_of_layers(hypothesis: Hypothesis) -> bool:
        """Whether it is about whole layers, and may show in the next."""
        return hypothesis.mistakes[0].key.startswith("layers.")

    def together(self, i: int, *, again: bool = False) -> list[_Evidence]:
        """Two mistakes inside one fused kernel, of which only the result is seen; ``again``: of those that were found.

        A pair is tried where neither mistake alone was found.
        """
        layer, local = split(self.names[i])
        prefix = f"encoder.layer.{layer}."
        kernel = [f"attention.self.{name}" for name in ("query", "key", "value", "scores", "probabilities", "context")]
        if layer is None or local not in kernel[3:5]:
            return []
        context = prefix + kernel[-1]
        inside = [m for m in self.table["layer"] if set(m.formulas) <= set(kernel) and not m.key.startswith("dense.")]
        pairs = [(a, b) for a, b in combinations(inside, 2) if not set(a.formulas) & set(b.formulas)]
        if again:
            pairs = [pair for pair in pairs if (pair[0].name, pair[1].name) in self.pairs]
        found: list[_Evidence] = []
        cache: dict[tuple[object, ...], Tensor] = {}
        for a, b in pairs:
            full = {prefix + value: formula for each in (a, b) for value, formula in each.formulas.items()}
            if self.makes(context, full, [prefix + value for value in kernel[:5]], cache):
                found += self.try_all(i, [Hypothesis((a,), full, also=(b,))])
        self.pairs |= {(e.hypothesis.mistakes[0].name, e.hypothesis.also[0].name) for e in found}
        return found

    def makes(
        self, name: str, replaced: Mapping[str, Formula], before: Sequence[str], cache: dict[tuple[object, ...], Tensor]
    ) -> bool:
        """Whether a value with these formulas in place is theirs; ``cache`` keeps the values before it."""
        told = False
        for batch, run in self.runs.items():
            known = {value: tensor for value, tensor in run.known.items() if self.order[value] < self.order[before[0]]}
            computation = Computation(self.reference, run.batch, known, {**run.replaced, **replaced}, run.weights_of)
            try:
                for number, value in enumerate(before):
                    key = (batch, value, *(replaced.get(each) for each in before[: number + 1]))
                    if value in run.known and key[2:] == (None,) * (number + 1):
                        known[value] = run.known[value]  # theirs
                        continue
                    if key not in cache:
                        cache[key] = computation[value]
                    known[value] = cache[key]
                made = computation[name]
            except (RuntimeError, IndexError):  # a formula that this shape of model cannot have
                return False
            numbers = made[self.indexes[batch].counts(self.reference.axes(name))]
            if not numbers.any():  # nothing is seen, so nothing is told
                continue
            if self.find(batch, name, made, quickly=True) is None:
                return False
            told = True
        return told

    def accept(self, evidence: _Evidence, i: int) -> int:
        """Go on with the mistake in place; returns the number to go on from."""
        hypothesis = evidence.hypothesis
        first = hypothesis.first(self.order)
        self.forget(first)
        for skipped in self.names[i:first]:
            self.rows[skipped].status = "unseen"
        for run in self.runs.values():
            run.replaced.update(hypothesis.replaced)
            run.weights_of.update(hypothesis.weights_of)
        self.changed.update(hypothesis.replaced)
        self.accepted |= {(each.name, *sorted(hypothesis.replaced)) for each in hypothesis.mistakes}
        match = evidence.match
        for mistakes in (hypothesis.mistakes, hypothesis.also):
            locals_ = {local for mistake in mistakes[:1] for local in mistake.formulas}
            where = [name for name in hypothesis.replaced if not hypothesis.also or split(name)[1] in locals_]
            if mistakes:
                self.findings.append(Finding("mistake", mistakes, where, match.name, match.ulps, evidence.right))
        return first


def are_one(relations: Sequence[Relation]) -> bool:
    """Whether the values of all batches are related in one way; a factor or an offset is the same in all of them."""
    first, *others = relations
    if first.key == "relation.unknown" or any(each.key != first.key for each in others):
        return False
    numbers = [float(each.details[name]) for each in relations for name in ("factor", "offset") if name in each.details]
    return not numbers or max(numbers) - min(numbers) <= 1e-3 * max(map(abs, numbers))


def _merged(findings: Sequence[Finding]) -> list[Finding]:
    """The same mistake in several places is one finding."""
    merged: dict[tuple[str, ...], Finding] = {}
    for finding in findings:
        key = tuple(sorted({mistake.name for mistake in finding.mistakes})) or (finding.kind, *finding.points)
        if key in merged:
            merged[key].points += [point for point in finding.points if point not in merged[key].points]
            merged[key].mistakes += finding.mistakes
        else:
            merged[key] = finding
    return list(merged.values())
