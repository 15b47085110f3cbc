"""The whole of my_bert.py, written: the teacher's copy, and what the reader's file is made from.

folder.py takes the bodies of the functions out and puts the task, in the reader's language, at the head of each
docstring.  The function names are those of steps.py.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def gelu(x: Tensor) -> Tensor:
    """x: any shape → the same shape

    Hendrycks & Gimpel 2016, section 2
    """
    return 0.5 * x * (1.0 + torch.erf(x / math.sqrt(2.0)))


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """x (…, H), weight (H), bias (H) → (…, H)

    Ba, Kiros & Hinton 2016, section 3
    """
    mean = x.mean(-1, keepdim=True)
    variance = x.var(-1, keepdim=True, unbiased=False)
    return (x - mean) / torch.sqrt(variance + eps) * weight + bias


def embeddings(input_ids: Tensor, token_type_ids: Tensor, w: Mapping[str, Tensor], eps: float) -> Tensor:
    """input_ids (B, T), token_type_ids (B, T) → (B, T, H)

    w: word (V, H), segment (2, H), position (P, H), norm_weight (H), norm_bias (H)
    Devlin et al. 2018, section 3 and figure 2
    """
    T = input_ids.shape[1]
    x = w["word"][input_ids] + w["segment"][token_type_ids] + w["position"][:T]
    return layer_norm(x, w["norm_weight"], w["norm_bias"], eps)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """x (B, T, H) → (B, N, T, D), where N = heads and D = H / N

    Vaswani et al. 2017, section 3.2.2
    """
    B, T, H = x.shape
    return x.view(B, T, heads, H // heads).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """x (B, N, T, D) → (B, T, H), where H = N · D

    Vaswani et al. 2017, section 3.2.2
    """
    return x.transpose(1, 2).flatten(2)


def attention_scores(query: Tensor, key: Tensor) -> Tensor:
    """query (B, N, T, D), key (B, N, T, D) → (B, N, T, T): [b, n, i, j] is how much token i looks at token j

    Vaswani et al. 2017, section 3.2.1
    """
    return query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])


def apply_mask(scores: Tensor, attention_mask: Tensor) -> Tensor:
    """scores (B, N, T, T), attention_mask (B, T): 1 for a token, 0 for padding → (B, N, T, T)

    Vaswani et al. 2017, figure 2 (left)
    """
    hidden = attention_mask[:, None, None, :] == 0  # (B, 1, 1, T)
    return scores.masked_fill(hidden, torch.finfo(scores.dtype).min)


def softmax(scores: Tensor) -> Tensor:
    """scores (…, T) → (…, T): each row sums to 1

    Vaswani et al. 2017, section 3.2.1, equation 1
    """
    powers = torch.exp(scores - scores.amax(-1, keepdim=True))
    return powers / powers.sum(-1, keepdim=True)


def context(probabilities: Tensor, value: Tensor) -> Tensor:
    """probabilities (B, N, T, T), value (B, N, T, D) → (B, N, T, D)

    Vaswani et al. 2017, section 3.2.1, equation 1
    """
    return probabilities @ value


def self_attention(x: Tensor, attention_mask: Tensor, w: Mapping[str, Tensor], heads: int) -> Tensor:
    """x (B, T, H), attention_mask (B, T) → (B, T, H)

    w: query_weight (H, H), query_bias (H), and the same of key_ and value_; a weight is stored as (out, in)
    Vaswani et al. 2017, section 3.2.2
    """
    query = split_heads(F.linear(x, w["query_weight"], w["query_bias"]), heads)
    key = split_heads(F.linear(x, w["key_weight"], w["key_bias"]), heads)
    value = split_heads(F.linear(x, w["value_weight"], w["value_bias"]), heads)
    probabilities = softmax(apply_mask(attention_scores(query, key), attention_mask))
    return merge_heads(context(probabilities, value))


def self_output(attended: Tensor, x: Tensor, w: Mapping[str, Tensor], eps: float) -> Tensor:
    """attended (B, T, H): from self_attention; x (B, T, H): what the layer reads → (B, T, H)

    w: attention_output_weight (H, H), attention_output_bias (H), attention_norm_weight (H), attention_norm_bias (H)
    Vaswani et al. 2017, section 3.1
    """
    mixed = F.linear(attended, w["attention_output_weight"], w["attention_output_bias"])
    return layer_norm(mixed + x, w["attention_norm_weight"], w["attention_norm_bias"], eps)


def feed_forward(x: Tensor, w: Mapping[str, Tensor], eps: float) -> Tensor:
    """x (B, T, H): from self_output → (B, T, H)

    w: intermediate_weight (I, H), intermediate_bias (I), output_weight (H, I), output_bias (H),
       output_norm_weight (H), output_norm_bias (H)
    Vaswani et al. 2017, sections 3.1 and 3.3
    """
    wide = gelu(F.linear(x, w["intermediate_weight"], w["intermediate_bias"]))  # (B, T, I)
    narrow = F.linear(wide, w["output_weight"], w["output_bias"])
    return layer_norm(narrow + x, w["output_norm_weight"], w["output_norm_bias"], eps)


def layer(x: Tensor, attention_mask: Tensor, w: Mapping[str, Tensor], heads: int, eps: float) -> Tensor:
    """x (B, T, H), attention_mask (B, T) → (B, T, H)

    w: all the weights of one layer, under the names above
    Vaswani et al. 2017, section 3.1 and figure 1 (left)
    """
    attended = self_attention(x, attention_mask, w, heads)
    return feed_forward(self_output(attended, x, w, eps), w, eps)


def encoder(
    x: Tensor, attention_mask: Tensor, layers: Sequence[Mapping[str, Tensor]], heads: int, eps: float
) -> list[Tensor]:
    """x (B, T, H): from embeddings; layers: the weights of each layer → L + 1 hidden states, each (B, T, H)

    Devlin et al. 2018, section 3
    """
    hidden_states = [x]
    for w in layers:
        hidden_states.append(layer(hidden_states[-1], attention_mask, w, heads, eps))
    return hidden_states


def pooler(x: Tensor, w: Mapping[str, Tensor]) -> Tensor:
    """x (B, T, H): the last hidden state → (B, H)

    w: pooler_weight (H, H), pooler_bias (H)
    Devlin et al. 2018, section 3.1, task 2
    """
    return torch.tanh(F.linear(x[:, 0], w["pooler_weight"], w["pooler_bias"]))


def mlm_head(x: Tensor, word: Tensor, w: Mapping[str, Tensor], eps: float) -> Tensor:
    """x (B, T, H): the last hidden state; word (V, H): the word embeddings → (B, T, V)

    w: transform_weight (H, H), transform_bias (H), transform_norm_weight (H), transform_norm_bias (H), decoder_bias (V)
    Devlin et al. 2018, section 3.1, task 1
    """
    x = gelu(F.linear(x, w["transform_weight"], w["transform_bias"]))
    x = layer_norm(x, w["transform_norm_weight"], w["transform_norm_bias"], eps)
    return F.linear(x, word, w["decoder_bias"])


def mlm_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """logits (B, T, V), labels (B, T): the right piece, or -100 where nothing is asked → ()

    Devlin et al. 2018, section 3.1, task 1
    """
    asked = labels != -100
    log_probabilities = torch.log_softmax(logits[asked], dim=-1)
    return -log_probabilities.gather(1, labels[asked][:, None]).mean()


def wordpiece(word: str, vocab: Mapping[str, int]) -> list[str]:
    """word: no spaces; vocab: piece → id → the pieces

    Wu et al. 2016, section 4.1
    """
    if len(word) > 100:
        return ["[UNK]"]
    pieces = []
    start = 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in vocab:
                pieces.append(piece)
                start = end
                break
        else:
            return ["[UNK]"]
    return pieces


def pair_row(
    first: list[int], second: list[int] | None, cls_id: int, sep_id: int, pad_id: int, length: int
) -> tuple[list[int], list[int], list[int]]:
    """first, second: the ids of two texts, or second is None → input_ids, token_type_ids, attention_mask

    Devlin et al. 2018, section 3 and figure 2
    """
    ids = [cls_id, *first, sep_id]
    segments = [0] * len(ids)
    if second is not None:
        ids += [*second, sep_id]
        segments += [1] * (len(second) + 1)
    padding = length - len(ids)
    return ids + [pad_id] * padding, segments + [0] * padding, [1] * len(ids) + [0] * padding


def mask_pieces(
    input_ids: Tensor, special_ids: list[int], mask_id: int, vocab_size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """input_ids (B, T) → input_ids with pieces masked (B, T), labels (B, T): -100 where nothing is asked

    Devlin et al. 2018, section 3.1, task 1, and appendix A.1
    """
    special = torch.isin(input_ids, torch.tensor(special_ids))
    chosen = (torch.rand(input_ids.shape, generator=generator) < 0.15) & ~special
    labels = torch.where(chosen, input_ids, -100)
    fate = torch.rand(input_ids.shape, generator=generator)
    random = torch.randint(vocab_size, input_ids.shape, generator=generator)
    masked = torch.where(chosen & (fate < 0.8), mask_id, input_ids)
    return torch.where(chosen & (fate >= 0.8) & (fate < 0.9), random, masked), labels


def adamw_step(
    weights: dict[str, Tensor],
    grads: dict[str, Tensor],
    m: dict[str, Tensor],
    v: dict[str, Tensor],
    step: int,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    decay: float,
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """weights, grads, m, v: name → tensor of one shape; step: 1, 2, … → new weights, m and v

    Loshchilov & Hutter 2019, algorithm 2; Devlin et al. 2018, appendix A.2
    """
    first, second = betas
    new_weights, new_m, new_v = {}, {}, {}
    for name, weight in weights.items():
        new_m[name] = first * m[name] + (1 - first) * grads[name]
        new_v[name] = second * v[name] + (1 - second) * grads[name] ** 2
        mean = new_m[name] / (1 - first**step)
        square = new_v[name] / (1 - second**step)
        small = "norm" in name or name.endswith("bias")
        change = mean / (square.sqrt() + eps) + (0.0 if small else decay) * weight
        new_weights[name] = weight - lr * change
    return new_weights, new_m, new_v


def my_names(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """state_dict: the tensors of a checkpoint under BERT's names → the same tensors under the names of MyBert

    https://github.com/google-research/bert, modeling.py: where BERT's names come from
    """
    places = {
        "embeddings.word_embeddings.weight": "embed.word",
        "embeddings.token_type_embeddings.weight": "embed.segment",
        "embeddings.position_embeddings.weight": "embed.position",
        "embeddings.LayerNorm": "embed.norm",
        "attention.self.query": "query",
        "attention.self.key": "key",
        "attention.self.value": "value",
        "attention.output.dense": "attention_output",
        "attention.output.LayerNorm": "attention_norm",
        "intermediate.dense": "intermediate",
        "output.dense": "output",
        "output.LayerNorm": "output_norm",
        "pooler.dense": "head.pooler",
        "cls.predictions.transform.dense": "head.transform",
        "cls.predictions.transform.LayerNorm": "head.transform_norm",
        "cls.predictions.bias": "head.decoder_bias",
    }
    mine = {}
    for theirs, tensor in state_dict.items():
        name, front = theirs.removeprefix("bert."), ""
        if name.startswith("encoder.layer."):
            _, _, number, name = name.split(".", 3)
            front = f"layers.{number}."
        module, _, kind = name.rpartition(".")
        kind = {"gamma": "weight", "beta": "bias"}.get(kind, kind)
        if name in places:
            mine[front + places[name]] = tensor
        elif module in places:
            mine[f"{front}{places[module]}_{kind}"] = tensor
    return mine


def fill_mask(model: Any, input_ids: list[int], mask_id: int, k: int) -> list[tuple[int, float]]:
    """model: a MyBert; input_ids: one text with one [MASK] → the k likeliest pieces in its place: (id, probability)

    Devlin et al. 2018, section 3.1, task 1
    """
    ids = torch.tensor([input_ids])
    _, _, logits = model(ids, torch.ones_like(ids), torch.zeros_like(ids))
    probabilities = softmax(logits[0, input_ids.index(mask_id)])
    best = probabilities.topk(k)
    return list(zip(best.indices.tolist(), best.values.tolist(), strict=True))


class MyBert(nn.Module):
    """The model as a whole: it holds the parameters, and calls your functions.  Nothing is missing here."""

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        layers: int,
        heads: int,
        intermediate_size: int,
        positions: int,
        eps: float = 1e-12,
    ) -> None:
        super().__init__()
        H, V = hidden_size, vocab_size
        self.heads, self.eps = heads, eps
        self.embed: Any = parameters(word=(V, H), segment=(2, H), position=(positions, H), **norm("norm", H))
        self.layers: Any = nn.ModuleList(
            parameters(
                **dense("query", H, H),
                **dense("key", H, H),
                **dense("value", H, H),
                **dense("attention_output", H, H),
                **norm("attention_norm", H),
                **dense("intermediate", intermediate_size, H),
                **dense("output", H, intermediate_size),
                **norm("output_norm", H),
            )
            for _ in range(layers)
        )
        self.head: Any = parameters(
            **dense("pooler", H, H), **dense("transform", H, H), **norm("transform_norm", H), decoder_bias=(V,)
        )

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """(B, T) each → L + 1 hidden states (B, T, H), the pooled vector (B, H), the scores of all pieces (B, T, V)."""
        x = embeddings(input_ids, token_type_ids, self.embed, self.eps)
        hidden_states = encoder(x, attention_mask, self.layers, self.heads, self.eps)
        logits = mlm_head(hidden_states[-1], self.embed["word"], self.head, self.eps)
        return hidden_states, pooler(hidden_states[-1], self.head), logits


def dense(name: str, out: int, into: int) -> dict[str, tuple[int, ...]]:
    """The shapes of a dense layer's weight and bias."""
    return {f"{name}_weight": (out, into), f"{name}_bias": (out,)}


def norm(name: str, size: int) -> dict[str, tuple[int, ...]]:
    """The shapes of a LayerNorm's weight and bias."""
    return {f"{name}_weight": (size,), f"{name}_bias": (size,)}


def parameters(**shapes: tuple[int, ...]) -> nn.ParameterDict:
    """Parameters of these shapes, not yet set."""
    return nn.ParameterDict({name: nn.Parameter(torch.empty(shape)) for name, shape in shapes.items()})


def build(config: Any, state_dict: Mapping[str, Tensor]) -> MyBert:
    """Your model with a checkpoint's weights, for: minibert verify minibert-demo --against my_bert.py:build"""
    model = MyBert(
        config.vocab_size,
        config.hidden_size,
        config.num_hidden_layers,
        config.num_attention_heads,
        config.intermediate_size,
        config.max_position_embeddings,
        config.layer_norm_eps,
    )
    model.load_state_dict(my_names(state_dict))  # an error here: a name that is missing, or one too many
    return model.eval()
