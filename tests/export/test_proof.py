"""What counts as the same: the criteria by themselves, on tensors."""

import pytest
import torch

from minibert.export.proof import CosineLoss, prove

IDS = torch.ones(2, 3, dtype=torch.long)
MASK = torch.tensor([[1, 1, 1], [1, 0, 0]])
BATCH = {"input_ids": IDS, "attention_mask": MASK, "token_type_ids": 0 * IDS}
ONE = {name: value[:1] for name, value in BATCH.items()}


def proof_of(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], criterion: object = None) -> object:
    return prove(lambda _: found, lambda _: expected, {"only": BATCH}, runtime="none", criterion=criterion)


def test_a_difference_is_a_share_of_the_largest_value() -> None:
    value = torch.zeros(2, 3, 4)
    value[0, 0, 0] = -8.0
    wrong = value.clone()
    wrong[0, 1, 2] = 8e-5
    assert proof_of({"x": wrong}, {"x": value}).figure == pytest.approx(1e-5, rel=1e-3)
    assert not proof_of({"x": wrong * 1.1}, {"x": value}).same
    assert proof_of({"x": wrong * 0.9 + 0.1 * value}, {"x": value}).same


def test_padding_counts_as_every_other_place() -> None:
    for value in (torch.ones(2, 3, 4), torch.ones(2, 5, 3, 7), torch.ones(2, 4)):
        wrong = value.clone()
        wrong[1, ..., -1] += 5e-5
        proof = proof_of({"x": wrong}, {"x": value})
        assert not proof.same
        assert proof.figure == pytest.approx(5e-5, rel=1e-2)


def test_the_numbers_of_a_mask_are_compared_with_themselves() -> None:
    lowest = torch.finfo(torch.float32).min
    scores = torch.tensor([[1.0, lowest, 2.0], [1.0, 2.0, lowest]])
    assert proof_of({"x": scores}, {"x": scores}).same
    assert not proof_of({"x": scores.clamp(min=-1e4)}, {"x": scores}).same
    assert not proof_of({"x": torch.where(scores > 0, scores + 1e-4, scores)}, {"x": scores}).same


def test_a_score_near_0_has_the_scale_of_the_others() -> None:
    scores = {"many": torch.tensor([3.0, -2.0]), "one": torch.tensor([0.001])}
    kinds = {"many": BATCH, "one": ONE}

    def run(error: float) -> object:
        return lambda batch: {"logits": scores["many" if len(batch["input_ids"]) == 2 else "one"] + error}

    assert prove(run(1e-6), run(0.0), kinds, runtime="none").same
    assert not prove(run(5e-5), run(0.0), kinds, runtime="none").same


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, "there is no such output"),
        ({"x": torch.ones(2, 3, 5)}, "its shape is (2, 3, 5), not (2, 3, 4)"),
        ({"x": torch.full((2, 3, 4), float("nan"))}, "it holds NaN or infinity"),
    ],
)
def test_what_cannot_be_compared_is_a_failure(found, said) -> None:
    proof = proof_of(found, {"x": torch.ones(2, 3, 4)})
    assert not proof.same
    assert proof.first_difference.failure == said


def test_an_error_of_the_runtime_is_a_failure() -> None:
    def run(batch: object) -> dict[str, torch.Tensor]:
        raise ValueError("no such operator")

    proof = prove(run, lambda _: {"x": torch.ones(2, 3)}, {"only": BATCH}, runtime="none")
    assert proof.first_difference.failure == "it does not run: no such operator"


def test_a_cosine_is_of_tokens_alone() -> None:
    value = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    wrong = value.clone()
    wrong[1, 1:] = -value[1, 1:]
    assert proof_of({"x": wrong}, {"x": value}, CosineLoss(0.002)).figure < 1e-6
    wrong[0, 0] = -value[0, 0]
    assert proof_of({"x": wrong}, {"x": value}, CosineLoss(0.002)).figure == pytest.approx(2.0)
