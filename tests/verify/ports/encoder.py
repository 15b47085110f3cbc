"""BERT out of torch.nn.TransformerEncoderLayer: in_proj_weight fused, attention inside torch."""

import torch
from torch import nn


class MyBert(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.word = nn.Embedding(c.vocab_size, c.hidden_size, padding_idx=c.pad_token_id)
        self.position = nn.Parameter(torch.zeros(c.max_position_embeddings, c.hidden_size))
        self.segment = nn.Embedding(c.type_vocab_size, c.hidden_size)
        self.ln = nn.LayerNorm(c.hidden_size, c.layer_norm_eps)
        layer = nn.TransformerEncoderLayer(
            d_model=c.hidden_size,
            nhead=c.num_attention_heads,
            dim_feedforward=c.intermediate_size,
            dropout=0.1,
            activation="gelu",
            layer_norm_eps=c.layer_norm_eps,
            batch_first=True,
            norm_first=False,
        )
        self.encoder = nn.TransformerEncoder(layer, c.num_hidden_layers, enable_nested_tensor=False)
        self.pool = nn.Linear(c.hidden_size, c.hidden_size)

    def forward(self, input_ids, attention_mask, token_type_ids):
        x = self.word(input_ids) + self.position[: input_ids.size(1)] + self.segment(token_type_ids)
        x = self.ln(x)
        x = self.encoder(x, src_key_padding_mask=attention_mask == 0)
        return x, torch.tanh(self.pool(x[:, 0]))


def build(config, state_dict):
    torch.backends.mha.set_fastpath_enabled(False)
    sd = {k.removeprefix("bert."): v for k, v in state_dict.items()}
    model = MyBert(config)
    new = {
        "word.weight": sd["embeddings.word_embeddings.weight"],
        "position": sd["embeddings.position_embeddings.weight"],
        "segment.weight": sd["embeddings.token_type_embeddings.weight"],
        "ln.weight": sd["embeddings.LayerNorm.weight"],
        "ln.bias": sd["embeddings.LayerNorm.bias"],
        "pool.weight": sd["pooler.dense.weight"],
        "pool.bias": sd["pooler.dense.bias"],
    }
    for i in range(config.num_hidden_layers):
        a, b = f"encoder.layer.{i}.", f"encoder.layers.{i}."
        for kind in ("weight", "bias"):
            qkv = [sd[f"{a}attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
            new[f"{b}self_attn.in_proj_{kind}"] = torch.cat(qkv)
            new[f"{b}self_attn.out_proj.{kind}"] = sd[f"{a}attention.output.dense.{kind}"]
            new[f"{b}norm1.{kind}"] = sd[f"{a}attention.output.LayerNorm.{kind}"]
            new[f"{b}linear1.{kind}"] = sd[f"{a}intermediate.dense.{kind}"]
            new[f"{b}linear2.{kind}"] = sd[f"{a}output.dense.{kind}"]
            new[f"{b}norm2.{kind}"] = sd[f"{a}output.LayerNorm.{kind}"]
    model.load_state_dict(new)
    return model.eval()
