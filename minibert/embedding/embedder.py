"""Embedder: texts in, vectors out.

Texts run packed (runner.py, packed.py): no padding is computed, and a text's vector does not depend on the other texts
of its batch.  A sentence-transformers folder brings its own pooling, prompts, further steps and maximum length
(sentence_transformers.py).  Start with :meth:`Embedder.encode`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from minibert.devices import find_device
from minibert.embedding.arguments import (
    check_choice,
    check_flag,
    check_long,
    check_prompts,
    check_text,
    check_whole,
    described,
    read_texts,
    refuse_unsupported,
)
from minibert.embedding.backends import check_backend
from minibert.embedding.layers import LayerChoice, Layers
from minibert.embedding.pooling import Pooling, choose_pooling, pool_packed
from minibert.embedding.precision import PRECISIONS, quantize_embeddings
from minibert.embedding.runner import NOT_FINITE, Runner
from minibert.embedding.sentence_transformers import read_sentence_settings
from minibert.embedding.similarity_functions import SIMILARITIES, pairwise_similarity, similarity
from minibert.embedding.steps import output_width
from minibert.embedding.words import word_vectors
from minibert.errors import InputError, MissingExtraError
from minibert.model import BertModel
from minibert.pretrained import BertPreTrainedModel
from minibert.renamed import older_attributes
from minibert.source import Checkpoint, Source, take_where
from minibert.tokenizer import BertTokenizer
from minibert.tokenizer.windows import TokenRow

TEXTS_PER_BLOCK = 4096  # tokenized and sorted together; memory stays flat however many texts there are


@older_attributes
class Embedder(Runner):
    """A model, its tokenizer, and how the vectors of a text's tokens become the vector of the text."""

    def __init__(
        self,
        model: BertPreTrainedModel,
        tokenizer: BertTokenizer,
        *,
        pooling: Pooling = "mean",
        normalize: bool = False,
        max_length: int | None = None,
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
        include_prompt: bool = True,
        truncate_dim: int | None = None,
        similarity_fn_name: str = "cosine",
        steps: Iterable[nn.Module] = (),
    ) -> None:
        """Sets the defaults of :meth:`encode`.

        Args:
            model: a BertModel, or a model with a head, which is not used.
            tokenizer: of that model.
            pooling: as in :meth:`encode`.
            normalize: whether vectors are scaled to unit length, before ``truncate_dim``.
            max_length: most tokens of a text, with [CLS] and [SEP]; default the tokenizer's, and never more than the
                model has positions.
            prompts: by name; a prompt is put before each text as it is.  ``query`` and ``document`` are always there,
                empty by default.
            default_prompt_name: the prompt that :meth:`encode` uses by default; default none.
            include_prompt: whether the tokens of a prompt, and [CLS], count in the pooling.
            truncate_dim: how many numbers of a vector are kept; default all.
            similarity_fn_name: ``cosine``, ``dot``, ``euclidean`` or ``manhattan``, see :meth:`similarity`.
            steps: modules that follow the pooling, (texts, W) to (texts, W'), such as LaBSE's Dense.

        Raises InputError for values of another type or out of range.
        """
        super().__init__(model, tokenizer, max_length)
        self.steps = as_steps(steps).to(self.device, self.model.dtype).eval()
        self.pooling, self.normalize = pooling, check_flag("normalize", normalize)
        self.prompts = {"query": "", "document": "", **check_prompts({} if prompts is None else prompts)}
        if default_prompt_name is not None:
            check_choice("default_prompt_name", default_prompt_name, self.prompts)
        self.default_prompt_name = default_prompt_name
        self.include_prompt = check_flag("include_prompt", include_prompt)
        self.truncate_dim = None if truncate_dim is None else check_whole("truncate_dim", truncate_dim, 1)
        self.similarity_fn_name = check_choice("similarity_fn_name", similarity_fn_name, SIMILARITIES)
        self.pooled_width(*self.choose(pooling, "last", None))  # refuses steps of another width

    @classmethod
    def from_pretrained(
        cls, source: Source, *, device: str | torch.device | None = None, backend: str = "torch", **settings: Any
    ) -> Self:
        """An embedder with the weights, the vocabulary and any sentence-transformers settings of ``source``.

        Args:
            source: a folder, a name on the hub, or a Checkpoint.
            device: such as ``"cuda"`` or ``"mps"``; ``"auto"`` takes an accelerator where there is one.  Default: CPU.
            backend: what computes the hidden states: ``"torch"``, ``"onnxruntime"``, ``"openvino"``, or ``"auto"``, the
                fastest here of those that are installed; see :meth:`use_backend`, whose errors it raises.
            settings: arguments of the constructor, which override the folder's (``prompts`` one by one); ``dtype=``,
                such as ``torch.bfloat16``; and where on the hub (``revision=`` …).

        Raises CheckpointError, and InputError for a device that is not there.
        """
        check_backend(backend)
        checkpoint = Checkpoint.open(source, **take_where(settings))
        model = BertModel.from_pretrained(checkpoint, dtype=settings.pop("dtype", None))
        tokenizer = BertTokenizer.from_pretrained(checkpoint)
        stored = read_sentence_settings(checkpoint)
        if stored.pop("do_lower_case", False) and not tokenizer.do_lower_case:
            # The library lower-cases before the tokenizer does its work: accents are stripped only if they were before.
            accents = bool(tokenizer.strip_accents)
            tokenizer = BertTokenizer.from_pretrained(checkpoint, do_lower_case=True, strip_accents=accents)
        if "prompts" in stored and settings.get("prompts") is not None:
            settings["prompts"] = {**stored["prompts"], **check_prompts(settings["prompts"])}
        embedder = cls(model.to(find_device(device)), tokenizer, **{**stored, **settings})
        if backend != "torch":
            embedder.use_backend(backend)
        return embedder

    @torch.inference_mode()
    def encode(
        self,
        texts: str | Iterable[str],
        pooling: Pooling | None = None,
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        layers: LayerChoice = "last",
        weights: Sequence[float] | None = None,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        include_special_tokens: bool = True,
        long: str = "truncate",
        stride: int = 64,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        convert_to_numpy: bool = False,
        convert_to_tensor: bool | None = None,
        normalize_embeddings: bool = False,
        device: str | torch.device | None = None,
        precision: str | None = "float32",
        **others: Any,
    ) -> Any:
        """One vector per text: (len(texts), W) float32 in the order given, on the CPU; (W,) for a single string.

        Args:
            texts: one text or several.
            pooling: ``mean``, ``max``, ``cls``, ``mean_sqrt_len_tokens``, ``weightedmean``, ``lasttoken``, a list of
                these (concatenated), ``pooler``; or a choice of ``layers``, which are then averaged over the tokens
                (``"concat_last4"``, ``5``, ``[1, 6]``).  Default: the checkpoint's, else ``mean``.
            prompt: put before each text as it is, ``"query: "``; ``""`` for none.  Default: that of ``prompt_name``,
                else of ``default_prompt_name``.
            prompt_name: one of ``self.prompts``.
            layers: which hidden states, see :func:`minibert.embedding.layers.choose_layers`.
            weights: of a weighted sum of layers.
            normalize: whether vectors are scaled to unit length, as the last step.  Default: as the checkpoint does,
                before ``truncate_dim``.
            truncate_dim: how many numbers of a vector are kept, the first ones.  Default: the checkpoint's, else all.
            include_special_tokens: whether [CLS] and [SEP] count in the pooling, as in sentence-transformers.
            long: a text of more tokens than the model reads is cut (``"truncate"``; ``self.truncated`` counts them)
                or read in overlapping ``"windows"``, whose vectors are averaged.
            stride: how many tokens two windows share.
            batch_size: most texts in a batch.  Default: as many as have some 1,500 tokens (on a CPU).
            show_progress_bar: on stderr.
            convert_to_numpy: return a numpy array instead of a tensor, unless ``convert_to_tensor``.
            convert_to_tensor: return a tensor, the default here.
            normalize_embeddings: sentence-transformers' name for ``normalize=True``.
            device: the embedder's own; :meth:`from_pretrained` chooses it.
            precision: of the result: ``float32``, ``float16``, ``int8``, ``uint8``, ``binary``, ``ubinary``, see
                :func:`minibert.embedding.precision.quantize_embeddings`.  The ranges of int8 and uint8 are those of
                these texts' vectors, as in sentence-transformers.
            others: sentence-transformers' ``output_value``, ``pool``, ``chunk_size``, ``task`` and
                ``processing_kwargs``, with values that change nothing.

        Raises InputError for arguments of another type or out of range, and for a vector that is not finite.
        """
        refuse_unsupported(others)
        self.check_device(device)
        normalize = check_normalize(normalize, normalize_embeddings)
        listed, single = read_texts(texts)
        poolings, chosen = self.choose(self.pooling if pooling is None else pooling, layers, weights)
        width = self.pooled_width(poolings, chosen)
        kept = self.truncate_dim if truncate_dim is None else check_whole("truncate_dim", truncate_dim, 1)
        special = check_flag("include_special_tokens", include_special_tokens)
        check_long(long, stride)
        most = None if batch_size is None else check_whole("batch_size", batch_size, 1)
        prompt = self.find_prompt(prompt, prompt_name)
        skipped = self.prompt_length(prompt) if prompt and not self.include_prompt else 0
        if skipped and long == "windows":
            raise InputError("A prompt that does not count in the pooling goes with long='truncate', not 'windows'.")
        to_numpy = check_flag("convert_to_numpy", convert_to_numpy)
        as_tensor = convert_to_tensor is not None and check_flag("convert_to_tensor", convert_to_tensor)
        shows = show_progress_bar is not None and check_flag("show_progress_bar", show_progress_bar)
        stored_as = "float32" if precision is None else check_choice("precision", precision, PRECISIONS)
        self.truncated = 0
        blocks = []
        starts = range(0, len(listed), TEXTS_PER_BLOCK)
        for start in tqdm(starts, desc="embedding", unit=f" × {TEXTS_PER_BLOCK} texts") if shows else starts:
            block = [prompt + text for text in listed[start : start + TEXTS_PER_BLOCK]]
            rows, owners = self.rows_of(block, long, stride)
            vectors = self.vectors_of(rows, poolings, chosen, special, skipped, most)
            blocks.append(average_by_owner(vectors, owners))
        result = torch.cat(blocks) if blocks else torch.empty(0, width)
        check_finite(result)
        if self.normalize and normalize is None:
            result = F.normalize(result, dim=-1)
        if kept is not None:
            result = result[:, :kept]
        if normalize:
            result = F.normalize(result, dim=-1)
        self.warn_if_truncated(len(listed))
        if stored_as != "float32":
            result = quantize_embeddings(result, stored_as)
        result = result[0] if single else result
        return as_numpy(result) if to_numpy and not as_tensor else result

    def encode_query(
        self, texts: str | Iterable[str], *, prompt: str | None = None, prompt_name: str | None = None, **arguments: Any
    ) -> Any:
        """:meth:`encode` with the prompt ``query``, unless another is given: for the texts to search with."""
        name = "query" if prompt_name is None else prompt_name
        return self.encode(texts, prompt=prompt, prompt_name=name, **arguments)

    def encode_document(
        self, texts: str | Iterable[str], *, prompt: str | None = None, prompt_name: str | None = None, **arguments: Any
    ) -> Any:
        """:meth:`encode` with the prompt ``document``, unless another is given: for the texts to search in."""
        name = "document" if prompt_name is None else prompt_name
        return self.encode(texts, prompt=prompt, prompt_name=name, **arguments)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Tensor:
        """The similarity of each two vectors by ``similarity_fn_name``, (n, m); see :mod:`.similarity_functions`."""
        return similarity(self.similarity_fn_name, embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Tensor:
        """The similarity of each vector with the one at the same place, (n,); a scalar for two single vectors."""
        return pairwise_similarity(self.similarity_fn_name, embeddings1, embeddings2)

    def find_prompt(self, prompt: str | None = None, prompt_name: str | None = None) -> str:
        """The text that these arguments put before each text, ``""`` for none; InputError for an unknown name."""
        name = self.default_prompt_name if prompt_name is None else prompt_name
        if prompt is not None:
            return check_text("prompt", prompt)
        return "" if name is None else self.prompts[check_choice("prompt_name", name, self.prompts)]

    def prompt_length(self, prompt: str) -> int:
        """How many tokens ``prompt`` has, with [CLS] and without [SEP]."""
        (row,), _ = self.rows_of([prompt], "truncate", 0)
        return len(row) - self.tokenizer.frame.ends[1]

    def check_device(self, device: str | torch.device | None) -> None:
        """Raise InputError for another device than the model's."""
        if device is None:
            return
        if not isinstance(device, str | torch.device):
            raise InputError(f"device is {described(device)}; an Embedder runs on one device, {self.device}.")
        other = find_device(device)
        if other.type != self.device.type or other.index not in (None, self.device.index):
            raise InputError(
                f"The model is on {self.device}; encode does not move it to {str(device)!r}. Give device= to "
                "Embedder.from_pretrained."
            )

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
        """The vector of each word and its place in the text: a :class:`~minibert.embedding.words.WordVectors`.

        For a list of texts, a list of these.  ``find``: only this word, wherever it occurs.  The other arguments are
        those of :func:`minibert.embedding.words.word_vectors`.
        """
        listed, single = read_texts(texts)
        vectors = word_vectors(
            self,
            listed,
            pooling,
            find=find,
            layers=layers,
            weights=weights,
            normalize=normalize,
            long=long,
            stride=stride,
        )
        return vectors[0] if single else vectors

    def choose(
        self, pooling: Pooling, layers: LayerChoice, weights: Sequence[float] | None
    ) -> tuple[tuple[str, ...], Layers]:
        """The poolings and the layers that the arguments of :meth:`encode` mean."""
        depth, has_pooler = self.model.config.num_hidden_layers, self.model.pooler is not None
        return choose_pooling(pooling, layers, weights, depth=depth, has_pooler=has_pooler)

    def graph_layers(self) -> tuple[int, ...]:
        """The hidden states of the default pooling, which a backend's graph gives."""
        return tuple(sorted(set(self.choose(self.pooling, "last", None)[1].numbers)))

    def pooled_width(self, poolings: tuple[str, ...], layers: Layers) -> int:
        """The size of a vector before ``truncate_dim``; InputError where ``steps`` take vectors of another size."""
        return output_width(self.steps, len(poolings) * layers.width * self.model.config.hidden_size)

    def rows_of(self, texts: list[str], long: str, stride: int) -> tuple[list[TokenRow], list[int]]:
        """Token rows that the model can read, and for each the number of its text."""
        rows, owners, cut = self.tokenizer.token_rows(
            texts, self.max_length, self.overlap(stride) if long == "windows" else None
        )
        self.truncated += cut
        return rows, owners

    def vectors_of(
        self,
        rows: list[TokenRow],
        poolings: tuple[str, ...],
        layers: Layers,
        include_special_tokens: bool,
        skipped: int,
        batch_size: int | None,
    ) -> Tensor:
        """The pooled vectors, (rows, W) float32 on the CPU, in the order of ``rows``."""
        order: list[int] = []
        vectors = []
        for numbers, pooled in self.pooled(rows, poolings, layers, include_special_tokens, skipped, batch_size):
            vectors.append((self.steps(pooled) if len(self.steps) else pooled).float())
            order += numbers
        together = (torch.cat(vectors) if len(vectors) > 1 else vectors[0]).cpu()
        if len(rows) == 1:
            return together
        result = torch.empty_like(together)
        result[order] = together
        return result

    def pooled(
        self,
        rows: list[TokenRow],
        poolings: tuple[str, ...],
        layers: Layers,
        include_special_tokens: bool,
        skipped: int,
        batch_size: int | None,
    ) -> Iterator[tuple[list[int], Tensor]]:
        """The pooled vectors of each batch, and the numbers of its rows; 0 for a text without any token."""
        if not all(map(len, rows)):  # an empty text, from a tokenizer without special tokens
            empty = [number for number, row in enumerate(rows) if not len(row)]
            full = [number for number, row in enumerate(rows) if len(row)]
            width = len(poolings) * layers.width * self.model.config.hidden_size
            yield empty, torch.zeros(len(empty), width, dtype=self.model.dtype, device=self.device)
            kept = [rows[number] for number in full]
            for places, vectors in self.pooled(kept, poolings, layers, include_special_tokens, skipped, batch_size):
                yield [full[place] for place in places], vectors
            return
        if poolings == ("pooler",):
            for numbers, packed, scratch in self.batches(rows, batch_size):
                yield numbers, self.pooler_output(packed, scratch)
            return
        for numbers, packed, hidden_states in self.run(rows, layers, batch_size):
            ends = self.tokenizer.frame.ends
            yield numbers, pool_packed(hidden_states, packed, poolings, include_special_tokens, skipped, ends)


def average_by_owner(vectors: Tensor, owners: list[int]) -> Tensor:
    """The mean of the vectors of each text's windows; ``owners``, the text of each window, is sorted and complete."""
    if not owners or len(owners) == owners[-1] + 1:
        return vectors
    counts = torch.bincount(torch.tensor(owners)).tolist()
    return torch.stack([windows.mean(dim=0) for windows in torch.split(vectors, counts)])


def as_steps(steps: Any) -> nn.Sequential:
    """``steps`` as one module."""
    modules = list(steps) if isinstance(steps, Iterable) and not isinstance(steps, Tensor) else [steps]
    if wrong := [module for module in modules if not isinstance(module, nn.Module)]:
        raise InputError(f"steps holds {described(wrong[0])}; expected modules of torch.")
    return nn.Sequential(*modules)


def check_normalize(normalize: Any, normalize_embeddings: Any) -> bool | None:
    """``normalize``, given under either of two names; InputError where they contradict each other."""
    chosen = None if normalize is None else check_flag("normalize", normalize)
    if not check_flag("normalize_embeddings", normalize_embeddings):
        return chosen
    if chosen is False:
        raise InputError("normalize is False and normalize_embeddings is True; give one of them.")
    return True


def check_finite(vectors: Tensor) -> None:
    """Raise InputError where one of the vectors, (texts, W), holds NaN or infinity: no similarity would be right."""
    if isfinite(vectors.sum()):  # fast, and only finite numbers have a finite sum
        return
    finite = torch.isfinite(vectors).all(dim=1)
    if not finite.all():
        number = int((~finite).nonzero()[0])
        raise InputError(f"The vector of text {number + 1} of {len(vectors)} {NOT_FINITE}")


def as_numpy(vectors: Tensor) -> Any:
    """A numpy array; MissingExtraError when numpy is not installed."""
    try:
        return vectors.numpy()
    except RuntimeError as error:
        raise MissingExtraError("convert_to_numpy needs numpy: pip install numpy.") from error


def embed_texts(
    model: BertPreTrainedModel, tokenizer: BertTokenizer, texts: Sequence[str], *, normalize: bool = True
) -> Tensor:
    """One vector per text by mean pooling, (len(texts), H), on the CPU; of unit length if ``normalize``."""
    if isinstance(texts, str):
        raise InputError("embed_texts takes a list of texts; for one text give [text].")
    vectors: Tensor = Embedder(model, tokenizer, pooling="mean").encode(texts, normalize=normalize)
    return vectors
