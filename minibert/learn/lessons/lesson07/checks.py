"""What the answers of lesson 7 are held to: masking, chance and the learning rate of pre-training."""

from functools import cache
from math import isclose, log, log2, log10
from typing import Any

import torch
from torch import Tensor

from minibert.pretraining.examples import ordinary_pieces
from minibert.tokenizer import BertTokenizer
from minibert.training.optimizer import scheduled_learning_rate
from minibert.training.settings import Settings

TEXT = "He opened the door of the old house and went in, and the captain of the ship sat down by the window to write."


def closest(answer: Any, known: dict[str, float], tolerance: float = 0.005) -> str:
    """The key of the number that an answer is; ``other`` if it is none."""
    return next((key for key, value in known.items() if isclose(float(answer), value, rel_tol=tolerance)), "other")


def share(answer: Any) -> str:
    """Pieces of 1,000 that become [MASK]."""
    return closest(answer, {"right": 120, "chosen": 150, "all": 800, "percent": 12, "fraction": 0.12})


@cache
def drawn() -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
    """The ids, the choice, the fate and the random pieces of the lesson, and the id of [MASK]."""
    tokenizer = BertTokenizer.from_pretrained("minibert-demo")
    input_ids = tokenizer(TEXT, return_tensors="pt")["input_ids"][0]  # (T)
    draws = torch.rand(2, len(input_ids), generator=torch.Generator().manual_seed(105))
    chosen = (draws[0] < 0.15) & ordinary_pieces(tokenizer)[input_ids]
    pieces = torch.randint(999, 16000, (len(input_ids),), generator=torch.Generator().manual_seed(2))
    return input_ids, chosen, draws[1], pieces, tokenizer.mask_token_id


def eighty(answer: Any) -> str:
    """[MASK] for the lowest 80 % of the fates, a random piece for the next 10 %."""
    ids, chosen, fate, pieces, mask = drawn()

    def replaced(as_mask: Tensor, as_piece: Tensor) -> Tensor:
        return torch.where(as_piece, pieces, ids.masked_fill(as_mask, mask))

    never = torch.zeros_like(chosen)
    known = {
        "right": replaced(chosen & (fate < 0.8), chosen & (fate >= 0.8) & (fate < 0.9)),
        "unchanged": ids,
        "all": replaced(chosen, never),
        "none-stays": replaced(chosen & (fate < 0.8), chosen & (fate >= 0.8)),
        "no-random": replaced(chosen & (fate < 0.8), never),
        "swapped": replaced(chosen & (fate >= 0.2), chosen & (fate >= 0.1) & (fate < 0.2)),
        "everywhere": replaced(fate < 0.8, (fate >= 0.8) & (fate < 0.9)),
    }
    flat = answer.reshape(-1)
    return next((key for key, value in known.items() if torch.equal(flat, value)), "other")


def chance(answer: Any) -> str:
    """-ln(1 / V)."""
    V = 16000
    known = {"right": log(V), "sign": -log(V), "bits": log2(V), "ten": log10(V), "probability": 1 / V, "two": log(2)}
    return closest(answer, known)


def warmup(answer: Any) -> str:
    """A quarter of the way up."""
    settings = Settings(learning_rate=1e-4, warmup=0.01)
    known = {
        "right": scheduled_learning_rate(settings, 2500, 1_000_000),
        "peak": 1e-4,
        "falling": 1e-4 * (1 - 2500 / 1_000_000),
        "whole": 1e-4 * 2500 / 1_000_000,
    }
    return closest(answer, known, 1e-4)
