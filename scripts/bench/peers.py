"""The libraries that people embed texts with today, and ours behind the same two calls (peer.py).

sentence-transformers does ``embed`` in its own way, with its defaults, and so do we; the runtimes (runtimes.py) and
transformers are given the same token-sorted batches.  A peer that is not installed is left out with a sentence; one
that gives other vectors than ours stops the benchmark.
"""

import logging
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from peer import Peer, longest, mean_over, transformers_model
from rounds import versions
from runtimes import CTranslate2, OnnxRuntime, OnnxRuntimeFused, OpenVino, OpenVinoThroughput
from torch import Tensor

CLOSE = 1e-5  # how far from 1 the cosine of two libraries' vectors may be


class Minibert(Peer):
    """Ours, with its own tokenizer and its own batches.  Its cache of words is emptied before each timed run."""

    name = "minibert"
    packages = ("minibert",)
    way = "Embedder.encode with its defaults (its own tokenizer, packed batches)"

    def __init__(self, folder: Path, work: Path, threads: int) -> None:
        from minibert import Embedder

        self.folder = folder
        self.embedder = Embedder.from_pretrained(folder)

    @classmethod
    def missing(cls) -> list[str]:
        """Nothing: it is the checkout that this script stands in."""
        return []

    def fresh(self) -> None:
        """A tokenizer that has seen no word yet."""
        from minibert import BertTokenizer

        self.embedder.tokenizer = BertTokenizer.from_pretrained(self.folder)

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Embedder.encode."""
        vectors: Tensor = self.embedder.encode(list(texts), pooling="mean", normalize=True)
        return vectors

    @torch.inference_mode()
    def pooled(self, ids: Tensor, mask: Tensor) -> Tensor:
        """What Embedder.encode does once the texts are ids."""
        from minibert.tokenizer.windows import TokenRow

        rows = [TokenRow(row[:count], count) for row, count in zip(ids.tolist(), mask.sum(1).tolist(), strict=True)]
        pooling, layers = self.embedder.choose("mean", "last", None)
        vectors: Tensor = self.embedder.vectors_of(rows, pooling, layers, True, 0, None)
        return vectors


class MinibertOptimized(Minibert):
    """Ours after ``embedder.optimize()``; what that says of its cost is kept in ``said``."""

    name = "minibert, optimised"
    settings: ClassVar[dict[str, bool]] = {}

    def __init__(self, folder: Path, work: Path, threads: int) -> None:
        super().__init__(folder, work, threads)
        self.said = str(self.embedder.optimize(**self.settings))


class MinibertPrepacked(MinibertOptimized):
    """The same where there is no compiler."""

    name = "minibert, optimised without compiler"
    settings: ClassVar[dict[str, bool]] = {"compile": False}


class MinibertBackend(Minibert):
    """Ours with another library computing; the graph is built beforehand, in a cache of the benchmark's own."""

    backend: ClassVar[str]

    def __init__(self, folder: Path, work: Path, threads: int) -> None:
        from minibert import Embedder

        self.folder = folder
        os.environ.setdefault("MINIBERT_CACHE", str(work / "backends"))
        self.embedder = Embedder.from_pretrained(folder, backend=self.backend)
        self.said = str(self.embedder.backend)


def with_backends(names: Sequence[str]) -> "list[type[MinibertBackend]]":
    """Ours with each of these backends."""
    return [
        type(f"Minibert_{name}", (MinibertBackend,), {"name": f"minibert, {name}", "backend": name}) for name in names
    ]


class SentenceTransformers(Peer):
    """``encode`` with its defaults: it sorts by characters and tokenizes batch by batch."""

    name = "sentence-transformers"
    packages = ("sentence-transformers",)
    way = "encode with its defaults"
    has_forward = False

    def __init__(self, folder: Path, work: Path, threads: int) -> None:
        from sentence_transformers import SentenceTransformer

        self.model = SentenceTransformer(str(folder), device="cpu")

    def embed(self, texts: Sequence[str]) -> Tensor:
        """SentenceTransformer.encode."""
        return torch.from_numpy(self.model.encode(list(texts)))


