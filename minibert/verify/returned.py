"""Whether what a program returns is what it should return: the right values may all be there, and others go out."""

import re
from collections.abc import Sequence
from functools import cached_property

from torch import Tensor

from minibert.verify.explanation import Finding
from minibert.verify.layouts import Index
from minibert.verify.mistakes import Mistake
from minibert.verify.state import State


class Returned(State):
    """What was returned, against the values that were found."""

    def check_outputs(self) -> None:
        """Whether what the program returned is the value that its name or its place says, where that was found."""
        L = self.reference.config.num_hidden_layers
        states = ["embeddings", *(f"encoder.layer.{k}.output" for k in range(L))]
        expected = {
            "last_hidden_state": states[-1],
            "pooler_output": "pooler",
            "seq_relationship_logits": "cls.seq_relationship",
        }
        expected |= dict.fromkeys(("prediction_logits", "logits"), "cls.predictions")
        expected |= {f"hidden_states[{k}]": name for k, name in enumerate(states)}
        expected |= {name: point for name in self.unnamed if (point := self.meant(name, states)) is not None}
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
            shown, point = name or "result", expected[name]
            other = Mistake("outputs.other", {}, f"{shown} is not {point}", {"where": shown, "point": point})
            self.findings.append(Finding("mistake", (other,), [shown], f"returned {name}".strip()))

    @cached_property
    def unnamed(self) -> list[str]:
        """What every run returned by its place alone: "" or "[0]", "[1]" …; others are its own affair."""
        first, *others = self.observations.values()
        places = [name for name in first.outputs if re.fullmatch(r"(\[\d+\])?", name)]
        return [name for name in places if all(name in run.outputs for run in others)]

    def meant(self, name: str, states: Sequence[str]) -> str | None:
        """Which value a tensor returned by its place should be, if by its shape it is none of those it could be.

        Only what their program has computed is asked for.  A vector a text may be a sentence's, however it was made.
        """
        batch, last = self.batches[0], states[-1]
        shape = self.observations[batch].outputs[name].tensor.shape
        computed = [each for each, row in self.rows.items() if row.status in ("found", "explained")]
        alike = [each for each in computed if self.runs[batch][each].shape == shape]
        same = [each for each in alike if not self.returns_other(name, each)]
        if last in alike:  # hidden states: of several that are returned, one has to be the last
            is_first = name in ("", "[0]") and (not same or same[0] in states)
            return last if is_first and not self.returned_somewhere(last) else None
        if same:
            return None
        heads = [each for each in alike if self.reference.axes(each) not in ("BH", "BTH", "BTI", "BNTS")]
        if heads:
            return heads[-1]
        is_pooled = "pooler" in alike and any(self.is_returned(name, each, "pooler") for each in self.table["heads"])
        return "pooler" if is_pooled else None

    def returned_somewhere(self, point: str) -> bool:
        """Whether a value is among what was returned by its place."""
        return any(not self.returns_other(name, point) for name in self.unnamed)

    def is_returned(self, name: str, mistake: Mistake, point: str) -> bool:
        """Whether what was returned under a name is a head's value with a mistake in it."""
        if mistake.first != point:
            return False
        for batch in self.batches:
            try:
                value = self.runs[batch].fork(self.names[self.order[point] :], mistake.formulas, {})[point]
            except (RuntimeError, IndexError):  # a formula that this shape of model cannot have
                return False
            if not self.is_output(batch, name, point, value):
                return False
        return True

    def is_output(self, batch: str, name: str, point: str, value: Tensor) -> bool:
        """Whether what a run returned under a name is that value of a point."""
        index = self.indexes[batch]
        alone = Index([self.observations[batch].outputs[name]], index.visible, index.sizes)
        return alone.find(self.reference.axes(point), value, self.units) is not None

    def returned(self, name: str) -> bool:
        """Whether every run returned something under that name."""
        return all(name in run.outputs for run in self.observations.values())

    def returns_other(self, name: str, point: str) -> bool:
        """Whether what was returned under a name is not that value, although the value was found elsewhere."""
        row = self.rows.get(point)
        if row is None or row.status not in ("found", "explained") or not self.returned(name):
            return False
        return not all(self.is_output(batch, name, point, self.runs[batch][point]) for batch in self.batches)
