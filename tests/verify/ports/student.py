"""BERT as in a tutorial notebook: small modules, Conv1d feed-forward, mask as a boolean (B, T, T)."""

import math

import torch
from torch import nn


def gelu(x):
    return x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))


def get_attn_pad_mask(attention_mask, n_head, len_q):
    pad_mask = attention_mask.eq(0)
    pad_mask = pad_mask.unsqueeze(1).expand(-1, len_q, -1)
    return pad_mask.unsqueeze(1).repeat(1, n_head, 1, 1)


class Embedding(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.tok_embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.pos_embed = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.seg_embed = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.drop = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x, seg):
        seq_len = x.size(1)
        pos = torch.arange(seq_len, dtype=torch.long)
        pos = pos.unsqueeze(0).expand_as(x)
        embedding = self.tok_embed(x) + self.pos_embed(pos) + self.seg_embed(seg)
        return self.drop(self.norm(embedding))


class ScaledDotProductAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.d_k = config.hidden_size // config.num_attention_heads
        self.drop = nn.Dropout(config.attention_probs_dropout_prob)

    def forward(self, Q, K, V, attn_mask):
        scores = torch.matmul(Q, K.transpose(-1, -2)) / math.sqrt(self.d_k)
        scores.masked_fill_(attn_mask, -1e9)
        attn = nn.Softmax(dim=-1)(scores)
        attn = self.drop(attn)
        context = torch.matmul(attn, V)
        return context, attn


class MultiHeadAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        d_model = config.hidden_size
        self.n_heads = config.num_attention_heads
        self.d_k = d_model // self.n_heads
        self.W_Q = nn.Linear(d_model, d_model)
        self.W_K = nn.Linear(d_model, d_model)
        self.W_V = nn.Linear(d_model, d_model)
        self.attention = ScaledDotProductAttention(config)
        self.fc = nn.Linear(d_model, d_model)
        self.norm = nn.LayerNorm(d_model, eps=config.layer_norm_eps)
        self.drop = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, Q, K, V, attn_mask):
        residual, batch_size = Q, Q.size(0)
        q_s = self.W_Q(Q).view(batch_size, -1, self.n_heads, self.d_k).transpose(1, 2)
        k_s = self.W_K(K).view(batch_size, -1, self.n_heads, self.d_k).transpose(1, 2)
        v_s = self.W_V(V).view(batch_size, -1, self.n_heads, self.d_k).transpose(1, 2)
        context, attn = self.attention(q_s, k_s, v_s, attn_mask)
        context = context.transpose(1, 2).contiguous().view(batch_size, -1, self.n_heads * self.d_k)
        output = self.drop(self.fc(context))
        return self.norm(output + residual), attn


class PoswiseFeedForwardNet(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.conv1 = nn.Conv1d(config.hidden_size, config.intermediate_size, kernel_size=1)
        self.conv2 = nn.Conv1d(config.intermediate_size, config.hidden_size, kernel_size=1)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.drop = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, inputs):
        output = gelu(self.conv1(inputs.transpose(1, 2)))
        output = self.conv2(output).transpose(1, 2)
        output = self.drop(output)
        return self.norm(output + inputs)


class EncoderLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.enc_self_attn = MultiHeadAttention(config)
        self.pos_ffn = PoswiseFeedForwardNet(config)

    def forward(self, enc_inputs, attn_mask):
        enc_outputs, attn = self.enc_self_attn(enc_inputs, enc_inputs, enc_inputs, attn_mask)
        enc_outputs = self.pos_ffn(enc_outputs)
        return enc_outputs, attn


class BERT(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_heads = config.num_attention_heads
        self.embedding = Embedding(config)
        self.layers = nn.ModuleList([EncoderLayer(config) for _ in range(config.num_hidden_layers)])
        self.fc = nn.Linear(config.hidden_size, config.hidden_size)
        self.activ = nn.Tanh()
        self.mlm_dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.mlm_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.classifier = nn.Linear(config.hidden_size, 2)

    def forward(self, input_ids, attention_mask, token_type_ids):
        output = self.embedding(input_ids, token_type_ids)
        attn_mask = get_attn_pad_mask(attention_mask, self.n_heads, input_ids.size(1))
        attns = []
        for layer in self.layers:
            output, attn = layer(output, attn_mask)
            attns.append(attn)
        h_pooled = self.activ(self.fc(output[:, 0]))
        logits_clsf = self.classifier(h_pooled)
        h_masked = self.mlm_norm(gelu(self.mlm_dense(output)))
        logits_lm = self.decoder(h_masked)
        return logits_lm, logits_clsf, attns


def load(model, state_dict):
    w = {k.removeprefix("bert."): v for k, v in state_dict.items()}

    def put(module, name):
        weight = w[name + ".weight"]
        if isinstance(module, nn.Conv1d):
            weight = weight.unsqueeze(-1)
        module.weight.data.copy_(weight)
        if name + ".bias" in w:
            module.bias.data.copy_(w[name + ".bias"])

    put(model.embedding.tok_embed, "embeddings.word_embeddings")
    put(model.embedding.pos_embed, "embeddings.position_embeddings")
    put(model.embedding.seg_embed, "embeddings.token_type_embeddings")
    put(model.embedding.norm, "embeddings.LayerNorm")
    for i, layer in enumerate(model.layers):
        name = f"encoder.layer.{i}."
        put(layer.enc_self_attn.W_Q, name + "attention.self.query")
        put(layer.enc_self_attn.W_K, name + "attention.self.key")
        put(layer.enc_self_attn.W_V, name + "attention.self.value")
        put(layer.enc_self_attn.fc, name + "attention.output.dense")
        put(layer.enc_self_attn.norm, name + "attention.output.LayerNorm")
        put(layer.pos_ffn.conv1, name + "intermediate.dense")
        put(layer.pos_ffn.conv2, name + "output.dense")
        put(layer.pos_ffn.norm, name + "output.LayerNorm")
    put(model.fc, "pooler.dense")
    if "cls.predictions.transform.dense.weight" in w:
        put(model.mlm_dense, "cls.predictions.transform.dense")
        put(model.mlm_norm, "cls.predictions.transform.LayerNorm")
        model.decoder.weight = model.embedding.tok_embed.weight
        model.decoder.bias.data.copy_(w["cls.predictions.bias"])
        put(model.classifier, "cls.seq_relationship")


def build(config, state_dict):
    model = BERT(config)
    load(model, state_dict)
    model.eval()
    return model
