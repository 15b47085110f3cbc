"""The views that need more than one run: predictions of each layer, sensitivity maps, and two texts compared.

Where a view cannot be made (no masked-language-modelling head, a text that would take minutes), the page shows the
sentence that says why.

A word that occurs in both texts has the same word embedding, but at another position another position embedding, which
also enters every cosine.  So a word whose positions differ is compared a second time with matched positions: the text
in which it comes earlier is run with ``position_ids`` shifted until both words have the same position ([CLS] stays at
0), as :func:`minibert.word_similarity` does.  What still differs comes from the context.  A word of several pieces is
their mean.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.explorer.packing import pack
from minibert.explorer.text import Reading
from minibert.explorer.values import encoder_of, hidden_states
from minibert.heads import BertForMaskedLM, BertForPreTraining
from minibert.lens.logit_lens import logit_lens
from minibert.lens.noise import sensitivity
from minibert.lens.tracing import trace
from minibert.points import hidden_state_names
from minibert.pretrained import BertPreTrainedModel
from minibert.tokenizer import BertTokenizer

GUESSES = 5  # pieces for each layer and token
TOKENS_AT_ONCE = 4096  # of copies of a text, each with another token masked
MODES: tuple[Literal["single", "per_layer"], ...] = ("single", "per_layer")


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
    found = logit_lens(model, reading.inputs, k=min(GUESSES, model.config.vocab_size))
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
    std: float,
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
    maps = {}
    for mode in MODES:
        found = sensitivity(
            encoder_of(model),
            reading.inputs,
            std=std,
            samples=samples,
            seed=seed,
            mode=mode,
            positions=list(range(shown)),
            progress=progress,
        )
        maps[mode] = pack(found.maps[:, :, :shown], kind)
    return {"std": std, "samples": samples, "seed": seed, "tensors": maps}


MATCHED = 16  # runs with positions moved; the longest words come first
Word = tuple[str, tuple[int, ...]]  # its name, and the positions of its pieces


def compare(
    model: BertPreTrainedModel,
    readings: tuple[Reading, Reading],
    hidden: tuple[Tensor, Tensor],
    shown: tuple[int, int],
    kind: str,
) -> dict[str, Any]:
    """Cosines of the hidden states (L + 1, T, H) of two runs; of the ``shown`` first tokens of each."""
    first, second = (F.normalize(states[:, :tokens], dim=-1) for states, tokens in zip(hidden, shown, strict=True))
    found = []
    for name, positions in words(readings[0], shown[0]):
        for other, others in words(readings[1], shown[1]):
            if name == other:
                ours, theirs = hidden[0][:, positions].mean(dim=1), hidden[1][:, others].mean(dim=1)
                values = F.cosine_similarity(ours, theirs, dim=-1).tolist()
                found.append({"word": name, "first": positions, "second": others, "cosines": values})
    add_matched(model, readings, hidden, found)
    return {"words": found, "tensors": {"across": pack(torch.matmul(first, second.transpose(1, 2)), kind)}}


def add_matched(
    model: BertPreTrainedModel,
    readings: tuple[Reading, Reading],
    hidden: tuple[Tensor, Tensor],
    found: list[dict[str, Any]],
) -> None:
    """To each word its cosines with matched positions: of the MATCHED longest words, where the model has room for it.

    None where there are none; the cosines as they are, where the positions are the same already.
    """
    longest = model.config.max_position_embeddings
    moved: dict[int, tuple[Tensor, Tensor]] = {0: hidden}
    for entry in sorted(found, key=lambda entry: -len(entry["word"])):
        offset = entry["first"][0] - entry["second"][0]  # text 2 moves by it; below 0, text 1 by its size
        later = readings[1] if offset > 0 else readings[0]
        entry["matched"] = None
        if offset not in moved:
            if len(moved) > MATCHED or later.length + abs(offset) > longest:
                continue
            other = hidden_states(model, later.inputs, abs(offset))
            moved[offset] = (hidden[0], other) if offset > 0 else (other, hidden[1])
        ours, theirs = moved[offset]
        pair = ours[:, entry["first"]].mean(dim=1), theirs[:, entry["second"]].mean(dim=1)
        entry["matched"] = F.cosine_similarity(*pair, dim=-1).tolist()


def words(reading: Reading, shown: int) -> list[Word]:
    """The words of a text with a letter in them; of a word of several pieces also its first one (배 of 배를)."""
    positions: dict[int, list[int]] = {}
    for position, word in enumerate(reading.words[:shown]):
        if word is not None and not reading.special[position]:
            positions.setdefault(word, []).append(position)
    found: list[Word] = []
    for pieces in positions.values():
        names = [reading.tokens[position].removeprefix("##") for position in pieces]
        if any(letter.isalnum() for name in names for letter in name):
            found.append(("".join(names), tuple(pieces)))
            if len(pieces) > 1:
                found.append((names[0], (pieces[0],)))
    return found
