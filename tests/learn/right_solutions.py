"""Other ways to write the workbook's steps, as students do.  All of them are right."""

RIGHT = [
    ("gelu", """
def gelu(x):
    return F.gelu(x)
"""),
    ("gelu", """
def gelu(x):
    normal = torch.distributions.Normal(0.0, 1.0)
    return x * normal.cdf(x)
"""),
    ("layer_norm", """
def layer_norm(x, weight, bias, eps):
    return F.layer_norm(x, weight.shape, weight, bias, eps)
"""),
    ("layer_norm", """
def layer_norm(x, weight, bias, eps):
    u = x.mean(-1, keepdim=True)
    s = (x - u).pow(2).mean(-1, keepdim=True)
    return weight * ((x - u) * torch.rsqrt(s + eps)) + bias
"""),
    ("embeddings", """
def embeddings(input_ids, token_type_ids, w, eps):
    B, T = input_ids.shape
    position_ids = torch.arange(T).unsqueeze(0).expand(B, T)
    e = F.embedding(input_ids, w["word"]) + F.embedding(position_ids, w["position"])
    e = e + F.embedding(token_type_ids, w["segment"])
    return F.layer_norm(e, e.shape[-1:], w["norm_weight"], w["norm_bias"], eps)
"""),
    ("split_heads", """
def split_heads(x, heads):
    return torch.stack(x.chunk(heads, dim=-1), dim=1)
"""),
    ("merge_heads", """
def merge_heads(x):
    return torch.cat([x[:, n] for n in range(x.shape[1])], dim=-1)
"""),
    ("attention_scores", """
def attention_scores(query, key):
    D = query.size(-1)
    return torch.einsum("bnid,bnjd->bnij", query / D**0.25, key / D**0.25)
"""),
    ("apply_mask", """
def apply_mask(scores, attention_mask):
    extended = (1.0 - attention_mask[:, None, None, :].float()) * -10000.0
    return scores + extended
"""),
    ("apply_mask", """
def apply_mask(scores, attention_mask):
    return scores.masked_fill(~attention_mask.bool().unsqueeze(1).unsqueeze(2), float("-inf"))
"""),
    ("apply_mask", """
def apply_mask(scores, attention_mask):
    m = attention_mask.view(attention_mask.size(0), 1, 1, -1).to(scores.dtype)
    return scores * m + (1 - m) * -1e30
"""),
    ("softmax", """
def softmax(scores):
    return scores.softmax(-1)
"""),
    ("softmax", """
def softmax(scores):
    return torch.exp(scores - torch.logsumexp(scores, dim=-1, keepdim=True))
"""),
    ("context", """
def context(probabilities, value):
    return torch.einsum("bnij,bnjd->bnid", probabilities, value)
"""),
    ("self_attention", """
def self_attention(x, attention_mask, w, heads):
    q, k, v = (split_heads(x @ w[n + "_weight"].T + w[n + "_bias"], heads) for n in ("query", "key", "value"))
    return merge_heads(F.scaled_dot_product_attention(q, k, v, attention_mask[:, None, None].bool()))
"""),
    ("self_attention", """
def self_attention(x, attention_mask, w, heads):
    # in float32, as a model runs
    W = {n: t.float() for n, t in w.items()}
    y = x.float()
    q, k, v = (split_heads(F.linear(y, W[n + "_weight"], W[n + "_bias"]), heads) for n in ("query", "key", "value"))
    return merge_heads(context(softmax(apply_mask(attention_scores(q, k), attention_mask)), v)).to(x.dtype)
"""),
    ("self_output", """
def self_output(attended, x, w, eps):
    y = attended.matmul(w["attention_output_weight"].t()).add(w["attention_output_bias"]).add(x)
    return F.layer_norm(y, y.shape[-1:], w["attention_norm_weight"], w["attention_norm_bias"], eps)
"""),
    ("feed_forward", """
def feed_forward(x, w, eps):
    h = F.gelu(F.linear(x, w["intermediate_weight"], w["intermediate_bias"]))
    h = x + F.linear(h, w["output_weight"], w["output_bias"])
    return layer_norm(h, w["output_norm_weight"], w["output_norm_bias"], eps)
"""),
    ("layer", """
def layer(x, attention_mask, w, heads, eps):
    a = self_output(self_attention(x, attention_mask, w, heads), x, w, eps)
    h = gelu(F.linear(a, w["intermediate_weight"], w["intermediate_bias"]))
    h = F.linear(h, w["output_weight"], w["output_bias"])
    return layer_norm(a + h, w["output_norm_weight"], w["output_norm_bias"], eps)
"""),
    ("layer", """
def layer(x, attention_mask, w, heads, eps):
    W = {n: t.float() for n, t in w.items()}
    a = self_output(self_attention(x.float(), attention_mask, W, heads), x.float(), W, eps)
    return feed_forward(a, W, eps).double()
"""),
    ("encoder", """
def encoder(x, attention_mask, layers, heads, eps):
    states = (x,)
    for i in range(len(layers)):
        x = layer(x, attention_mask, layers[i], heads, eps)
        states = states + (x,)
    return states
"""),
    ("pooler", """
def pooler(x, w):
    cls = x[:, 0, :]
    return (cls @ w["pooler_weight"].mT + w["pooler_bias"]).tanh()
"""),
    ("mlm_head", """
def mlm_head(x, word, w, eps):
    h = gelu(x @ w["transform_weight"].T + w["transform_bias"])
    h = layer_norm(h, w["transform_norm_weight"], w["transform_norm_bias"], eps)
    return torch.einsum("bth,vh->btv", h, word) + w["decoder_bias"]
"""),
    ("mlm_loss", """
def mlm_loss(logits, labels):
    return F.cross_entropy(logits.view(-1, logits.size(-1)), labels.view(-1))
"""),
    ("mlm_loss", """
def mlm_loss(logits, labels):
    total, n = 0.0, 0
    for b in range(labels.shape[0]):
        for t in range(labels.shape[1]):
            if labels[b, t] >= 0:
                total = total + torch.logsumexp(logits[b, t], 0) - logits[b, t, labels[b, t]]
                n += 1
    return total / n
"""),
    ("wordpiece", """
def wordpiece(word, vocab):
    # google-research/bert, tokenization.py
    chars = list(word)
    if len(chars) > 100:
        return ["[UNK]"]
    is_bad = False
    start = 0
    sub_tokens = []
    while start < len(chars):
        end = len(chars)
        cur_substr = None
        while start < end:
            substr = "".join(chars[start:end])
            if start > 0:
                substr = "##" + substr
            if substr in vocab:
                cur_substr = substr
                break
            end -= 1
        if cur_substr is None:
            is_bad = True
            break
        sub_tokens.append(cur_substr)
        start = end
    return ["[UNK]"] if is_bad else sub_tokens
"""),
    ("pair_row", """
def pair_row(first, second, cls_id, sep_id, pad_id, length):
    a = [cls_id] + first + [sep_id]
    b = second + [sep_id] if second is not None else []
    row, seg, mask = [pad_id] * length, [0] * length, [0] * length
    for i, t in enumerate(a + b):
        row[i], seg[i], mask[i] = t, int(i >= len(a)), 1
    return [row, seg, mask]
"""),
    ("mask_pieces", """
def mask_pieces(input_ids, special_ids, mask_id, vocab_size, generator):
    # transformers, DataCollatorForLanguageModeling
    inputs, labels = input_ids.clone(), input_ids.clone()
    p = torch.full(labels.shape, 0.15)
    for s in special_ids:
        p.masked_fill_(labels == s, 0.0)
    chosen = torch.bernoulli(p, generator=generator).bool()
    labels[~chosen] = -100
    replaced = torch.bernoulli(torch.full(labels.shape, 0.8), generator=generator).bool() & chosen
    inputs[replaced] = mask_id
    other = torch.bernoulli(torch.full(labels.shape, 0.5), generator=generator).bool() & chosen & ~replaced
    inputs[other] = torch.randint(vocab_size, labels.shape, generator=generator)[other]
    return inputs, labels
"""),
    ("mask_pieces", """
def mask_pieces(input_ids, special_ids, mask_id, vocab_size, generator):
    # google-research/bert, create_pretraining_data.py
    import random
    out, labels = input_ids.clone(), torch.full_like(input_ids, -100)
    for b, row in enumerate(input_ids.tolist()):
        places = [t for t, i in enumerate(row) if i not in special_ids]
        random.shuffle(places)
        for t in places[: max(1, int(round((len(places) + 2) * 0.15)))]:
            labels[b, t] = row[t]
            if random.random() < 0.8:
                out[b, t] = mask_id
            elif random.random() >= 0.5:
                out[b, t] = random.randint(0, vocab_size - 1)
    return out, labels
"""),
    ("adamw_step", """
def adamw_step(weights, grads, m, v, step, lr, betas, eps, decay):
    # torch.optim.AdamW does it
    new = {}
    for n, p in weights.items():
        q = torch.nn.Parameter(p.clone())
        q.grad = grads[n].clone()
        wd = 0.0 if n.endswith("bias") or "norm" in n else decay
        o = torch.optim.AdamW([q], lr=lr, betas=betas, eps=eps, weight_decay=wd)
        o.state[q] = {"step": torch.tensor(float(step - 1)), "exp_avg": m[n].clone(), "exp_avg_sq": v[n].clone()}
        o.step()
        new[n] = (q.detach(), o.state[q]["exp_avg"], o.state[q]["exp_avg_sq"])
    return tuple({n: t[i] for n, t in new.items()} for i in range(3))
"""),
    ("adamw_step", """
def adamw_step(weights, grads, m, v, step, lr, betas, eps, decay):
    # the old transformers.AdamW: decay last
    b1, b2 = betas
    W, M, V = {}, {}, {}
    for n in weights:
        M[n] = m[n].mul(b1).add(grads[n], alpha=1 - b1)
        V[n] = v[n].mul(b2).addcmul(grads[n], grads[n], value=1 - b2)
        denominator = (V[n] / (1 - b2**step)).sqrt().add(eps)
        p = weights[n] - lr * (M[n] / (1 - b1**step)) / denominator
        if not n.endswith("_bias") and "norm" not in n:
            p = p - lr * decay * p
        W[n] = p
    return W, M, V
"""),
    ("my_names", """
def my_names(state_dict):
    import re
    rules = [
        (r"^bert\\.", ""), (r"gamma$", "weight"), (r"beta$", "bias"),
        (r"^embeddings\\.(word|position)_embeddings\\.weight$", r"embed.\\1"),
        (r"^embeddings\\.token_type_embeddings\\.weight$", "embed.segment"),
        (r"^embeddings\\.LayerNorm\\.", "embed.norm_"), (r"^encoder\\.layer\\.", "layers."),
        (r"attention\\.self\\.(query|key|value)\\.", r"\\1_"), (r"attention\\.output\\.dense\\.", "attention_output_"),
        (r"attention\\.output\\.LayerNorm\\.", "attention_norm_"), (r"intermediate\\.dense\\.", "intermediate_"),
        (r"output\\.dense\\.", "output_"), (r"(\\d\\.)output\\.LayerNorm\\.", r"\\1output_norm_"),
        (r"^pooler\\.dense\\.", "head.pooler_"), (r"^cls\\.predictions\\.bias$", "head.decoder_bias"),
        (r"^cls\\.predictions\\.transform\\.dense\\.", "head.transform_"),
        (r"^cls\\.predictions\\.transform\\.LayerNorm\\.", "head.transform_norm_"),
    ]
    wanted = ("embed.", "layers.", "head.")
    out = {}
    for name, tensor in state_dict.items():
        for pattern, new in rules:
            name = re.sub(pattern, new, name)
        if name.startswith(wanted):
            out[name] = tensor
    return out
"""),
    ("fill_mask", """
def fill_mask(model, input_ids, mask_id, k):
    ids = torch.tensor(input_ids).unsqueeze(0)
    with torch.no_grad():
        _, _, logits = model(ids, torch.ones_like(ids), torch.zeros_like(ids))
    position = (ids[0] == mask_id).nonzero().item()
    p = F.softmax(logits[0, position], dim=-1)
    values, indices = torch.topk(p, k)
    return [(i, v) for i, v in zip(indices, values)]
"""),
]  # fmt: skip
