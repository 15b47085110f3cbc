"""BERT written in OpenVINO's operations: model.py once more, with query, key and value as one product.

``openvino.convert_model`` can read torch's program, but its graph has twice as many operations; on one text of 16
tokens (MiniLM) it takes 8 % longer, and it takes ten seconds to make.  This one is made in a fraction of a second.
Like every graph, it is compared with the model before it is kept.  An activation that is not here is left to
``convert_model`` (:func:`is_writable`).
"""

from typing import Any

import torch
from torch import Tensor, nn

from minibert.graphs import HiddenStates
from minibert.graphs.modules import INPUTS
from minibert.model import BertLayer, BertModel

GELUS = {"gelu": "erf", "gelu_python": "erf", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}


def is_writable(model: BertModel) -> bool:
    """Whether the model's activation is among those that are written here."""
    return model.config.hidden_act in (*GELUS, "relu")


class Writer:
    """The operations, with torch's tensors as constants; ``ops`` is one of OpenVINO's sets of operations."""

    def __init__(self, ops: Any) -> None:
        self.ops = ops

    def constant(self, values: Any) -> Any:
        """A tensor, or a number or list of whole numbers as int64."""
        tensor = values.detach().contiguous() if isinstance(values, Tensor) else torch.tensor(values)
        return self.ops.constant(tensor.numpy())

    def linear(self, x: Any, weight: Tensor, bias: Tensor) -> Any:
        """X · weightᵀ + bias."""
        return self.ops.add(self.ops.matmul(x, self.constant(weight), False, True), self.constant(bias))

    def layer_norm(self, x: Any, module: nn.LayerNorm) -> Any:
        """nn.LayerNorm over the last axis."""
        normal = self.ops.mvn(x, self.constant([-1]), True, float(module.eps), "inside_sqrt")
        return self.ops.add(self.ops.multiply(normal, self.constant(module.weight)), self.constant(module.bias))

    def embeddings(self, model: BertModel, input_ids: Any, token_type_ids: Any) -> Any:
        """BertEmbeddings, positions from 0."""
        module, first = model.embeddings, self.constant(0)
        length = self.ops.gather(self.ops.shape_of(input_ids), self.constant(1), first)
        positions = self.ops.range(first, length, self.constant(1), output_type="i64")
        words = self.ops.gather(self.constant(module.word_embeddings.weight), input_ids, first)
        types = self.ops.gather(self.constant(module.token_type_embeddings.weight), token_type_ids, first)
        places = self.ops.gather(self.constant(module.position_embeddings.weight), positions, first)
        return self.layer_norm(self.ops.add(self.ops.add(words, types), places), module.LayerNorm)

    def mask(self, attention_mask: Any) -> Any:
        """(B, T) of 1 and 0 to (B, 1, 1, T) of 0 and the least number there is, to be added to scores."""
        padding = self.ops.subtract(self.constant(torch.tensor(1.0)), self.ops.convert(attention_mask, "f32"))
        least = self.ops.multiply(padding, self.constant(torch.tensor(torch.finfo(torch.float32).min)))
        return self.ops.unsqueeze(least, self.constant([1, 2]))

    def layer(self, layer: BertLayer, x: Any, mask: Any, activation: str) -> Any:
        """BertLayer."""
        attention, mixing = layer.attention.self, layer.attention.output
        parts = attention.query, attention.key, attention.value
        N, D = attention.num_attention_heads, attention.attention_head_size
        stacked = self.linear(x, torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts]))
        split = self.ops.split(stacked, self.constant(2), 3)
        query, key, value = (self.heads(split.output(number), N, D) for number in range(3))
        scores = self.ops.multiply(self.ops.matmul(query, key, False, True), self.constant(torch.tensor(D**-0.5)))
        weights = self.ops.softmax(self.ops.add(scores, mask), 3)
        context = self.ops.transpose(self.ops.matmul(weights, value, False, False), self.constant([0, 2, 1, 3]))
        context = self.ops.reshape(context, self.constant([0, 0, N * D]), True)  # 0: as it was
        mixed = self.linear(context, mixing.dense.weight, mixing.dense.bias)
        x = self.layer_norm(self.ops.add(mixed, x), mixing.LayerNorm)
        dense = layer.intermediate.dense
        intermediate = self.activated(self.linear(x, dense.weight, dense.bias), activation)
        output = self.linear(intermediate, layer.output.dense.weight, layer.output.dense.bias)
        return self.layer_norm(self.ops.add(output, x), layer.output.LayerNorm)

    def heads(self, x: Any, count: int, size: int) -> Any:
        """(B, T, N · D) to (B, N, T, D)."""
        return self.ops.transpose(
            self.ops.reshape(x, self.constant([0, 0, count, size]), True), self.constant([0, 2, 1, 3])
        )

    def activated(self, x: Any, name: str) -> Any:
        """The activation that is called ``name``."""
        return self.ops.relu(x) if name == "relu" else self.ops.gelu(x, GELUS[name])


def openvino_graph(module: HiddenStates) -> Any:
    """The ``openvino.Model`` of ``module``, from ids, any batch and length, to its hidden states."""
    import openvino
    from openvino import opset13

    write, model = Writer(opset13), module.base
    inputs = [opset13.parameter([-1, -1], openvino.Type.i64, name=name) for name in INPUTS]
    input_ids, attention_mask, token_type_ids = inputs
    x = write.embeddings(model, input_ids, token_type_ids)
    mask = write.mask(attention_mask)
    hidden_states = [x]
    for layer in list(model.encoder.layer)[: max(module.layers)]:
        assert isinstance(layer, BertLayer)
        x = write.layer(layer, x, mask, str(model.config.hidden_act))
        hidden_states.append(x)
    return openvino.Model([opset13.result(hidden_states[number]) for number in module.layers], inputs, "bert")
