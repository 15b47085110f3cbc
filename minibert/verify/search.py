"""Which value of somebody's BERT is the first that is wrong, and which known mistake made it so.

The values of BERT are taken in the order of computation.  Each is computed from *their* values before it, so that
rounding does not add up, and looked for among everything their program computed (layouts.py).  Where one is missing,
and everything that is computed from it as well, the known mistakes (mistakes/) are tried: one is named only if the
value that it makes, or one computed from it, is theirs within rounding.  Then the computation goes on with the mistake
in it, and the next one shows.

Start with :func:`explain_runs`.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.verify.computation import Computation, Formula, Reference, Scope, sources, split
from minibert.verify.explanation import Explanation, Finding, PointFound
from minibert.verify.layouts import Index, Match, Value
from minibert.verify.mistakes import Mistake, known_mistakes
from minibert.verify.observe import Observation
from minibert.verify.padding import check_padding_text
from minibert.verify.relations import describe

UNITS = 16.0  # what is rounding, in units in the last place of a value's largest number; right ports measured: up to 4
SURE = 4.0  # times the rounding: where the right value is nearer to theirs, one mistake alone may fit, and closely:
SURELY = 8.0  # times nearer than the right value
NEARER = 4.0  # of several mistakes that fit, those stay whose error is at most this many times the smallest

SHORT = (torch.float16, torch.bfloat16)


@dataclass(frozen=True, eq=False)
class _Hypothesis:
    mistakes: tuple[Mistake, ...]
    replaced: Mapping[str, Formula]  # by full name
    weights_of: Mapping[int, int] = field(default_factory=dict)
    also: tuple[Mistake, ...] = ()  # made together with the others, inside one fused operation

    def first(self, order: Mapping[str, int]) -> int:
        return min(order[name] for name in self.replaced)


@dataclass(frozen=True, eq=False)
class _Evidence:
    hypothesis: _Hypothesis
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
    masked = any(each.kind == "unknown" for each in findings)
    masked |= any(mistake.key.startswith(("mask.", "softmax.")) for each in findings for mistake in each.mistakes)
    if padding_text is not None and not masked and not search.is_sparse:
        replaced = search.runs[search.batches[0]].replaced
        finding, note = check_padding_text(reference, replaced, *padding_text, search.sizes, units)
        findings += [finding] if finding else []
        notes += [note] if note else []
    return Explanation(list(search.rows.values()), findings, notes, units)


class _Search:
    def __init__(
        self,
        reference: Reference,
        batches: Mapping[str, Mapping[str, Tensor]],
        runs: Mapping[str, Observation],
        units: float,
    ) -> None:
        self.reference, self.units = reference, units
        config = reference.config
        self.names = reference.names
        self.order = {name: number for number, name in enumerate(self.names)}
        N = config.num_attention_heads
        sizes = {"N": N, "D": config.hidden_size // N, "H": config.hidden_size, "I": config.intermediate_size}
        self.sizes = sizes | {"V": config.vocab_size, "C": self._classes()}
        # The batch with most padding first: most mistakes show there.
        ordered = sorted(batches, key=lambda name: -int((batches[name]["attention_mask"] == 0).sum()))
        self.indexes = {n: Index(runs[n].values, batches[n]["attention_mask"].bool(), self.sizes) for n in ordered}
        self.runs = {n: Computation(reference, batches[n]) for n in ordered}
        self.batches, self.observations = ordered, runs
        self.cheapest = sorted(ordered, key=lambda name: batches[name]["input_ids"].numel())
        self.sources = sources(reference)
        self.rows = {name: PointFound(name, "not reached") for name in self.names}
        self.findings: list[Finding] = []
        self.short: dict[str, torch.dtype] = {}  # values that were found in a dtype shorter than the reference's
        self.last = -1  # the number of the last value of theirs that was found
        self.used: set[Value] = set()  # those that were found
        self.accepted: set[tuple[str, ...]] = set()  # mistakes with their points: none is found twice
        self.pairs: set[tuple[str, str]] = set()  # of mistakes that were found inside one fused kernel
        self.changed: set[str] = set()  # points whose formula holds a mistake

    def _classes(self) -> int:
        weights = self.reference.weights
        heads = [name for name in ("cls.seq_relationship", "classifier", "qa_outputs") if f"{name}.weight" in weights]
        return len(weights[f"{heads[0]}.weight"]) if heads else 2

    @cached_property
    def ends(self) -> dict[int | None, int]:
        """Layer → the number of the first value after it; None: of the heads."""
        return {split(name)[0]: number + 1 for number, name in enumerate(self.names)}

    def end_of(self, number: int) -> int:
        """The number of the first value after the part that a value is in."""
        in_embeddings = self.names[number].startswith("embeddings")
        return self.order["embeddings"] + 1 if in_embeddings else self.ends[split(self.names[number])[0]]

    def run(self) -> None:
        """Every value, in the order of computation."""
        i = 0
        while i < len(self.names):
            name = self.names[i]
            if self.locate(name):
                i += 1
            elif self.is_absent(i):
                self.rows[name].status = "absent"
                i += 1
            elif self.is_over():
                for unseen in self.names[i:]:
                    self.rows[unseen].status = "unseen"
                break
            elif not self.is_near(i) and self.shows_later(i):
                self.rows[name].status = "unseen"
                i += 1
            elif (evidence := self.explain(i)) is not None:
                i = self.accept(evidence, i)
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

    def check_outputs(self) -> None:
        """Whether what the program returned under a known name is that value, where that value was found."""
        L = self.reference.config.num_hidden_layers
        states = ["embeddings", *(f"encoder.layer.{k}.output" for k in range(L))]
        expected = {
            "last_hidden_state": states[-1],
            "pooler_output": "pooler",
            "seq_relationship_logits": "cls.seq_relationship",
        }
        expected |= dict.fromkeys(("prediction_logits", "logits"), "cls.predictions")
        expected |= {f"hidden_states[{k}]": name for k, name in enumerate(states)}
        if any(mistake.key.startswith("layers.") for each in self.findings for mistake in each.mistakes):
            expected = {name: point for name, point in expected.items() if not name.startswith("hidden_states")}
        wrong = [name for name, point in expected.items() if self.returns_other(name, point)]
        shifted = [
            f"hidden_states[{k}]" for k in range(L) if not self.returns_other(f"hidden_states[{k}]", states[k + 1])
        ]
        if any(name.startswith("hidden_states") for name in wrong) and len(shifted) == L and self.returned(shifted[0]):
            off = Mistake("outputs.off_by_one", {}, "hidden_states[k] is the output of layer k, not its input")
            self.findings.append(Finding("mistake", (off,), ["hidden_states"], "returned hidden_states"))
            wrong = [name for name in wrong if not name.startswith("hidden_states")]
        for name in wrong:
            known = [each for each in self.table["heads"] if self.is_returned(name, each, expected[name])]
            if known:
                self.findings.append(Finding("mistake", tuple(known), [expected[name]], f"returned {name}"))
                continue
            other = Mistake(
                "outputs.other", {}, f"{name} is not {expected[name]}", {"where": name, "point": expected[name]}
            )
            self.findings.append(Finding("mistake", (other,), [name], f"returned {name}"))

    def is_returned(self, name: str, mistake: Mistake, point: str) -> bool:
        """Whether what was returned under a name is a head's value with a mistake in it."""
        if mistake.first != point:
            return False
        for batch, index in self.indexes.items():
            value = self.runs[batch].fork(self.names[self.order[point] :], mistake.formulas, {})[point]
            alone = Index([self.observations[batch].outputs[name]], index.visible, index.sizes)
            if alone.find(self.reference.axes(point), value, self.units) is None:
                return False
        return True

    def returned(self, name: str) -> bool:
        """Whether every run returned something under that name."""
        return all(name in run.outputs for run in self.observations.values())

    def returns_other(self, name: str, point: str) -> bool:
        """Whether what was returned under a name is not that value, although the value was found elsewhere."""
        row = self.rows.get(point)
        if row is None or row.status not in ("found", "explained") or not self.returned(name):
            return False
        for batch, index in self.indexes.items():
            alone = Index([self.observations[batch].outputs[name]], index.visible, index.sizes)
            if alone.find(self.reference.axes(point), self.runs[batch][point], self.units) is None:
                return True
        return False

    def locate(self, name: str) -> bool:
        """Find a value in every run, and go on with theirs."""
        matches: dict[str, Match] = {}
        for batch in self.cheapest:
            match = self.find(batch, name, self.runs[batch][name])
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
        row.status = "explained" if name in self.changed else "found"
        return True

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
            keys = {relation.key for relation in relations.values()}
            if len(keys) == 1 and "relation.unknown" not in keys:
                break
        else:
            name = self.names[i]
            batch = self.batches[0]
            self.rows[name].status = "differs"
            nearest = describe(self.indexes[batch], self.reference.axes(name), self.runs[batch][name], self.units)
            unknown = Mistake("relation.unknown", {}, "", {"where": name})
            theirs = nearest.value.name if nearest.value else ""
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

    def find(
        self, batch: str, name: str, value: Tensor, further: float = 1.0, *, quickly: bool = False
    ) -> Match | None:
        """A value in one run; ``further``: how much more than one step of rounding is between."""
        return self.indexes[batch].find(self.reference.axes(name), value, self.units * further, quickly=quickly)

    def shows_later(self, i: int) -> bool:
        """Whether a value that is computed from this one is found, so that this one is right and only not seen."""
        for later in self.names[i + 1 :]:
            if self.names[i] not in self.sources[later]:
                continue
            if all(self.find(batch, later, self.runs[batch][later]) for batch in self.cheapest):
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
        if split(name)[0] is not None or name.startswith("embeddings"):
            return False
        axes = self.reference.axes(name)
        for batch, index in self.indexes.items():
            shape = self.runs[batch][name].shape
            known = [v for n, v in self.runs[batch].known.items() if v.shape == shape and n != name]
            if index.family(axes, "").computed_after(self.last, known):
                return False
        return True

    def is_near(self, i: int) -> bool:
        """Whether their program has a value that is almost this one: then it is there, and slightly wrong."""
        name = self.names[i]
        units = self.units * 1024
        axes = self.reference.axes(name)
        matches = (self.indexes[batch].find(axes, self.runs[batch][name], units) for batch in self.cheapest)
        # To a number of a short dtype, everything is near.
        return all(match is not None and match.values[0].eps < 1e-6 for match in matches)

    def forget(self, i: int) -> None:
        """Drop the values from a number on, which were computed only to look ahead."""
        for run in self.runs.values():
            for name in self.names[i:]:
                run.known.pop(name, None)

    def explain(self, i: int) -> _Evidence | None:
        """The mistake that explains why the value of that number is nowhere."""
        named = [mistake for finding in self.findings for mistake in finding.mistakes if mistake.formulas]
        told = {(mistake.name, mistake.first) for mistake in named}
        hypotheses = list(self.hypotheses(i))
        # A mistake of one layer is most likely that of the next, and one of a matrix that of another.
        names = {name for name, _ in told}
        again = [each for each in hypotheses if each.mistakes[0].name in names]
        here = self.is_near(i)  # then the mistake shows here, and nothing after it has to be looked at
        found = self.together(i, again=True) or list(self.try_all(i, again))
        found = found or list(self.try_all(i, hypotheses, here=here))
        if not found and not here and not self.is_sparse:  # the first that they have in parts, a text or a head
            found = list(self.try_all(i, hypotheses, quickly=False))
        if here:
            found = [evidence for evidence in found if evidence.at == i]
        elif not found and self.is_sparse:
            found = list(self.try_all(i, self.systematic(i), far=True))
        elif not found:
            found = list(self.try_all(i, self.untied(i))) or self.together(i)
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

    def try_all(
        self,
        i: int,
        hypotheses: Iterable[_Hypothesis],
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

    def test(self, i: int, hypothesis: _Hypothesis, far: bool, here: bool, quickly: bool) -> _Evidence | None:
        """Whether values with this mistake in them are theirs, and how many; ``here``: only if this value shows it."""
        first = hypothesis.first(self.order)
        after = self.names[first:]
        runs = {batch: run.fork(after, hypothesis.replaced, hypothesis.weights_of) for batch, run in self.runs.items()}
        layer = split(self.names[max(first, i)])[0]
        end = len(self.names)
        whole = self.is_of_layers(hypothesis)
        if not far and not whole and (layer is not None or self.names[first].startswith("embeddings")):
            ahead = (layer if layer is not None else -1) + 2
            end = self.ends.get(ahead, len(self.names))
        further = self.reference.config.num_hidden_layers + 1.0 if far else 1.0  # rounding adds up, unseen
        near = self.ends.get(layer + 1, len(self.names)) if whole and layer is not None else self.end_of(max(first, i))
        # The heads read some tokens only: a mistake in a layer shows in the layer.
        heads = layer is not None and not far and near < end and split(self.names[near])[0] is None
        latest = i if here else near - 1 if heads else end
        score, missing, unseen, evidence = 0, 0, 0, None
        for number in range(first, end):
            name = self.names[number]
            if evidence is None and number > latest:
                return None
            if name not in hypothesis.replaced and not any(each in self.sources[name] for each in hypothesis.replaced):
                continue
            try:
                matches = self.find_in_all(runs, name, first, further, quickly)
            except (RuntimeError, IndexError):  # a formula that this shape of model cannot have
                return None
            if len(matches) < len(self.batches):
                if evidence is None and number >= near and not far:
                    return None
                if (evidence is not None or name in hypothesis.replaced) and not self.repeats(runs, name, first):
                    missing += evidence is not None
                    unseen += name in hypothesis.replaced
                continue
            if number < i:
                continue
            if evidence is None:
                right = self.far_from(matches, name)
                if right <= self.units * further:  # theirs is the right value, which the mistake does not change here
                    continue
                evidence = number, matches[self.batches[0]], right
            score += 1
        if evidence is None:
            return None
        return _Evidence(hypothesis, *evidence, score, missing, unseen)

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

    def repeats(self, runs: Mapping[str, Computation], name: str, first: int) -> bool:
        """Whether a value with a mistake in it that was not found is only one from before."""
        return any(self.is_copy(batch, name, runs[batch][name], first) for batch in self.batches)

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
    def is_of_layers(hypothesis: _Hypothesis) -> bool:
        """Whether it is about whole layers, and may show in the next."""
        return hypothesis.mistakes[0].key.startswith("layers.")

    def is_copy(self, batch: str, name: str, value: Tensor, first: int) -> bool:
        """Whether a value only repeats one that was found before, so that finding it proves nothing."""
        axes = self.reference.axes(name)
        counts = self.indexes[batch].counts(axes)
        near = self.units * 2.0**-23 * float(value[counts].abs().max())
        layer = split(name)[0]
        start = 0 if layer is None else max(0, self.order[f"encoder.layer.{layer}.attention.self.query"] - 1)
        if name == "embeddings.sum":  # every program adds two of the three first
            tables = [self.runs[batch][f"embeddings.{kind}_embeddings"] for kind in ("word", "token_type", "position")]
            partly = [tables[0], tables[0] + tables[1], tables[0] + tables[2], tables[1] + tables[2]]
            if any(float((each - value).abs()[counts].max()) <= near for each in partly):
                return True
        roughly = self.units * 2.0**-23 * float(value.abs().max())
        for other in self.names[start:first]:
            known = self.runs[batch].known.get(other)
            if known is None or known.shape != value.shape:
                continue
            if roughly < math.inf and not self.indexes[batch].may_equal(axes, known, value, roughly):
                continue
            if float((known - value).abs()[counts].max()) <= near:
                return True
        return False

    def hypotheses(self, i: int) -> Iterator[_Hypothesis]:
        """What may be wrong at a value, or after it in the same part."""
        name = self.names[i]
        layer, local = split(name)
        part = "embeddings" if local.startswith("embeddings") else "heads" if layer is None else "layer"
        prefix = "" if layer is None else f"encoder.layer.{layer}."
        for mistake in self.table[part]:
            full = {prefix + value: formula for value, formula in mistake.formulas.items()}
            first = prefix + mistake.first
            # The right value may be there and not be what they go on with: a table looked up in vain.
            unused = self.order[first] < i and first in self.sources[name]
            if unused or (self.order[first] >= i and name in self.sources[first]):
                yield _Hypothesis((mistake,), full)
        if layer is not None:
            yield from self.layers(layer)

    def untied(self, i: int) -> Iterator[_Hypothesis]:
        """Another matrix than the word embeddings in the decoder that is tied to them."""
        name, weights = "cls.predictions", self.reference.weights
        tied = f"{name}.decoder.weight" in weights and torch.equal(
            weights[f"{name}.decoder.weight"], weights["embeddings.word_embeddings.weight"]
        )
        if self.names[i] != name or not tied:
            return
        V, H = self.sizes["V"], self.sizes["H"]
        for weight in self.observations[self.batches[0]].weights:
            if tuple(weight.shape) not in ((V, H), (H, V)):
                continue
            matrix = weight.detach().to("cpu", torch.float64)
            matrix = matrix if matrix.shape == (V, H) else matrix.T

            def untied(s: Scope, matrix: Tensor = matrix) -> Tensor:
                return F.linear(s[f"{name}.transform"], matrix, s.w(f"{name}.decoder.bias"))

            mistake = Mistake("decoder.not_tied", {name: untied}, "h W' + b, where W' is not the word embeddings")
            yield _Hypothesis((mistake,), {name: untied})

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
                found += self.try_all(i, [_Hypothesis((a,), full, also=(b,))])
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

    @cached_property
    def table(self) -> dict[str, list[Mistake]]:
        """All known mistakes by part."""
        return {part: list(known_mistakes(self.reference, part)) for part in ("embeddings", "layer", "heads")}

    def layers(self, k: int) -> Iterator[_Hypothesis]:
        """What may be wrong with whole layers."""
        L = self.reference.config.num_hidden_layers
        for other in range(L):
            if other != k:
                details = {"layer": str(k), "other": str(other)}
                same = {name: self.formula(name) for name in self.names if split(name)[0] == k}
                mistake = Mistake("layers.order", same, f"layer {k} with the weights of {other}", details)
                yield _Hypothesis((mistake,), same, {k: other})
        for other in range(k + 1, L):
            details = {"layers": f"{k} and {other}"}
            same = {name: self.formula(name) for name in self.names if split(name)[0] in (k, other)}
            mistake = Mistake("layers.exchanged", same, f"layers {k} and {other} exchanged", details)
            yield _Hypothesis((mistake,), same, {k: other, other: k})
        left_out: dict[str, Formula] = {f"encoder.layer.{k}.output": lambda s: s["x"]}
        yield _Hypothesis((Mistake("layers.skipped", left_out, f"layer {k} left out", {"layer": str(k)}),), left_out)
        if k:
            twice: dict[str, Formula] = {f"encoder.layer.{k - 1}.output": lambda s: s.c.layer(k - 1, s.right("output"))}
            again = Mistake("layers.repeated", twice, f"layer {k - 1} twice", {"layer": str(k - 1)})
            yield _Hypothesis((again,), twice)

    def formula(self, name: str) -> Formula:
        """The formula a value has now."""
        local = split(name)[1]
        return self.runs[self.batches[0]].replaced.get(name) or (lambda s: s.right(local))

    def systematic(self, i: int) -> Iterator[_Hypothesis]:
        """A mistake wherever it can be made, for runs of which little was recorded."""
        L = self.reference.config.num_hidden_layers
        everywhere: dict[str, list[tuple[Mistake, dict[str, Formula]]]] = {}
        for part, mistakes in self.table.items():
            prefixes = [f"encoder.layer.{k}." for k in range(L)] if part == "layer" else [""]
            for mistake in mistakes:
                full = {prefix + name: formula for prefix in prefixes for name, formula in mistake.formulas.items()}
                full = {name: formula for name, formula in full.items() if self.order[name] >= i}
                if full:
                    everywhere.setdefault(mistake.name, []).append((mistake, full))
        for several in everywhere.values():
            for mistake, full in several:
                yield _Hypothesis((mistake,), full)
            if len(several) > 1:
                together: dict[str, Formula] = {}
                for _, full in several:
                    together |= full
                yield _Hypothesis(tuple(mistake for mistake, _ in several), together)
        first = split(self.names[i])[0] or 0
        for k in range(first, L):
            yield from self.layers(k)

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
