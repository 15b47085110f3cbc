"""BERT as functions on a dict of tensors: no nn.Module, no state but the weights.

``build(config, state_dict, mistakes)`` gives a function of (input_ids, attention_mask, token_type_ids), each (B, T)
int64, that returns a dict.  Each mistake is a word that is looked for where it is made.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]


def build(config, state_dict: Mapping[str, Tensor], mistakes: Sequence[str] = ()) -> Callable[..., dict[str, Tensor]]:
    """The model as one function."""
    p = {name.removeprefix("bert."): tensor.detach().clone() for name, tensor in state_dict.items()}
    wrong = frozenset(mistakes)
    for short in ("float16", "bfloat16"):
        if short in wrong:  # the file was kept in half precision
            p = {n: t.to(getattr(torch, short)).to(t.dtype) if n.endswith("dense.weight") else t for n, t in p.items()}
    if "untied" in wrong:
        p["cls.predictions.decoder.weight"] = torch.randn(
            p["embeddings.word_embeddings.weight"].shape, generator=torch.Generator().manual_seed(3)
        ).to(p["embeddings.word_embeddings.weight"])
    return lambda input_ids, attention_mask, token_type_ids: forward(
        p, config, wrong, input_ids, attention_mask, token_type_ids
    )


def affine(p: Weights, name: str, x: Tensor, wrong: frozenset[str]) -> Tensor:
    short = name.rsplit(".", maxsplit=1)[-1] if "self" in name else ".".join(name.split(".")[-2:])
    w, b = p[name + ".weight"], p.get(name + ".bias")
    if f"transposed:{short}" in wrong:
        w = w.t()
    if f"no-bias:{short}" in wrong or ("no-biases" in wrong and "layer" in name):
        return x @ w.t()
    return x @ w.t() + b


def normalise(p: Weights, name: str, x: Tensor, eps: float, wrong: frozenset[str]) -> Tensor:
    gamma, beta = p[name + ".weight"], p[name + ".bias"]
    for word in wrong:
        if word.startswith("eps="):
            eps = float(word[4:])
    if "gamma-beta" in wrong:
        gamma, beta = beta, gamma
    if "no-affine" in wrong:
        gamma, beta = torch.ones_like(gamma), torch.zeros_like(beta)
    mean = x.mean(dim=-1, keepdim=True)
    if "unbiased" in wrong:  # torch.std divides by H - 1
        return gamma * (x - mean) / (x.std(dim=-1, keepdim=True) + 1e-6) + beta
    if "eps-outside" in wrong:
        return gamma * (x - mean) / (x.var(dim=-1, unbiased=False, keepdim=True).sqrt() + 1e-5) + beta
    variance = (x - mean).square().mean(dim=-1, keepdim=True)
    return gamma * (x - mean) * torch.rsqrt(variance + eps) + beta


def curve(name: str, x: Tensor, wrong: frozenset[str]) -> Tensor:
    if "relu" in wrong:
        return F.relu(x)
    if "silu" in wrong:
        return F.silu(x)
    if "quick-gelu" in wrong:
        return x * torch.sigmoid(1.702 * x)
    if "gelu-tanh" in wrong:
        return F.gelu(x, approximate="tanh")
    if "no-activation" in wrong:
        return x
    if "gelu-twice" in wrong:
        return F.gelu(F.gelu(x))
    return F.gelu(x)


def embed(p: Weights, config, wrong: frozenset[str], ids: Tensor, mask: Tensor, segments: Tensor) -> Tensor:
    e = "embeddings."
    place = torch.arange(ids.shape[1]).expand_as(ids)
    if "positions-from-1" in wrong:
        place = place + 1
    if "roberta-positions" in wrong:
        place = mask.cumsum(1) * mask + config.pad_token_id
    words = p[e + "word_embeddings.weight"][(ids + 1).clamp(max=config.vocab_size - 1) if "rows+1" in wrong else ids]
    if "scaled" in wrong:
        words = words * math.sqrt(config.hidden_size)
    where = p[e + "position_embeddings.weight"][place]
    kind = p[e + "token_type_embeddings.weight"][1 - segments if "segments-flipped" in wrong else segments]
    if "sinusoidal" in wrong:
        rate = torch.exp(torch.arange(0, config.hidden_size, 2) * (-math.log(10000.0) / config.hidden_size))
        where = torch.zeros_like(where)
        where[..., 0::2] = torch.sin(place.unsqueeze(-1) * rate)
        where[..., 1::2] = torch.cos(place.unsqueeze(-1) * rate)
    if "no-position" in wrong:
        where = torch.zeros_like(where)
    if "no-segment" in wrong:
        kind = torch.zeros_like(kind)
    if "norm-then-position" in wrong:
        return normalise(p, e + "LayerNorm", words + kind, config.layer_norm_eps, wrong) + where
    total = words + kind + where
    return (
        total if "no-embeddings-norm" in wrong else normalise(p, e + "LayerNorm", total, config.layer_norm_eps, wrong)
    )


def attend(p: Weights, pre: str, config, wrong: frozenset[str], x: Tensor, mask: Tensor) -> Tensor:
    B, T, H = x.shape
    N = config.num_attention_heads
    D = H // N

    def heads(y: Tensor) -> Tensor:
        if "heads-viewed" in wrong:
            return y.reshape(B, N, T, D)
        if "heads-exchanged" in wrong:
            return y.reshape(B, T, D, N).permute(0, 3, 1, 2)
        return y.reshape(B, T, N, D).permute(0, 2, 1, 3)

    q = affine(p, pre + "self.query", x, wrong)
    k = affine(p, pre + "self.key", x, wrong)
    v = affine(p, pre + "self.value", x, wrong)
    if "swapped-kv" in wrong:
        k, v = v, k
    if "swapped-qk" in wrong:
        q, k = k, q
    if "scale-before-bias" in wrong:
        bias = p[pre + "self.query.bias"]
        q = ((q - bias) / math.sqrt(D) + bias) * math.sqrt(D)
    s = torch.matmul(heads(q), heads(k).transpose(2, 3))
    if "scale-1/D" in wrong:
        s = s / D
    elif "scale-sqrtH" in wrong:
        s = s / math.sqrt(H)
    elif "scale-times" in wrong:
        s = s * math.sqrt(D)
    elif "no-scale" not in wrong:
        s = s / math.sqrt(D)
    seen = mask.view(B, 1, 1, T).to(s.dtype)
    low = -1e30
    if "mask-multiplied" in wrong:
        s = s * seen
    elif "mask-inverted" in wrong:
        s = s + seen * low
    elif "mask-wrong-axis" in wrong:
        s = s + (1 - seen).transpose(2, 3) * low
    elif "mask-raw" in wrong:
        s = s + seen
    elif "mask-small" in wrong:
        s = s + (1 - seen) * -10.0
    elif "mask-before-scale" in wrong:
        s = (s * math.sqrt(D) + (1 - seen) * -10.0) / math.sqrt(D)
    elif "no-mask" not in wrong and "mask-after-softmax" not in wrong:
        s = s + (1 - seen) * low
    if "causal" in wrong:
        s = s + torch.triu(torch.full((T, T), low, dtype=s.dtype), diagonal=1)
    a = s.softmax(dim=1 if "softmax-heads" in wrong else 2 if "softmax-queries" in wrong else 3)
    if "mask-after-softmax" in wrong:
        a = a * seen
    if "dropout" in wrong:
        a = F.dropout(a, 0.1, training=True)
    c = torch.matmul(a, heads(v))
    c = c.reshape(B, T, H) if "merged-viewed" in wrong else c.permute(0, 2, 1, 3).reshape(B, T, H)
    return affine(p, pre + "output.dense", c, wrong)


def layer(p: Weights, k: int, config, wrong: frozenset[str], x: Tensor, mask: Tensor) -> Tensor:
    pre, eps = f"encoder.layer.{k}.", config.layer_norm_eps
    first, second = pre + "attention.output.LayerNorm", pre + "output.LayerNorm"
    if "norms-exchanged" in wrong:
        first, second = second, first
    if "norm-shared" in wrong:
        second = first
    if "pre-norm" in wrong:
        x = x + attend(p, pre + "attention.", config, wrong, normalise(p, first, x, eps, wrong), mask)
        y = affine(p, pre + "intermediate.dense", normalise(p, second, x, eps, wrong), wrong)
        return x + affine(p, pre + "output.dense", curve("", y, wrong), wrong)
    o = attend(p, pre + "attention.", config, wrong, x, mask)
    if "norm-before-sum" in wrong:
        a = x + normalise(p, first, o, eps, wrong)
    else:
        a = normalise(p, first, o if "no-attention-residual" in wrong else o + x, eps, wrong)
    y = affine(p, pre + "output.dense", curve("", affine(p, pre + "intermediate.dense", a, wrong), wrong), wrong)
    old = x if "residual-from-input" in wrong else 0 if "no-residual" in wrong else a
    return normalise(p, second, y + old, eps, wrong)


def forward(
    p: Weights, config, wrong: frozenset[str], ids: Tensor, mask: Tensor, segments: Tensor
) -> dict[str, Tensor]:
    x = embed(p, config, wrong, ids, mask, segments)
    order = list(range(config.num_hidden_layers))
    if "layer-skipped" in wrong:
        del order[1]
    if "layer-repeated" in wrong:
        order.insert(1, 1)
    if "layers-exchanged" in wrong:
        order[1], order[2] = order[2], order[1]
    for k in order:
        x = layer(p, k, config, wrong, x, mask)
    result = {"last_hidden_state": x}
    if "pooler.dense.weight" in p:
        first = x[:, 0]
        if "pool-mean" in wrong:
            first = x.mean(1)
        if "pool-last" in wrong:
            first = x[:, -1]
        pooled = affine(p, "pooler.dense", first, wrong)
        pooled = pooled if "no-tanh" in wrong else pooled.tanh()
        result["pooler_output"] = pooled
        if "cls.seq_relationship.weight" in p:
            next_ = affine(p, "cls.seq_relationship", pooled, wrong)
            result["seq_relationship_logits"] = next_.flip(-1) if "nsp-reversed" in wrong else next_
    if "cls.predictions.transform.dense.weight" in p:
        t = affine(p, "cls.predictions.transform.dense", x, wrong)
        t = t if "mlm-no-activation" in wrong else curve("", t, wrong)
        if "mlm-no-norm" not in wrong:
            t = normalise(p, "cls.predictions.transform.LayerNorm", t, config.layer_norm_eps, wrong)
        logits = t @ p["cls.predictions.decoder.weight"].t()
        if "mlm-no-bias" not in wrong:
            logits = logits + p["cls.predictions.decoder.bias"]
        result["prediction_logits"] = logits
    return result
