"""A value is found by its numbers, however it lies in memory, and by nothing else."""

import pytest
import torch

from minibert.verify.layouts import Index, Value

B, T, N, D, H = 3, 7, 4, 5, 20
LENGTHS = torch.tensor([5, 7, 3])
VISIBLE = torch.arange(T) < LENGTHS[:, None]
SIZES = {"N": N, "D": D, "I": 11, "V": 23, "C": 2}


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def index(*tensors: torch.Tensor) -> Index:
    return Index([Value(f"theirs {n}", tensor, n) for n, tensor in enumerate(tensors)], VISIBLE, SIZES)


VIEWS = {
    "as it is": lambda x: x,
    "batch second": lambda x: x.transpose(0, 1).contiguous(),
    "one row": lambda x: x.reshape(B * T, H),
    "tokens outside": lambda x: x.transpose(0, 1).reshape(T * B, H),
    "heads split": lambda x: x.view(B, T, N, D).transpose(1, 2),
    "heads first": lambda x: x.view(B, T, N, D).permute(2, 0, 1, 3).contiguous(),
    "keys transposed": lambda x: x.view(B, T, N, D).permute(0, 2, 3, 1).contiguous(),
    "features first": lambda x: x.permute(2, 0, 1).contiguous(),
    "heads and texts": lambda x: x.view(B, T, N, D).transpose(1, 2).reshape(B * N, T, D),
    "packed": lambda x: x[VISIBLE],
    "packed, heads split": lambda x: x[VISIBLE].view(-1, N, D).transpose(0, 1).contiguous(),
    "more dimensions": lambda x: x[:, None, :, None],
    "fused behind": lambda x: torch.cat([x + 1, x, x - 1], dim=-1),
    "fused by head": lambda x: torch.stack([x.view(B, T, N, D), x.view(B, T, N, D) * 2], dim=3),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_found_in_every_layout(view: str, dtype: torch.dtype) -> None:
    expected = draw(B, T, H)
    theirs = VIEWS[view](expected).to(dtype)
    match = index(draw(B, T, H) + 1, theirs).find("BTH", expected, 4)
    assert match is not None
    assert match.name == "theirs 1"
    assert match.tensor[VISIBLE].allclose(expected[VISIBLE], rtol=0, atol=1e-6)
    assert match.ulps <= 0.5


def test_found_in_parts() -> None:
    expected = draw(B, T, H)
    by_head = expected.view(B, T, N, D).unbind(2)
    match = index(*by_head).find("BTH", expected, 4)
    assert match is not None
    assert match.name == "theirs 0 and 3 more"
    assert match.tensor.equal(expected)
    by_text = [expected[b, : int(LENGTHS[b])] for b in range(B)]
    match = index(*by_text).find("BTH", expected, 4)
    assert match is not None
    assert match.tensor.equal(expected)
    assert index(*by_head[:-1]).find("BTH", expected, 4) is None


def test_scores_and_their_transposed() -> None:
    expected = draw(B, N, T, T)
    match = index(expected.mT.contiguous()).find("BNTS", expected, 4)
    assert match is not None
    assert match.layout.atoms == "BNST"


def test_a_view_that_moves_tokens_into_heads_is_not_found() -> None:
    expected = draw(B, T, H)
    assert index(expected.view(B, N, T, D)).find("BTH", expected, 4) is None


def test_padding_does_not_count_and_is_told() -> None:
    expected = draw(B, T, H)
    theirs = torch.where(VISIBLE[..., None], expected, torch.nan)
    match = index(theirs).find("BTH", expected, 4)
    assert match is not None
    assert match.tensor.equal(expected)  # where they have no number, ours
    match = index(torch.where(VISIBLE[..., None], expected, 9.0)).find("BTH", expected, 4)
    assert match is not None
    assert not match.everywhere


def test_one_number_that_differs_is_seen() -> None:
    expected = draw(B, T, H)
    theirs = expected.clone()
    theirs[1, 6, 19] += 1e-9
    assert index(theirs).find("BTH", expected, 4) is None
    assert index(theirs).find("BTH", expected, 4e7) is not None


def test_constants_match_nothing() -> None:
    assert index(torch.zeros(B, T, H), torch.ones(B, T, H)).find("BTH", torch.zeros(B, T, H).double(), 4) is None
    assert index(torch.ones(B, T, H)).find("BTH", torch.full((B, T, H), float("nan")), 4) is None


def test_the_first_in_their_order() -> None:
    expected = draw(B, T, H)
    match = index(expected * 2, expected.clone(), expected.clone()).find("BTH", expected, 4)
    assert match is not None
    assert match.name == "theirs 1"
