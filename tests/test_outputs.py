"""The record a model returns, read in every way that code in the wild reads it."""

import pytest
import torch

from minibert import BertConfig, BertModel, BertModelOutput


@pytest.fixture(scope="module")
def model() -> BertModel:
    torch.manual_seed(0)
    return BertModel(BertConfig(vocab_size=50, hidden_size=24, num_attention_heads=2, intermediate_size=32)).eval()


IDS = torch.tensor([[1, 2, 3, 4]])


def test_thirteen_hidden_states_and_unpacking(model: BertModel) -> None:
    mask = torch.tensor([[1, 1, 1, 0]])
    model.config.output_hidden_states = True
    last_hidden_state, pooler_output, hidden_states = model(IDS, attention_mask=mask)
    model.config.output_hidden_states = False
    assert last_hidden_state.shape == (1, 4, 24)
    assert pooler_output.shape == (1, 24)
    assert len(hidden_states) == 13
    assert hidden_states[-1] is last_hidden_state


def test_by_attribute_key_index_and_slice(model: BertModel) -> None:
    output = model(IDS)
    assert output.keys() == ("last_hidden_state", "pooler_output")
    assert output[0] is output["last_hidden_state"] is output.last_hidden_state
    assert output[:2] == output.to_tuple() == output.values()
    assert dict(output) == dict(output.items())
    assert len(output) == 2
    assert "hidden_states" not in output
    assert output.hidden_states is None
    assert output.get("attentions", 7) == 7
    with pytest.raises(KeyError, match="present are last_hidden_state, pooler_output"):
        output["attentions"]


def test_attentions_take_their_place(model: BertModel) -> None:
    output = model(IDS, output_attentions=True)
    assert output[2] is output.attentions
    assert output.attentions[0].shape == (1, 2, 4, 4)
    assert torch.allclose(output.attentions[0].sum(-1), torch.ones(1, 2, 4))


def test_a_plain_tuple_when_asked(model: BertModel) -> None:
    output = model(IDS, return_dict=False)
    assert type(output) is tuple
    assert len(output) == 2


def test_torch_sees_the_tensors_inside() -> None:
    from torch.utils import _pytree as pytree

    output = BertModelOutput(torch.ones(2), hidden_states=(torch.zeros(1), torch.zeros(3)))
    doubled = pytree.tree_map(lambda tensor: tensor * 2, output)
    assert isinstance(doubled, BertModelOutput)
    assert doubled.last_hidden_state.tolist() == [2, 2]
    assert doubled.pooler_output is None
    jacobian = torch.func.jacrev(lambda x: BertModelOutput(x * 3).last_hidden_state)(torch.ones(2))
    assert jacobian.tolist() == [[3, 0], [0, 3]]
