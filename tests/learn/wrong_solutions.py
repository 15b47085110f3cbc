"""What students write: wrong solutions of the workbook's steps, and what each should be told.

Written from the tasks, not from the table of mistakes.  ``told`` is the key of the mistake, several where it may be
said either way, or a status where the mistake is not a known one; ``place`` is the first value that differs, where that
is what has to be told.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wrong:
    step: str
    told: str  # the keys that have to be told, "|" between those of which one is enough; or a status
    code: str
    place: str = ""


WRONG = [
    # gelu
    Wrong("gelu", "activation.other", """
def gelu(x):
    return 0.5 * x * (1 + torch.tanh(0.7978845608028654 * (x + 0.044715 * x**3)))
"""),
    Wrong("gelu", "activation.other", """
def gelu(x):
    return x * 0.5 * (1 + torch.erf(x))
"""),
    Wrong("gelu", "activation.other", """
def gelu(x):
    return torch.where(x > 0, x, torch.zeros_like(x))
"""),
    Wrong("gelu", "activation.other", """
def gelu(x):
    return x * (1.0 + torch.erf(x / 2**0.5))
"""),
    Wrong("gelu", "activation.other", """
def gelu(x):
    return x / (1 + torch.exp(-1.702 * x))
"""),
    Wrong("gelu", "differs", """
def gelu(x):
    return 0.5 * x * (1.0 + torch.erf(x * math.sqrt(2.0)))
""", "[0, 0, 0]"),
    # layer_norm
    Wrong("layer_norm", "norm.unbiased", """
def layer_norm(x, weight, bias, eps):
    m = x.mean(-1, keepdim=True)
    s = x.var(-1, keepdim=True)
    return weight * (x - m) / torch.sqrt(s + eps) + bias
"""),
    Wrong("layer_norm", "norm.unbiased", """
def layer_norm(x, weight, bias, eps):
    # as in the Annotated Transformer
    mean = x.mean(-1, keepdim=True)
    std = x.std(-1, keepdim=True)
    return weight * (x - mean) / (std + 1e-6) + bias
"""),
    Wrong("layer_norm", "norm.eps", """
def layer_norm(x, weight, bias, eps):
    return F.layer_norm(x, (x.shape[-1],), weight, bias)
"""),
    Wrong("layer_norm", "norm.no_mean", """
def layer_norm(x, weight, bias, eps):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * weight + bias
"""),
    Wrong("layer_norm", "norm.over_tokens", """
def layer_norm(x, weight, bias, eps):
    mean = x.mean(1, keepdim=True)
    var = ((x - mean) ** 2).mean(1, keepdim=True)
    return (x - mean) / (var + eps).sqrt() * weight + bias
"""),
    Wrong("layer_norm", "norm.no_beta", """
def layer_norm(x, weight, bias, eps):
    mean, var = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
    return (x - mean) / torch.sqrt(var + eps) * weight
"""),
    Wrong("layer_norm", "differs", """
def layer_norm(x, weight, bias, eps):
    mean, var = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
    return ((x - mean) / torch.sqrt(var + eps) + bias) * weight
""", "[0, 0, 0]"),
    # embeddings
    Wrong("embeddings", "positions.from_one", """
def embeddings(input_ids, token_type_ids, w, eps):
    T = input_ids.shape[1]
    positions = torch.arange(1, T + 1)
    total = w["word"][input_ids] + w["position"][positions] + w["segment"][token_type_ids]
    return layer_norm(total, w["norm_weight"], w["norm_bias"], eps)
"""),
    Wrong("embeddings", "embeddings.no_segment", """
def embeddings(input_ids, token_type_ids, w, eps):
    x = F.embedding(input_ids, w["word"]) + w["position"][: input_ids.size(1)]
    return layer_norm(x, w["norm_weight"], w["norm_bias"], eps)
"""),
    Wrong("embeddings", "norm.missing", """
def embeddings(input_ids, token_type_ids, w, eps):
    x = F.embedding(input_ids, w["word"]) + F.embedding(token_type_ids, w["segment"])
    return x + F.embedding(torch.arange(input_ids.size(1)), w["position"])
"""),
    Wrong("embeddings", "embeddings.scaled", """
def embeddings(input_ids, token_type_ids, w, eps):
    H = w["word"].shape[1]
    x = w["word"][input_ids] * math.sqrt(H) + w["segment"][token_type_ids] + w["position"][: input_ids.shape[1]]
    return layer_norm(x, w["norm_weight"], w["norm_bias"], eps)
"""),
    Wrong("embeddings", "embeddings.norm_before_sum", """
