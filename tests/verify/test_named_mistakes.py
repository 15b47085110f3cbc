"""The mistake in a wrong BERT is named (ports/ has four of them, wrong.py their mistakes).

scripts/studies/named_mistakes.py runs all of them and prints how many are named.
"""

import pytest
import torch

from minibert import BertForPreTraining
from minibert.verify.mistakes import known_mistakes
from minibert.verify.ports import reference_of
from tests.verify.naming import RIGHT, check, explain_case, perturbed, with_few_words
from tests.verify.wrong import HARMLESS, PAIRS, QUICK, SINGLE, Case

PORTS = ("functional", "fused", "written", "packed", "numpy_port")


@pytest.fixture(scope="module")
def model() -> BertForPreTraining:
    return perturbed(with_few_words(BertForPreTraining.from_pretrained("minibert-demo"), 200))


def test_there_are_enough_wrong_models_of_every_port():
    families = {
        family: [case for case in SINGLE if any(name.startswith(starts) for names in case.names for name in names)]
        for family, starts in (
            ("embeddings", ("embeddings.", "positions.")),
            ("attention", ("attention.", "mask.", "softmax.")),
            ("layer", ("norm.", "residual.", "activation.", "layer.")),
            ("whole", ("layers.", "pooler.", "head.", "outputs.")),
            ("weights", ("dense.", "weights.")),
        )
    }
    assert len(SINGLE) >= 64 and len(PAIRS) >= 32
    assert len(set(map(str, SINGLE + PAIRS))) == len(SINGLE + PAIRS)
    for port in ("functional", "fused", "packed", "numpy_port"):
        assert sum(case.port == port for case in SINGLE) >= 12, port
    assert min(map(len, families.values())) >= 12, {family: len(cases) for family, cases in families.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("port", PORTS)
def test_a_right_port_has_no_difference(model, port, dtype):
    model.to(dtype)
    try:
        explanation = explain_case(model, Case(port, (), ()))
    finally:
        model.to(torch.float32)
    assert explanation.findings == []
    assert not {point.status for point in explanation.points} & {"differs", "not reached", "explained"}


@pytest.mark.parametrize("name", QUICK)
def test_a_mistake_is_named(model, name):
    case = next(case for case in SINGLE if str(case) == name)
    result = check(model, case)
    assert result.verdict in RIGHT, result


@pytest.mark.parametrize("case", HARMLESS, ids=str)
def test_what_cannot_show_is_not_claimed(model, case):
    assert explain_case(model, case).findings == []


def test_every_name_in_the_list_is_in_the_table_or_said_to_be_missing(model):
    known = {m.key for part in ("embeddings", "layer", "heads") for m in known_mistakes(reference_of(model), part)}
    known |= {"layers.order", "layers.exchanged", "layers.skipped", "layers.repeated", "outputs.off_by_one"}
    known |= {"random.dropout"}
    names = {name.partition(" ")[0] for case in SINGLE for name in next(iter(case.names))}
    missing = {"norm.rounded", "decoder.not_tied", "layers.shared"}
    assert names - known - missing == set()
