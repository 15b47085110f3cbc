"""Does the runtime's graph compute what the model computes?  Asked once, before a graph is kept.

Nine batches: with and without padding, one text, one token, pairs, the longest length, a few languages, one text
beside many.  Compared are the hidden states, by the largest difference over the largest value, and the mean-pooled
vectors of unit length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.embedding.backends.padding import pad, unpad
from minibert.embedding.backends.runtime import Runtime
from minibert.embedding.packed import Packed, packed_hidden_states
from minibert.embedding.pooling import pool_packed
from minibert.errors import InputError
from minibert.model import BertModel
from minibert.tokenizer.windows import TokenRow

HIDDEN_STATES, VECTORS = 1e-5, 1e-6  # how far they may differ, in float32
TEXTS = (
    "The weather is lovely today.",
    "오늘은 날씨가 정말 좋다. 나는 배를 타고 여행을 간다.",
    "今天天气很好。",
    "Ein Text, der länger ist als die anderen: 42 Wörter, Zahlen wie 3,1415926 und Zeichen (!?) — so etwa.",
    "a",
    "",
)


@dataclass(frozen=True)
class Proof:
    """The largest differences that were found."""

    hidden_states: float  # in parts of the largest value
    vectors: float  # of unit length

    def __str__(self) -> str:
        return (
            f"hidden states within {self.hidden_states:.1e} of the largest value, vectors of unit length within "
            f"{self.vectors:.1e}"
        )


def proof_batches(model: BertModel, max_length: int, texts: Sequence[TokenRow]) -> dict[str, list[TokenRow]]:
    """Batches by what they are; ids are drawn with a fixed seed, ``texts`` are those of TEXTS as rows."""
    draw = torch.Generator().manual_seed(0)
    longest = min(max_length, model.config.max_position_embeddings)

    def row(length: int, first: int | None = None) -> TokenRow:
        length = min(length, longest)
        ids = torch.randint(model.config.vocab_size, (length,), generator=draw).tolist()
        return TokenRow(ids, length if first is None else min(first, length))

    pairs = model.config.type_vocab_size > 1
    batches = {
        "texts in several languages": list(texts),
        "one text": [texts[0]],
        "no padding": [row(7), row(7), row(7)],
        "padding": [row(3), row(11), row(24)],
        "one token": [row(1)],
        "one token beside many": [row(1), row(40)],
        "pairs": [row(9, 4 if pairs else None), row(16, 5 if pairs else None)],
        "the longest length": [row(longest)],
        "the longest beside short ones": [row(2), row(2), row(longest)],
    }
    return {name: sorted(rows, key=len) for name, rows in batches.items()}


def prove(
    runtime: Runtime, model: BertModel, layers: Sequence[int], max_length: int, texts: Sequence[TokenRow]
) -> Proof:
    """Run the batches through both; InputError, naming the batch and the hidden state, where they differ too much."""
    batches = {
        name: Packed.of(rows, torch.device("cpu")) for name, rows in proof_batches(model, max_length, texts).items()
    }
    hidden, vectors = 0.0, 0.0
    given = [(name, pad(packed)) for name, packed in batches.items()]
    alone = ((name, runtime.infer(batch)) for name, batch in given)
    for found in (alone, runtime.stream(given)):
        for name, outputs in found:
            packed = batches[name]
            expected = packed_hidden_states(model, packed, set(layers))
            for layer, output in zip(layers, outputs, strict=True):
                where = f"{runtime.name} differs from the model on the input {name!r}, hidden state {layer}"
                hidden = max(hidden, check_hidden_states(unpad(output, packed), expected[layer], where))
                vectors = max(vectors, check_vectors(unpad(output, packed), expected[layer], packed, where))
    return Proof(hidden, vectors)


def check_hidden_states(found: Tensor, expected: Tensor, where: str) -> float:
    """The largest difference in parts of the largest value; InputError beyond the bound."""
    if found.shape != expected.shape:
        raise InputError(f"{where}: the shape is {tuple(found.shape)}, expected {tuple(expected.shape)}.")
    difference = ((found - expected).abs().max() / expected.abs().max()).item()
    if not difference <= HIDDEN_STATES:  # also where it is not a number
        raise refused(f"{where}, by {difference:.1e} of the largest value; {HIDDEN_STATES:.0e} is allowed")
    return difference


def check_vectors(found: Tensor, expected: Tensor, packed: Packed, where: str) -> float:
    """The largest difference of the mean-pooled vectors of unit length; InputError beyond the bound."""
    first, second = (F.normalize(pool_packed(x, packed, ("mean",), True), dim=-1) for x in (found, expected))
    difference = (first - second).abs().max().item()
    if not difference <= VECTORS:
        raise refused(f"{where}: its vectors of unit length, by {difference:.1e}; {VECTORS:.0e} is allowed")
    return difference


def refused(what: str) -> InputError:
    """The sentence that there is no backend."""
    return InputError(f"{what}. The graph is not used; backend='torch' computes with the model itself.")
