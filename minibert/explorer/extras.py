"""The views that need more than one run: what each layer would predict, masked or not, and who is moved by whom.

Where a view cannot be made (no head that predicts words, a text that would take minutes) the page says so, in a
sentence from here.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch

from minibert.explorer.numbers import pack
from minibert.explorer.reading import Reading
from minibert.explorer.walks import encoder_of
from minibert.heads import BertForMaskedLM, BertForPreTraining
from minibert.points import hidden_state_names
from minibert.pretrained import BertPreTrainedModel
from minibert.tokenizer import BertTokenizer

GUESSES = 5  # pieces for each layer and token
TOKENS_AT_ONCE = 4096  # of copies of a text, each with another token masked
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


def predictions_when_masked(
    model: BertPreTrainedModel, tokenizer: BertTokenizer, reading: Reading, shown: int, kind: str = "float16"
) -> dict[str, Any] | None:
    """What every layer would predict at each token if the mask token stood there, and there alone.

    For pages that cannot run the model.  None without a head that predicts words or without a mask token.
    """
    if not isinstance(model, BertForMaskedLM | BertForPreTraining) or tokenizer.mask_token_id is None:
        return None
    from minibert.lens import trace

    layers, k = model.config.num_hidden_layers, min(GUESSES, model.config.vocab_size)
    points = hidden_state_names(layers, model.encoder_prefix)
    rows_at_once = max(1, TOKENS_AT_ONCE // reading.length)
    found = []
    for start in range(0, shown, rows_at_once):
        positions = torch.arange(start, min(start + rows_at_once, shown))
        inputs = {name: value.expand(len(positions), -1) for name, value in reading.inputs.items()}
        inputs["input_ids"] = inputs["input_ids"].clone()
        rows = torch.arange(len(positions))
        inputs["input_ids"][rows, positions] = tokenizer.mask_token_id
        states = trace(model, inputs, points=points, stop=True).values()
        with torch.no_grad():
            logits = model.get_submodule("cls.predictions")(torch.stack([state[rows, positions] for state in states]))
        found.append(logits.float().softmax(dim=-1).topk(k))  # (L + 1, rows, k)
    probabilities = torch.cat([each.values for each in found], dim=1)
    ids = torch.cat([each.indices for each in found], dim=1)
    pieces = [[tokenizer.convert_ids_to_tokens(row) for row in layer] for layer in ids.tolist()]
    return {"pieces": pieces, "tensors": {"guesses": pack(probabilities, kind)}}


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
    """How much each position moves in every layer's output when another is disturbed, from ``samples`` draws of noise.

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