class Transformers(Peer):
    """AutoModel with fused attention, without the pooler, which is not needed here."""

    name = "transformers"
    packages = ("transformers",)

    def load(self, folder: Path, work: Path, threads: int) -> None:
        """AutoModel.from_pretrained."""
        self.model = transformers_model(folder, "sdpa")

    @torch.inference_mode()
    def pooled(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The model, then the mean."""
        return mean_over(self.model(input_ids=ids, attention_mask=mask).last_hidden_state, mask)


PEERS: dict[str, type[Peer]] = {
    peer.name: peer
    for peer in (
        SentenceTransformers,
        Transformers,
        OnnxRuntime,
        OnnxRuntimeFused,
        OpenVino,
        OpenVinoThroughput,
        CTranslate2,
    )
}


def named(text: str) -> list[type[Peer]]:
    """Peers by their names, with commas between, or ``all``.  Leaves with a sentence for a name that is none."""
    names = list(PEERS) if text == "all" else [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in PEERS:
            sys.exit(f"{name!r} is no peer here; there are {', '.join(PEERS)}, or all.")
    return [PEERS[name] for name in dict.fromkeys(names)]


def installed(wanted: Sequence[type[Peer]]) -> list[type[Peer]]:
    """Those that can run; a line for each that cannot."""
    for peer in wanted:
        if absent := peer.missing():
            print(f"{peer.name} is left out: {' and '.join(absent)} missing (pip install '.[test,bench]').")
    return [peer for peer in wanted if not peer.missing()]


def prepare(wanted: Sequence[type[Peer]], folder: Path, work: Path) -> None:
    """Write every library's own form of the checkpoint."""
    quiet()
    work.mkdir(parents=True, exist_ok=True)
    for peer in wanted:
        peer.prepare(folder, work)


def load(wanted: Sequence[type[Peer]], folder: Path, work: Path, threads: int) -> list[Peer]:
    """Every peer ready to run."""
    prepare(wanted, folder, work)
    return [peer(folder, work, threads) for peer in wanted]


def versions_of(wanted: Sequence[type[Peer]]) -> str:
    """Their versions, and torch's, transformers' and tokenizers', on which most of them lean."""
    import minibert

    names = [peer.packages[0] for peer in wanted if not issubclass(peer, Minibert)]
    return f"minibert {minibert.__version__}, " + versions(
        *dict.fromkeys(["torch", *names, "transformers", "tokenizers"])
    )


def token_rows(ours: Peer, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each text, cut where the model ends; counted with a tokenizer of its own, so that ours stays fresh."""
    from minibert import BertTokenizer

    assert isinstance(ours, Minibert)
    tokenizer = BertTokenizer.from_pretrained(ours.folder)
    rows: list[list[int]] = tokenizer(list(texts), truncation=True, max_length=longest(ours.folder))["input_ids"]
    return rows


def disagreement(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    """How far the cosine of two lists of vectors is from 1 in the worst text, and the largest difference."""
    first, second = (F.normalize(vectors.double(), dim=-1) for vectors in (ours, theirs))
    return (1 - (first * second).sum(-1)).max().item(), (first - second).abs().max().item()


def check_agreement(ours: Tensor, theirs: Tensor, name: str) -> str:
    """The largest difference, for the table; leaves with a sentence where two libraries did different work."""
    cosine, largest = disagreement(ours, theirs)
    if not cosine <= CLOSE:  # also where it is not a number
        sys.exit(
            f"{name} gives other vectors than minibert (a cosine of 1 - {cosine:.1e}), so their times cannot be "
            "compared. Does this checkpoint pool by the mean?"
        )
    return f"{largest:.0e}"


def quiet() -> None:
    """Keep progress bars, loading reports and word of texts that were cut out of the figures."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    for name in ("minibert", "sentence_transformers", "onnxruntime", "torch.onnx"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if find_spec("transformers") is not None:
        from transformers.utils import logging as transformers_logging

        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
