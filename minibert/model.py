"""BERT, from token ids to hidden states: the page to print and read from top to bottom.

Devlin et al. 2018, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding"; the
layer is the encoder layer of Vaswani et al. 2017, "Attention Is All You Need", section 3.  Class and attribute
names are those of every published checkpoint, so a state dict loads without translation.

Letters used in every shape comment:
    B batch   T tokens   H hidden size   N heads   D = H / N   I intermediate size   L layers   V vocabulary

``self.point(name, value)`` returns ``value``: it marks a value that ``minibert.trace`` can show (watch.py).

Start with BertModel at the bottom for the whole, or with BertSelfAttention for the heart.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minibert.config import BertConfig
from minibert.errors import ConfigError
from minibert.inputs import check_inputs, explain_lookup_failure, has_values, refuse_unsupported
from minibert.outputs import BertModelOutput
from minibert.pretrained import BertPreTrainedModel
from minibert.watch import Observable


def gelu_new(x: Tensor) -> Tensor:
    """GELU's tanh approximation, as written in Google's BERT (Hendrycks & Gimpel 2016, section 2)."""
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))


# Functions, not modules, so that the printed tree stays BERT's.  gelu_new and gelu_pytorch_tanh are one formula in two
# orders of computation, which differ in the last bits.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,  # x · Φ(x) with the exact erf
    "gelu_new": gelu_new,
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": torch.tanh,
}


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """The function that ``hidden_act`` names; ConfigError when there is none of that name."""
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ConfigError(f"hidden_act is {name!r}; minibert has {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[name]


class BertEmbeddings(Observable):
    """Word embedding + segment embedding + position embedding (paper, figure 2)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        input_ids: Tensor | None = None,  # (B, T) int64
        token_type_ids: Tensor | None = None,  # (B, T) int64, default all 0
        position_ids: Tensor | None = None,  # (B, T) or (1, T) int64, default 0 … T-1
        inputs_embeds: Tensor | None = None,  # (B, T, H), instead of input_ids
    ) -> Tensor:
        if inputs_embeds is None:
            assert input_ids is not None
            inputs_embeds = self.word_embeddings(input_ids)  # (B, T, H)
        B, T = inputs_embeds.shape[:2]
        if token_type_ids is None:
            token_type_ids = torch.zeros((B, T), dtype=torch.long, device=inputs_embeds.device)
        if position_ids is None:
            position_ids = torch.arange(T, device=inputs_embeds.device)[None]  # (1, T)

        # Floating-point addition is not associative; every published implementation adds in this order.
        embeddings: Tensor = inputs_embeds + self.token_type_embeddings(token_type_ids)
        embeddings = self.point("sum", embeddings + self.position_embeddings(position_ids))
        embeddings = self.dropout(self.LayerNorm(embeddings))
        return embeddings  # (B, T, H)


