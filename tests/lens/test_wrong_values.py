"""Whatever is handed to a public function of the lens: a value, or a sentence of ours."""

import math
from functools import partial

import pytest
import torch

from minibert import (
    MinibertError,
    ablate_heads,
    edit,
    exact_sensitivity,
    force_attention,
    logit_lens,
    mean_head,
    patch,
    sensitivity,
    trace,
    walk,
    zero_head,
)
from minibert.lens import jacobian_block
from tests.support.small_models import inputs_for, small

WRONG = (
    None, 0, -1, 3, 1 << 70, 0.5, math.nan, math.inf, True, "", "x", "embeddings", b"x", [], [None], ["x", 3], [[0, 1]],
    (), {}, {"x": 1}, set(), object(), torch.zeros(2), torch.tensor(1.5), torch.zeros(1, 9, 8, dtype=torch.bool), len,
)  # fmt: skip
CONTEXT = "bert.encoder.layer.0.attention.self.context_heads"


@pytest.fixture(scope="module")
def setting():
    return small("BertForMaskedLM"), inputs_for("BertForMaskedLM")


def call_trace(model, right, **wrong):
    return trace(model, **{"inputs": right, **wrong})


def call_walk(model, right, **wrong):
    return list(walk(model, **{"inputs": right, **wrong}))


def call_edit(model, inputs, **wrong):
    with edit(model, **{"point": CONTEXT, "change": zero_head(0), **wrong}):
        return model(**inputs)


def changed_by(change, *names: str):
    """An edit with what ``change`` makes of the wrong value: its only argument, or the one of that name."""

    def call(model, inputs, **wrong):
        with edit(model, CONTEXT, change(**wrong) if names else change(*wrong.values())):
            return model(**inputs)

    return call


PLACES = [
    (call_trace, "inputs"), (call_trace, "points"), (call_walk, "inputs"), (call_edit, "point"), (call_edit, "change"),
    (changed_by(zero_head), "heads"), (changed_by(mean_head), "heads"),
    (changed_by(patch), "value"),
    (changed_by(partial(patch, torch.zeros(())), "tokens"), "tokens"),
    (changed_by(partial(patch, torch.zeros(())), "heads"), "heads"),
    (lambda model, inputs, pattern: force_attention(pattern), "pattern"),
    *((lambda model, right, **wrong: logit_lens(model, **{"inputs": right, **wrong}), name)
      for name in ("inputs", "k", "targets")),
    *((lambda model, right, **wrong: ablate_heads(
        model, **{"inputs": right, "metric": lambda outputs: outputs.logits[0, 0, 0], **wrong}), name)
      for name in ("inputs", "metric", "how")),
    *((lambda model, right, **wrong: sensitivity(model, **{"inputs": right, "samples": 1, "positions": [0], **wrong}),
       name) for name in ("inputs", "at", "points", "std", "relative", "samples", "seed", "mode", "positions",
                          "chunk")),
    *((lambda model, right, **wrong: exact_sensitivity(model, **{"inputs": right, "positions": [0], **wrong}), name)
      for name in ("inputs", "at", "points", "dtype", "mode", "positions", "chunk")),
    *((lambda model, right, **wrong: jacobian_block(
        model, **{"inputs": right, "at": "embeddings", "i": 0, "point": "encoder.layer.0", "j": 1, **wrong}), name)
      for name in ("at", "i", "point", "j", "text", "dtype", "chunk")),
]  # fmt: skip


@pytest.mark.parametrize(("call", "name"), PLACES, ids=[f"{number}-{name}" for number, (_, name) in enumerate(PLACES)])
def test_a_value_or_a_sentence(setting, call, name: str) -> None:
    model, inputs = setting
    sentences = 0
    for wrong in WRONG:
        if name == "samples" and type(wrong) is int and wrong > 1000:
            continue  # a right value that would take for ever
        try:
            call(model, inputs, **{name: wrong})
        except MinibertError as error:
            sentences += 1
            assert str(error).endswith((".", "?")) and len(str(error)) > 20, error
    assert sentences >= 5
