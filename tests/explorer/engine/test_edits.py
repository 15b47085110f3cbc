"""Edits in the page have the effect that minibert.edit has, also where a run goes on from a kept hidden state."""

from typing import Any

import pytest
import torch

from minibert import edit, force_attention, trace, zero_head
from minibert.explorer.interventions import Interventions, Noise
from tests.explorer.engine.test_parity import TINY
from tests.parity.tolerances import PAGE
from tests.support.engine import differences
from tests.support.small_models import small

INPUTS = {"input_ids": torch.tensor([[5, 17, 100, 3, 42, 8]])}
ATTENTION = "encoder.layer.1.attention.self"
ROW = [0.5, 0.0, 0.25, 0.0, 0.125, 0.125]


def pattern(model: Any) -> Any:
    """The probabilities of layer 1 with ROW for token 2 of head 1."""
    probabilities = trace(model, INPUTS)[f"{ATTENTION}.probabilities"].clone()
    probabilities[0, 1, 2] = torch.tensor(ROW)
    return force_attention(probabilities, heads=1)


CASES: dict[str, tuple[list, Any]] = {  # edits as driver.js takes them, and for minibert.edit
    "heads": (
        [[f"{ATTENTION}.context_heads", [["zeroHeads", 0, 2]]]],
        lambda _: {f"{ATTENTION}.context_heads": zero_head(0, 2)},
    ),
    "row": (
        [[f"{ATTENTION}.probabilities", [["forceAttention", 1, 2, ROW]]]],
        lambda model: {f"{ATTENTION}.probabilities": pattern(model)},
    ),
    "noise at the embeddings": (
        [["embeddings", [["addNoise", 0.7, 2, 5]]]],
        lambda _: Interventions((), Noise(0.7, 2, 0, 5)).changes(),
    ),
    "noise at the last hidden state": (
        [["encoder.layer.2", [["addNoise", 0.3, 0, 2**31 - 1]]]],
        lambda _: Interventions((), Noise(0.3, 0, 3, 2**31 - 1)).changes(),
    ),
    "heads and noise": (
        [
            ["encoder.layer.0.attention.self.context_heads", [["zeroHeads", 1]]],
            ["encoder.layer.1", [["addNoise", 2, 5, 1], ["addNoise", 0.5, 1, 2]]],
        ],
        lambda _: {
            "encoder.layer.0.attention.self.context_heads": zero_head(1),
            "encoder.layer.1": lambda value: Noise(0.5, 1, 2, 2).change(Noise(2.0, 5, 2, 1).change(value)),
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_edits_are_those_of_the_lens(open_engine, case: str) -> None:
    model = small("BertModel", **TINY)
    engine = open_engine(model)
    edits, changes = CASES[case]
    clean = engine.run(INPUTS)
    with edit(model, changes(model)):
        traced = trace(model, INPUTS)
    edited = engine.run(INPUTS, edits=edits)
    assert max(differences(edited, traced, "").values()) <= PAGE
    assert (edited["/last_hidden_state"] - clean["/last_hidden_state"]).abs().max() > 1e-3

    engine.run(INPUTS)
    rest = engine.run(INPUTS, edits=edits, **{"from": True})
    assert set(rest) < set(edited) if case != "noise at the embeddings" else len(rest) == len(edited) - 6
    assert all(torch.equal(value, edited[name]) for name, value in rest.items())


def test_layers_below_an_edit_are_not_computed_again(open_engine) -> None:
    engine = open_engine(small("BertModel", **TINY))
    clean = engine.run(INPUTS)
    rest = engine.run(INPUTS, edits=[["encoder.layer.1.output.dense", [["addNoise", 1, 0, 0]]]], **{"from": True})
    names = list(clean)
    assert next(iter(rest)) == "encoder.layer.0"
    assert list(rest) == names[names.index("encoder.layer.0") :]
