"""BERT as in JAX or Keras: pure functions, einsum, kernels (in, out), parameters in nested dicts."""

import torch
from torch import einsum


def convert(state_dict, config):
    w = {k.removeprefix("bert."): v for k, v in state_dict.items()}
    H, N = config.hidden_size, config.num_attention_heads
    D = H // N

    def dense(name):
        return {"kernel": w[name + ".weight"].T, "bias": w[name + ".bias"]}

    def to_heads(name):  # kernel (H, N, D), bias (N, D)
        p = dense(name)
        return {"kernel": p["kernel"].reshape(H, N, D), "bias": p["bias"].reshape(N, D)}

    def from_heads(name):  # kernel (N, D, H)
        p = dense(name)
        return {"kernel": p["kernel"].reshape(N, D, H), "bias": p["bias"]}

    def norm(name):
        return {"scale": w[name + ".weight"], "bias": w[name + ".bias"]}

    def block(i):
        at = f"encoder.layer.{i}."
        return {
            "attention": {
                "query": to_heads(at + "attention.self.query"),
                "key": to_heads(at + "attention.self.key"),
                "value": to_heads(at + "attention.self.value"),
                "out": from_heads(at + "attention.output.dense"),
            },
            "ln_1": norm(at + "attention.output.LayerNorm"),
            "mlp": {"up": dense(at + "intermediate.dense"), "down": dense(at + "output.dense")},
            "ln_2": norm(at + "output.LayerNorm"),
        }

    return {
        "token": w["embeddings.word_embeddings.weight"],
        "position": w["embeddings.position_embeddings.weight"],
        "type": w["embeddings.token_type_embeddings.weight"],
        "ln_0": norm("embeddings.LayerNorm"),
        "blocks": [block(i) for i in range(config.num_hidden_layers)],
        "pooler": dense("pooler.dense"),
    }


def layer_norm(p, x, eps):
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    inv = torch.rsqrt(variance + eps)
    return (x - mean) * inv * p["scale"] + p["bias"]


def apply_dense(p, x):
    return einsum("bth,ho->bto", x, p["kernel"]) + p["bias"]


def split(p, x):
    return einsum("bth,hnd->btnd", x, p["kernel"]) + p["bias"]


def softmax(x):
    x = x - x.max(dim=-1, keepdim=True).values
    e = torch.exp(x)
    return e / e.sum(dim=-1, keepdim=True)


def attention(p, x, bias):
    q = split(p["query"], x)
    k = split(p["key"], x)
    v = split(p["value"], x)
    q = q / q.shape[-1] ** 0.5
    logits = einsum("bqnd,bknd->bnqk", q, k)
    logits = logits + bias
    weights = softmax(logits)
    mixed = einsum("bnqk,bknd->bqnd", weights, v)
    return einsum("bqnd,ndh->bqh", mixed, p["out"]["kernel"]) + p["out"]["bias"]


def gelu(x):
    return 0.5 * x * (1 + torch.erf(x * 0.5**0.5))


def mlp(p, x):
    return apply_dense(p["down"], gelu(apply_dense(p["up"], x)))


def block(p, x, bias, eps):
    a = attention(p["attention"], x, bias)
    x = layer_norm(p["ln_1"], x + a, eps)
    m = mlp(p["mlp"], x)
    return layer_norm(p["ln_2"], x + m, eps)


def embed(params, ids, types, eps):
    T = ids.shape[1]
    x = params["token"][ids]
    x = x + params["position"][None, :T]
    x = x + params["type"][types]
    return layer_norm(params["ln_0"], x, eps)


def forward(params, ids, mask, types, eps):
    x = embed(params, ids, types, eps)
    bias = torch.where(mask[:, None, None, :] > 0, 0.0, -1e10)
    for p in params["blocks"]:
        x = block(p, x, bias, eps)
    first = x[:, :1]
    pooled = torch.tanh(apply_dense(params["pooler"], first))[:, 0]
    return {"sequence": x, "pooled": pooled}


def build(config, state_dict):
    params = convert(state_dict, config)
    eps = config.layer_norm_eps

    def bert(input_ids, attention_mask, token_type_ids):
        return forward(params, input_ids, attention_mask, token_type_ids, eps)

    return bert
