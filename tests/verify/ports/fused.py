"""BERT in nn.Modules of another naming: batch second, one Linear for queries, keys and values.

``build(config, state_dict, mistakes, written_out=False)`` gives the module; ``written_out`` writes attention out in
place of F.scaled_dot_product_attention.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as fn


def build(config, state_dict, mistakes=(), written_out=False):
    """The module, with the weights in it; in train mode where the mistake is "dropout"."""
    net = Net(config, set(mistakes), written_out)
    example = next(iter(state_dict.values()))
    net.to(example.dtype)
    net.fill({key[5:] if key.startswith("bert.") else key: value for key, value in state_dict.items()})
    return net.train("dropout" in mistakes)


class Norm(nn.LayerNorm):
    def __init__(self, width, eps, bad):
        super().__init__(width, eps=1e-5 if "eps-default" in bad else 1e-6 if "eps-1e-6" in bad else eps)


class Mixer(nn.Module):
    """Self-attention, (T, B, H) → (T, B, H)."""

    def __init__(self, config, bad, written_out):
        super().__init__()
        self.n, self.bad, self.written_out = config.num_attention_heads, bad, written_out
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size, bias="no-proj-bias" not in bad)
        self.drop = nn.Dropout(0.1 if "dropout" in bad else 0.0)

    def forward(self, x, keep):
        t, b, h = x.shape
        d = h // self.n
        y = self.qkv(x)
        if "interleaved" in self.bad:
            q, k, v = y.view(t, b, self.n, 3, d).unbind(3)
        elif "interleaved-last" in self.bad:
            q, k, v = y.view(t, b, self.n, d, 3).unbind(4)
        else:
            q, k, v = (part.view(t, b, self.n, d) for part in y.chunk(3, dim=-1))
        if "order-kqv" in self.bad:
            q, k = k, q
        if "order-vkq" in self.bad:
            q, v = v, q
        if "order-qvk" in self.bad:
            k, v = v, k
        if "order-kvq" in self.bad:
            q, k, v = k, v, q
        q, k, v = (part.permute(1, 2, 0, 3) for part in (q, k, v))  # (B, N, T, D)
        if "dn-exchanged" in self.bad:
            q, k, v = (p.permute(0, 2, 1, 3).reshape(b, t, d, self.n).permute(0, 3, 1, 2) for p in (q, k, v))
        scale = {"no-scale": 1.0, "scale-H": h**-0.5, "scale-D": 1 / d, "scale-N": self.n**-0.5}
        scale = next((value for word, value in scale.items() if word in self.bad), d**-0.5)
        if "mask-float-0-1" in self.bad:
            seen = keep[:, None, None, :].to(x.dtype)
        elif "no-mask" in self.bad:
            seen = None
        else:
            seen = ~keep[:, None, None, :] if "mask-inverted" in self.bad else keep[:, None, None, :]
        if "causal" in self.bad:
            seen = seen & torch.ones(t, t, dtype=torch.bool).tril()
        if "causal-only" in self.bad:
            seen = torch.ones(t, t, dtype=torch.bool).tril()
        if "mask-first-text" in self.bad:
            seen = seen[:1]
        if self.written_out or self.bad & {"softmax-axis", "p-transposed"}:
            s = scale * (q @ k.mT)
            if seen is not None:
                s = s + seen if seen.is_floating_point() else s.masked_fill(~seen, torch.finfo(s.dtype).min)
            p = fn.softmax(s, dim=-2 if "softmax-axis" in self.bad else -1)
            p = self.drop(p)
            z = (p.mT if "p-transposed" in self.bad else p) @ v
        else:
            rate = self.drop.p if self.training else 0.0
            z = fn.scaled_dot_product_attention(q, k, v, attn_mask=seen, dropout_p=rate, scale=scale)
        if "merged-wrongly" in self.bad:
            return self.proj(z.reshape(b, t, h).transpose(0, 1))
        if "merged-dn" in self.bad:
            return self.proj(z.permute(2, 0, 3, 1).reshape(t, b, h))
        return self.proj(z.permute(2, 0, 1, 3).reshape(t, b, h))


class Block(nn.Module):
    """One layer."""

    def __init__(self, config, bad, written_out):
        super().__init__()
        h, wide = config.hidden_size, config.intermediate_size
        self.bad = bad
        self.mix = Mixer(config, bad, written_out)
        self.norm_a = Norm(h, config.layer_norm_eps, bad)
        self.up, self.down = nn.Linear(h, wide, bias="no-up-bias" not in bad), nn.Linear(wide, h)
        self.norm_b = self.norm_a if "one-norm" in bad else Norm(h, config.layer_norm_eps, bad)
        if "gelu-tanh" in bad:
            self.bend = nn.GELU("tanh")
        else:
            self.bend = nn.ReLU() if "relu" in bad else nn.Mish() if "mish" in bad else nn.GELU()

    def forward(self, x, keep):
        if "pre-norm" in self.bad:
            x = x + self.mix(self.norm_a(x), keep)
            return x + self.down(self.bend(self.up(self.norm_b(x))))
        if "norm-inside" in self.bad:
            x = x + self.norm_a(self.mix(x, keep))
            return x + self.norm_b(self.down(self.bend(self.up(x))))
        if "parallel" in self.bad:  # the feed-forward network beside attention
            a = self.norm_a(x + self.mix(x, keep))
            return self.norm_b(a + self.down(self.bend(self.up(x))))
        a = self.norm_a(self.mix(x, keep) + (2 * x if "residual-twice" in self.bad else x))
        if "no-second-residual" in self.bad:
            return self.norm_b(self.down(self.bend(self.up(a))))
        if "bend-late" in self.bad:
            return self.norm_b(a + self.bend(self.down(self.bend(self.up(a)))))
        return self.norm_b(a + self.down(self.bend(self.up(a))))


class Net(nn.Module):
    """Tokens to last hidden state, pooled vector and both heads' scores."""

    def __init__(self, config, bad, written_out):
        super().__init__()
        self.config, self.bad = config, bad
        h = config.hidden_size
        self.tok = nn.Embedding(config.vocab_size, h)
        self.pos = nn.Embedding(config.max_position_embeddings, h)
        self.seg = nn.Embedding(config.type_vocab_size, h)
        self.norm = Norm(h, config.layer_norm_eps, bad)
        self.blocks = nn.ModuleList(Block(config, bad, written_out) for _ in range(config.num_hidden_layers))
        self.pool = nn.Linear(h, h)
        self.nsp = nn.Linear(h, 2)
        self.turn, self.turn_norm = nn.Linear(h, h), Norm(h, config.layer_norm_eps, bad)
        self.guess = nn.Linear(h, config.vocab_size)
        self.has_heads = False

    def fill(self, given):
        """Copy the published weights to where they belong here."""

        def put(module, *names):
            for kind in ("weight", "bias"):
                if getattr(module, kind, None) is not None:
                    value = torch.cat([given[f"{name}.{kind}"] for name in names])
                    getattr(module, kind).data.copy_(value)

        with torch.no_grad():
            for table, name in ((self.tok, "word"), (self.pos, "position"), (self.seg, "token_type")):
                put_weight = given[f"embeddings.{name}_embeddings.weight"]
                table.weight.copy_(put_weight)
            put(self.norm, "embeddings.LayerNorm")
            for k, block in enumerate(self.blocks):
                at = f"encoder.layer.{k}."
                put(block.mix.qkv, *(f"{at}attention.self.{name}" for name in ("query", "key", "value")))
                put(block.mix.proj, at + "attention.output.dense")
                if "proj-transposed" in self.bad:
                    block.mix.proj.weight.copy_(block.mix.proj.weight.t().clone())
                put(block.norm_b, at + "output.LayerNorm")
                put(block.norm_a, at + "attention.output.LayerNorm")
                put(block.up, at + "intermediate.dense")
                put(block.down, at + "output.dense")
            if "pooler.dense.weight" in given:
                put(self.pool, "pooler.dense")
            self.has_heads = "cls.predictions.transform.dense.weight" in given
            if self.has_heads:
                put(self.nsp, "cls.seq_relationship")
                put(self.turn, "cls.predictions.transform.dense")
                put(self.turn_norm, "cls.predictions.transform.LayerNorm")
                put(self.guess, "cls.predictions.decoder")
            if "half" in self.bad:
                self.half().float()
            if "bfloat16-qkv" in self.bad:
                for block in self.blocks:
                    block.mix.qkv.weight.copy_(block.mix.qkv.weight.bfloat16().float())

    def forward(self, ids: Tensor, mask: Tensor, segments: Tensor):
        t = ids.shape[1]
        x = self.tok(ids.t()) + self.pos(torch.arange(t))[:, None]
        if "no-segment" not in self.bad:
            x = x + self.seg(segments.t())
        x = x if "no-first-norm" in self.bad else self.norm(x)
        blocks = list(self.blocks)
        if "reversed" in self.bad:
            blocks.reverse()
        if "last-skipped" in self.bad:
            blocks.pop()
        if "shared-layers" in self.bad:
            blocks = [blocks[0]] * len(blocks)
        if "first-twice" in self.bad:
            blocks.insert(0, blocks[0])
        for block in blocks:
            x = block(x, mask.bool())
        first = x[-1] if "pool-last" in self.bad else x.mean(0) if "pool-mean" in self.bad else x[0]
        pooled = self.pool(first)
        pooled = pooled.relu() if "pool-relu" in self.bad else pooled.tanh()
        if not self.has_heads:
            return x.transpose(0, 1), pooled
        turned = self.turn(x)
        turned = turned if "turn-flat" in self.bad else self.blocks[0].bend(turned)
        turned = turned if "turn-no-norm" in self.bad else self.turn_norm(turned)
        next_ = self.nsp(first if "nsp-no-pooler" in self.bad else pooled)
        return x.transpose(0, 1), pooled, self.guess(turned).transpose(0, 1), next_
