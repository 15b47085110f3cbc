"""The graph of a sentence's vector against the embedding engine, in torch alone."""

import pytest
import torch
from torch import nn

from minibert.embedding import Embedder
from minibert.embedding.pooling import TOKEN_POOLINGS
from minibert.embedding.steps import Dense, LayerNorm, Normalize
from minibert.errors import InputError
from minibert.export.sentence import Sentence

TEXTS = [
    "She sat by the bank.",
    "배가 고프다.",
    "Yes.",
    "A longer text, which goes on for some more words than the others.",
]


@pytest.fixture(scope="module")
def demo():
    return Embedder.from_pretrained("minibert-demo")


def graph_of(demo, **settings):
    return Embedder(demo.model, demo.tokenizer, **settings)


def vectors(embedder, pad_left: bool = False) -> torch.Tensor:
    tokens = dict(embedder.tokenizer(TEXTS, padding=True, return_tensors="pt"))
    with torch.no_grad():
        return Sentence(embedder)(tokens["input_ids"], tokens["attention_mask"], tokens["token_type_ids"])[0]


@pytest.mark.parametrize(
    "pooling", [*TOKEN_POOLINGS, "pooler", "concat_last4", "weighted_all", 2, ["cls", "max", "mean"]]
)
def test_every_pooling_is_the_engines(pooling, demo) -> None:
    if pooling == "pooler" and demo.model.pooler is None:
        pytest.skip("the demo has no pooler")
    embedder = graph_of(demo, pooling=pooling)
    expected = embedder.encode(TEXTS)
    assert float((vectors(embedder) - expected).abs().max()) <= 2e-6 * float(expected.abs().max())


def test_steps_normalisation_and_truncation_are_in_the_order_of_the_engine(demo) -> None:
    torch.manual_seed(0)
    steps = [Dense(256, 24, True, nn.Tanh(), False), Normalize(), LayerNorm(24)]
    embedder = graph_of(demo, steps=steps, normalize=True, truncate_dim=10)
    expected = embedder.encode(TEXTS)
    assert expected.shape == (4, 10)
    assert not torch.allclose(expected.norm(dim=1), torch.ones(4))
    assert float((vectors(embedder) - expected).abs().max()) < 1e-6


@pytest.mark.parametrize("pooling", TOKEN_POOLINGS)
def test_a_row_of_nothing_but_padding_gives_zeros(pooling, demo) -> None:
    ids = torch.tensor([[2, 7, 3], [2, 7, 3]])
    mask = torch.tensor([[1, 1, 1], [0, 0, 0]])
    with torch.no_grad():
        (found,) = Sentence(graph_of(demo, pooling=pooling, normalize=True))(ids, mask, torch.zeros_like(ids))
    assert float(found[0].norm()) == pytest.approx(1.0)
    assert torch.equal(found[1], torch.zeros(256))


def test_a_prompt_that_does_not_count_is_refused(demo) -> None:
    with pytest.raises(InputError, match="leaves the tokens of a prompt out"):
        Sentence(graph_of(demo, include_prompt=False, prompts={"query": "query: "}))
