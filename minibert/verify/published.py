"""Compare a run of a well-known checkpoint with the values that other projects have published for it.

``published.json`` holds the values, each with its source and the tolerance that its printed digits support.  Values of
other checkpoints are listed as waiting, never as passed.
"""

import ctypes
import json
import re
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.auto import load_architecture
from minibert.checkpoint import open_weights
from minibert.checkpoint.tensors import Weights
from minibert.display.shown import Printed
from minibert.display.tables import html_table, paragraph, tabled
from minibert.embedding import embed_texts
from minibert.errors import CheckpointError
from minibert.heads import BertForMaskedLM
from minibert.model import BertModel
from minibert.pretrained import BertPreTrainedModel
from minibert.source import Checkpoint, Source
from minibert.terminal import table
from minibert.tokenizer import BertTokenizer

FILE = Path(__file__).parent / "published.json"
HEADS = ("checkpoint", "output", "max |Δ|", "tolerance", "verdict")
RIGHT = ("max |Δ|", "tolerance")


@dataclass(frozen=True)
class PublishedResult:
    """One published value, or block of values."""

    checkpoint: str
    output: str
    source: str
    difference: float | None  # the largest |Δ|; None where it could not be checked
    atol: float
    verdict: str  # "holds", "DIFFERS", or why it waits


@dataclass
class PublishedReport(Printed):
    """All published values: those of this checkpoint compared, the others waiting."""

    checkpoint: str
    results: list[PublishedResult] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether something was checked and nothing differs."""
        checked = [result for result in self.results if result.difference is not None]
        return bool(checked) and all(result.verdict == "holds" for result in checked)

    def to_dict(self) -> dict[str, object]:
        """The whole report as plain values, for JSON."""
        return asdict(self) | {"same": self.same}

    def conclusion(self) -> str:
        """How many hold, differ and wait."""
        held = sum(result.verdict == "holds" for result in self.results)
        differ = sum(result.verdict == "DIFFERS" for result in self.results)
        waiting = len(self.results) - held - differ
        return f"{self.checkpoint}: {held} hold, {differ} differ; {waiting} of the {len(self.results)} wait."

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (r.checkpoint, r.output, "" if r.difference is None else f"{r.difference:.2g}", f"{r.atol:g}", r.verdict)
            for r in self.results
        ]

    def __str__(self) -> str:
        return f"{table(HEADS, self._rows(), right=RIGHT)}\n\n{self.conclusion()}"

    def _repr_html_(self) -> str:
        return tabled(paragraph(self.conclusion()), html_table(HEADS, self._rows(), right=RIGHT))


def verify_published(source: Source, name: str | None = None) -> PublishedReport:
    """Compare every published value of the checkpoint ``source``; ``name`` says which checkpoint it is.

    Raises CheckpointError if ``source`` is not recognised, or nothing is published for it.
    """
    source = Checkpoint.open(source)
    content = json.loads(FILE.read_text(encoding="utf-8"))
    known = sorted({entry["checkpoint"] for entry in content["entries"]})
    name = name or recognise(source, known, content["fingerprints"])
    if name is None or name not in known:
        raise CheckpointError(
            f"{source} is {'not recognised' if name is None else repr(name)}; values are published for "
            f"{', '.join(known)}. Say which of them it is: --published NAME."
        )
    report = PublishedReport(name)
    for entry in content["entries"]:
        mine = entry["checkpoint"] == name
        for expected in entry["expect"]:
            difference, verdict = None, "waits for its weights"
            if mine and expected["output"] in ("spearman", "pearson"):
                verdict = "waits for its data: scripts/studies/stsb.py"
            elif mine:
                difference = largest_difference(source, entry, expected)
                verdict = "holds" if difference <= expected["atol"] else "DIFFERS"
            report.results.append(
                PublishedResult(
                    entry["checkpoint"], expected["output"], entry["source"], difference, expected["atol"], verdict
                )
            )
    return report


def recognise(source: Source, known: Iterable[str], fingerprints: dict[str, int]) -> str | None:
    """Which published checkpoint ``source`` is: by its hub name, its place in the hub's cache, or its weights."""
    text = str(source)
    if text in known:
        return text
    cached = re.search(r"models--([^/\\]+)[/\\]snapshots", text)
    if cached:
        return cached.group(1).replace("--", "/")
    crc = fingerprint(open_weights(source))
    return next((name for name, number in fingerprints.items() if number == crc), None)


def fingerprint(weights: Weights) -> int | None:
    """The CRC-32 of the embeddings' LayerNorm weight: a few hundred trained numbers tell checkpoints apart."""
    for name, reading in weights.readings().items():
        if reading.ours == "bert.embeddings.LayerNorm.weight":
            tensor = weights.tensor(name).float().contiguous()
            return zlib.crc32(ctypes.string_at(tensor.data_ptr(), tensor.numel() * tensor.element_size()))
    return None


def largest_difference(source: Source, entry: dict[str, Any], expected: dict[str, Any]) -> float:
    """The largest difference between a run of ``source`` and the published values."""
    output, values = expected["output"], expected["values"]
    if output.startswith("fill_mask"):
        return fill_mask_difference(source, entry["inputs"]["text"], values)
    if output in ("embedding", "cosine_matrix"):
        model: BertPreTrainedModel = BertModel.from_pretrained(source)
        tokenizer = BertTokenizer.from_pretrained(source)
        result = embed_texts(model, tokenizer, entry["inputs"]["text"], normalize=output == "cosine_matrix")
        if output == "cosine_matrix":
            result = result @ result.T
    else:
        model = load_architecture(source, architecture=entry["head"])
        inputs = {key: torch.tensor(value) for key, value in entry["inputs"].items() if key != "text"}
        with torch.inference_mode():
            result = model(**inputs)[output]
    return float((select(result, expected.get("index")) - torch.tensor(values).flatten()).abs().max())


def select(values: Tensor, index: list[list[int] | None] | None) -> Tensor:
    """The published entries of ``values``, flattened."""
    for dimension, entries in enumerate(index or []):
        if entries is not None:
            positions = torch.tensor([entry % values.shape[dimension] for entry in entries])
            values = values.index_select(dimension, positions)
    return values.flatten()


def fill_mask_difference(source: Source, text: str, guesses: list[dict[str, Any]]) -> float:
    """For published predictions at mask tokens: five with probabilities at one mask, or the best logit at each.

    Infinite if another token is predicted.
    """
    model = BertForMaskedLM.from_pretrained(source)
    tokenizer = BertTokenizer.from_pretrained(source)
    inputs = tokenizer(text, return_tensors="pt")
    with torch.inference_mode():
        gaps = model(**inputs).logits[inputs["input_ids"] == tokenizer.mask_token_id]  # (gaps, V)
    logits = "logit" in guesses[0]
    scores, ids = (gaps.max(dim=-1)) if logits else F.softmax(gaps[0], dim=-1).topk(len(guesses))
    if ids.tolist() != [guess["id"] for guess in guesses]:
        return float("inf")
    printed = torch.tensor([guess["logit" if logits else "probability"] for guess in guesses])
    return float((scores - printed).abs().max())
