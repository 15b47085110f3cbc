"""What a file in 8 bits loses, on texts that it was not calibrated on.

Of hidden states the vector of a text is the mean of its tokens, of a sentence its vector: the figure is 1 - cosine to
the float32 vector.  Of a head's logits, of which a text may have one, the figure is the squared error as a share of
the squared size, halved, which is 1 - cosine where lengths agree; both after the mean over all texts is taken away.

A loss is small numbers everywhere.  A graph that is wrong, with the mask dropped for example, is no loss:
:func:`companions` compares every text alone with the same text in company, which int8 hardly changes, since each token
has a scale of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.export.proof import Proof
from minibert.finetuning.outcomes import correlation, ranks_of
from minibert.verify.batches import Batch

Run = Callable[[Batch], dict[str, Tensor]]
MAX_LOSS = 0.002  # 1 - cosine at the 1st percentile
PER_TOKEN = ("start_logits", "end_logits")  # a number per token
COMPANY = 16  # texts that are run alone


@dataclass
class Loss:
    """The losses of the held-out texts, and of pairs where they were given."""

    texts: int
    measured: str  # what the figures are of
    mean: float
    percentile: float  # the loss that one text in a hundred exceeds
    worst: float
    company: float  # the worst loss of a text in company to itself alone, both in 8 bits
    bound: float
    agreement: float | None = None  # share of texts with the same highest score
    spearman: tuple[float, float] | None = None  # float32, int8
    pairs: int = 0
    kinds: Proof | None = None  # on the nine kinds of input, within bounds that only a wrong graph leaves

    @property
    def within(self) -> bool:
        """Whether the file may be written."""
        sound = self.kinds is None or self.kinds.same
        return sound and self.percentile <= self.bound and self.company <= self.bound  # False for NaN

    @property
    def sentence(self) -> str:
        """Why it may not."""
        if self.kinds is not None and (first := self.kinds.first_difference) is not None:
            how = first.failure or f"1 - cosine of {first.output} is {first.figure:.2g}"
            return f"In 8 bits, on “{first.kind}”: {how}. That is a graph that is wrong, not only less precise."
        if not self.company <= self.bound:
            return (
                f"In 8 bits a text changes by {self.company:.2g} (1 - cosine) with the padding and the texts beside "
                "it, so the graph is wrong, not only less precise."
            )
        return (
            f"In 8 bits one text in a hundred of {self.texts} loses {self.percentile:.2g} or more ({self.measured}), "
            f"and the most that is taken is {self.bound:g} (--max-loss). Calibrate on text like yours (--calibration "
            "FILE), or keep float32."
        )

    def lines(self) -> list[str]:
        """For the terminal and the card."""
        found = [
            f"loss of int8 on {self.texts} texts that it was not calibrated on ({self.measured}): mean "
            f"{self.mean:.2g}, 1st percentile {self.percentile:.2g} (at most {self.bound:g}), worst {self.worst:.2g}",
            f"with padding and other texts beside it, a text in 8 bits differs from itself alone by {self.company:.2g} "
            "at most",
        ]
        if self.agreement is not None:
            found.append(f"the same highest score in {self.agreement:.1%} of the texts")
        if self.spearman is not None:
            before, after = self.spearman
            found.append(
                f"Spearman on {self.pairs:,} pairs: {before:.4f} in float32, {after:.4f} in int8 "
                f"({after - before:+.4f})"
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            **vars(self),
            "spearman": None if self.spearman is None else list(self.spearman),
            "kinds": None if self.kinds is None else self.kinds.to_dict(),
        }


def measure(run: Run, right: Run, batches: Sequence[Batch], output: str, bound: float = MAX_LOSS) -> Loss:
    """The loss of ``run``, the file in 8 bits, to ``right``, our model in float32.

    Args:
        batches: held-out texts.
        output: ``hidden_states``, ``sentence`` or ``logits``.
        bound: on the 1st percentile.
    """
    expected, found = vectors(right, batches), vectors(run, batches)
    if output == "logits":
        middle = expected.mean(dim=0)
        size = (expected - middle).square().sum(dim=1).mean().clamp(min=1e-12)
        losses = (found - expected).square().sum(dim=1) / size / 2
        measured = "half the squared error, of the squared size of centred logits"
        agreement = float((found.argmax(dim=1) == expected.argmax(dim=1)).double().mean())
    else:
        losses = 1 - F.cosine_similarity(found, expected, dim=1)
        measured = "1 - cosine of the sentence vectors" if output == "sentence" else "1 - cosine of the tokens' mean"
        agreement = None
    losses = losses.nan_to_num(nan=float("inf"))
    return Loss(
        len(losses),
        measured,
        float(losses.mean()),
        float(losses.quantile(0.99)),
        float(losses.max()),
        companions(run, batches),
        bound,
        agreement,
    )


def vectors(run: Run, batches: Sequence[Batch]) -> Tensor:
    """One float64 vector per text, in the order of the batches."""
    rows: list[Tensor] = []
    with torch.inference_mode():
        for batch in batches:
            parts = [vector_of(name, value.double(), batch) for name, value in run(batch).items()]
            rows.append(torch.cat(parts, dim=1))
    return torch.cat(rows)


def vector_of(name: str, value: Tensor, batch: Batch) -> Tensor:
    """(B, W) of one output: of values per token their mean over those that are not padding."""
    if name in PER_TOKEN:
        value = value[..., None]
    if value.dim() == 3:
        seen = batch["attention_mask"][..., None].bool()
        return value.masked_fill(~seen, 0.0).sum(dim=1) / seen.sum(dim=1)
    return value


def companions(run: Run, batches: Sequence[Batch]) -> float:
    """The most that a text in a batch loses to the same text alone, without padding."""
    rows = [(batch, row) for batch in (batches[0], batches[-1]) for row in range(len(batch["input_ids"]))]
    chosen = rows[:: max(1, len(rows) // COMPANY)][:COMPANY]
    T = max(batch["input_ids"].shape[-1] for batch, _ in chosen)
    together = {
        name: torch.cat([F.pad(batch[name][row : row + 1], (0, T - batch[name].shape[-1])) for batch, row in chosen])
        for name in batches[0]
    }
    alone = []
    for batch, row in chosen:
        length = int(batch["attention_mask"][row].sum(dim=-1).max())
        alone.append({name: value[row : row + 1, ..., :length] for name, value in batch.items()})
    first, second = vectors(run, [together]), vectors(run, alone)
    if first.shape[1] < 3:  # a cosine of one or two numbers says nothing
        size = second.std(dim=0).square().sum().clamp(min=1e-12)
        return float(((first - second).square().sum(dim=1) / size / 2).max())
    return float((1 - F.cosine_similarity(first, second, dim=1)).max())


def spearman(run: Run, first: Sequence[Batch], second: Sequence[Batch], scores: Sequence[float]) -> float:
    """Spearman's correlation of the pairs' cosines with their scores."""
    cosines = F.cosine_similarity(vectors(run, first), vectors(run, second), dim=1)
    once = torch.ones(len(scores), 1, dtype=torch.float64)
    ranks = [ranks_of(values, once) for values in (cosines, torch.tensor(scores, dtype=torch.float64))]
    return float(correlation(ranks[0], ranks[1], once))
