"""Token rows in, hidden states out: what the vectors of texts (embedder.py) and of words (words.py) share.

Rows are sorted by length, cut into batches (:meth:`Runner.batches`) and run packed, without padding
(:meth:`Runner.hidden_states`).
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from minibert.embedding.arguments import check_whole, described
from minibert.embedding.backends import Backend, Report, set_up
from minibert.embedding.backends.choosing import TORCH
from minibert.embedding.backends.padding import cut_padded
from minibert.embedding.backends.proof import TEXTS
from minibert.embedding.layers import Layers
from minibert.embedding.packed import (
    Packed,
    Scratch,
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

# On a CPU the speed is highest from 1,000 to 2,000: enough rows for the matrix products, few enough for the caches.
TOKENS_PER_BATCH = 1536
TOKENS_ON_AN_ACCELERATOR = 16384

NOT_FINITE = (
    "holds NaN or infinity. Either the weights do, or float16 is too narrow for this model: give dtype='bfloat16' or "
    "'float32'."
)
NOTHING_TO_OPTIMIZE = (
    "The model has hooks or other modules than BERT's own, or is traced or edited, and there is nothing to optimize: "
    "it is called as it is. Take them out first, or merge what was added into the weights."
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
        self.runtime: Backend | None = None  # see use_backend
        self.asked_backend = "torch"  # what use_backend was called with
        self.backend: Report = TORCH  # printed, it says which backend computes, and why
        self.on_batch: Callable[[Packed], None] | None = None  # called with each batch before it is run

    @property
    def device(self) -> torch.device:
        """Where the model is; read from one tensor, since ``model.device`` takes long enough to matter for one text."""
        return self.model.embeddings.word_embeddings.weight.device

    @property
    def tokens_per_batch(self) -> int:
        """Most tokens in a batch on the model's device."""
        return TOKENS_PER_BATCH if self.device.type == "cpu" else TOKENS_ON_AN_ACCELERATOR

    def overlap(self, stride: int) -> int:
        """How many tokens two windows share: ``stride``, at most half a row."""
        return min(stride, self.max_length // 2)

    def warn_if_truncated(self, texts: int) -> None:
        """Log how many of ``texts`` texts were cut, if any."""
        if self.truncated:
            logger.warning(
                "%d of %d texts have more than %d tokens and were cut; long='windows' reads all of them.",
                self.truncated,
                texts,
                self.max_length,
            )

    def batches(
        self, rows: Sequence[TokenRow], batch_size: int | None = None
    ) -> Iterator[tuple[list[int], Packed, Scratch | None]]:
        """``rows`` in batches, shortest first; of each batch the numbers of its rows, the rows packed, and buffers.

        ``batch_size``: most rows in a batch.  A single batch needs no buffers to share.
        """
        lengths = [len(row) for row in rows]
        order = sorted(range(len(rows)), key=lengths.__getitem__)
        parts = list(cut(order, lengths, self.tokens_per_batch, batch_size))
        scratch = None
        if len(parts) > 1:
            most = max(sum(lengths[number] for number in numbers) for numbers in parts)
            scratch = Scratch.allocate(self.model, most)
        for numbers in parts:
            packed = Packed.of([rows[number] for number in numbers], self.device)
            if self.on_batch is not None:
                self.on_batch(packed)
            yield numbers, packed, scratch

    def run(
        self, rows: Sequence[TokenRow], layers: Layers, batch_size: int | None = None
    ) -> Iterator[tuple[list[int], Packed, Tensor]]:
        """``rows`` in batches with their :meth:`hidden_states`; a runtime may compute several batches at once."""
        runtime = self.runtime_for(layers)
        if runtime is None:
            for numbers, packed, scratch in self.batches(rows, batch_size):
                yield numbers, packed, self.hidden_states(packed, layers, scratch)
            return
        for numbers, packed, hidden_states in runtime.stream(self.padded_batches(rows, runtime, batch_size)):
            yield numbers, packed, layers.combine([hidden_states[number] for number in layers.numbers])

    def padded_batches(
        self, rows: Sequence[TokenRow], runtime: Backend, batch_size: int | None
    ) -> Iterator[tuple[list[int], Packed]]:
        """As :meth:`batches`, for a runtime: of nearly the same length, and the longest first, which end last."""
        lengths = [len(row) for row in rows]
        order = sorted(range(len(rows)), key=lengths.__getitem__)
        for numbers in reversed(list(cut_padded(order, lengths, runtime.tokens_per_batch, batch_size))):
            packed = Packed.of([rows[number] for number in numbers], self.device)
            if self.on_batch is not None:
                self.on_batch(packed)
            yield numbers, packed

    def runtime_for(self, layers: Layers) -> Backend | None:
        """The runtime where it gives these hidden states of the model as it is now; None where torch computes them."""
        if self.runtime is None or not self.runtime.fits(layers.numbers):
            return None
        if self.runtime.snapshot.holds():
            return self.runtime
        if not is_plain(self.model):  # for as long as it has hooks or other modules
            return None
        logger.warning(
            "The weights were changed after the graph for %s was built, so torch computes. optimize() builds it anew.",
            self.backend.name,
        )
        self.runtime, self.backend = None, TORCH
        return None

    def hidden_states(self, packed: Packed, layers: Layers, scratch: Scratch | None = None) -> Tensor:
        """The chosen hidden states, combined: (tokens, W).

        A plain model is run in the fastest way.  One with hooks or replaced modules, or one that is traced or edited,
        is called itself; see packed.py.
        """
        numbers = set(layers.numbers)
        runtime = self.runtime_for(layers)
        if runtime is not None:
            hidden_states = runtime.hidden_states(packed)
        elif not is_plain(self.model):
            hidden_states = called_hidden_states(self.model, packed, numbers)
        elif self.transposed is not None and self.transposed.fits(packed):
            hidden_states = self.transposed.hidden_states(packed, numbers)
        else:
            hidden_states = packed_hidden_states(self.model, packed, numbers, scratch)
        return layers.combine([hidden_states[number] for number in layers.numbers])

    def pooler_output(self, packed: Packed, scratch: Scratch | None = None) -> Tensor:
        """The output of the model's pooler, (texts, H)."""
        if not is_plain(self.model):
            outputs = called_outputs(self.model, packed)
            return torch.cat([output.pooler_output for output in outputs if output.pooler_output is not None])
        assert self.model.pooler is not None
        last = Layers((self.model.config.num_hidden_layers,), (1.0,))
        hidden_states = self.hidden_states(packed, last, scratch)
        vectors: Tensor = self.model.pooler(pool_packed(hidden_states, packed, ("cls",), True)[:, None])
        return vectors

    def graph_layers(self) -> tuple[int, ...]:
        """The hidden states that a backend's graph gives: those of the default pooling."""
        return (self.model.config.num_hidden_layers,)

    def use_backend(self, name: str, layers: Iterable[int] | None = None) -> Report:
        """Let ``torch``, ``onnxruntime``, ``openvino``, or the fastest of them here (``auto``), compute hidden states.

        The first time for a model, its graph is built, compared with the model and kept
        (:mod:`minibert.embedding.backends.cache`); ``auto`` also measures.  Vectors agree within 1e-6 after
        normalisation.  ``layers``: which hidden states the graph gives, from 0 to L; default those of the default
        pooling.  Torch computes the others.  A model with hooks or other modules is called itself, and one whose
        weights were changed is computed by torch, with a warning.
        Returns the report, also in ``self.backend``.  Raises InputError for an unknown name, a model that is not plain,
        not float32 or not on the CPU, and a graph that differs from the model; MissingExtraError; and CheckpointError
        where the cache cannot be written.
        """
        if name != "torch" and not is_plain(self.model):
            raise InputError(NOTHING_TO_OPTIMIZE)
        rows = [row for row in self.tokenizer.token_rows(list(TEXTS), self.max_length)[0] if len(row)]
        numbers = self.graph_layers() if layers is None else tuple(sorted(set(layers)))
        given = Layers(numbers, (1.0,) * len(numbers))

        def run_with(backend: Backend | None, rows: list[TokenRow]) -> None:
            own, self.runtime = self.runtime, backend
            try:
                with torch.inference_mode():
                    for _ in self.run(rows, given):
                        pass
            finally:
                self.runtime = own

        self.asked_backend = name
        self.runtime, self.backend = set_up(name, self.model, numbers, self.max_length, rows, run_with)
        return self.backend

    def optimize(self, *, compile: bool = True, backend: str | None = None) -> Optimized | Report:
        """Make single short texts faster, such as queries; batches run as before.

        With ``compile``, setting up takes some 30 s for 6 layers, less when the compiler has cached its work; the
        result, printed, says how long.  torch.compile needs a C++ compiler; without one, the result says so, and the
        part that needs none is used.  Vectors agree within 1e-6 after normalisation.  After a change of weights, call
        ``optimize()`` again.  While the model has hooks or modules other than BERT's, it is called itself.  Raises
        InputError for a model that has them now.

        ``backend``: as :meth:`use_backend`, which makes batches faster too; an embedder that has one keeps it, with a
        graph of the weights as they are now.
        """
        if not is_plain(self.model):
            raise InputError(NOTHING_TO_OPTIMIZE)
        if backend is None and self.asked_backend != "torch":
            backend = self.asked_backend
        if backend is not None and backend != "torch":
            return self.use_backend(backend)
        self.transposed = Transposed(self.model)
        return self.transposed.compile() if compile else Optimized(False, 0.0, "as asked")


def cut(order: list[int], lengths: list[int], most: int, batch_size: int | None = None) -> Iterator[list[int]]:
    """Cut the row numbers ``order`` into batches of at most ``most`` tokens and ``batch_size`` rows, at least one."""
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
