"""Wrong BERTs of a person who had not seen the table of mistakes: edits of three ports, and what is right to say.

The ports are plain files of a user: a tutorial's modules (student.py), functions with einsum (einsum.py), and
torch's own encoder (encoder.py).  A case without names has none in the table, or shows in nothing: none may be told.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from minibert.pretrained import BertPreTrainedModel
from minibert.verify.explanation import Explanation
from minibert.verify.ports import build_port, explain_port
from tests.verify.naming import Verdict, judge
from tests.verify.wrong import Case

PORTS = Path(__file__).parent / "ports"


@dataclass(frozen=True)
class HeldOut:
    """One wrong BERT."""

    port: str  # a file of ports/
    mistake: str
    names: tuple[frozenset[str], ...]  # for each mistake, the keys of minibert/verify/mistakes that are right
    edits: tuple[tuple[str, str], ...]  # text of the file, and what takes its place

    def __str__(self) -> str:
        return f"{self.port}: {self.mistake}"


def held_out(port: str, mistake: str, names: str, *edits: tuple[str, str]) -> HeldOut:
    """``names``: of several mistakes apart by ";", of one with several right names by "="."""
    each = tuple(frozenset(name.split(" = ")) for name in names.split("; ") if name)
    return HeldOut(port, mistake, each, edits)


def explain_held_out(model: BertPreTrainedModel, case: HeldOut, folder: Path) -> Explanation:
    """What verification says of it; its file is written into ``folder``."""
    text = (PORTS / f"{case.port}.py").read_text(encoding="utf-8")
    for old, new in case.edits:
        assert old in text, (str(case), old)
        text = text.replace(old, new)
    file = folder / f"my_{case.port}.py"
    file.write_text(text, encoding="utf-8")
    return explain_port(model, build_port(f"{file}:build", lambda: model, None))


def check(model: BertPreTrainedModel, held: HeldOut, folder: Path) -> Verdict:
    """Run a case and judge what is said of it."""
    start = time.perf_counter()
    findings = explain_held_out(model, held, folder).findings
    seconds = time.perf_counter() - start
    found = tuple(" = ".join(dict.fromkeys(mistake.name for mistake in each.mistakes)) for each in findings)
    case = Case(held.port, (held.mistake,), held.names)
    return Verdict(case, judge(case, findings), found, seconds)


SINGLE = [
    held_out(
        "student",
        "pos from 1",
        "positions.from_one (1)",
        ("pos = torch.arange(seq_len, dtype=torch.long)", "pos = torch.arange(1, seq_len + 1, dtype=torch.long)"),
    ),
    held_out(
        "student",
        "segment always 0",
        "embeddings.segments_all_zero",
        ("self.seg_embed(seg)", "self.seg_embed(torch.zeros_like(seg))"),
    ),
    held_out(
        "student", "segment inverted", "embeddings.segments_flipped", ("self.seg_embed(seg)", "self.seg_embed(1 - seg)")
    ),
    held_out("student", "mask inverted", "mask.inverted", ("attention_mask.eq(0)", "attention_mask.eq(1)")),
    held_out(
        "student",
        "masked fill not in place",
        "mask.missing",
        ("scores.masked_fill_(attn_mask, -1e9)", "scores.masked_fill(attn_mask, -1e9)"),
    ),
    held_out("student", "mask 1e-9", "mask.filled_with_zero = mask.multiplied = mask.tiny", ("-1e9", "1e-9")),
    held_out(
        "student",
        "mask of first text",
        "mask.first_sample",
        (
            "attn_mask = get_attn_pad_mask(attention_mask,",
            "attn_mask = get_attn_pad_mask(attention_mask[:1].expand_as(attention_mask),",
        ),
    ),
    held_out(
        "student", "sigmoid attention", "softmax.sigmoid", ("nn.Softmax(dim=-1)(scores)", "torch.sigmoid(scores)")
    ),
    held_out(
        "student",
        "all heads by view",
        "attention.heads_viewed (query, key and value)",
        (
            "q_s = self.W_Q(Q).view(batch_size, -1, self.n_heads, self.d_k).transpose(1, 2)",
            "q_s = self.W_Q(Q).view(batch_size, self.n_heads, -1, self.d_k)",
        ),
        (
            "k_s = self.W_K(K).view(batch_size, -1, self.n_heads, self.d_k).transpose(1, 2)",
            "k_s = self.W_K(K).view(batch_size, self.n_heads, -1, self.d_k)",
        ),
        (
            "v_s = self.W_V(V).view(batch_size, -1, self.n_heads, self.d_k).transpose(1, 2)",
            "v_s = self.W_V(V).view(batch_size, self.n_heads, -1, self.d_k)",
        ),
    ),
    held_out(
        "student",
        "merge without transpose",
        "attention.merged_by_view",
        ("context.transpose(1, 2).contiguous().view", "context.contiguous().view"),
    ),
    held_out("student", "dropout on", "random.dropout", ("model.eval()", "model.train()")),
    held_out(
        "student",
        "attn residual after norm",
        "norm.before_sum",
        ("self.norm(output + residual)", "self.norm(output) + residual"),
    ),
    held_out(
        "student",
        "ffn residual layer input",
        "residual.elsewhere (the embeddings) = residual.elsewhere (the layer's input)",
        ("self.pos_ffn(enc_outputs)", "self.pos_ffn(enc_outputs, enc_inputs)"),
        ("def forward(self, inputs):", "def forward(self, inputs, first):"),
        ("self.norm(output + inputs)", "self.norm(output + first)"),
    ),
    held_out(
        "student",
        "gelu no sqrt2",
        "activation.other",
        ("x / math.sqrt(2.0)", "x"),
    ),
    held_out(
        "student",
        "gelu also after down",
        "layer.activation_after_output",
        ("output = self.conv2(output).transpose(1, 2)", "output = gelu(self.conv2(output)).transpose(1, 2)"),
    ),
    held_out(
        "student",
        "conv view for transpose",
        "dense.input_viewed",
        (
            "self.conv1(inputs.transpose(1, 2))",
            "self.conv1(inputs.reshape(inputs.size(0), inputs.size(2), inputs.size(1)))",
        ),
    ),
    held_out(
        "student",
        "modulelist multiplied",
        "layers.order",
        (
            "nn.ModuleList([EncoderLayer(config) for _ in range(config.num_hidden_layers)])",
            "nn.ModuleList([EncoderLayer(config)] * config.num_hidden_layers)",
        ),
    ),
    held_out(
        "student",
        "key gets query weight",
        "attention.query_for_key",
        (
            'put(layer.enc_self_attn.W_K, name + "attention.self.key")',
            'put(layer.enc_self_attn.W_K, name + "attention.self.query")',
        ),
    ),
    held_out(
        "student", "norm not loaded", "norm.no_affine", ('    put(model.embedding.norm, "embeddings.LayerNorm")\n', "")
    ),
    held_out("student", "pool batch index", "pooler.reads", ("self.fc(output[:, 0])", "self.fc(output[0])")),
    held_out("student", "pool relu", "pooler.activation (relu)", ("self.activ = nn.Tanh()", "self.activ = nn.ReLU()")),
    held_out(
        "student",
        "pool second to last layer",
        "pooler.reads (the first token of the layer before the last)",
        (
            "for layer in self.layers:\n            output, attn",
            "for layer in self.layers:\n            before = output\n            output, attn",
        ),
        ("self.fc(output[:, 0])", "self.fc(before[:, 0])"),
    ),
    held_out(
        "student",
        "mlm norm before gelu",
        "head.norm_before_activation",
        ("self.mlm_norm(gelu(self.mlm_dense(output)))", "gelu(self.mlm_norm(self.mlm_dense(output)))"),
    ),
    held_out(
        "student",
        "nsp flipped",
        "head.order",
        ("logits_clsf = self.classifier(h_pooled)", "logits_clsf = self.classifier(h_pooled).flip(-1)"),
    ),
    held_out(
        "student",
        "nsp not pooled",
        "head.reads_cls = pooler.no_dense",
        ("self.classifier(h_pooled)", "self.classifier(output[:, 0])"),
    ),
    held_out("student", "mask -1e4", "", ("-1e9", "-1e4")),
    held_out("student", "mask -10", "", ("-1e9", "-10.0")),
    held_out("einsum", "f scale T", "attention.wrong_scale (1/√T)", ("q.shape[-1] ** 0.5", "q.shape[1] ** 0.5")),
    held_out("einsum", "f scale N", "attention.wrong_scale (1/√N)", ("q.shape[-1] ** 0.5", "q.shape[-2] ** 0.5")),
    held_out(
        "einsum",
        "f weights transposed",
        "attention.probabilities_transposed",
        ('einsum("bnqk,bknd->bqnd", weights, v)', 'einsum("bnkq,bknd->bqnd", weights, v)'),
    ),
    held_out(
        "einsum",
        "f rsqrt std",
        "norm.variance_for_std",
        ("inv = torch.rsqrt(variance + eps)", "inv = 1 / (variance + eps)"),
    ),
    held_out("einsum", "f rms norm", "norm.no_mean", ("return (x - mean) * inv", "return x * inv")),
    held_out("einsum", "f scale 1plus", "norm.one_plus_gamma", ('* p["scale"]', '* (1 + p["scale"])')),
    held_out(
        "einsum",
        "f mask added 01",
        "mask.added_raw = mask.too_small (-1)",
        ("bias = torch.where(mask[:, None, None, :] > 0, 0.0, -1e10)", "bias = mask[:, None, None, :].float()"),
    ),
    held_out(
        "einsum",
        "f mask 1minus added",
        "mask.too_small (+1)",
        ("bias = torch.where(mask[:, None, None, :] > 0, 0.0, -1e10)", "bias = 1.0 - mask[:, None, None, :].float()"),
    ),
    held_out("einsum", "f softmax no sum", "", ("return e / e.sum(dim=-1, keepdim=True)", "return e")),
    held_out(
        "einsum",
        "f position reversed",
        "positions.reversed",
        ('params["position"][None, :T]', 'params["position"][:T].flip(0)[None]'),
    ),
    held_out(
        "einsum",
        "f position zero all",
        "positions.all_zero",
        ('params["position"][None, :T]', 'params["position"][None, :1]'),
    ),
    held_out(
        "einsum",
        "f mlp residual double",
        "residual.twice",
        ('layer_norm(p["ln_2"], x + m, eps)', 'layer_norm(p["ln_2"], x + x + m, eps)'),
    ),
    held_out(
        "einsum",
        "f parallel",
        "layer.feed_forward_reads_x",
        ('m = mlp(p["mlp"], x)\n', 'm = mlp(p["mlp"], before)\n'),
        (
            '    a = attention(p["attention"], x, bias)\n',
            '    before = x\n    a = attention(p["attention"], x, bias)\n',
        ),
    ),
    held_out(
        "einsum",
        "f missing cls final norm",
        "",
        ("    first = x[:, :1]\n", '    x = layer_norm(params["ln_0"], x, eps)\n    first = x[:, :1]\n'),
    ),
    held_out(
        "encoder", "t default eps", "norm.eps (1e-5, 1e-12)", ("            layer_norm_eps=c.layer_norm_eps,\n", "")
    ),
    held_out("encoder", "t norm first", "layer.pre_norm", ("norm_first=False", "norm_first=True")),
    held_out(
        "encoder",
        "t batch first false nomask",
        "",
        ("            batch_first=True,\n", ""),
        ("self.encoder(x, src_key_padding_mask=attention_mask == 0)", "self.encoder(x)"),
    ),
    held_out(
        "encoder",
        "t qvk",
        "weights.qkv_order (query, value, key)",
        ('for part in ("query", "key", "value")', 'for part in ("query", "value", "key")'),
    ),
    held_out(
        "encoder",
        "t qkv interleaved",
        "weights.qkv_interleaved",
        (
            "torch.cat(qkv)",
            "torch.stack([u.unflatten(0, (config.num_attention_heads, -1)) for u in qkv], 1).flatten(0, 2)",
        ),
    ),
    held_out(
        "encoder",
        "t final norm",
        "outputs.other",
        (
            "nn.TransformerEncoder(layer, c.num_hidden_layers, enable",
            "nn.TransformerEncoder(layer, c.num_hidden_layers, norm=nn.LayerNorm(c.hidden_size), enable",
        ),
        ("model.load_state_dict(new)", "model.load_state_dict(new, strict=False)"),
    ),
    held_out("encoder", "t wrong heads", "", ("nhead=c.num_attention_heads", "nhead=2 * c.num_attention_heads")),
    held_out("encoder", "t train mode", "random.dropout", ("return model.eval()", "return model")),
    held_out(
        "encoder",
        "t layer off by one",
        "layers.order (1, 0) = layers.repeated (0); layers.order (1, 0) = layers.skipped (3)",
        ('a, b = f"encoder.layer.{i}."', 'a, b = f"encoder.layer.{max(i - 1, 0)}."'),
    ),
    held_out(
        "encoder",
        "t loop same layer",
        "layers.exchanged (0 and 1); layers.exchanged (2 and 3)",
        ('a, b = f"encoder.layer.{i}."', 'a, b = f"encoder.layer.{i ^ 1}."'),
    ),
    held_out("student", "x pooler not loaded", "weights.not_loaded", ('    put(model.fc, "pooler.dense")\n', "")),
    held_out(
        "student",
        "x query not loaded",
        "weights.not_loaded",
        ('        put(layer.enc_self_attn.W_Q, name + "attention.self.query")\n', ""),
    ),
    held_out(
        "student",
        "x norm in ffn pre act",
        "",
        ("gelu(self.conv1(inputs.transpose(1, 2)))", "self.conv1(gelu(inputs).transpose(1, 2))"),
    ),
    held_out(
        "student",
        "x pos clamped",
        "",
        ("pos = torch.arange(seq_len, dtype=torch.long)", "pos = torch.arange(seq_len, dtype=torch.long).clamp(max=5)"),
    ),
    held_out(
        "student",
        "x q gets values",
        "weights.qkv_order (value, key, value)",
        ("q_s = self.W_Q(Q)", "q_s = self.W_V(Q)"),
    ),
    held_out(
        "student",
        "x attn mean heads",
        "",
        ("context = torch.matmul(attn, V)", "context = torch.matmul(attn.mean(1, keepdim=True).expand_as(attn), V)"),
    ),
    held_out("student", "x segment of next", "", ("self.seg_embed(seg)", "self.seg_embed(seg.roll(1, 1))")),
]

PAIRS = [
    held_out(
        "student",
        "d pos1 relu",
        "positions.from_one (1); activation.other (gelu, relu)",
        ("pos = torch.arange(seq_len, dtype=torch.long)", "pos = torch.arange(1, seq_len + 1, dtype=torch.long)"),
        ("gelu(self.conv1(", "torch.relu(self.conv1("),
    ),
    held_out(
        "student",
        "d tanh eps",
        "norm.eps (1e-5, 1e-12); activation.other (gelu, gelu (tanh))",
        (
            "return x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))",
            "return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))",
        ),
        ("nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)", "nn.LayerNorm(config.hidden_size)"),
        ("nn.LayerNorm(d_model, eps=config.layer_norm_eps)", "nn.LayerNorm(d_model)"),
    ),
    held_out(
        "student",
        "d sm res",
        "softmax.over_heads; residual.missing",
        ("nn.Softmax(dim=-1)", "nn.Softmax(dim=1)"),
        ("return self.norm(output + residual), attn", "return self.norm(output), attn"),
    ),
    held_out(
        "student",
        "d scale maskinv",
        "attention.wrong_scale (1/D); mask.inverted",
        ("/ math.sqrt(self.d_k)", "/ self.d_k"),
        ("attention_mask.eq(0)", "attention_mask.eq(1)"),
    ),
    held_out(
        "student",
        "d skip pool",
        "layers.skipped (0); pooler.reads (the last place of the row, padding or not)",
        ("for layer in self.layers:", "for layer in self.layers[1:]:"),
        ("output[:, 0]", "output[:, -1]"),
    ),
    held_out(
        "student",
        "d dropout pos",
        "random.dropout; positions.from_one (1)",
        ("model.eval()", "model.train()"),
        ("pos = torch.arange(seq_len, dtype=torch.long)", "pos = torch.arange(1, seq_len + 1, dtype=torch.long)"),
    ),
    held_out(
        "student",
        "d mlm dec",
        "norm.missing; dense.no_bias",
        ("self.mlm_norm(gelu(self.mlm_dense(output)))", "gelu(self.mlm_dense(output))"),
        ('model.decoder.bias.data.copy_(w["cls.predictions.bias"])', "model.decoder.bias.data.zero_()"),
    ),
    held_out(
        "student",
        "d embnorm scale",
        "norm.missing; attention.wrong_scale (1/√H)",
        ("self.drop(self.norm(embedding))", "self.drop(embedding)"),
        (
            "self.d_k = config.hidden_size // config.num_attention_heads\n        self.drop",
            "self.d_k = config.hidden_size\n        self.drop",
        ),
    ),
    held_out(
        "student",
        "d postnorm both",
        "norm.before_sum",
        ("self.norm(output + residual)", "self.norm(output) + residual"),
        ("self.norm(output + inputs)", "self.norm(output) + inputs"),
    ),
    held_out(
        "einsum",
        "d f eps bias",
        "norm.eps (1e-3, 1e-12); dense.no_bias",
        ("eps = config.layer_norm_eps", "eps = 1e-3"),
        ('gelu(apply_dense(p["up"], x))', 'gelu(einsum("bth,ho->bto", x, p["up"]["kernel"]))'),
    ),
    held_out(
        "einsum",
        "d f bf16 tanh",
        "dense.rounded (bfloat16) = dense.rounded (bfloat16, with the bias); pooler.activation",
        ('w = {k.removeprefix("bert."): v for', 'w = {k.removeprefix("bert."): v.bfloat16().float() for'),
        ('torch.tanh(apply_dense(params["pooler"], first))', 'apply_dense(params["pooler"], first)'),
    ),
    held_out(
        "einsum",
        "d f maskmul nores",
        "mask.filled_with_zero = mask.multiplied = mask.tiny; residual.missing",
        ("bias = torch.where(mask[:, None, None, :] > 0, 0.0, -1e10)", "bias = mask[:, None, None, :]"),
        ("logits = logits + bias", "logits = logits * bias"),
        ('layer_norm(p["ln_2"], x + m, eps)', 'layer_norm(p["ln_2"], m, eps)'),
    ),
    held_out(
        "encoder",
        "d t relu kq",
        "weights.qkv_order (query, value, key); activation.other (gelu, relu)",
        ('            activation="gelu",\n', ""),
        ('for part in ("query", "key", "value")', 'for part in ("query", "value", "key")'),
    ),
    held_out(
        "encoder",
        "d t noemb normfirst",
        "norm.missing; layer.pre_norm",
        ("        x = self.ln(x)\n", ""),
        ("norm_first=False", "norm_first=True"),
    ),
    held_out(
        "encoder",
        "d t interleaved relu",
        "weights.qkv_interleaved; activation.other (gelu, relu)",
        (
            "torch.cat(qkv)",
            "torch.stack([u.unflatten(0, (config.num_attention_heads, -1)) for u in qkv], 1).flatten(0, 2)",
        ),
        ('            activation="gelu",\n', ""),
    ),
]
