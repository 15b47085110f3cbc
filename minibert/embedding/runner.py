"""Texts to token rows, token rows to hidden states: what the vectors of texts and of words share.

Rows are sorted by length and run packed (packed.py), so that no padding is computed.  Start with
:meth:`Runner.batches`, which cuts the rows into batches, and :meth:`Runner.hidden_states`, which runs one.
"""

import logging
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from minibert.embedding.arguments import check_whole, described
from minibert.embedding.layers import Layers
from minibert.embedding.packed import (
    Buffers,
    Packed,
    called_hidden_states,
    called_outputs,
    is_plain,
    packed_hidden_states,
)
from minibert.embedding.pooling import pool_packed
from minibert.embedding.transposed import Optimized, Transposed
from minibert.errors import InputError
from minibert.model import BertModel
from minibert.pretrained import BertPreTrainedModel
from minibert.tokenizer import BertTokenizer
from minibert.tokenizer.windows import TokenRow

logger = logging.getLogger(__name__)

# Enough rows for the matrix products, few enough for the caches: on a CPU 1,000 to 2,000 is the plateau.
TOKENS_PER_BATCH = 1536
TOKENS_ON_AN_ACCELERATOR = 16384

NOT_FINITE = (
    "holds NaN or infinity. Either the weights do, or float16 is too narrow for this model: give dtype='bfloat16' or "
    "'float32'."
)


class Runner:
    """A BertModel and its tokenizer.  An Embedder is a Runner that also knows how a text's vector is made."""

    def __init__(self, model: BertPreTrainedModel, tokenizer: BertTokenizer, max_length: int | None = None) -> None:
        """As the arguments of ``Embedder`` with these names."""
        if not isinstance(model, BertPreTrainedModel):
            raise InputError(f"model is {described(model)}; expected a model of minibert's.")
        if not isinstance(tokenizer, BertTokenizer):
            raise InputError(f"tokenizer is {described(tokenizer)}; expected a BertTokenizer.")
        base = model.base_model
        assert isinstance(base, BertModel)
        self.model = base.eval()
        self.tokenizer = tokenizer
        positions = model.config.max_position_embeddings
        asked = tokenizer.model_max_length if max_length is None else check_whole("max_length", max_length, 2)
        self.max_length = check_whole("max_length, by the tokenizer and the model,", min(asked, positions), 2)
        self.truncated = 0  # how many texts the last call cut
        self.transposed: Transposed | None = None  # see optimize
        self.on_batch: Callable[[Packed], None] | None = None  # called with each batch before it is run

    @property
    def device(self) -> torch.device:
        """Where the model is; asked of one tensor, since looking through all of them takes a while for one text."""
        return self.model.embeddings.word_embeddings.weight.device

    @property
    def tokens_per_batch(self) -> int:
        """How many tokens run together on the model's device."""
        return TOKENS_PER_BATCH if self.device.type == "cpu" else TOKENS_ON_AN_ACCELERATOR

    def overlap(self, stride: int) -> int:
        """How many tokens two windows share: ``stride``, but at most half a row."""
        return min(stride, self.max_length // 2)

    def warn_if_truncated(self, texts: int) -> None:
        """Log how many of so many texts were cut, if any."""
        if self.truncated:
            logger.warning(
                "%d of %d texts have more than %d tokens and were cut; long='windows' reads all of them.",
                self.truncated,
                texts,
                self.max_length,
            )

    def batches(
        self, rows: Sequence[TokenRow], batch_size: int | None = None
    ) -> Iterator[tuple[list[int], Packed, Buffers | None]]:
        """``rows``, shortest first, in batches: the numbers of its rows, the batch, memory to run it in."""
        lengths = [len(row) for row in rows]
        order = sorted(range(len(rows)), key=lengths.__getitem__)
        parts = list(cut(order, lengths, self.tokens_per_batch, batch_size))
        buffers = None
        if len(parts) > 1:
            buffers = Buffers(self.model, max(sum(lengths[number] for number in numbers) for numbers in parts))
        for numbers in parts:
            packed = Packed.of([rows[number] for number in numbers], self.device)
            if self.on_batch is not None:
                self.on_batch(packed)
            yield numbers, packed, buffers

    def hidden_states(self, packed: Packed, layers: Layers, buffers: Buffers | None = None) -> Tensor:
        """The chosen hidden states, combined: (tokens, W), computed in the fastest way there is for this model.

        A model with hooks or replaced modules, or one that is traced or edited, is called itself; see packed.py.
        """
        numbers = set(layers.numbers)
        if not is_plain(self.model):
            hidden_states = called_hidden_states(self.model, packed, numbers)
        elif self.transposed is not None and self.transposed.fits(packed):
            hidden_states = self.transposed.hidden_states(packed, numbers)
        else:
            hidden_states = packed_hidden_states(self.model, packed, numbers, buffers)
        return layers.combine([hidden_states[number] for number in layers.numbers])

    def pooler_output(self, packed: Packed, buffers: Buffers | None = None) -> Tensor:
        """(texts, H): what the model's pooler makes of [CLS]."""
        if not is_plain(self.model):
            outputs = called_outputs(self.model, packed)
            return torch.cat([output.pooler_output for output in outputs if output.pooler_output is not None])
        assert self.model.pooler is not None
        last = Layers((self.model.config.num_hidden_layers,), (1.0,))
        hidden_states = self.hidden_states(packed, last, buffers)
        vectors: Tensor = self.model.pooler(pool_packed(hidden_states, packed, ("cls",), True)[:, None])
        return vectors

    def optimize(self, *, compile: bool = True) -> Optimized:
        """Make single short texts faster, as a search box sends them; batches are not concerned.

        The result, printed, says how long it took to set up: with ``compile`` some 30 s for 6 layers, less when it is
        not the first time.  torch.compile needs a C++ compiler; where there is none, it says so and what needs none is
        kept.  Vectors agree within 1e-6 after normalisation.  Weights that are changed afterwards want another
        ``optimize()``; while the model has hooks or other modules than BERT's, it is called itself, as without.  Raises
        InputError for a model that has them now.
        """
        if not is_plain(self.model):
            raise InputError(
                "The model has hooks or other modules than BERT's own, or is traced or edited, and there is nothing to "
                "optimize: it is called as it is. Take them out first, or merge what was added into the weights."
            )
        self.transposed = Transposed(self.model)
        return self.transposed.compile() if compile else Optimized(False, 0.0, "as asked")


def cut(order: list[int], lengths: list[int], most: int, batch_size: int | None = None) -> Iterator[list[int]]:
    """``order`` cut into batches of at most ``most`` tokens, or one text where that alone has more.

    ``batch_size``: how many texts at most.
    """
    batch: list[int] = []
    tokens = 0
    for number in order:
        if batch and (tokens + lengths[number] > most or len(batch) == batch_size):
            yield batch
            batch, tokens = [], 0
        batch.append(number)
        tokens += lengths[number]
    if batch:
        yield batch