class BertSelfAttention(Observable):
    """Every token attends to all tokens, in N heads at once (Vaswani et al., section 3.2)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.num_attention_heads = config.num_attention_heads
        self.attention_head_size = config.hidden_size // config.num_attention_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, output_attentions: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """(B, T, H) to the context (B, T, H) and, in eager attention, the probabilities (B, N, T, T)."""
        query = self.point("query_heads", self.split_heads(self.query(hidden_states)))  # (B, N, T, D)
        key = self.point("key_heads", self.split_heads(self.key(hidden_states)))  # (B, N, T, D)
        value = self.point("value_heads", self.split_heads(self.value(hidden_states)))  # (B, N, T, D)
        scale = self.attention_head_size**-0.5

        probabilities = None
        if output_attentions or self.config.attn_implementation == "eager" or self.is_watched():
            scores = self.point("scores", torch.matmul(query, key.transpose(2, 3)) * scale)  # (B, N, T, T)
            if attention_mask is not None:
                scores = scores + additive_mask(attention_mask, hidden_states.dtype)
            scores = self.point("masked_scores", scores)
            probabilities = self.point("probabilities", F.softmax(scores, dim=-1))  # (B, N, T, T), each row sums to 1
            probabilities = self.dropout(probabilities)  # drops whole tokens from view, as in the paper
            context = torch.matmul(probabilities, value)  # (B, N, T, D)
        else:  # the same in one fused call, which never stores the (T, T) scores
            dropout = self.dropout.p if self.training else 0.0
            context = F.scaled_dot_product_attention(query, key, value, attention_mask, dropout, scale=scale)
        context = self.point("context_heads", context)
        return self.point("context", self.merge_heads(context)), probabilities

    def split_heads(self, x: Tensor) -> Tensor:
        """(B, T, H) → (B, N, T, D)."""
        return x.view(*x.shape[:-1], self.num_attention_heads, self.attention_head_size).transpose(1, 2)

    def merge_heads(self, x: Tensor) -> Tensor:
        """(B, N, T, D) → (B, T, H)."""
        return x.transpose(1, 2).flatten(start_dim=2)


class BertSelfOutput(Observable):
    """Mix the heads, add the residual, normalise the sum (post-LN, as in the 2017 paper)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        hidden_states = self.dropout(self.dense(hidden_states))
        hidden_states = self.LayerNorm(self.point("residual", hidden_states + input_tensor))
        return hidden_states  # (B, T, H)


class BertAttention(nn.Module):
    """Self-attention, then its output layer with the residual."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.self = BertSelfAttention(config)
        self.output = BertSelfOutput(config)

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, output_attentions: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        context, probabilities = self.self(hidden_states, attention_mask, output_attentions)
        return self.output(context, hidden_states), probabilities


class BertIntermediate(nn.Module):
    """The first half of the feed-forward network: H → I, then the activation."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.intermediate_act_fn = activation(config.hidden_act)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.intermediate_act_fn(self.dense(hidden_states))  # (B, T, I)


class BertOutput(Observable):
    """The second half of the feed-forward network: I → H, the residual, the normalisation."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.intermediate_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        hidden_states = self.dropout(self.dense(hidden_states))
        hidden_states = self.LayerNorm(self.point("residual", hidden_states + input_tensor))
        return hidden_states  # (B, T, H)


class BertLayer(Observable):
    """One of L layers: attention mixes the tokens, then the feed-forward network transforms each token by itself."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.chunk_size_feed_forward = config.chunk_size_feed_forward
        self.attention = BertAttention(config)
        self.intermediate = BertIntermediate(config)
        self.output = BertOutput(config)

    def forward(
        self,
        hidden_states: Tensor,  # (B, T, H)
        attention_mask: Tensor | None = None,
        attentions: list[Tensor] | None = None,  # this layer's probabilities are appended to it
    ) -> Tensor:
        attention_output, probabilities = self.attention(hidden_states, attention_mask, attentions is not None)
        if attentions is not None:
            attentions.append(probabilities)
        if not self.chunk_size_feed_forward or self.is_watched():  # a watch sees each value once and whole
            return self.feed_forward_chunk(attention_output)
        # The feed-forward network works token by token, so chunks give the same values in less memory.
        chunks = attention_output.split(self.chunk_size_feed_forward, dim=1)
        return torch.cat([self.feed_forward_chunk(chunk) for chunk in chunks], dim=1)

    def feed_forward_chunk(self, attention_output: Tensor) -> Tensor:
        """(B, any number of tokens, H) → the same shape."""
        intermediate_output = self.intermediate(attention_output)
        layer_output: Tensor = self.output(intermediate_output, attention_output)
        return layer_output


