"""BERT without padding: the tokens of all texts behind one another, einsum for every product, attention per text.

``build(config, state_dict, mistakes)`` gives an object that is called with (input_ids, attention_mask, token_type_ids).
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, einsum

ERF = 2**-0.5


@dataclass
class Packed:
    """All weights under their published names; ``mis`` holds the mistakes."""

    cfg: Any
    params: dict[str, Tensor]
    mis: frozenset[str] = field(default_factory=frozenset)

    def w(self, key: str) -> Tensor:
        return self.params[key]

    def lin(self, key: str, x: Tensor) -> Tensor:
        kernel, bias = self.w(f"{key}.weight"), self.w(f"{key}.bias")
        tail = key.rsplit(".", 1)[1]
        if f"kernel:{tail}" in self.mis and kernel.shape[0] == kernel.shape[1]:  # a JAX kernel is (in, out)
            out = einsum("pi,io->po", x, kernel)
        elif "int8" in self.mis and ".layer." in key:
            step = kernel.abs().amax(1, keepdim=True) / 127
            out = einsum("pi,oi->po", x, torch.round(kernel / step) * step)
        elif "bf16" in self.mis and ".layer." in key:
            out = einsum("pi,oi->po", x, kernel.bfloat16().to(kernel.dtype))
        else:
            out = einsum("pi,oi->po", x, kernel)
        if f"biasless:{tail}" in self.mis:
            return out
        return out + bias * (2 if f"bias-twice:{tail}" in self.mis else 1)

    def ln(self, key: str, x: Tensor) -> Tensor:
        n = x.shape[-1]
        centred = x if "rms" in self.mis else x - einsum("pi->p", x)[:, None] / n
        spread = einsum("pi,pi->p", centred, centred)[:, None]
        eps = 1e-5 if "eps5" in self.mis else self.cfg.layer_norm_eps
        var = spread / (n - 1 if "bessel" in self.mis else n)
        unit = centred / (var + eps) if "var-for-std" in self.mis else centred / torch.sqrt(var + eps)
        gamma = self.w(f"{key}.weight") + (1 if "one-plus-gamma" in self.mis else 0)
        return unit * gamma + (0 if "no-beta" in self.mis else self.w(f"{key}.bias"))

    def gelu(self, x: Tensor) -> Tensor:
        if "tanh-gelu" in self.mis:
            return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))
        if "sigmoid-gelu" in self.mis:
            return x * torch.sigmoid(1.702 * x)
        if "leaky" in self.mis:
            return torch.where(x > 0, x, 0.01 * x)
        return x * (1 + torch.erf(x * ERF)) / 2

    def __call__(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> dict[str, Tensor]:
        rows, cols = attention_mask.nonzero(as_tuple=True)
        lengths = attention_mask.sum(1).tolist()
        x = self.embed(input_ids[rows, cols], token_type_ids[rows, cols], rows, cols)
        states = [x]
        order = list(range(self.cfg.num_hidden_layers))
        if "swap-0-3" in self.mis:
            order[0], order[3] = order[3], order[0]
        if "skip-2" in self.mis:
            order.remove(2)
        if "twice-2" in self.mis:
            order.insert(2, 2)
        if "copy-1-to-2" in self.mis:
            order[2] = 1
        for number in order:
            x = self.block(f"encoder.layer.{number}", x, lengths)
            states.append(x)
        if "states-off" in self.mis:
            states = states[1:]
        out: dict[str, Any] = {"last_hidden_state": x, "hidden_states": states}
        starts = [sum(lengths[:b]) for b in range(len(lengths))]
        if "pooler.dense.weight" in self.params:
            ends = [start + n - 1 for start, n in zip(starts, lengths, strict=True)]
            head = x[
                ends if "pool-end" in self.mis else [s + 1 for s in starts] if "pool-second" in self.mis else starts
            ]
            if "pool-mean" in self.mis:
                head = torch.stack([part.mean(0) for part in x.split(lengths)])
            pooled = self.lin("pooler.dense", head)
            pooled = pooled if "pool-linear" in self.mis else torch.tanh(pooled)
            out["pooler_output"] = pooled
            if "cls.seq_relationship.weight" in self.params:
                order_ = [1, 0] if "nsp-labels" in self.mis else [0, 1]
                out["seq_relationship_logits"] = self.lin("cls.seq_relationship", pooled)[:, order_]
        if "cls.predictions.transform.dense.weight" in self.params:
            pre = "cls.predictions."
            y = (
                x
                if "mlm-untransformed" in self.mis
                else self.ln(pre + "transform.LayerNorm", self.gelu(self.lin(pre + "transform.dense", x)))
            )
            out["prediction_logits"] = self.lin(pre + "decoder", y)
        return out

    def embed(self, ids: Tensor, kinds: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
        if "position-packed" in self.mis:  # counts on through the texts
            cols = torch.arange(len(cols))
        if "position+2" in self.mis:
            cols = cols + 2
        if "kinds-zero" in self.mis:
            kinds = torch.zeros_like(kinds)
        if "kinds-flipped" in self.mis:
            kinds = 1 - kinds
        if "vocab-shift" in self.mis:
            ids = (ids - 1).clamp(min=0)
        word = self.w("embeddings.word_embeddings.weight")[ids]
        kind = self.w("embeddings.token_type_embeddings.weight")[kinds]
        place = self.w("embeddings.position_embeddings.weight")[cols]
        if "norm-words" in self.mis:
            return self.ln("embeddings.LayerNorm", word) + kind + place
        total = word + kind + place
        if "sqrt-H" in self.mis:
            total = total * self.cfg.hidden_size**0.5
        return self.ln("embeddings.LayerNorm", total)

    def attention(self, at: str, x: Tensor) -> Tensor:
        """Of one text, (t, H)."""
        n = self.cfg.num_attention_heads
        q, k, v = (self.lin(f"{at}.self.{name}", x) for name in ("query", "key", "value"))
        shape = (n, -1) if "dn" not in self.mis else (-1, n)
        q, k, v = (y.unflatten(-1, shape) for y in (q, k, v))
        if "dn" in self.mis:
            q, k, v = (y.transpose(1, 2) for y in (q, k, v))
        d = q.shape[-1]
        if "k-for-v" in self.mis:
            v = k
        if "q-for-k" in self.mis:
            k = q
        if "cosine" in self.mis:
            q, k = (y / y.norm(dim=-1, keepdim=True) for y in (q, k))
            d = 1
        score = einsum("tnd,snd->nts", q, k) * (
            d if "scale-d" in self.mis else d ** (0.5 if "root-up" in self.mis else -0.5)
        )
        if "transposed-scores" in self.mis:
            score = score.mT
        if "unscaled" in self.mis:
            score = score * d**0.5
        if "no-self" in self.mis:
            score = score.masked_fill(torch.eye(len(x), dtype=torch.bool), -torch.inf)
        if "causal" in self.mis:
            score = score.masked_fill(torch.ones(len(x), len(x)).triu(1).bool(), -torch.inf)
        if "sigmoid" in self.mis:
            weight = torch.sigmoid(score)
        elif "over-heads" in self.mis:
            weight = score.softmax(0)
        elif "softmax-1" in self.mis:
            weight = score.exp() / (1 + score.exp().sum(-1, keepdim=True))
        elif "softmax-twice" in self.mis:
            weight = score.softmax(-1).softmax(-1)
        else:
            weight = score.softmax(-1)
        return einsum("nts,snd->tnd", weight, v).flatten(1)

    def block(self, at: str, x: Tensor, lengths: list[int]) -> Tensor:
        texts = [len(x)] if "one-text" in self.mis else lengths
        mixed = torch.cat([self.attention(f"{at}.attention", part) for part in x.split(texts)])
        o = mixed if "no-projection" in self.mis else self.lin(f"{at}.attention.output.dense", mixed)
        a = (
            o - x
            if "minus" in self.mis
            else o
            if "no-skip" in self.mis
            else (o + x) / 2
            if "halved" in self.mis
            else o + x
        )
        mid = a if "ffn-reads-sum" in self.mis else None
        a = self.ln(f"{at}.attention.output.LayerNorm", a)
        f = self.gelu(self.lin(f"{at}.intermediate.dense", a if mid is None else mid))
        y = self.lin(f"{at}.output.dense", f) + (x if "skip-from-x" in self.mis else a)
        return y if "no-last-norm" in self.mis else self.ln(f"{at}.output.LayerNorm", y)


def build(config, state_dict, mistakes=()):
    """The model, to be called."""
    names = {key.removeprefix("bert."): value.clone() for key, value in state_dict.items()}
    return Packed(config, names, frozenset(mistakes))
