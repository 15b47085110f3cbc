"""Where two training runs part: the first step, and in it the first value, gradient or optimizer state that differs.

Both sides train on the same batches, drawn with the same seeds.  Rounding does not add up over the steps: while
nothing differs, the second side goes on from the first side's numbers.  Its gradients are set to the first side's just
before its optimizer steps, and its weights and moments after the step.  So the bound is the same at every step, and
the smallest eps in an optimizer shows.  ``training_run.py`` runs a step, ``training_parameters.py`` finds the
parameters of one side on the other, ``training_causes.py`` has the known causes.  Start with :func:`verify_training`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from minibert.errors import InputError
from minibert.losses import IGNORE_INDEX
from minibert.verify.compare import BOUND, SHARPER
from minibert.verify.models import check_bound
from minibert.verify.training_causes import (
    Applied,
    Cause,
    Update,
    applied_causes,
    how_applied,
    loss_causes,
    norm,
    update_bound,
    update_causes,
)
from minibert.verify.training_parameters import Matching, Part
from minibert.verify.training_report import TrainingDifference, TrainingReport, TrainingRow
from minibert.verify.training_run import Side, StepRecord

Batch = Mapping[str, Any]


def verify_training(
    build_a: Callable[[], Any],
    build_b: Callable[[], Any],
    batches: Sequence[Batch] | Batch,
    steps: int | None = None,
    *,
    names: tuple[str, str] = ("A", "B"),
    bound: float = BOUND,
    seed: int = 0,
) -> TrainingReport:
    """Train two models side by side and name the first thing that differs, with its cause where that is a known one.

    Args:
        build_a, build_b: return ``(model, optimizer)``, ``(model, optimizer, scheduler)``, or an object with these as
            attributes.  Such an object may also have ``max_grad_norm``, or ``step(batch)``: its own training step,
            from zeroing the gradients to the scheduler.  Without it, the step is: zero the gradients, run the model
            with the batch as keywords, go backward from ``outputs.loss``, ``outputs["loss"]`` or ``outputs[0]``, step.
        batches: one, or several that are taken in turn; tensors by name, the labels among them.
        steps: how many; by default one for each batch.
        names: of the two sides in the report.
        bound: the limit of rounding errors, in units in the last place of a value's largest number for each layer.
        seed: the generators of torch are set to ``seed + step`` before each side's step.

    Each side is built after the generators of torch were set to ``seed``.  Parameters are matched by name, otherwise
    by the values of the initial weights (also transposed, or as rows of a larger one), and those that all hold the
    same number by the values of their gradients.  Raises InputError for anything that cannot be run.
    """
    units = check_bound(bound)
    several = batches if isinstance(batches, Iterable) else []
    chosen: list[Any] = [batches] if hasattr(batches, "keys") else list(several)
    if not chosen or not all(hasattr(batch, "keys") and len(batch) for batch in chosen):
        raise InputError("batches is empty, or no dict of tensors or list of such; expected the inputs of each step.")
    steps = len(chosen) if steps is None else steps
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise InputError(f"steps is {steps!r}; expected a whole number of at least 1.")
    with torch.random.fork_rng():
        sides = []
        for name, build in zip(names, (build_a, build_b), strict=True):
            torch.manual_seed(seed)
            sides.append(Side(name, build))
        if sides[0].model is sides[1].model or sides[0].optimizer is sides[1].optimizer:
            raise InputError("Both builds returned the same model or optimizer; each has to make its own.")
        return _Comparison(sides[0], sides[1], units).run([dict(batch) for batch in chosen], steps, seed)


class _Comparison:
    def __init__(self, a: Side, b: Side, units: float) -> None:
        self.a, self.b, self.units = a, b, units
        self.report = TrainingReport((a.name, b.name), 0)
        dtypes = [p.dtype for side in (a, b) for p in side.parameters.values()]
        self.eps = max((torch.finfo(dtype).eps for dtype in dtypes), default=2.0**-23)
        self.matching = Matching(a, b)
        self.parts = self.matching.parts
        self.number = 0

    def run(self, batches: Sequence[Batch], steps: int, seed: int) -> TrainingReport:
        """Step by step until something differs."""
        self.number, self.report.steps = 1, 1
        if not self.initial():
            return self.report
        for self.number in range(1, steps + 1):
            self.report.steps = self.number
            batch = batches[(self.number - 1) % len(batches)]
            first = self.a.run(batch, seed + self.number)
            compared: list[bool] = []
            middle = partial(self.middle, first, batch, compared)
            second = self.b.run(batch, seed + self.number, middle)
            if not compared:
                compared.append(self.forward_and_backward(first, second, batch))
            if not compared[0] or not self.optimizers(first, second):
                break
            self.matching.go_on_from(first)
        unmatched = [name for name in self.a.parameters if name not in self.parts]
        if unmatched:
            some = ", ".join(unmatched[:3]) + (", …" if len(unmatched) > 3 else "")
            self.report.notes.append(f"Not found in {self.b.name}, not compared: {len(unmatched)} parameters ({some}).")
        self.report.notes.append(
            f"bound: {self.units:g} units in the last place of a value's largest number for each layer; a step of the "
            "optimizer: 2 units of the parameter and 16 of its change, number by number. It does not grow over the "
            f"steps: {self.b.name} goes on from the numbers of {self.a.name}."
        )
        return self.report

    def middle(self, first: StepRecord, batch: Batch, compared: list[bool], second: StepRecord) -> None:
        """The second side's optimizer is about to step: compare what came before, and give it the same gradients."""
        compared.append(self.forward_and_backward(first, second, batch))
        if compared[0] and first.applied is not None:
            self.matching.set_gradients(first.applied)

    def initial(self) -> bool:
        """The weights before the first step; False if they differ."""
        by_alias = {alias: name for name, aliases in self.b.aliases.items() for alias in aliases}
        found, expected, theirs = {}, {}, {}
        for name, part in self.parts.items():
            expected[name] = self.a.parameters[name].detach()
            found[name], theirs[name] = part.read(self.b.parameters[part.theirs].detach()), part.theirs
            for alias in self.a.aliases[name]:
                if alias in by_alias and by_alias[alias] != part.theirs:  # tied on the first side only
                    found[alias] = self.b.parameters[by_alias[alias]].detach()
                    expected[alias], theirs[alias] = expected[name], by_alias[alias]
        return self.stage("initial weights", found, expected, lambda _n, e: torch.zeros((), dtype=e.dtype), theirs)

    def stage(
        self,
        kind: str,
        found: Mapping[str, Tensor],
        expected: Mapping[str, Tensor],
        bound: Callable[[str, Tensor], Tensor],
        theirs: Mapping[str, str],
    ) -> bool:
        """Compare values of one kind in order; False if one differs, and then it is the first difference."""
        largest, of_bound, compared = 0.0, 0.0, 0
        first: TrainingDifference | None = None
        for name, value in expected.items():
            if name not in found:
                continue
            other = found[name].to(value.device).double()
            if other.shape != value.shape:
                first = TrainingDifference(self.number, kind, name, theirs.get(name, name), None, (), None, None, None)
                break
            wide = value.double()
            delta = (other - wide).abs()
            delta = delta.where((other != wide) & ~(other.isnan() & wide.isnan()), 0.0).nan_to_num(nan=float("inf"))
            compared += 1
            if not delta.numel() or not bool(delta.any()):
                continue
            limit = bound(name, value).double().to(delta.device).expand_as(delta)
            ratio = (delta / limit).where(delta != 0, 0.0).nan_to_num(nan=float("inf"))
            flat = int((delta if bool(ratio.isinf().any()) else ratio).argmax())
            largest = max(largest, float(delta.max()))
            of_bound = max(of_bound, float(ratio.reshape(-1)[flat]))
            if float(ratio.reshape(-1)[flat]) > 1:
                place = tuple(int(i) for i in torch.unravel_index(torch.tensor(flat), delta.shape))
                first = TrainingDifference(
                    self.number, kind, name, theirs.get(name, name), float(delta[place]), place,
                    float(other[place]), float(wide[place]), float(limit[place]),
                )  # fmt: skip
                break
        verdict = "differs" if first else "rounding" if largest else "same"
        self.report.rows.append(TrainingRow(self.number, kind, compared, largest, of_bound, verdict))
        self.report.first_difference = first
        return first is None

    def note(self, text: str) -> None:
        """Something to say once."""
        if text not in self.report.notes:
            self.report.notes.append(text)

    def missing(self, kind: str, name: str, theirs: str, found: float | None, expected: float | None) -> None:
        """Something that only one side has."""
        self.report.rows.append(TrainingRow(self.number, kind, 1, float("inf"), float("inf"), "differs"))
        self.report.first_difference = TrainingDifference(
            self.number, kind, name, theirs, None, (), found, expected, None
        )

    def forward_and_backward(self, first: StepRecord, second: StepRecord, batch: Batch) -> bool:
        """Everything before the optimizer's step; False if something differs."""
        return self.forward(first, second, batch) and self.backward(first, second) and self.applied(first, second)

    def forward(self, first: StepRecord, second: StepRecord, batch: Batch) -> bool:
        """Activations and loss."""
        layers = max(self.a.layers, self.b.layers)

        def bound(name: str, value: Tensor) -> Tensor:
            finite = value[value.isfinite()].abs()
            largest = float(finite.max()) if finite.numel() else 0.0
            sharper = SHARPER if name.endswith((".self", ".dropout")) else 1.0
            return torch.tensor(self.units * self.eps * largest * depth_of(name, layers) * sharper)

        found, theirs = self.activations(first, second, bound)
        if not self.stage("activations", found, first.activations, bound, theirs):
            name = self.report.first_difference.name if self.report.first_difference else ""
            self.random(first, second, name, theirs[name], bound)
            return False
        if first.loss is None or second.loss is None:
            if first.loss is not second.loss:
                side = self.b.name if second.loss is None else self.a.name
                self.note(f"The loss is not compared: {side} returned none, or one for each of several micro-batches.")
            return True
        scale = self.units * self.eps * (layers + 1)
        losses = {"loss": first.loss}
        limit = scale * max(1.0, abs(float(first.loss)))
        if self.stage("loss", {"loss": second.loss}, losses, lambda _n, _v: torch.tensor(limit), {}):
            return True
        labels = batch.get("labels")
        if first.logits is not None and isinstance(labels, Tensor):
            logits = second.logits
            if logits is None or (logits.shape == first.logits.shape and self.near(logits, first.logits, scale)):
                values = {self.a.name: float(first.loss), self.b.name: float(second.loss)}
                self.report.causes += loss_causes(first.logits, labels, values, limit)
        if not self.report.causes:
            self.random(first, second, "", "", bound)
        return False

    def activations(
        self, first: StepRecord, second: StepRecord, bound: Callable[[str, Tensor], Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The second side's value for each of the first side's: by name, otherwise by value."""
        found: dict[str, Tensor] = {}
        theirs: dict[str, str] = {}
        for name, value in first.activations.items():
            other = second.activations.get(name)
            if other is not None and other.shape == value.shape:
                found[name], theirs[name] = other, name
        if found:
            return found, theirs
        by_size: dict[int, list[tuple[str, Tensor]]] = {}
        for name, value in second.activations.items():
            by_size.setdefault(value.numel(), []).append((name, value))
        for name, value in first.activations.items():
            limit = float(bound(name, value))
            for other_name, other in by_size.get(value.numel(), []):
                swapped = other.transpose(0, 1) if other.dim() >= 2 else other
                for read in (other, swapped):
                    numbers = read.reshape(value.shape)
                    if float((numbers.double() - value.double()).abs().max()) <= limit:
                        found[name], theirs[name] = numbers, other_name
                        break
                if name in found:
                    break
        return found, theirs

    def random(
        self, first: StepRecord, second: StepRecord, name: str, theirs: str, bound: Callable[[str, Tensor], Tensor]
    ) -> None:
        """Dropout has no formula: a value is random if it changes with the seed."""
        draws = {}
        for side, record, value in ((self.a, first, name), (self.b, second, theirs)):
            if len(record.calls) != 1:
                return
            once, twice = side.again(record, 1), side.again(record, 2)
            names = [value] if value else list(once)
            draws[side.name] = any(n in once and not torch.equal(once[n], twice[n]) for n in names)
        if all(draws.values()):
            self.report.notes.append("Both sides draw random numbers (dropout), in another order: use .eval().")
        elif any(draws.values()):
            side, record, value = (self.b, second, theirs) if draws[self.b.name] else (self.a, first, name)
            other = first.activations.get(name) if side is self.b else second.activations.get(theirs)
            calm = side.again(record, 1, evaluate=True).get(value)
            dropout = calm is not None and other is not None and self.near(calm, other, float(bound(name, other)))
            formula = "in eval() the value is the other side's" if dropout else ""
            self.report.causes.append(Cause.of("dropout.on" if dropout else "random", side.name, formula))

    @staticmethod
    def near(found: Tensor, expected: Tensor, limit: float) -> bool:
        """Whether two tensors of a shape are within a limit, relative to the largest number above 1."""
        scale = max(1.0, float(expected.abs().max()))
        return found.shape == expected.shape and float((found - expected).abs().max()) <= limit * scale

    def backward(self, first: StepRecord, second: StepRecord) -> bool:
        """The gradients of this step's backward passes, in backward order."""
        if self.number == 1:
            self.matching.match_constants(first, second, self.gradient_bound(first.gradients))
        found, theirs = self.matching.read(second.gradients)
        for name, value in first.gradients.items():
            part = self.parts.get(name)
            if part is not None and part.theirs not in second.gradients and bool(value.any()):
                self.missing("gradients", name, part.theirs, None, float(value.abs().max()))
                self.frozen(self.b, part.theirs)
                return False
        for name, part in self.parts.items():
            other = second.gradients.get(part.theirs)
            if name not in first.gradients and other is not None and bool(other.any()):
                self.missing("gradients", name, part.theirs, float(other.abs().max()), None)
                self.frozen(self.a, name)
                return False
        bound = self.gradient_bound(first.gradients)
        if self.stage("gradients", found, first.gradients, bound, theirs):
            return True
        self.gradient_causes(first, second, bound)
        return False

    def frozen(self, side: Side, name: str) -> None:
        """A parameter without a gradient, if that is because it is frozen."""
        if not side.parameters[name].requires_grad:
            self.report.causes.append(Cause.of("weights.frozen", side.name, "requires_grad=False", name=name))

    def gradient_causes(self, first: StepRecord, second: StepRecord, bound: Callable[[str, Tensor], Tensor]) -> None:
        """Weights that are tied on one side only, and sums over micro-batches."""
        difference = self.report.first_difference
        assert difference is not None
        for one, other, mine, yours in (
            (self.a, self.b, first.gradients, second.gradients),
            (self.b, self.a, second.gradients, first.gradients),
        ):
            by_alias = {alias: name for name, aliases in other.aliases.items() for alias in aliases}
            for name, aliases in one.aliases.items():
                several = sorted({by_alias[alias] for alias in aliases if alias in by_alias})
                if len(several) < 2 or name not in mine or any(n not in yours for n in several):
                    continue
                total = sum((yours[n] for n in several), torch.zeros(()))
                limit = float(bound(name, mine[name]).max())
                apart = float((yours[several[0]] - mine[name]).abs().max())
                if float((total - mine[name]).abs().max()) <= limit < apart:
                    formula = "the sum of their gradients is the other side's gradient"
                    names = {"names": ", ".join(several), "other": one.name}
                    self.report.causes.append(Cause.of("weights.not_tied", other.name, formula, **names))
        found, _ = self.matching.read(second.gradients)
        for side, record, wrong, right in (
            (self.b, second, found, first.gradients),
            (self.a, first, first.gradients, found),
        ):
            k = record.backwards
            if k > 1 and all(self.is_near(wrong[n], right[n] * k, bound(n, right[n] * k)) for n in right if n in wrong):
                self.report.causes.append(Cause.of("gradients.summed", side.name, f"{k} · gradient", count=str(k)))
                continue
            weights = self.weights_of_pieces(record)
            means = {n: self.weighted(p, weights) for n, p in record.pieces.items() if len(p) == len(weights)}
            means = self.matching.read(means)[0] if side is self.b else means
            if means and all(self.is_near(means[n], v, bound(n, v)) for n, v in right.items() if n in means):
                formula = "mean over micro-batches of (Σ loss / count)"
                self.report.causes.append(Cause.of("gradients.mean_of_means", side.name, formula, count=str(k)))
        ratios = [float((found[n].double() * v.double()).sum() / v.double().square().sum()) for n, v in
                  first.gradients.items() if n in found and bool(v.any())]  # fmt: skip
        if not self.report.causes and ratios and max(ratios) - min(ratios) <= 1e-4 * abs(ratios[0]):
            self.report.notes.append(
                f"All gradients of {self.b.name} are {ratios[0]:.6g} times those of {self.a.name}."
            )

    @staticmethod
    def weights_of_pieces(record: StepRecord) -> list[float]:
        """For each micro-batch k · count / total: what turns a mean of means into a mean; empty where that is 1."""
        labels = [kwargs.get("labels") for _, kwargs in record.calls]
        counts = [int((label != IGNORE_INDEX).sum()) for label in labels if isinstance(label, Tensor)]
        k = record.backwards
        if k < 2 or len(counts) != k or len(set(counts)) == 1:
            return []
        return [k * count / sum(counts) for count in counts]

    @staticmethod
    def weighted(pieces: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        """The gradients of the micro-batches, each with its weight."""
        return torch.stack([piece * weight for piece, weight in zip(pieces, weights, strict=True)]).sum(dim=0)

    @staticmethod
    def is_near(found: Tensor, expected: Tensor, bound: Tensor) -> bool:
        """Whether a tensor is within a bound of another."""
        return bool(((found - expected).abs() <= bound).all())

    def gradient_bound(self, gradients: Mapping[str, Tensor]) -> Callable[[str, Tensor], Tensor]:
        """The rounding of gradients, relative to the largest in the module: a key's bias has none but rounding."""
        largest: dict[str, float] = {}
        for name, value in gradients.items():
            module = name.rpartition(".")[0]
            here = float(value.abs().max()) if value.numel() else 0.0
            largest[module] = max(largest.get(module, 0.0), here)
        depth = 2 * (max(self.a.layers, self.b.layers) + 1)

        def bound(name: str, value: Tensor) -> Tensor:
            here = float(value.abs().max()) if value.numel() else 0.0
            scale = max(here, largest.get(name.rpartition(".")[0], 0.0))
            return torch.tensor(self.units * self.eps * depth * scale)

        return bound

    def applied(self, first: StepRecord, second: StepRecord) -> bool:
        """The gradients that the optimizers were given: accumulated, clipped."""
        if first.applied is None or second.applied is None:
            if first.applied is not second.applied:
                idle = self.b.name if second.applied is None else self.a.name
                self.missing("applied gradients", "step of the optimizer", "", None, None)
                self.note(f"The optimizer of {idle} made no step.")
                return False
            return True
        expected = {name: first.applied[name] for name in first.gradients if name in first.applied}
        found, theirs = self.matching.read(second.applied)
        if self.stage("applied gradients", found, expected, self.gradient_bound(expected), theirs):
            return True
        sides: dict[str, Applied | None] = {}
        for side, record in ((self.a, first), (self.b, second)):
            applied = {n: v for n, v in (record.applied or {}).items() if n in record.gradients}
            sides[side.name] = how_applied(applied, record.gradients, record.gradients_before, self.eps)
        self.report.causes += applied_causes(sides)
        self.report.notes.append(
            "Norm of the gradients before and after: "
            + "; ".join(
                f"{side.name} {norm(record.gradients):.6g}, {norm(record.applied or {}):.6g}"
                for side, record in ((self.a, first), (self.b, second))
            )
        )
        return False

    def optimizers(self, first: StepRecord, second: StepRecord) -> bool:
        """Moments, learning rate, parameters after the step; False if something differs."""
        if first.applied is None:
            return True
        for name, part in self.parts.items():
            left_out = (name not in first.groups, part.theirs not in second.groups)
            if left_out[0] != left_out[1] and name in first.gradients:
                side, its = (self.b, part.theirs) if left_out[1] else (self.a, name)
                self.missing("parameters", name, part.theirs, None, None)
                self.report.causes.append(Cause.of("optimizer.without_parameter", side.name, name=its))
                return False
        same = self.stage("optimizer state", *self.states(first, second))
        if not same:
            self.explain_update(first, second)
            return False
        if not self.rates(first, second):
            return False
        found, theirs = self.matching.read(second.after)

        def bound(name: str, value: Tensor) -> Tensor:
            rate = float(first.groups.get(name, {}).get("lr", 0.0))
            before = first.before[name].double()
            return update_bound(before, value.double(), rate, self.eps)

        if self.stage("parameters", found, first.after, bound, theirs):
            return True
        self.explain_update(first, second)
        return False

    def states(
        self, first: StepRecord, second: StepRecord
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], Callable[[str, Tensor], Tensor], dict[str, str]]:
        """The moments of both optimizers, by "parameter: exp_avg"."""
        found, expected, near = {}, {}, {}
        for key in ("exp_avg", "exp_avg_sq", "momentum_buffer", "step"):
            for name, part in self.parts.items():
                mine, yours = first.state.get(name, {}).get(key), second.state.get(part.theirs, {}).get(key)
                if mine is None or yours is None or (first.applied or {}).get(name) is None:
                    continue
                label = f"{name}: {key}"
                expected[label] = mine
                found[label] = yours if key == "step" else part.read(yours)
                g = (first.applied or {})[name].double().abs()
                before = first.state_before.get(name, {}).get(key)
                old = torch.zeros_like(mine).double() if before is None else before.double().abs()
                grown = torch.zeros(()) if key == "step" else g * g if key == "exp_avg_sq" else g
                near[label] = self.units * self.eps * (old + grown) if key != "step" else torch.tensor(0.0)
        return found, expected, lambda label, _value: near[label], {}

    def rates(self, first: StepRecord, second: StepRecord) -> bool:
        """The learning rates with which this step was made."""
        expected, found, theirs = {}, {}, {}
        for name, part in self.parts.items():
            if name in first.groups and part.theirs in second.groups:
                expected[name] = torch.tensor(float(first.groups[name]["lr"]), dtype=torch.float64)
                found[name] = torch.tensor(float(second.groups[part.theirs]["lr"]), dtype=torch.float64)
                theirs[name] = part.theirs
        near = 1e-6 if any(isinstance(g["lr"], Tensor) for r in (first, second) for g in r.groups.values()) else 1e-12
        if self.stage("learning rate", found, expected, lambda _n, v: near * v.abs() + 1e-300, theirs):
            return True
        difference = self.report.first_difference
        assert difference is not None
        name, other = difference.name, difference.theirs
        mine, yours = float(expected[name]), float(found[name])
        for ahead, behind, later, rate in (
            (self.b, self.a, first.next_rates.get(name), yours),
            (self.a, self.b, second.next_rates.get(other), mine),
        ):
            now = mine if ahead is self.b else yours
            if later is not None and abs(later - rate) <= 1e-9 * abs(rate) and later != now:
                cause = Cause.of("learning_rate.one_step_off", ahead.name, "lr(step + 1)", other=behind.name)
                self.report.causes.append(cause)
        if not self.report.causes and mine:
            self.report.notes.append(f"The learning rate of {self.b.name} is {yours / mine:.6g} times {self.a.name}'s.")
        return False

    def explain_update(self, first: StepRecord, second: StepRecord) -> None:
        """The form of Adam that each side uses, if it uses one."""
        ours, yours = list(self.updates(first, first, False)), list(self.updates(first, second, True))
        names = {update.name for update in ours} & {update.name for update in yours}
        ours, yours = [u for u in ours if u.name in names], [u for u in yours if u.name in names]
        if ours:
            self.report.causes += update_causes(self.a.name, self.b.name, ours, yours)

    def updates(self, first: StepRecord, record: StepRecord, second: bool) -> Iterator[Update]:
        """Each parameter before and after the step."""
        for name, part in self.parts.items():
            gradient = (first.applied or {}).get(name)
            its = part.theirs if second else name
            if gradient is None or its not in record.groups or its not in record.after:
                continue

            def read(tensor: Tensor, part: Part = part) -> Tensor:
                return part.read(tensor) if second else tensor

            old = first.state_before.get(name, {})
            if not old and self.number > 1:
                continue
            zero = torch.zeros_like(gradient)
            new = record.state.get(its, {})
            yield Update(
                name,
                read(record.before[its]),
                gradient,
                old.get("exp_avg", zero),
                old.get("exp_avg_sq", zero),
                self.number,
                float(record.groups[its]["lr"]),
                read(record.after[its]),
                {key: read(new[key]) for key in ("exp_avg", "exp_avg_sq") if key in new},
                record.groups[its],
                gradient.dim() <= 1,
            )


def depth_of(name: str, layers: int) -> float:
    """The depth of a module's output in layers, by its name; that of the head where the name does not say."""
    numbered = re.search(r"(?:^|\.)(\d+)(?:\.|$)", name)
    if numbered:
        return int(numbered[1]) + 1.0
    return 1.0 if "embedding" in name.lower() else layers + 1.0
