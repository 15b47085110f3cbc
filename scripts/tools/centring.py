"""The same model with another origin of its hidden states: the mean of the words of its vocabulary.

A cosine depends on where zero is.  In a trained BERT that is nowhere in particular: all vectors have a large part in
common (Ethayarajh 2019), and taking it out changes how well cosines rank pairs (Mu and Viswanath 2018).  An origin can
be moved in the weights themselves: each layer's last LayerNorm has a bias, from which it is subtracted, and whatever
reads the hidden state gets it back in its own bias.  So predictions stay what they were, to rounding.  Start with
:func:`centre`.
"""

import torch
from torch import Tensor, nn

from minibert import BertForPreTraining, BertTokenizer

TOGETHER = 256  # texts in a batch


@torch.no_grad()
def centre(model: BertForPreTraining, tokenizer: BertTokenizer) -> None:
    """Move every hidden state of ``model``, in place, so that its mean over the words of the vocabulary is zero.

    The mean is that of every word alone, as a text with [CLS] and [SEP]: words, as they stand in no text, are nobody's
    subject.  Pieces that continue a word, and special tokens, are left out.
    """
    bert = model.bert
    means = mean_states(model, tokenizer)
    norms = [bert.embeddings.LayerNorm, *(layer.output.LayerNorm for layer in bert.encoder.layer)]
    for norm, mean in zip(norms, means, strict=True):
        norm.bias -= mean
    for layer, mean in zip(bert.encoder.layer, means, strict=False):
        attention = layer.attention
        for dense in (attention.self.query, attention.self.key, attention.self.value):
            give_back(dense, mean)
        attention.output.dense.bias += mean  # the residual
    give_back(bert.pooler.dense, means[-1])
    give_back(model.cls.predictions.transform.dense, means[-1])


def give_back(dense: nn.Linear, mean: Tensor) -> None:
    """Let ``dense`` compute from x - ``mean`` what it computed from x."""
    dense.bias += dense.weight @ mean


def mean_states(model: BertForPreTraining, tokenizer: BertTokenizer) -> Tensor:
    """(L + 1, H): of each hidden state the mean over the tokens of every word alone, all words counting equally."""
    special = set(tokenizer.all_special_tokens)
    words = [piece for piece in tokenizer.get_vocab() if piece not in special and not piece.startswith("##")]
    total = torch.zeros(model.config.num_hidden_layers + 1, model.config.hidden_size, dtype=torch.float64)
    for start in range(0, len(words), TOGETHER):
        inputs = tokenizer(words[start : start + TOGETHER], padding=True, return_tensors="pt")
        mask = inputs["attention_mask"].double()  # (B, T)
        shares = mask / mask.sum(dim=1, keepdim=True)
        for depth, state in enumerate(model.bert(**inputs, output_hidden_states=True).hidden_states):
            total[depth] += torch.einsum("bt,bth->h", shares, state.double())
    return (total / len(words)).float()
