"""The two views that need more than one run: what each layer would predict, and who is moved by whom.

Where a view cannot be made (no head that predicts words, a text that would take minutes) the page says so, in a
sentence from here.
"""

from collections.abc import Callable
from typing import Any, Literal

from minibert.explorer.numbers import pack
from minibert.explorer.reading import Reading
from minibert.explorer.walks import encoder_of
from minibert.heads import BertForMaskedLM, BertForPreTraining
from minibert.pretrained import BertPreTrainedModel
from minibert.tokenizer import BertTokenizer

GUESSES = 5  # pieces a layer and token
MODES: tuple[Literal["once", "afresh"], ...] = ("once", "afresh")


def predictions(
    model: BertPreTrainedModel, tokenizer: BertTokenizer, reading: Reading, shown: int, kind: str = "float16"
) -> dict[str, Any]:
    """What every layer's hidden states say when the model's own head reads them; edits that are open see the run."""
    if not isinstance(model, BertForMaskedLM | BertForPreTraining):
        return {
            "reason": f"This checkpoint is loaded as {type(model).__name__}: it has no head that predicts words (the "
            "masked-language-modelling head), so its layers cannot be asked what they would predict. Checkpoints for "
            "BertForMaskedLM or BertForPreTraining have one."
        }
    from minibert.lens.readout import readout

    found = readout(model, reading.inputs, k=min(GUESSES, model.config.vocab_size))
    pieces = [[tokenizer.convert_ids_to_tokens(row) for row in layer] for layer in found.ids[:, :shown].tolist()]
    return {"pieces": pieces, "tensors": {"guesses": pack(found.probabilities[:, :shown], kind)}}


def sensitivity_maps(
    model: BertPreTrainedModel,
    reading: Reading,
    shown: int,
    deviation: float,
    samples: int,
    *,
    seed: int = 0,
    kind: str = "float16",
    progress: bool | Callable[[int, int], object] | None = None,
) -> dict[str, Any]:
    """How much each position moves when another is disturbed, after every layer, from ``samples`` draws of noise.

    In both modes, (L, shown, shown) each: noise into the embeddings once, and noise afresh into each layer's input.
    Edits that are open act on every run.
    """
    from minibert.lens.noise import sensitivity

    maps = {}
    for mode in MODES:
        found = sensitivity(
            encoder_of(model),
            reading.inputs,
            deviation=deviation,
            samples=samples,
            seed=seed,
            mode=mode,
            positions=list(range(shown)),
            progress=progress,
        )
        maps[mode] = pack(found.maps[:, :, :shown], kind)
    return {"deviation": deviation, "samples": samples, "seed": seed, "tensors": maps}
