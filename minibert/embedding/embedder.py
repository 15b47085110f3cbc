"""Embedder: texts in, vectors out, by the name of what you want.

Texts are sorted by their number of tokens and run packed (packed.py): no padding is computed, and a text's vector does
not depend on what else is in the batch.  A sentence-transformers folder brings its own pooling, normalisation and
maximum length.  Look at :meth:`Embedder.encode` first.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.devices import find_device
from minibert.embedding.columns import Columns, Optimized
from minibert.embedding.layers import NAMES, LayerChoice, Layers, choose_layers
from minibert.embedding.packed import Buffers, Packed, packed_hidden_states
from minibert.embedding.pooling import POOLINGS, pool_packed
from minibert.embedding.sentence_transformers import read_sentence_settings
from minibert.errors import InputError, MissingExtraError
from minibert.model import BertModel
from minibert.pretrained import BertPreTrainedModel
from minibert.source import Source, take_where
from minibert.tokenizer import BertTokenizer

logger = logging.getLogger(__name__)

# Enough rows for the matrix products, few enough for the caches: on a CPU 1,000 to 2,000 is the plateau.
TOKENS_A_BATCH = 1536
TOKENS_ON_AN_ACCELERATOR = 16384
TEXTS_A_WINDOW = 4096  # sorted together; memory stays flat however many texts there are

Row = tuple[list[int], list[int]]  # ids, segments


class Embedder:
    """A model, its tokenizer, and how a text's vector is made of its tokens'."""

    def __init__(
        self,
        model: BertPreTrainedModel,
        tokenizer: BertTokenizer,
        *,
        pooling: str = "mean",
        normalize: bool = False,
        max_length: int | None = None,
    ) -> None:
        """``max_length`` (tokens, default the model's positions) and the other defaults can be overridden per call."""
        base = model.base_model
        assert isinstance(base, BertModel)
        self.model = base.eval()
        self.tokenizer = tokenizer
        self.pooling, self.normalize = pooling, normalize
        positions = model.config.max_position_embeddings
        self.max_length = min(max_length or positions, positions)
        self.truncated = 0  # how many texts the last call cut
        self.columns: Columns | None = None  # see optimize

    @classmethod
    def from_pretrained(cls, source: Source, *, device: str | torch.device | None = None, **settings: Any) -> Self:
        """An embedder with the weights, vocabulary and, from sentence-transformers, the settings of ``source``.

        ``device``: where it runs, such as ``"cuda"`` or ``"mps"``; ``"auto"`` takes what is there.  Default: the CPU.
        ``settings``: the constructor's, ``dtype=`` (``torch.bfloat16``, for a device that is good at it), and where on
        the hub (``revision=`` …).  Raises CheckpointError, and InputError for a device that is not there.
        """
        where = take_where(settings)
        dtype = settings.pop("dtype", None)
        model = BertModel.from_pretrained(source, dtype=dtype, **where)
        tokenizer = BertTokenizer.from_pretrained(source, **where)
        return cls(model.to(find_device(device)), tokenizer, **{**read_sentence_settings(source, where), **settings})

    @torch.inference_mode()
    def encode(
        self,
        texts: str | Sequence[str],
        pooling: LayerChoice | None = None,
        *,
        layers: LayerChoice = "last",
        weights: Sequence[float] | None = None,
        normalize: bool | None = None,
        include_special_tokens: bool = True,
        long: str = "truncate",
        stride: int = 64,
        convert_to_numpy: bool = False,
    ) -> Any:
        """One vector a text: (len(texts), W) in the order given, on the CPU; for a single string (W,).

        Args:
            texts: a text or several.
            pooling: ``mean``, ``max``, ``cls``, ``pooler``; or a choice of ``layers``, which then are averaged over the
                tokens (``"concat_last4"``, ``5``, ``[1, 6]``).  Default: the checkpoint's, else ``mean``.
            layers: which hidden states, see :func:`minibert.embedding.layers.choose_layers`.
            weights: of a weighted sum of layers.
            normalize: to unit length.  Default: the checkpoint's, else no.
            include_special_tokens: whether [CLS] and [SEP] count in ``mean`` and ``max``, as they do elsewhere.
            long: a text of more tokens than the model reads is cut (``"truncate"``; ``self.truncated`` counts them)
                or read in overlapping ``"windows"``, whose vectors are averaged.
            stride: how many tokens two windows share.
            convert_to_numpy: a numpy array instead of a tensor.

        Raises InputError for choices that are none.
        """
        single = isinstance(texts, str)
        chosen = [texts] if isinstance(texts, str) else list(texts)
        how, which = self.resolve(self.pooling if pooling is None else pooling, layers, weights)
        if long not in ("truncate", "windows"):
            raise InputError(f"long is {long!r}; a long text is either 'truncate'd or read in 'windows'.")
        self.truncated = 0
        blocks = []
        for start in range(0, len(chosen), TEXTS_A_WINDOW):
            rows, owners = self.rows_of(chosen[start : start + TEXTS_A_WINDOW], long, stride)
            vectors = self.vectors_of(rows, how, which, include_special_tokens)
            blocks.append(average_by_owner(vectors, owners))
        width = which.width * self.model.config.hidden_size
        result = torch.cat(blocks) if blocks else torch.empty(0, width)
        if self.normalize if normalize is None else normalize:
            result = F.normalize(result, dim=-1)
        if self.truncated:
            logger.warning(
                "%d of %d texts have more than %d tokens and were cut; long='windows' reads all of them.",
                self.truncated,
                len(chosen),
                self.max_length,
            )
        result = result[0] if single else result
        return as_numpy(result) if convert_to_numpy else result

    def words(
        self,
        texts: str | Sequence[str],
        pooling: str = "mean",
        *,
        find: str | None = None,
        layers: LayerChoice = "last",
        weights: Sequence[float] | None = None,
        normalize: bool = False,
        long: str = "truncate",
        stride: int = 64,
    ) -> Any:
        """The vector of each word, with its place in the text: a :class:`~minibert.embedding.words.WordVectors`.

        For a list of texts a list of them.  ``find``: only this word, wherever it stands.  The other arguments are
        those of :func:`minibert.embedding.words.word_vectors`.
        """
        from minibert.embedding.words import word_vectors

        given = [texts] if isinstance(texts, str) else list(texts)
        found = word_vectors(
            self,
            given,
            pooling,
            find=find,
            layers=layers,
            weights=weights,
            normalize=normalize,
            long=long,
            stride=stride,
        )
        return found[0] if isinstance(texts, str) else found

    def optimize(self, *, compile: bool = True) -> Optimized:
        """Make single short texts faster, as a search box sends them; batches are not concerned.

        The result, printed, says how long it took to set up: with ``compile`` some 30 s for 6 layers, less when it is
        not the first time.  torch.compile needs a C++ compiler; where there is none, it says so and what needs none is
        kept.  Vectors agree within 1e-6 after normalisation.  Weights that are changed afterwards want another
        ``optimize()``.
        """
        self.columns = Columns(self.model)
        return self.columns.compile() if compile else Optimized(False, 0.0, "as asked")

    @property
    def tokens_a_batch(self) -> int:
        """How many tokens run together on the model's device."""
        return TOKENS_A_BATCH if self.device.type == "cpu" else TOKENS_ON_AN_ACCELERATOR

    @property
    def device(self) -> torch.device:
        """Where the model is; asked of one tensor, since looking through all of them takes a while for one text."""
        return self.model.embeddings.word_embeddings.weight.device

    def resolve(self, pooling: LayerChoice, layers: LayerChoice, weights: Sequence[float] | None) -> tuple[str, Layers]:
        """The kind of pooling and the layers that the arguments of :meth:`encode` mean."""
        depth = self.model.config.num_hidden_layers
        if not isinstance(pooling, str) or pooling in NAMES:
            return "mean", choose_layers(pooling, depth, weights)
        if pooling not in POOLINGS:
            raise InputError(
                f"{pooling!r} is no pooling; there are {', '.join((*POOLINGS, *NAMES))}, or layer numbers."
            )
        if pooling == "pooler":
            if self.model.pooler is None:
                raise InputError("This checkpoint has no pooler; choose another pooling, such as 'mean' or 'cls'.")
            if layers not in ("last", -1, depth):
                raise InputError("The pooler reads the last layer and no other; leave layers out.")
        return pooling, choose_layers(layers, depth, weights)

    def rows_of(self, texts: list[str], long: str, stride: int) -> tuple[list[Row], list[int]]:
        """Token rows no longer than the model reads, and for each the number of its text."""
        windows = long == "windows"
        encoded = self.tokenizer(
            texts,
            truncation=windows,
            max_length=self.max_length if windows else None,
            stride=min(stride, self.max_length // 2) if windows else 0,
            return_overflowing_tokens=windows,
            return_token_type_ids=True,
            return_attention_mask=False,
            verbose=False,
        )
        ids, segments = encoded["input_ids"], encoded["token_type_ids"]
        if windows:
            return list(zip(ids, segments, strict=True)), list(encoded["overflow_to_sample_mapping"])
        rows: list[Row] = []
        for row, kinds in zip(ids, segments, strict=True):
            if len(row) > self.max_length:
                self.truncated += 1
                row, kinds = [*row[: self.max_length - 1], row[-1]], kinds[: self.max_length]  # noqa: PLW2901
            rows.append((row, kinds))
        return rows, list(range(len(rows)))

    def hidden_states(self, packed: Packed, wanted: set[int], buffers: Buffers | None = None) -> dict[int, Tensor]:
        """The hidden states numbered ``wanted``, each (tokens, H), computed in the fastest way that is set up.

        Raises InputError while the model is traced or edited: these ways do not come by every point.
        """
        if self.model.is_watched():
            raise InputError(
                "The model is being traced or edited, and an Embedder does not run it point by point; call the model "
                "itself: model(**tokenizer(texts, padding=True, return_tensors='pt'))."
            )
        if self.columns is not None and self.columns.fits(packed):
            return self.columns.hidden_states(packed, wanted)
        return packed_hidden_states(self.model, packed, wanted, buffers)

    def vectors_of(self, rows: list[Row], pooling: str, layers: Layers, include_special_tokens: bool) -> Tensor:
        """(rows, W), in the order of ``rows``, whatever the order they were computed in."""
        order = sorted(range(len(rows)), key=lambda number: len(rows[number][0]))
        found = []
        lengths = [len(row) for row, _ in rows]
        parts = list(batches(order, lengths, self.tokens_a_batch))
        most = max(sum(lengths[number] for number in numbers) for numbers in parts)
        buffers = Buffers(self.model, most) if len(parts) > 1 else None
        for numbers in parts:
            ids, segments = zip(*(rows[number] for number in numbers), strict=True)
            packed = Packed.of(ids, segments, self.device)
            hidden = self.hidden_states(packed, set(layers.numbers), buffers)
            values = layers.combine([hidden[number] for number in layers.numbers])
            first = "cls" if pooling == "pooler" else pooling
            vectors = pool_packed(values, packed, first, include_special_tokens)
            if pooling == "pooler":
                assert self.model.pooler is not None
                vectors = self.model.pooler(vectors[:, None])
            found.append(vectors.float())
        together = (torch.cat(found) if len(found) > 1 else found[0]).cpu()
        if len(rows) == 1:
            return together
        result = torch.empty_like(together)
        result[order] = together
        return result


def batches(order: list[int], lengths: list[int], most: int) -> Iterator[list[int]]:
    """``order`` cut into batches of at most ``most`` tokens, or one text where that alone has more."""
    batch: list[int] = []
    tokens = 0
    for number in order:
        if batch and tokens + lengths[number] > most:
            yield batch
            batch, tokens = [], 0
        batch.append(number)
        tokens += lengths[number]
    if batch:
        yield batch


def average_by_owner(vectors: Tensor, owners: list[int]) -> Tensor:
    """The mean of the vectors of each text's windows; ``owners`` never falls and misses no text."""
    if not owners or len(owners) == owners[-1] + 1:
        return vectors
    counts = torch.bincount(torch.tensor(owners)).tolist()
    windows = torch.split(vectors, counts)
    return torch.stack([window.mean(dim=0) for window in windows])


def as_numpy(vectors: Tensor) -> Any:
    """A numpy array; MissingExtraError when numpy is not installed."""
    try:
        return vectors.numpy()
    except RuntimeError as error:
        raise MissingExtraError("convert_to_numpy needs numpy: pip install numpy.") from error


def embed_texts(
    model: BertPreTrainedModel, tokenizer: BertTokenizer, texts: Sequence[str], *, normalize: bool = True
) -> Tensor:
    """One vector a text, (len(texts), H), on the CPU: mean pooling, unit length unless ``normalize`` is False."""
    if isinstance(texts, str):
        raise InputError("embed_texts takes a list of texts; for one text give [text].")
    vectors: Tensor = Embedder(model, tokenizer, pooling="mean").encode(texts, normalize=normalize)
    return vectors
