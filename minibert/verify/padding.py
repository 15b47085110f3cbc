"""What a program makes of a text that is nothing but padding: the only place where the number in its mask shows.

Where every token is hidden, a mask of the most negative number gives each the same weight, one of −10,000 (Google's
own) leaves the softmax of the scores as it was, one of −∞ gives NaN, and fused kernels give zeros.  No reader of a
model looks at such a text, so all but the second are only noted.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from minibert.verify.computation import Computation, Formula, Reference
from minibert.verify.explanation import Finding
from minibert.verify.layouts import Index, Match
from minibert.verify.mistakes import Mistake
from minibert.verify.observe import Observation

SCORES, PROBABILITIES, CONTEXT = (f"encoder.layer.0.attention.self.{n}" for n in ("scores", "probabilities", "context"))
COARSE = 2e-3  # −10,000 + s keeps s to a thousandth in float32


def batch_with_padding_text(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The batch's first two texts, the second with every token hidden."""
    cut = {name: value[:2].clone() for name, value in batch.items()}
    cut["attention_mask"][0], cut["attention_mask"][1] = 1, 0
    return cut


def check_padding_text(
    reference: Reference,
    replaced: Mapping[str, Formula],
    batch: Mapping[str, Tensor],
    run: Observation,
    sizes: Mapping[str, int],
    units: float,
) -> tuple[Finding | None, str]:
    """A finding where the mask is −10,000, and a note of what the hidden text's attention is.

    Args:
        replaced: formulas with the mistakes that were named already.
        batch: of :func:`batch_with_padding_text`.
        run: the program on that batch.
    """
    everything = torch.ones_like(batch["attention_mask"], dtype=torch.bool)
    index = Index(run.values, everything, sizes)
    computation = Computation(reference, batch, replaced=dict(replaced))

    def find(value: Tensor, name: str, units: float) -> Match | None:
        return index.find(reference.axes(name), value, units)

    hidden = ~batch["attention_mask"].bool()
    scores = computation[SCORES]
    shifted = torch.where(hidden[:, None, None], scores.float() - 1e4, scores.float()).double()
    in_google_style = torch.softmax(shifted, dim=-1)
    for name in (PROBABILITIES, CONTEXT):
        if find(computation[name], name, 64 * units) is not None:  # computed from the ids, so rounding adds up
            return None, "a text of nothing but padding sees all its tokens alike, as in the reference"
        computation.known[PROBABILITIES] = in_google_style
        computation.known.pop(CONTEXT, None)
        match = find(computation[name], name, COARSE / 2.0**-23)
        if match is not None:
            mistake = Mistake("mask.minus_10000", {}, "softmax(scores - 10000 at padding)")
            return Finding("mistake", (mistake,), [PROBABILITIES], match.name, match.ulps), ""
        computation = Computation(reference, batch, replaced=dict(replaced))
    if any(value.tensor.isnan().any() for value in run.values):
        return None, "a text of nothing but padding becomes NaN: the mask is -inf (no reader of a model looks at it)"
    return None, "a text of nothing but padding is computed in another way (no reader of a model looks at it)"