class BertEncoder(Observable):
    """L layers, one after the other."""

    returns_record = True

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList([BertLayer(config) for _ in range(config.num_hidden_layers)])

    def forward(
        self,
        hidden_states: Tensor,  # (B, T, H)
        attention_mask: Tensor | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> BertModelOutput:
        all_hidden_states = [hidden_states]  # L + 1: number 0 is the embeddings
        attentions: list[Tensor] | None = [] if output_attentions else None
        for layer in self.layer:
            hidden_states = layer(hidden_states, attention_mask, attentions)
            all_hidden_states.append(hidden_states)
        outputs = BertModelOutput(
            last_hidden_state=hidden_states,
            hidden_states=tuple(all_hidden_states) if output_hidden_states else None,
            attentions=None if attentions is None else tuple(attentions),
        )
        return self.point_fields(outputs)


class BertPooler(nn.Module):
    """A dense layer on the vector of [CLS], trained for next sentence prediction."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = nn.Tanh()

    def forward(self, hidden_states: Tensor) -> Tensor:
        pooler_output: Tensor = self.activation(self.dense(hidden_states[:, 0]))
        return pooler_output  # (B, H)


class BertModel(BertPreTrainedModel):
    """The whole encoder: embeddings, layers, pooler."""

    def __init__(self, config: BertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = BertEmbeddings(config)
        self.encoder = BertEncoder(config)
        self.pooler = BertPooler(config) if add_pooling_layer else None
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **unsupported: Any,
    ) -> BertModelOutput | tuple[Any, ...]:
        """Run the encoder.

        Args:
            input_ids: (B, T) int64, or instead of it ``inputs_embeds``: (B, T, H).
            attention_mask: which tokens may be attended to, default all.  (B, T): nonzero for a token, 0 for padding.
                (B, T, T): a row for each query token.  (B, 1 or N, T, T): used as it is, boolean (True: attend) or
                added to the scores.
            token_type_ids: (B, T) int64, the segment of each token.  Default: 0.
            position_ids: (B, T) or (1, T) int64.  Default: 0 … T-1.
            output_attentions: also return the probabilities; this call then uses eager attention.
            output_hidden_states: also return the embeddings and the output of every layer.
            return_dict: False gives a plain tuple.  These three default to the config's fields.

        Raises InputError for shapes, lengths and ids that do not fit this model.
        """
        refuse_unsupported(unsupported, output_attentions=output_attentions, output_hidden_states=output_hidden_states)
        check_inputs(self, input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        output_attentions = self.config.output_attentions if output_attentions is None else output_attentions
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states

        try:
            embeddings = self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds)  # (B, T, H)
        except (IndexError, RuntimeError) as error:  # ids are not scanned in every call; the lookup fails
            explain_lookup_failure(self, error, input_ids, token_type_ids, position_ids, inputs_embeds)
            raise

        mask = expand_attention_mask(attention_mask, embeddings)
        if mask is not None and self.config.attn_implementation == "eager":
            mask = additive_mask(mask, embeddings.dtype)  # once for all layers
        outputs: BertModelOutput = self.encoder(embeddings, mask, output_attentions, output_hidden_states)
        if self.pooler is not None:
            outputs.pooler_output = self.pooler(outputs.last_hidden_state)
        return self.as_asked(outputs, return_dict)


def expand_attention_mask(mask: Tensor | None, embeddings: Tensor) -> Tensor | None:
    """The mask for the scores of each query token: (B, 1 or N, T, T), or None when nothing is masked.

    Boolean, True where a token may be attended to, unless the caller passed numbers to add to the scores.
    """
    if mask is None:
        return None
    mask = mask.to(embeddings.device)
    if mask.dim() == 4:
        return mask
    mask = mask.to(torch.bool)
    if mask.dim() == 3:
        return mask[:, None]  # (B, 1, T, T)
    if has_values(mask) and mask.all():
        return None  # nothing is masked, and fused attention is faster without a mask
    return mask[:, None, None, :].expand(-1, 1, embeddings.shape[1], -1)  # (B, 1, T, T)


def additive_mask(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """The mask to add to the scores: 0 where a token may be attended to, the lowest number of ``dtype`` elsewhere.

    Not -inf: for a row of -inf alone, softmax would divide 0 by 0.  A mask of numbers stays as it is.
    """
    if mask.dtype != torch.bool:
        return mask
    return torch.where(mask, torch.zeros((), dtype=dtype, device=mask.device), torch.finfo(dtype).min)
