"""What verification says of a wrong BERT, and whether that is right; scripts/studies/named_mistakes.py runs all."""

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from minibert import BertForPreTraining
from minibert.verify.explanation import Explanation, Finding
from minibert.verify.observe import Observation, observe
from minibert.verify.ports import batches_for_ports, explain_port, observe_twice, reference_of
from minibert.verify.search import explain_runs
from tests.verify.ports import functional, fused, numpy_port, packed
from tests.verify.wrong import Case

RIGHT = ("named", "equivalent")


@dataclass(frozen=True)
class Verdict:
    """Of one case."""

    case: Case
    verdict: str  # "named", "equivalent" (with others that it cannot be told from), "missed", "WRONG"
    found: tuple[str, ...]  # the names, with the values of BERT where they were found
    seconds: float


def with_few_words(model: BertForPreTraining, rows: int = 500) -> BertForPreTraining:
    """The model with the first rows of its vocabulary alone; most of the time goes into the others' scores."""
    config = copy.deepcopy(model.config)
    config.vocab_size = rows
    small = BertForPreTraining(config).eval()
    words = model.config.vocab_size
    small.load_state_dict({n: t[:rows] if t.shape[0] == words else t for n, t in model.state_dict().items()})
    return small


def perturbed(model: nn.Module) -> nn.Module:
    """The model with weights that are a little other, so that rounding them and every bias show; in place."""
    draw = torch.Generator().manual_seed(17)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=draw)
            if parameter.dim() == 1:
                parameter.add_(0.02 * noise)
            else:
                parameter.mul_(1 + 0.01 * noise)
    return model


def recorded(values: Mapping[str, object]) -> Observation:
    """What a program without torch wrote down, as a run."""
    seen = Observation(in_order=False)
    for name, value in values.items():
        tensor = torch.as_tensor(value)
        if tensor.is_floating_point():
            seen.keep(name, tensor)
    return seen


def explain_case(model: nn.Module, case: Case, state_dict: Mapping[str, Tensor] | None = None) -> Explanation:
    """What verification says of it."""
    config = model.config
    weights = dict(model.state_dict()) if state_dict is None else dict(state_dict)
    if case.port == "numpy_port":
        batches = batches_for_ports(config)
        run = numpy_port.build(config, weights, case.mistakes)
        runs = {
            name: recorded(run(b["input_ids"], b["attention_mask"], b["token_type_ids"])) for name, b in batches.items()
        }
        return explain_runs(reference_of(model), batches, runs)
    if case.port == "functional":
        return explain_port(model, functional.build(config, weights, case.mistakes))
    if case.port == "packed":
        # explain_port also gives a text of nothing but padding, of which a packed port has no token to pool.
        batches = batches_for_ports(config)
        runs, random = observe_twice(partial(observe, packed.build(config, weights, case.mistakes)), batches)
        explanation = explain_runs(reference_of(model), batches, runs)
        explanation.findings[:0] = [random] if random else []
        return explanation
    return explain_port(model, fused.build(config, weights, case.mistakes, case.port == "written"))


def fits(finding: Finding, number: int, names: frozenset[str]) -> bool:
    """Whether one of a finding's names is right."""
    mistake = finding.mistakes[number]
    places = [point.split(".", 3)[3] if point.startswith("encoder.layer.") else point for point in finding.points]
    for name in names:
        told, _, place = name.partition(" @ ")
        if told in (mistake.key, mistake.name) and (not place or set(places) == {place}):
            return True
    return False


def judge(case: Case, findings: list[Finding]) -> str:
    """The verdict: "named", "equivalent", "missed" or "WRONG"."""
    left, others = set(range(len(case.names))), False
    wrong = False
    for finding in findings:
        if finding.kind == "unknown":
            continue
        fitting = [
            (number, k)
            for number in range(len(finding.mistakes))
            for k, n in enumerate(case.names)
            if fits(finding, number, n)
        ]
        if not fitting:
            wrong = True
        left -= {k for _, k in fitting}
        others |= len({number for number, _ in fitting}) < len(finding.mistakes)
    if wrong:
        return "WRONG"
    return "missed" if left else "equivalent" if others else "named"


def check(model: nn.Module, case: Case) -> Verdict:
    """Run a case and judge what is said of it."""
    start = time.perf_counter()
    explanation = explain_case(model, case)
    seconds = time.perf_counter() - start
    found = []
    for finding in explanation.findings:
        names = " = ".join(dict.fromkeys(mistake.name for mistake in finding.mistakes))
        more = f" and {len(finding.points) - 1} more" if len(finding.points) > 1 else ""
        found.append(f"{names} at {finding.points[0] if finding.points else '-'}{more}")
    return Verdict(case, judge(case, explanation.findings), tuple(found), seconds)
