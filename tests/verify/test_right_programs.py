"""Right programs of others are left alone, whatever they are called (all of them: scripts/studies/right_ports.py)."""

import pytest
import torch
from torch import Tensor, nn

from minibert import BertForPreTraining
from minibert.verify.observe import COMPILED, observe
from minibert.verify.ports import batches_for_ports, explain_port
from tests.support.small_models import small
from tests.verify.ports import encoder, fused
from tests.verify.ports.renamed import without_names

SETTINGS = {"hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 40, "vocab_size": 90}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("small")
    small("BertForPreTraining", **SETTINGS).save_pretrained(place)
    return place


def of_transformers(folder, attention: str, dtype: torch.dtype) -> nn.Module:
    """The model of transformers with none of BERT's names."""
    transformers = pytest.importorskip("transformers", reason="no transformers (make test installs it)")
    kind = transformers.BertForPreTraining
    model = without_names(kind.from_pretrained(folder, attn_implementation=attention, dtype=dtype).eval())
    names = [name for name, _ in model.named_modules()] + [type(each).__name__ for each in model.modules()]
    assert not [
        name for name in names if any(word in name.lower() for word in ("bert", "attention", "layer.", "query"))
    ]
    return model


@pytest.mark.parametrize("names", [["one text"], ["padded texts"], ["padded texts", "one text"]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_transformers_without_names(folder, attention, dtype, names):
    right = BertForPreTraining.from_pretrained(folder, dtype=dtype)
    batches = {name: batch for name, batch in batches_for_ports(right.config).items() if name in names}
    found = explain_port(right, of_transformers(folder, attention, dtype), batches)
    assert found.same, str(found)
    unseen = [point.point for point in found.points if point.status != "found"]
    hidden = [] if attention == "eager" else ["scores", "probabilities"] * right.config.num_hidden_layers
    assert [name.rsplit(".", 1)[1] for name in unseen] == hidden


def test_a_program_that_takes_one_dictionary(folder):
    right = BertForPreTraining.from_pretrained(folder)
    port = fused.build(right.config, right.state_dict())

    def program(input: dict[str, Tensor], normalize: bool = False):
        return port(input["input_ids"], input["attention_mask"], input["token_type_ids"])

    assert explain_port(right, program).same


def test_an_encoder_of_torch_with_its_fast_path(folder):
    """On padded texts it computes with nested tensors, and a layer is one kernel: here it is run without."""
    right = BertForPreTraining.from_pretrained(folder)
    enabled = torch.backends.mha.get_fastpath_enabled()
    port = encoder.build(right.config, right.state_dict())
    torch.backends.mha.set_fastpath_enabled(True)
    try:
        port.encoder.enable_nested_tensor = port.encoder.use_nested_tensor = True
        found = explain_port(right, port)
        assert torch.backends.mha.get_fastpath_enabled()
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
    assert found.same, str(found)
    assert {point.status for point in found.points if "intermediate" in point.point} == {"found"}


def test_values_in_a_short_dtype_are_told(folder):
    right = BertForPreTraining.from_pretrained(folder)
    port = fused.build(right.config, right.state_dict())

    def program(input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return port(input_ids, attention_mask, token_type_ids)

    found = explain_port(right, program)
    assert [mistake.name for finding in found.findings for mistake in finding.mistakes] == [
        "values.rounded (bfloat16, 2)"
    ]
    assert "encoder.layer.0.attention.self.query" in found.findings[0].points
    assert "embeddings" not in found.findings[0].points  # autocast computes LayerNorm in float32
    short = BertForPreTraining.from_pretrained(folder).bfloat16()
    assert explain_port(short, fused.build(short.config, short.state_dict())).same


def test_copies_of_values_are_no_values(folder):
    right = BertForPreTraining.from_pretrained(folder)
    names = [
        v.name
        for v in observe(
            fused.build(right.config, right.state_dict()), batches_for_ports(right.config)["one text"]
        ).values
    ]
    assert not [name for name in names if "clone" in name or "detach" in name]
    assert any(name.startswith("given to blocks.0.mix") for name in names)


@pytest.mark.slow
def test_a_compiled_program_returns_what_the_compiled_one_returns(folder):
    right = BertForPreTraining.from_pretrained(folder)

    class Port(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = fused.build(right.config, right.state_dict())

        def forward(self, ids: Tensor, mask: Tensor, segments: Tensor) -> dict[str, Tensor]:
            return {"last_hidden_state": self.net(ids, mask, segments)[0]}

    def wrong(graph, _example):
        return lambda *inputs: [1.01 * each for each in graph(*inputs)]

    good = explain_port(right, torch.compile(Port(), backend="eager"))
    assert good.same and COMPILED in good.notes
    bad = explain_port(right, torch.compile(Port(), backend=wrong))
    assert [finding.mistakes[0].key for finding in bad.findings] == ["outputs.other"]
