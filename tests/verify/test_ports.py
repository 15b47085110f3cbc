"""The four ports of ports/ compute what minibert computes, where they make no mistake."""

import numpy as np
import pytest
import torch

from minibert import BertConfig, BertForPreTraining
from tests.verify.ports import functional, fused, numpy_port, packed

OUTPUTS = ("last_hidden_state", "pooler_output", "prediction_logits", "seq_relationship_logits")
T = 13
MASK = (torch.arange(T) < torch.tensor([9, 13, 5])[:, None]).long()
IDS = torch.randint(50, (3, T), generator=torch.Generator().manual_seed(0))
SEGMENTS = (torch.arange(T) >= 4).long() * MASK


def model(attention: str, dtype: torch.dtype) -> BertForPreTraining:
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=50, hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=40,
        max_position_embeddings=20, attn_implementation=attention,
    )  # fmt: skip
    model = BertForPreTraining(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    assert model.config.attn_implementation == attention
    return model.to(dtype)


def outputs_of(port: str, config, weights) -> dict[str, torch.Tensor]:
    """What the port returns, padding left out."""
    seen = MASK.bool()
    if port == "numpy_port":
        values = numpy_port.build(config, weights)(IDS.numpy(), MASK.numpy(), SEGMENTS.numpy())
        found = [torch.as_tensor(values[name]) for name in ("x3", "pool", "mlm", "is_next")]
    elif port == "packed":
        values = packed.build(config, weights)(IDS, MASK, SEGMENTS)
        return {name: values[name] for name in OUTPUTS}
    elif port == "functional":
        values = functional.build(config, weights)(IDS, MASK, SEGMENTS)
        found = [values[name] for name in OUTPUTS]
    else:
        found = list(fused.build(config, weights, (), port == "written")(IDS, MASK, SEGMENTS))
    return {name: value[seen] if value.dim() == 3 else value for name, value in zip(OUTPUTS, found, strict=True)}


@pytest.mark.parametrize("port", ["functional", "fused", "written", "packed", "numpy_port"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 2e-5), (torch.float64, 1e-12)])
def test_a_port_is_right(port, attention, dtype, bound):
    right = model(attention, dtype)
    with torch.no_grad():
        both = right(IDS, attention_mask=MASK, token_type_ids=SEGMENTS)
        inner = right.bert(IDS, attention_mask=MASK, token_type_ids=SEGMENTS)
        found = outputs_of(port, right.config, right.state_dict())
    expected = {
        "last_hidden_state": inner.last_hidden_state[MASK.bool()],
        "pooler_output": inner.pooler_output,
        "prediction_logits": both.prediction_logits[MASK.bool()],
        "seq_relationship_logits": both.seq_relationship_logits,
    }
    for name in OUTPUTS:
        assert found[name].dtype == dtype, name
        assert float((found[name] - expected[name]).abs().max()) < bound * float(expected[name].abs().max()), name


def test_a_mistake_changes_the_outputs():
    right = model("sdpa", torch.float64)
    values = numpy_port.build(right.config, right.state_dict())(IDS.numpy(), MASK.numpy(), SEGMENTS.numpy())
    wrong = numpy_port.build(right.config, right.state_dict(), ["tanh"])(IDS.numpy(), MASK.numpy(), SEGMENTS.numpy())
    assert list(values) == list(wrong) and {"input_ids", "L2_p", "x3"} < set(values)
    assert np.abs(values["x3"] - wrong["x3"]).max() > 1e-5
