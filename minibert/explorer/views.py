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
from functools import partial
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.explorer.packing import pack
from minibert.explorer.sentences import Sentence
from minibert.explorer.text import TokenizedText
from minibert.explorer.values import encoder_of, has_next_sentence, hidden_states
from minibert.heads import BertForMaskedLM, BertForPreTraining
from minibert.lens.logit_lens import logit_lens
from minibert.lens.noise import sensitivity
from minibert.lens.perturbing import TOKENS_AT_ONCE, Mode
from minibert.lens.tracing import trace
from minibert.points import hidden_state_names
from minibert.pretrained import BertPreTrainedModel
from minibert.tokenizer import BertTokenizer

TOP_K = 5  # predictions per hidden state and token
MATCHED = 16  # runs with shifted positions; the longest words come first
Word = tuple[str, tuple[int, ...]]  # its name, and the positions of its pieces


def predictions(
    model: BertPreTrainedModel, tokenizer: BertTokenizer, text: TokenizedText, shown: int, dtype: str = "float16"
) -> dict[str, Any]:
    """The logit lens on every hidden state, for the ``shown`` first tokens; open edits act on the run."""
    if not isinstance(model, BertForMaskedLM | BertForPreTraining):
        return Sentence.of("reason.no_head", model=type(model).__name__).as_reason()
    lens = logit_lens(model, text.inputs, k=min(TOP_K, model.config.vocab_size))
    return packed_predictions(tokenizer, lens.ids[:, :shown], lens.probabilities[:, :shown], dtype)


