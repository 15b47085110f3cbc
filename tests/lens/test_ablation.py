"""ablate_heads: the table is what edits by hand give."""

import pytest
import torch

from minibert import InputError, ablate_heads, edit, mean_head, zero_head
from tests.support.small_models import assert_no_trace, eager, inputs_for, small


def metric(outputs) -> torch.Tensor:
    return outputs.logits[0, 2, 7] - outputs.logits[0, 2, 8]


@pytest.mark.parametrize("how", ["zero", "mean"])
def test_each_entry_is_an_edit(how: str) -> None:
    model, inputs = small("BertForMaskedLM"), inputs_for()
    table = ablate_heads(model, inputs, metric, how)
    assert table.shape == (3, 2) and table.dtype == torch.float64
    whole = metric(eager(model, inputs)).item()
    for layer in range(3):
        for head in range(2):
            change = zero_head(head) if how == "zero" else mean_head(head, attention_mask=inputs["attention_mask"])
            point = f"bert.encoder.layer.{layer}.attention.self.context_heads"
            with edit(model, point, change), torch.no_grad():
                assert table[layer, head].item() == metric(model(**inputs)).item() - whole
    assert table.abs().min() > 1e-5
    assert_no_trace(model)


def test_a_head_that_does_nothing_counts_nothing() -> None:
    model, inputs = small("BertForMaskedLM"), inputs_for()
    with torch.no_grad():
        model.bert.encoder.layer[1].attention.output.dense.weight[:, 6:] = 0  # what head 1 writes is not read
    table = ablate_heads(model, inputs, metric)
    assert table[1, 1] == 0 and (table != 0).sum() == 5
    assert abs(float(ablate_heads(model, inputs, lambda outputs: 1.0).sum())) == 0


def test_an_error_in_the_metric_leaves_no_trace() -> None:
    model = small("BertForMaskedLM")
    with pytest.raises(IndexError):
        ablate_heads(model, inputs_for(), lambda outputs: outputs.logits[99, 0, 0])
    with pytest.raises(InputError, match="how is 'half'; heads are ablated by 'zero' or by 'mean'"):
        ablate_heads(model, inputs_for(), metric, "half")
    assert_no_trace(model)
