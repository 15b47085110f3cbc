"""BERT in NumPy alone, as somebody without a framework writes it; everything it computes is recorded.

``build(config, state_dict, mistakes)`` gives a function of three integer arrays (B, T) that returns a dict: the ids,
and every value under names of its own.  ``numpy.savez(path, **recorded)`` makes a file of it.
"""

import math

import numpy as np

erf = np.vectorize(math.erf, otypes=[np.float64])


def build(config, state_dict, mistakes=()):
    """The model as a function of arrays."""
    arrays = {}
    for key, tensor in state_dict.items():
        arrays[key[len("bert.") :] if key.startswith("bert.") else key] = np.array(tensor.detach().cpu().numpy())
    return lambda ids, mask, kinds: run(config, arrays, set(mistakes), np.array(ids), np.array(mask), np.array(kinds))


def softmax(z, axis):
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def run(config, W, bad, ids, mask, kinds):
    rec = {"input_ids": ids, "attention_mask": mask, "token_type_ids": kinds}
    heads, eps = config.num_attention_heads, config.layer_norm_eps
    if "eps_1e-5" in bad:
        eps = 1e-5
    if "eps_1e-3" in bad:
        eps = 1e-3

    def keep(name, value):
        rec[name] = value.astype(W["embeddings.word_embeddings.weight"].dtype)
        return rec[name]

    def fc(key, x):
        w, b = W[key + ".weight"], W[key + ".bias"]
        short = "/".join(key.split(".")[-2:])
        if "T:" + short in bad:
            w = w.T
        if "reshape:" + short in bad:
            w = w.reshape(w.shape[::-1]).T
        if "fp16" in bad and "encoder" in key:
            w = w.astype(np.float16).astype(w.dtype)
        if "int8" in bad and "encoder" in key:
            unit = np.abs(w).max() / 127
            w = np.round(w / unit) * unit
        if "b0:" + short in bad:
            return x @ w.T
        return x @ w.T - b if "b-:" + short in bad else x @ w.T + b

    def norm(key, x):
        g, b = W[key + ".weight"], W[key + ".bias"]
        m = x.mean(-1, keepdims=True)
        if "ddof" in bad:
            return g * (x - m) / np.sqrt(x.var(-1, ddof=1, keepdims=True) + eps) + b
        if "eps_outside" in bad:
            return g * (x - m) / (x.std(-1, keepdims=True) + 1e-6) + b
        if "norm_tokens" in bad:
            m, s = x.mean(1, keepdims=True), x.std(1, keepdims=True)
            return g * (x - m) / s + b
        if "b_g" in bad:
            g, b = b, g
        if "no_gamma" in bad:
            g = 1
        return g * (x - m) / np.sqrt(x.var(-1, keepdims=True) + eps) + b

    def act(x):
        if "tanh" in bad:
            return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        if "relu" in bad:
            return np.maximum(x, 0)
        if "elu" in bad:
            return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
        if "swish" in bad:
            return x / (1 + np.exp(-x))
        if "linear" in bad:
            return x
        return x * 0.5 * (1 + erf(x / math.sqrt(2))).astype(x.dtype)

    B, T = ids.shape
    place = np.broadcast_to(np.arange(T), (B, T))
    if "pos1" in bad:
        place = place + 1
    if "pos_pad" in bad:
        place = np.cumsum(mask, 1) * mask + 1
    if "pos_reversed" in bad:
        place = place[:, ::-1]
    we = keep("tokens", W["embeddings.word_embeddings.weight"][ids])
    se = keep("kinds", W["embeddings.token_type_embeddings.weight"][mask if "kinds_mask" in bad else kinds])
    pe = keep("places", W["embeddings.position_embeddings.weight"][place])
    if "sines" in bad:
        half = config.hidden_size // 2
        angle = place[..., None] / 10000.0 ** (np.arange(half) / half)
        pe = keep("places", np.concatenate([np.sin(angle), np.cos(angle)], -1))
    total = we + pe if "no_kinds" in bad else we + se if "no_places" in bad else we + se + pe
    keep("embedded", total)
    if "late_kinds" in bad:
        x = norm("embeddings.LayerNorm", we + pe) + se
    else:
        x = total if "no_norm0" in bad else norm("embeddings.LayerNorm", total)
    x = keep("x0", x)
    order = list(range(config.num_hidden_layers))
    if "order" in bad:
        order[1], order[2] = order[2], order[1]
    if "drop1" in bad:
        order.remove(1)
    if "twice1" in bad:
        order.insert(1, 1)
    if "reverse" in bad:
        order.reverse()
    for step, number in enumerate(order):
        at, tag = f"encoder.layer.{number}.", f"L{step}_"
        D = x.shape[-1] // heads
        q = keep(tag + "q", fc(at + "attention.self.query", x))
        k = keep(tag + "k", fc(at + "attention.self.key", x))
        v = keep(tag + "v", fc(at + "attention.self.value", x))

        def cut(y, D=D):
            if "cut_view" in bad:
                return y.reshape(B, heads, T, D)
            if "cut_dn" in bad:
                return y.reshape(B, T, D, heads).transpose(0, 3, 1, 2)
            return y.reshape(B, T, heads, D).swapaxes(1, 2)

        if "vk" in bad:
            k, v = v, k
        qh, kh, vh = cut(q), cut(k), cut(v)
        by = {"div_D": 1 / D, "div_none": 1.0, "div_H": x.shape[-1] ** -0.5, "div_4th": D**-0.25}
        factor = next((value for word, value in by.items() if word in bad), 1 / math.sqrt(D))
        if "qk" in bad:
            qh, kh = kh, qh
        s = np.einsum("bhtd,bhsd->bhts", qh, kh) * factor
        keep(tag + "s", s)
        hide = mask[:, None, None, :] == 0
        if "m_zero" in bad:
            s = np.where(hide, 0, s)
        elif "m_100" in bad:
            s = s - 100.0 * hide
        elif "m_tokens" in bad:
            s = np.where(mask[:, None, :, None] == 0, -1e9, s)
        elif "m_segment" in bad:
            s = np.where(hide | (kinds[:, None, :, None] != kinds[:, None, None, :]), -1e9, s)
        elif "m_none" not in bad and "m_late" not in bad:
            s = np.where(hide, -1e9, s)
        if "future" in bad:
            s = np.where(np.tril(np.ones((T, T)), -1) == 1, -1e9, s)
        p = softmax(s, axis=2 if "ax2" in bad else 1 if "ax1" in bad else 0 if "ax0" in bad else 3)
        if "m_late" in bad:
            p = p * ~hide
        p = keep(tag + "p", p)
        c = p @ vh
        c = c.reshape(B, T, -1) if "join_view" in bad else c.swapaxes(1, 2).reshape(B, T, -1)
        c = keep(tag + "c", c)
        o = keep(tag + "o", fc(at + "attention.output.dense", c))
        one, two = at + "attention.output.LayerNorm", at + "output.LayerNorm"
        if "norms" in bad:
            one, two = two, one
        if "second_norm_only" in bad:
            one = two
        if "embed_norm" in bad:
            one = "embeddings.LayerNorm"
        r = keep(tag + "r", o if "no_res" in bad else o + rec["x0"] if "res_x0" in bad else o + x)
        a = keep(tag + "a", r if "no_norm1" in bad else norm(one, r))
        u = keep(tag + "u", fc(at + "intermediate.dense", a))
        g = keep(tag + "g", act(u))
        f = keep(tag + "f", fc(at + "output.dense", g))
        r2 = keep(
            tag + "r2", f if "no_res2" in bad else f + x if "res2_x" in bad else f + r if "res2_r" in bad else f + a
        )
        x = keep(f"x{step + 1}", r2 if "no_norm2" in bad else norm(two, r2))
    if "pooler.dense.weight" in W:
        first = x.mean(1) if "pool_mean" in bad else x.max(1) if "pool_max" in bad else x[:, 0]
        if "pool_visible" in bad:
            first = (x * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        h = keep("pool_in", fc("pooler.dense", first))
        pooled = keep("pool", 1 / (1 + np.exp(-h)) if "pool_sigmoid" in bad else h if "pool_raw" in bad else np.tanh(h))
        if "cls.seq_relationship.weight" in W:
            n = fc("cls.seq_relationship", pooled)
            keep("is_next", n[:, ::-1] if "nsp_flip" in bad else softmax(n, 1) if "nsp_softmax" in bad else n)
    if "cls.predictions.transform.dense.weight" in W:
        h = keep("mlm_dense", fc("cls.predictions.transform.dense", x))
        h = keep("mlm_act", h if "mlm_linear" in bad else act(h))
        h = keep("mlm_norm", h if "mlm_unnormed" in bad else norm("cls.predictions.transform.LayerNorm", h))
        W_out = W["cls.predictions.decoder.weight"]
        keep("mlm", h @ W_out.T + (0 if "mlm_no_b" in bad else W["cls.predictions.decoder.bias"]))
    return rec