def embeddings(input_ids, token_type_ids, w, eps):
    x = layer_norm(w["word"][input_ids], w["norm_weight"], w["norm_bias"], eps)
    return x + w["segment"][token_type_ids] + w["position"][: input_ids.shape[1]]
"""),
    Wrong("embeddings", "raised", """
def embeddings(input_ids, token_type_ids, w, eps):
    x = w["word"][input_ids] + w["segment"][token_type_ids] + w["position"]
    return layer_norm(x, w["norm_weight"], w["norm_bias"], eps)
"""),
    # split_heads
    Wrong("split_heads", "attention.heads_viewed", """
def split_heads(x, heads):
    B, T, H = x.shape
    return x.reshape(B, heads, T, H // heads)
"""),
    Wrong("split_heads", "heads.not_transposed", """
def split_heads(x, heads):
    B, T, H = x.shape
    return x.reshape(B, T, heads, H // heads)
"""),
    Wrong("split_heads", "attention.heads_exchanged", """
def split_heads(x, heads):
    B, T, H = x.shape
    return x.view(B, T, H // heads, heads).transpose(1, 3).transpose(2, 3)
"""),
    Wrong("split_heads", "shape", """
def split_heads(x, heads):
    B, T, H = x.shape
    return x.view(B, T, H // heads, heads).transpose(1, 2)
"""),
    # merge_heads
    Wrong("merge_heads", "attention.merged_by_view", """
def merge_heads(x):
    B, N, T, D = x.shape
    return x.reshape(B, T, N * D)
"""),
    Wrong("merge_heads", "heads.not_merged", """
def merge_heads(x):
    return x.permute(0, 2, 1, 3)
"""),
    Wrong("merge_heads", "attention.merged_exchanged", """
def merge_heads(x):
    B, N, T, D = x.shape
    return x.permute(0, 2, 3, 1).reshape(B, T, -1)
"""),
    Wrong("merge_heads", "raised", """
def merge_heads(x):
    B, N, T, D = x.shape
    return x.transpose(1, 2).view(B, T, N * D)
"""),
    # attention_scores
    Wrong("attention_scores", "attention.no_scale", """
def attention_scores(query, key):
    return torch.matmul(query, key.transpose(2, 3))
"""),
    Wrong("attention_scores", "attention.wrong_scale", """
def attention_scores(query, key):
    B, N, T, D = query.shape
    return query @ key.mT / math.sqrt(N * D)
"""),
    Wrong("attention_scores", "attention.wrong_scale", """
def attention_scores(query, key):
    return query @ key.mT / query.size(-1)
"""),
    Wrong("attention_scores", "attention.swapped_qk", """
def attention_scores(query, key):
    return torch.einsum("bnid,bnjd->bnji", query, key) / query.shape[-1] ** 0.5
"""),
    Wrong("attention_scores", "attention.wrong_scale", """
def attention_scores(query, key):
    return query @ key.mT * math.sqrt(query.shape[-1])
"""),
    Wrong("attention_scores", "shape", """
def attention_scores(query, key):
    return query.mT @ key / math.sqrt(query.shape[-1])
"""),
    # apply_mask
    Wrong("apply_mask", "mask.multiplied|mask.filled_with_zero", """
def apply_mask(scores, attention_mask):
    return scores * attention_mask[:, None, None, :]
"""),
    Wrong("apply_mask", "mask.inverted", """
def apply_mask(scores, attention_mask):
    return scores.masked_fill(attention_mask[:, None, None, :] == 1, -1e9)
"""),
    Wrong("apply_mask", "mask.multiplied|mask.filled_with_zero", """
def apply_mask(scores, attention_mask):
    return torch.where(attention_mask[:, None, None, :].bool(), scores, torch.zeros_like(scores))
"""),
    Wrong("apply_mask", "mask.tiny", """
def apply_mask(scores, attention_mask):
    return scores.masked_fill(attention_mask[:, None, None, :] == 0, 1e-9)
"""),
    Wrong("apply_mask", "mask.wrong_axis", """
def apply_mask(scores, attention_mask):
    return scores.masked_fill(attention_mask[:, None, :, None] == 0, -1e9)
"""),
    Wrong("apply_mask", "mask.too_small", """
def apply_mask(scores, attention_mask):
    return scores + (1 - attention_mask[:, None, None, :]) * -10.0
"""),
    Wrong("apply_mask", "mask.causal", """
def apply_mask(scores, attention_mask):
    T = scores.shape[-1]
    causal = torch.ones(T, T).triu(1).bool()
    return scores.masked_fill(causal, -1e9).masked_fill(attention_mask[:, None, None, :] == 0, -1e9)
"""),
    Wrong("apply_mask", "raised", """
def apply_mask(scores, attention_mask):
    return scores + (1 - attention_mask) * -10000.0
"""),
    # softmax
    Wrong("softmax", "softmax.overflow", """
def softmax(scores):
    e = scores.exp()
    return e / e.sum(dim=-1, keepdim=True)
"""),
    Wrong("softmax", "softmax.over_queries", """
def softmax(scores):
    return F.softmax(scores, dim=2)
"""),
    Wrong("softmax", "softmax.over_heads", """
def softmax(scores):
    return torch.softmax(scores, 1)
"""),
    Wrong("softmax", "softmax.log", """
def softmax(scores):
    return F.log_softmax(scores, dim=-1)
"""),
    Wrong("softmax", "differs", """
def softmax(scores):
    e = torch.exp(scores - scores.max())
    return e / e.sum()
""", "[0, 0, 0, 0]"),
    # context
    Wrong("context", "attention.probabilities_transposed", """
def context(probabilities, value):
    return probabilities.transpose(-1, -2) @ value
"""),
    Wrong("context", "context.mean", """
def context(probabilities, value):
    return (probabilities @ value) / probabilities.shape[-1]
"""),
    Wrong("context", "raised", """
def context(probabilities, value):
    return value @ probabilities
"""),
    Wrong("context", "differs", """
def context(probabilities, value):
    return probabilities.sum(1, keepdim=True) @ value
""", "[0, 0, 0]"),
    # self_attention
    Wrong("self_attention", "mask.missing", """
def self_attention(x, attention_mask, w, heads):
    q = split_heads(F.linear(x, w["query_weight"], w["query_bias"]), heads)
    k = split_heads(F.linear(x, w["key_weight"], w["key_bias"]), heads)
    v = split_heads(F.linear(x, w["value_weight"], w["value_bias"]), heads)
    return merge_heads(context(softmax(attention_scores(q, k)), v))
"""),
    Wrong("self_attention", "attention.swapped_qk|weights.qkv_order", """
def self_attention(x, attention_mask, w, heads):
    q, k, v = (split_heads(F.linear(x, w[n + "_weight"], w[n + "_bias"]), heads) for n in ("query", "key", "value"))
    return merge_heads(context(softmax(apply_mask(attention_scores(k, q), attention_mask)), v))
"""),
    Wrong("self_attention", "dense.transposed", """
def self_attention(x, attention_mask, w, heads):
    q = split_heads(x @ w["query_weight"] + w["query_bias"], heads)
    k = split_heads(x @ w["key_weight"].T + w["key_bias"], heads)
    v = split_heads(x @ w["value_weight"].T + w["value_bias"], heads)
    return merge_heads(context(softmax(apply_mask(attention_scores(q, k), attention_mask)), v))
"""),
    Wrong("self_attention", "attention.key_for_value|weights.qkv_order", """
def self_attention(x, attention_mask, w, heads):
    q = split_heads(F.linear(x, w["query_weight"], w["query_bias"]), heads)
    k = split_heads(F.linear(x, w["key_weight"], w["key_bias"]), heads)
    return merge_heads(context(softmax(apply_mask(attention_scores(q, k), attention_mask)), k))
""", ),
    Wrong("self_attention", "mask.after_softmax", """
def self_attention(x, attention_mask, w, heads):
    q, k, v = (split_heads(F.linear(x, w[n + "_weight"], w[n + "_bias"]), heads) for n in ("query", "key", "value"))
    p = softmax(attention_scores(q, k)) * attention_mask[:, None, None, :]
    return merge_heads(context(p, v))
"""),
    # self_output
    Wrong("self_output", "residual.missing", """
def self_output(attended, x, w, eps):
    out = F.linear(attended, w["attention_output_weight"], w["attention_output_bias"])
    return layer_norm(out, w["attention_norm_weight"], w["attention_norm_bias"], eps)
"""),
    Wrong("self_output", "norm.before_sum", """
def self_output(attended, x, w, eps):
    out = F.linear(attended, w["attention_output_weight"], w["attention_output_bias"])
    return x + layer_norm(out, w["attention_norm_weight"], w["attention_norm_bias"], eps)
"""),
    Wrong("self_output", "residual.elsewhere", """
def self_output(attended, x, w, eps):
    out = F.linear(attended, w["attention_output_weight"], w["attention_output_bias"])
    return layer_norm(out + attended, w["attention_norm_weight"], w["attention_norm_bias"], eps)
"""),
    Wrong("self_output", "norm.eps", """
def self_output(attended, x, w, eps):
    out = F.linear(attended, w["attention_output_weight"], w["attention_output_bias"]) + x
    return F.layer_norm(out, out.shape[-1:], w["attention_norm_weight"], w["attention_norm_bias"])
"""),
    # feed_forward
    Wrong("feed_forward", "activation.missing", """
def feed_forward(x, w, eps):
    h = F.linear(x, w["intermediate_weight"], w["intermediate_bias"])
    h = F.linear(h, w["output_weight"], w["output_bias"])
    return layer_norm(h + x, w["output_norm_weight"], w["output_norm_bias"], eps)
"""),
    Wrong("feed_forward", "activation.other", """
def feed_forward(x, w, eps):
    h = F.relu(F.linear(x, w["intermediate_weight"], w["intermediate_bias"]))
    h = F.linear(h, w["output_weight"], w["output_bias"])
    return layer_norm(h + x, w["output_norm_weight"], w["output_norm_bias"], eps)
"""),
    Wrong("feed_forward", "norm.shared", """
def feed_forward(x, w, eps):
    h = gelu(F.linear(x, w["intermediate_weight"], w["intermediate_bias"]))
    h = F.linear(h, w["output_weight"], w["output_bias"])
    return layer_norm(h + x, w["attention_norm_weight"], w["attention_norm_bias"], eps)
"""),
    Wrong("feed_forward", "residual.missing", """
def feed_forward(x, w, eps):
    h = gelu(F.linear(x, w["intermediate_weight"], w["intermediate_bias"]))
    h = F.linear(h, w["output_weight"], w["output_bias"])
    return layer_norm(h, w["output_norm_weight"], w["output_norm_bias"], eps)
"""),
    Wrong("feed_forward", "dense.no_bias", """
def feed_forward(x, w, eps):
    h = gelu(x @ w["intermediate_weight"].T)
    h = h @ w["output_weight"].T + w["output_bias"]
    return layer_norm(h + x, w["output_norm_weight"], w["output_norm_bias"], eps)
"""),
    # layer
    Wrong("layer", "layer.no_feed_forward", """
def layer(x, attention_mask, w, heads, eps):
    return self_output(self_attention(x, attention_mask, w, heads), x, w, eps)
"""),
    Wrong("layer", "mask.missing", """
def layer(x, attention_mask, w, heads, eps):
    a = self_attention(x, torch.ones(x.shape[:2]), w, heads)
    return feed_forward(self_output(a, x, w, eps), w, eps)
"""),
    Wrong("layer", "residual.elsewhere", """
def layer(x, attention_mask, w, heads, eps):
    a = self_attention(x, attention_mask, w, heads)
    return feed_forward(self_output(a, a, w, eps), w, eps)
"""),
    Wrong("layer", "layer.extra_residual", """
def layer(x, attention_mask, w, heads, eps):
    a = self_output(self_attention(x, attention_mask, w, heads), x, w, eps)
    return feed_forward(a, w, eps) + x
"""),
    Wrong("layer", "differs", """
def layer(x, attention_mask, w, heads, eps):
    return feed_forward(self_attention(x, attention_mask, w, heads), w, eps)
""", "[0, 0, 0]"),
    # encoder
    Wrong("encoder", "outputs.off_by_one", """
def encoder(x, attention_mask, layers, heads, eps):
    states = []
    for w in layers:
        x = layer(x, attention_mask, w, heads, eps)
        states.append(x)
    return states
"""),
    Wrong("encoder", "encoder.not_chained", """
def encoder(x, attention_mask, layers, heads, eps):
    return [x] + [layer(x, attention_mask, w, heads, eps) for w in layers]
"""),
    Wrong("encoder", "encoder.last_alone", """
def encoder(x, attention_mask, layers, heads, eps):
    for w in layers:
        x = layer(x, attention_mask, w, heads, eps)
    return x
"""),
    Wrong("encoder", "encoder.one_layer", """
def encoder(x, attention_mask, layers, heads, eps):
    states = [x]
    for i in range(len(layers)):
        states.append(layer(states[i], attention_mask, layers[0], heads, eps))
    return states
"""),
    Wrong("encoder", "encoder.last_missing", """
def encoder(x, attention_mask, layers, heads, eps):
    states = []
    for w in layers:
        states.append(x)
        x = layer(x, attention_mask, w, heads, eps)
    return states
"""),
    # pooler
    Wrong("pooler", "pooler.reads", """
def pooler(x, w):
    return torch.tanh(F.linear(x.mean(1), w["pooler_weight"], w["pooler_bias"]))
"""),
    Wrong("pooler", "pooler.activation", """
def pooler(x, w):
    return F.linear(x[:, 0], w["pooler_weight"], w["pooler_bias"])
"""),
    Wrong("pooler", "dense.transposed", """
def pooler(x, w):
    return torch.tanh(x[:, 0] @ w["pooler_weight"] + w["pooler_bias"])
"""),
    Wrong("pooler", "shape", """
def pooler(x, w):
    return torch.tanh(F.linear(x[0], w["pooler_weight"], w["pooler_bias"]))
"""),
    # mlm_head
    Wrong("mlm_head", "head.no_transform", """
def mlm_head(x, word, w, eps):
    return x @ word.T + w["decoder_bias"]
"""),
    Wrong("mlm_head", "norm.missing", """
def mlm_head(x, word, w, eps):
    x = gelu(F.linear(x, w["transform_weight"], w["transform_bias"]))
    return F.linear(x, word, w["decoder_bias"])
"""),
    Wrong("mlm_head", "dense.no_bias", """
def mlm_head(x, word, w, eps):
    x = gelu(F.linear(x, w["transform_weight"], w["transform_bias"]))
    x = layer_norm(x, w["transform_norm_weight"], w["transform_norm_bias"], eps)
    return x @ word.T
"""),
    Wrong("mlm_head", "head.norm_before_activation", """
def mlm_head(x, word, w, eps):
    x = F.linear(x, w["transform_weight"], w["transform_bias"])
    x = gelu(layer_norm(x, w["transform_norm_weight"], w["transform_norm_bias"], eps))
    return F.linear(x, word, w["decoder_bias"])
"""),
    # mlm_loss
    Wrong("mlm_loss", "loss.mean_over_all", """
def mlm_loss(logits, labels):
    total = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum")
    return total / labels.numel()
"""),
    Wrong("mlm_loss", "loss.softmax_twice", """
def mlm_loss(logits, labels):
    p = torch.softmax(logits, -1)
    return F.cross_entropy(p.view(-1, p.size(-1)), labels.view(-1))
"""),
    Wrong("mlm_loss", "loss.overflow", """
def mlm_loss(logits, labels):
    mask = labels != -100
    p = torch.softmax(logits[mask], -1)
    return -torch.log(p[torch.arange(len(p)), labels[mask]]).mean()
"""),
    Wrong("mlm_loss", "loss.shifted", """
def mlm_loss(logits, labels):
    z, y = logits[:, :-1].reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1)
    return F.cross_entropy(z, y)
"""),
    Wrong("mlm_loss", "loss.mean_of_means", """
def mlm_loss(logits, labels):
    per_text = [F.cross_entropy(z, y) for z, y in zip(logits, labels)]
    return sum(per_text) / len(per_text)
"""),
    Wrong("mlm_loss", "loss.sign", """
def mlm_loss(logits, labels):
    mask = labels != -100
    logp = F.log_softmax(logits[mask], dim=-1)
    return logp[torch.arange(len(logp)), labels[mask]].mean()
"""),
    # wordpiece
    Wrong("wordpiece", "wordpiece.shortest", """
def wordpiece(word, vocab):
    if len(word) > 100:
        return ["[UNK]"]
    pieces, i = [], 0
    while i < len(word):
        for j in range(i + 1, len(word) + 1):
            p = word[i:j] if i == 0 else "##" + word[i:j]
            if p in vocab:
                pieces.append(p)
                i = j
                break
        else:
            return ["[UNK]"]
    return pieces
"""),
    Wrong("wordpiece", "wordpiece.no_limit", """
def wordpiece(word, vocab):
    out, start = [], 0
    while start < len(word):
        end = len(word)
        while end > start:
            sub = word[start:end]
            if start > 0:
                sub = "##" + sub
            if sub in vocab:
                break
            end -= 1
        if end == start:
            return ["[UNK]"]
        out.append(sub)
        start = end
    return out
"""),
    Wrong("wordpiece", "wordpiece.prefix_forgotten", """
def wordpiece(word, vocab):
    if len(word) > 100:
        return ["[UNK]"]
    out = []
    while word:
        n = len(word)
        while n > 0 and word[:n] not in vocab:
            n -= 1
        if n == 0:
            return ["[UNK]"]
        out.append(word[:n])
        word = word[n:]
    return out
"""),
    Wrong("wordpiece", "wordpiece.unknown_rest", """
def wordpiece(word, vocab):
    if len(word) > 100:
        return ["[UNK]"]
    out, start = [], 0
    while start < len(word):
        end = len(word)
        while end > start and ("##" if start else "") + word[start:end] not in vocab:
            end -= 1
        if end == start:
            out.append("[UNK]")
            break
        out.append(("##" if start else "") + word[start:end])
        start = end
    return out
"""),
    Wrong("wordpiece", "wordpiece.from_the_end", """
def wordpiece(word, vocab):
    if len(word) > 100:
        return ["[UNK]"]
    out, end = [], len(word)
    while end > 0:
        for start in range(0, end):
            sub = word[start:end] if start == 0 else "##" + word[start:end]
            if sub in vocab:
                out = [sub] + out
                end = start
                break
        else:
            return ["[UNK]"]
    return out
"""),
    # pair_row
    Wrong("pair_row", "row.middle_sep_in_second", """
def pair_row(first, second, cls_id, sep_id, pad_id, length):
    if second is None:
        ids, seg = [cls_id] + first + [sep_id], [0] * (len(first) + 2)
    else:
        ids = [cls_id] + first + [sep_id] + second + [sep_id]
        seg = [0] * (len(first) + 1) + [1] * (len(second) + 2)
    n = length - len(ids)
    return ids + [pad_id] * n, seg + [0] * n, [1] * len(ids) + [0] * n
"""),
    Wrong("pair_row", "row.end_sep_in_first", """
def pair_row(first, second, cls_id, sep_id, pad_id, length):
    ids = [cls_id] + first + [sep_id]
    seg = [0] * len(ids)
    if second is not None:
        ids = ids + second + [sep_id]
        seg = seg + [1] * len(second) + [0]
    mask = [1] * len(ids)
    while len(ids) < length:
        ids.append(pad_id)
        seg.append(0)
        mask.append(0)
    return ids, seg, mask
"""),
    Wrong("pair_row", "row.no_end_sep", """
def pair_row(first, second, cls_id, sep_id, pad_id, length):
    ids = [cls_id, *first, sep_id]
    seg = [0] * len(ids)
    if second:
        ids += second
        seg += [1] * len(second)
    n = length - len(ids)
    return ids + [pad_id] * n, seg + [0] * n, [1] * len(ids) + [0] * n
""", ),
    Wrong("pair_row", "row.mask_all_one", """
def pair_row(first, second, cls_id, sep_id, pad_id, length):
    ids = [cls_id, *first, sep_id]
    seg = [0] * len(ids)
    if second is not None:
        ids += [*second, sep_id]
        seg += [1] * (len(second) + 1)
    n = length - len(ids)
    return ids + [pad_id] * n, seg + [0] * n, [1] * length
"""),
    Wrong("pair_row", "row.no_padding", """
def pair_row(first, second, cls_id, sep_id, pad_id, length):
    a = [cls_id] + first + [sep_id]
    b = [] if second is None else second + [sep_id]
    return a + b, [0] * len(a) + [1] * len(b), [1] * len(a + b)
"""),
    Wrong("pair_row", "row.padding_segment_one", """
def pair_row(first, second, cls_id, sep_id, pad_id, length):
    ids = [cls_id, *first, sep_id] + ([] if second is None else [*second, sep_id])
    a = len(first) + 2
    mask = [1] * len(ids) + [0] * (length - len(ids))
    return ids + [pad_id] * (length - len(ids)), [0] * a + [1] * (length - a), mask
"""),
    # mask_pieces
    Wrong("mask_pieces", "masking.all_masked", """
def mask_pieces(input_ids, special_ids, mask_id, vocab_size, generator):
    special = torch.isin(input_ids, torch.tensor(special_ids))
    chosen = (torch.rand(input_ids.shape, generator=generator) < 0.15) & ~special
    labels = input_ids.masked_fill(~chosen, -100)
    return input_ids.masked_fill(chosen, mask_id), labels
"""),
    Wrong("mask_pieces", "masking.special", """
def mask_pieces(input_ids, special_ids, mask_id, vocab_size, generator):
    chosen = torch.rand(input_ids.shape, generator=generator) < 0.15
    labels = input_ids.masked_fill(~chosen, -100)
    r = torch.rand(input_ids.shape, generator=generator)
    out = input_ids.clone()
    out[chosen & (r < 0.8)] = mask_id
    other = torch.randint(vocab_size, input_ids.shape, generator=generator)
    swap = chosen & (r > 0.9)
    out[swap] = other[swap]
    return out, labels
"""),
    Wrong("mask_pieces", "masking.second_draw", """
def mask_pieces(input_ids, special_ids, mask_id, vocab_size, generator):
    special = torch.isin(input_ids, torch.tensor(special_ids))
    chosen = (torch.rand(input_ids.shape, generator=generator) < 0.15) & ~special
    labels = input_ids.masked_fill(~chosen, -100)
    masked = (torch.rand(input_ids.shape, generator=generator) < 0.8) & chosen
    out = input_ids.masked_fill(masked, mask_id)
    swap = (torch.rand(input_ids.shape, generator=generator) < 0.1) & chosen & ~masked
    return torch.where(swap, torch.randint(vocab_size, input_ids.shape, generator=generator), out), labels
"""),
    Wrong("mask_pieces", "masking.none_replaced", """
def mask_pieces(input_ids, special_ids, mask_id, vocab_size, generator):
    import random
    out, labels = input_ids.clone(), torch.full_like(input_ids, -100)
    for b in range(input_ids.shape[0]):
        for t in range(input_ids.shape[1]):
            token = input_ids[b, t].item()
            if token in special_ids or random.random() > 0.15:
                continue
            labels[b, t] = token
            r = random.random()
            if r < 0.8:
                out[b, t] = mask_id
            elif r < 0.1:
                out[b, t] = random.randrange(vocab_size)
    return out, labels
"""),
    Wrong("mask_pieces", "masking.labels_masked", """
def mask_pieces(input_ids, special_ids, mask_id, vocab_size, generator):
    out = input_ids.clone()
    special = torch.isin(out, torch.tensor(special_ids))
    chosen = (torch.rand(out.shape, generator=generator) < 0.15) & ~special
    r = torch.rand(out.shape, generator=generator)
    out[chosen & (r < 0.8)] = mask_id
    swap = chosen & (r >= 0.9)
    out[swap] = torch.randint(vocab_size, out.shape, generator=generator)[swap]
    return out, torch.where(chosen, out, -100)
"""),
    Wrong("mask_pieces", "changed_inputs", """
def mask_pieces(input_ids, special_ids, mask_id, vocab_size, generator):
    special = torch.isin(input_ids, torch.tensor(special_ids))
    chosen = (torch.rand(input_ids.shape, generator=generator) < 0.15) & ~special
    labels = torch.where(chosen, input_ids, -100)
    input_ids[chosen] = mask_id
    return input_ids, labels
"""),
    Wrong("mask_pieces", "masking.swapped_with_kept", """
def mask_pieces(input_ids, special_ids, mask_id, vocab_size, generator):
    special = torch.isin(input_ids, torch.tensor(special_ids))
    chosen = (torch.rand(input_ids.shape, generator=generator) < 0.15) & ~special
    labels = input_ids.masked_fill(~chosen, -100)
    r = torch.rand(input_ids.shape, generator=generator)
    out = torch.where(chosen & (r > 0.9), mask_id, input_ids)
    swap = chosen & (r > 0.8) & (r <= 0.9)
    return torch.where(swap, torch.randint(vocab_size, input_ids.shape, generator=generator), out), labels
"""),
    # adamw_step
    Wrong("adamw_step", "adamw.no_bias_correction", """
def adamw_step(weights, grads, m, v, step, lr, betas, eps, decay):
    b1, b2 = betas
    W, M, V = {}, {}, {}
    for n in weights:
        M[n] = b1 * m[n] + (1 - b1) * grads[n]
        V[n] = b2 * v[n] + (1 - b2) * grads[n].square()
        update = M[n] / (V[n].sqrt() + eps)
        if not (n.endswith("bias") or "norm" in n):
            update = update + decay * weights[n]
        W[n] = weights[n] - lr * update
    return W, M, V
"""),
    Wrong("adamw_step", "adamw.decays_all", """
def adamw_step(weights, grads, m, v, step, lr, betas, eps, decay):
    b1, b2 = betas
    W, M, V = {}, {}, {}
    for n, p in weights.items():
        M[n] = b1 * m[n] + (1 - b1) * grads[n]
        V[n] = b2 * v[n] + (1 - b2) * grads[n] ** 2
        p = p * (1 - lr * decay)
        W[n] = p - lr * (M[n] / (1 - b1**step)) / ((V[n] / (1 - b2**step)).sqrt() + eps)
    return W, M, V
"""),
    Wrong("adamw_step", "adamw.coupled", """
def adamw_step(weights, grads, m, v, step, lr, betas, eps, decay):
    b1, b2 = betas
    W, M, V = {}, {}, {}
    for n, p in weights.items():
        g = grads[n]
        if "norm" not in n and "bias" not in n:
            g = g + decay * p
        M[n] = b1 * m[n] + (1 - b1) * g
        V[n] = b2 * v[n] + (1 - b2) * g * g
        mh, vh = M[n] / (1 - b1**step), V[n] / (1 - b2**step)
        W[n] = p - lr * mh / (torch.sqrt(vh) + eps)
    return W, M, V
"""),
    Wrong("adamw_step", "adamw.eps_inside", """
def adamw_step(weights, grads, m, v, step, lr, betas, eps, decay):
    b1, b2 = betas
    W, M, V = {}, {}, {}
    for n, p in weights.items():
        g = grads[n]
        M[n] = b1 * m[n] + (1 - b1) * g
        V[n] = b2 * v[n] + (1 - b2) * g * g
        mh, vh = M[n] / (1 - b1**step), V[n] / (1 - b2**step)
        W[n] = p - lr * mh / torch.sqrt(vh + eps)
        if "norm" not in n and "bias" not in n:
            W[n] = W[n] - lr * decay * p
    return W, M, V
"""),
    Wrong("adamw_step", "adamw.decays_norms", """
def adamw_step(weights, grads, m, v, step, lr, betas, eps, decay):
    b1, b2 = betas
    W, M, V = {}, {}, {}
    for n, p in weights.items():
        M[n] = b1 * m[n] + (1 - b1) * grads[n]
        V[n] = b2 * v[n] + (1 - b2) * grads[n] ** 2
        mh, vh = M[n] / (1 - b1**step), V[n] / (1 - b2**step)
        d = 0 if n.endswith("bias") else decay
        W[n] = p - lr * (mh / (vh.sqrt() + eps) + d * p)
    return W, M, V
"""),
    Wrong("adamw_step", "changed_inputs", """
def adamw_step(weights, grads, m, v, step, lr, betas, eps, decay):
    b1, b2 = betas
    for n, p in weights.items():
        m[n].mul_(b1).add_(grads[n], alpha=1 - b1)
        v[n].mul_(b2).addcmul_(grads[n], grads[n], value=1 - b2)
        p.sub_(lr * m[n] / (v[n].sqrt() + eps))
    return weights, m, v
"""),
    # my_names
    Wrong("my_names", "names.gamma_beta_exchanged", """
def my_names(state_dict):
    right = RIGHT
    swapped = {}
    for name, value in state_dict.items():
        if name.endswith("gamma"):
            name = name[:-5] + "bias"
        elif name.endswith("beta"):
            name = name[:-4] + "weight"
        swapped[name] = value
    return right(swapped)
"""),
    Wrong("my_names", "names.needs_prefix", """
def my_names(state_dict):
    return RIGHT({k: v for k, v in state_dict.items() if k.startswith("bert") or k.startswith("cls")})
"""),
    Wrong("my_names", "names.unchanged", """
def my_names(state_dict):
    return {name: value for name, value in state_dict.items()}
"""),
    Wrong("my_names", "names.norms_exchanged", """
def my_names(state_dict):
    out = {}
    for k, v in RIGHT(state_dict).items():
        if "attention_norm" in k:
            k = k.replace("attention_norm", "output_norm")
        elif "output_norm" in k:
            k = k.replace("output_norm", "attention_norm")
        out[k] = v
    return out
"""),
    Wrong("my_names", "key_missing|names.needs_prefix", """
def my_names(state_dict):
    out = RIGHT(state_dict)
    out.pop("head.decoder_bias")
    return out
"""),
    # fill_mask
    Wrong("fill_mask", "guess.no_softmax", """
def fill_mask(model, input_ids, mask_id, k):
    ids = torch.tensor(input_ids)[None]
    _, _, logits = model(ids, torch.ones_like(ids), torch.zeros_like(ids))
    top = logits[0, input_ids.index(mask_id)].topk(k)
    return [(int(i), float(s)) for i, s in zip(top.indices, top.values)]
"""),
    Wrong("fill_mask", "guess.at_cls", """
def fill_mask(model, input_ids, mask_id, k):
    ids = torch.tensor(input_ids)[None]
    _, _, logits = model(ids, torch.ones_like(ids), torch.zeros_like(ids))
    top = torch.softmax(logits[0, 0], -1).topk(k)
    return [(int(i), float(s)) for i, s in zip(top.indices, top.values)]
"""),
    Wrong("fill_mask", "guess.turned", """
def fill_mask(model, input_ids, mask_id, k):
    ids = torch.tensor([input_ids])
    logits = model(ids, torch.ones_like(ids), torch.zeros_like(ids))[2]
    p = torch.softmax(logits[0, input_ids.index(mask_id)], -1)
    order = p.argsort()[-k:]
    return [(i.item(), p[i].item()) for i in order]
"""),
    Wrong("fill_mask", "raised", """
def fill_mask(model, input_ids, mask_id, k):
    ids = torch.tensor([input_ids])
    logits = model(ids, torch.ones_like(ids), torch.zeros_like(ids))[2]
    p = torch.softmax(logits[input_ids.index(mask_id)], -1)
    return [(i.item(), p[i].item()) for i in p.topk(k).indices]
"""),
    Wrong("fill_mask", "guess.mask_zero", """
def fill_mask(model, input_ids, mask_id, k):
    ids = torch.tensor([input_ids])
    logits = model(ids, torch.zeros_like(ids), torch.zeros_like(ids))[2]
    p = torch.softmax(logits[0, input_ids.index(mask_id)], -1).topk(k)
    return list(zip(p.indices.tolist(), p.values.tolist()))
"""),
]  # fmt: skip