def predictions_when_masked(
    model: BertPreTrainedModel, tokenizer: BertTokenizer, text: TokenizedText, shown: int, dtype: str = "float16"
) -> dict[str, Any] | None:
    """The logit lens at each token in a run in which that token alone is masked, for pages that cannot run the model.

    None without a masked-language-modelling head or without a mask token.
    """
    if not isinstance(model, BertForMaskedLM | BertForPreTraining) or tokenizer.mask_token_id is None:
        return None
    k = min(TOP_K, model.config.vocab_size)
    points = hidden_state_names(model.config.num_hidden_layers, model.encoder_prefix)
    size = max(1, TOKENS_AT_ONCE // text.length)
    chunks = []
    for start in range(0, shown, size):
        positions = torch.arange(start, min(start + size, shown))
        rows = torch.arange(len(positions))
        inputs = {name: value.expand(len(positions), -1) for name, value in text.inputs.items()}
        inputs["input_ids"] = inputs["input_ids"].clone()
        inputs["input_ids"][rows, positions] = tokenizer.mask_token_id
        states = trace(model, inputs, points=points, stop=True).values()
        with torch.no_grad():
            logits = model.get_submodule("cls.predictions")(torch.stack([state[rows, positions] for state in states]))
        chunks.append(logits.float().softmax(dim=-1).topk(k))  # (L + 1, rows, k)
    probabilities, ids = (torch.cat(parts, dim=1) for parts in zip(*chunks, strict=True))
    return packed_predictions(tokenizer, ids, probabilities, dtype)


def next_sentence(model: BertPreTrainedModel, text: TokenizedText, last: Tensor) -> float | None:
    """The probability that the second text of a pair follows the first, from the last hidden state (T, H).

    None for one text, and without the next-sentence head.
    """
    pooler = encoder_of(model).pooler
    if isinstance(text.text, str) or pooler is None or not has_next_sentence(model):
        return None
    with torch.no_grad():
        pooled = pooler(last[None].to(pooler.dense.weight))
        logits = model.get_submodule("cls.seq_relationship")(pooled)  # (1, 2): follows, does not
    return float(logits[0].float().softmax(dim=-1)[0])


def packed_predictions(tokenizer: BertTokenizer, ids: Tensor, probabilities: Tensor, dtype: str) -> dict[str, Any]:
    """Tokens and probabilities (L + 1, T, k) for the page."""
    pieces = [[tokenizer.convert_ids_to_tokens(row) for row in layer] for layer in ids.tolist()]
    return {"pieces": pieces, "tensors": {"probabilities": pack(probabilities, dtype)}}


def sensitivity_maps(
    model: BertPreTrainedModel,
    text: TokenizedText,
    shown: int,
    std: float,
    samples: int,
    *,
    seed: int = 0,
    dtype: str = "float16",
    progress: Callable[[int, int], object] | None = None,
) -> dict[str, Any]:
    """Sensitivity of every position to noise at every other, (L, shown, shown) in each of the two modes.

    ``progress`` is called with the runs done and their number, in both modes together.  Open edits act on every run.
    """
    maps = {}
    modes = get_args(Mode)

    def advance(before: int, done: int, total: int) -> None:
        if progress is not None:
            progress(before * total + done, len(modes) * total)

    for number, mode in enumerate(modes):
        measured = sensitivity(
            encoder_of(model),
            text.inputs,
            std=std,
            samples=samples,
            seed=seed,
            mode=mode,
            positions=list(range(shown)),
            progress=None if progress is None else partial(advance, number),
        )
        maps[mode] = pack(measured.maps[:, :, :shown], dtype)
    return {"std": std, "samples": samples, "seed": seed, "tensors": maps}


def compare(
    model: BertPreTrainedModel,
    texts: tuple[TokenizedText, TokenizedText],
    hidden: tuple[Tensor, Tensor],
    shown: tuple[int, int],
    dtype: str,
) -> dict[str, Any]:
    """Cosines between the hidden states (L + 1, T, H) of two runs, for the ``shown`` first tokens of each."""
    first, second = (F.normalize(states[:, :tokens], dim=-1) for states, tokens in zip(hidden, shown, strict=True))
    shared: list[dict[str, Any]] = [
        {"word": name, "first": positions, "second": others, "cosines": word_cosines(hidden, positions, others)}
        for name, positions in words(texts[0], shown[0])
        for other, others in words(texts[1], shown[1])
        if name == other
    ]
    add_matched(model, texts, hidden, shared)
    return {"words": shared, "tensors": {"cosines": pack(torch.matmul(first, second.transpose(1, 2)), dtype)}}


def word_cosines(hidden: tuple[Tensor, Tensor], positions: tuple[int, ...], others: tuple[int, ...]) -> list[float]:
    """The cosine, in every hidden state, between a word of the first text and one of the second."""
    cosines: list[float] = F.cosine_similarity(
        hidden[0][:, positions].mean(dim=1), hidden[1][:, others].mean(dim=1), dim=-1
    ).tolist()
    return cosines


def add_matched(
    model: BertPreTrainedModel,
    texts: tuple[TokenizedText, TokenizedText],
    hidden: tuple[Tensor, Tensor],
    shared: list[dict[str, Any]],
) -> None:
    """Add to each shared word its cosines with matched positions.

    None for words beyond the MATCHED longest and where the model has too few positions.
    """
    limit = model.config.max_position_embeddings
    by_offset: dict[int, tuple[Tensor, Tensor]] = {0: hidden}
    for entry in sorted(shared, key=lambda entry: -len(entry["word"])):
        offset = entry["first"][0] - entry["second"][0]  # text 2 is shifted by it; text 1 if it is negative
        shifted = texts[1] if offset > 0 else texts[0]
        entry["matched"] = None
        if offset not in by_offset:
            if len(by_offset) > MATCHED or shifted.length + abs(offset) > limit:
                continue
            other = hidden_states(model, shifted.inputs, abs(offset))
            by_offset[offset] = (hidden[0], other) if offset > 0 else (other, hidden[1])
        entry["matched"] = word_cosines(by_offset[offset], entry["first"], entry["second"])


def words(text: TokenizedText, shown: int) -> list[Word]:
    """The words of a text that contain a letter or digit; of a word of several pieces also its first (배 of 배를)."""
    positions: dict[int, list[int]] = {}
    for position, word in enumerate(text.words[:shown]):
        if word is not None and not text.special[position]:
            positions.setdefault(word, []).append(position)
    named: list[Word] = []
    for pieces in positions.values():
        names = [text.tokens[position].removeprefix("##").removeprefix("▁") for position in pieces]
        if any(letter.isalnum() for name in names for letter in name):
            named.append(("".join(names), tuple(pieces)))
            if len(pieces) > 1:
                named.append((names[0], (pieces[0],)))
    return named
