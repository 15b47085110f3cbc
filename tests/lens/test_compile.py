"""A model that nobody looks at compiles as one graph, before and after somebody has looked."""

import pytest
import torch

from minibert import edit, trace
from tests.parity.tolerances import COMPILED_FLOAT32
from tests.support.small_models import inputs_for, small


@pytest.mark.parametrize(
    ("name", "attention", "chunk"),
    [
        ("BertModel", "sdpa", 0),
        ("BertModel", "eager", 4),
        ("BertForMaskedLM", "sdpa", 0),
        ("BertForMaskedLM", "eager", 0),
    ],
)
def test_compiles_as_one_graph_whether_or_not_it_was_looked_at(name: str, attention: str, chunk: int) -> None:
    model = small(name, attn_implementation=attention, num_hidden_layers=1, chunk_size_feed_forward=chunk)
    inputs = inputs_for(name)
    torch._dynamo.reset()
    with torch.no_grad():
        plain = model(**inputs)[0]
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        assert (compiled(**inputs)[0] - plain).abs().max() <= COMPILED_FLOAT32
        trace(model, inputs)
        graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        assert (compiled(**inputs)[0] - plain).abs().max() <= COMPILED_FLOAT32
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs, "compiled again for nothing"
        assert torch.equal(model(**inputs)[0], plain)
        torch._dynamo.reset()
        again = torch.compile(model, fullgraph=True, backend="eager")
        assert torch.equal(again(**inputs)[0], plain)


def test_a_watched_model_does_not_compile_in_silence() -> None:
    model, inputs = small(num_hidden_layers=1), inputs_for()
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    compiled(**inputs)
    with pytest.raises(torch._dynamo.exc.Unsupported), edit(model, "embeddings", lambda value: value * 2):
        compiled(**inputs)
