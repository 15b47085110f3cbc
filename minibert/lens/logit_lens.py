"""The logit lens: the masked-language-modelling head applied to every hidden state.

nostalgebraist 2020, "interpreting GPT: the logit lens".  BERT's head is more than the vocabulary matrix: a dense layer,
an activation and a LayerNorm come first (``cls.predictions.transform``), and all of it is applied to each hidden state.
The head was trained on the last layer only, so its predictions from early layers are a hint.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from minibert.display.elements import Child, Html, note
from minibert.display.maps import labelled_map
from minibert.display.measures import fitting, text_width
from minibert.display.reading import as_labels
from minibert.display.scale import Scale
from minibert.display.shown import Display
from minibert.display.tables import tabled
from minibert.errors import InputError
from minibert.lens.perturbing import as_lists
from minibert.lens.tracing import Inputs, trace, watchable
from minibert.points import hidden_state_names
from minibert.pretrained import BertPreTrainedModel
from minibert.terminal import table, visible
from minibert.tokenizer import BertTokenizer

STATE = "hidden state"  # 0 is the embeddings, k the output of encoder.layer.(k - 1)
WIDTH = 820  # of one picture: further positions stand below
MOST_POSITIONS = 64
PIECE = 110  # the widest cell


@dataclass(frozen=True, eq=False)
class LogitLens:
    """Predictions from the embeddings (row 0) and from the output of each layer, at each position.

    With several texts all tensors start with B; predictions at padding mean nothing.
    """

    ids: Tensor  # (L + 1, T, k) int64: the most probable tokens, in descending order
    probabilities: Tensor  # (L + 1, T, k)
    target_ids: Tensor  # (T,) int64: the tokens that are followed through the layers
    target_probabilities: Tensor  # (L + 1, T)
    target_ranks: Tensor  # (L + 1, T) int64: 1 is the most probable token

    def show(self, tokenizer: BertTokenizer, tokens: Sequence[str] | None = None) -> Display:
        """The likeliest piece from each hidden state (row) at each position (column), coloured by its probability.

        Args:
            tokenizer: the model's.
            tokens: the T tokens of the input; default the positions' numbers.

        Shows the first of several texts.  Raises InputError.
        """
        found, more = self._first()
        T = found.ids.shape[1]
        labels = [str(i) for i in range(T)] if tokens is None else as_labels(tokens, T, "tokens")
        pieces = [[str(piece) for piece in tokenizer.convert_ids_to_tokens(row)] for row in found.ids[..., 0].tolist()]

        def text() -> str:
            heads = (STATE, *(f"{i} {label}" for i, label in enumerate(labels)))
            return table(heads, [(state, *row) for state, row in enumerate(pieces)], right=(STATE,))

        return Display(_predictions_html(found, pieces, labels, more), text)

    def _repr_html_(self) -> str:
        """The likeliest pieces by their ids: :meth:`show` has a tokenizer and writes them."""
        found, more = self._first()
        ids = [[str(number) for number in row] for row in found.ids[..., 0].tolist()]
        return _predictions_html(found, ids, [str(i) for i in range(found.ids.shape[1])], more)

    def _first(self) -> tuple["LogitLens", list[str]]:
        """The first text, and a sentence if there are several."""
        if self.ids.dim() == 3:
            return self, []
        values = {field.name: getattr(self, field.name)[0] for field in fields(self)}
        return LogitLens(**values), [f"Shown is text 0 of {len(self.ids)}."]

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain lists, for JSON."""
        return {field.name: as_lists(getattr(self, field.name)) for field in fields(self)}


def logit_lens(
    model: nn.Module, inputs: Inputs, k: int = 5, *, targets: Tensor | Sequence[int] | None = None
) -> LogitLens:
    """What the head predicts from every hidden state, 0 (the embeddings) to L, at each position.

    Args:
        model: one with a masked-language-modelling head, BertForMaskedLM or BertForPreTraining; its mode is kept.
        inputs: what the tokenizer returned.
        k: how many of the most probable tokens to keep.
        targets: (T,) or (B, T) ids of the tokens whose probability and rank are followed, such as the true ones;
            default the most probable tokens of the last layer.

    Open edits act on the run; those inside the head act on each hidden state's prediction.  Raises InputError.
    """
    model = watchable(model)
    predictions = getattr(getattr(model, "cls", None), "predictions", None)
    if not isinstance(predictions, nn.Module):
        raise InputError(
            f"{type(model).__name__} has no masked-language-modelling head to read with; load the checkpoint as "
            "BertForMaskedLM, if it has one."
        )
    if type(k) is not int or not 1 <= k <= model.config.vocab_size:
        raise InputError(f"k is {k!r}; expected 1 to {model.config.vocab_size}, the size of the vocabulary.")
    states = _hidden_states(model, inputs)
    target_ids = _target_ids(predictions, states, targets, model.config.vocab_size)
    by_state = [_predict(predictions, state, target_ids, k) for state in states]
    tables = [torch.stack(parts, dim=1).cpu() for parts in zip(*by_state, strict=True)]  # (B, L + 1, T, …)
    ids, probabilities, targeted, ranks = (table[0] if len(table) == 1 else table for table in tables)
    return LogitLens(ids, probabilities, (target_ids[0] if len(target_ids) == 1 else target_ids).cpu(), targeted, ranks)


def _hidden_states(model: BertPreTrainedModel, inputs: Inputs) -> list[Tensor]:
    """L + 1 of (B, T, H): the embeddings and the output of each layer."""
    names = hidden_state_names(model.config.num_hidden_layers, model.encoder_prefix)
    return list(trace(model, inputs, points=names, stop=True).values())


def _target_ids(
    predictions: nn.Module, states: list[Tensor], targets: Tensor | Sequence[int] | None, size: int
) -> Tensor:
    """(B, T): the tokens to follow."""
    B, T = states[-1].shape[:2]
    if targets is None:
        with torch.no_grad():
            logits: Tensor = predictions(states[-1])
        return logits.argmax(dim=-1)
    try:
        ids = torch.as_tensor(targets, device=states[-1].device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"targets is {targets!r:.80}; expected the id of a piece for each token.") from error
    if ids.is_floating_point() or ids.dtype == torch.bool:
        raise InputError(f"targets holds {ids.dtype}; expected whole numbers, the id of a piece for each token.")
    if ids.shape not in ((T,), (B, T)):
        raise InputError(f"targets has shape {tuple(ids.shape)}, expected ({T},) or ({B}, {T}): one id per token.")
    outside = ids[(ids < 0) | (ids >= size)]
    if len(outside):
        raise InputError(f"targets holds {outside[0].item()}; this model's pieces are 0 to {size - 1}.")
    return ids.expand(B, T)


def _predict(
    predictions: nn.Module, state: Tensor, target_ids: Tensor, k: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """From one hidden state (B, T, H): ids and probabilities (B, T, k); those of the targets and their ranks (B, T)."""
    with torch.no_grad():
        logits = predictions(state)  # (B, T, V)
        ranks = (logits > logits.gather(-1, target_ids[..., None])).sum(dim=-1) + 1
        distribution = logits.float().softmax(dim=-1)
    probabilities, ids = distribution.topk(k)
    return ids, probabilities, distribution.gather(-1, target_ids[..., None])[..., 0], ranks


def _predictions_html(
    found: LogitLens, pieces: Sequence[Sequence[str]], labels: Sequence[str], more: Sequence[str]
) -> Html:
    """Maps of as many positions as fit beside each other."""
    chances: list[list[float]] = found.probabilities[..., 0].double().tolist()
    scale, states = Scale(0.0, 1.0), [f"state {n}" for n in range(len(chances))]
    cells = [[fitting(visible(piece), 11, PIECE) for piece in row] for row in pieces]
    T = min(len(labels), MOST_POSITIONS)
    parts: list[Child] = [note("the likeliest piece from each hidden state (0: the embeddings) at each position")]
    rules, start = [], 0
    while start < T:
        end, wide = start, 0.0
        while end < T:  # cells of a map are as wide as its widest
            wide = max(wide, *(text_width(row[end], 11) + 10 for row in cells))
            if end > start and wide * (end + 1 - start) > WIDTH:
                break
            end += 1
        part = slice(start, end)
        values, texts = [row[part] for row in chances], [row[part] for row in cells]
        picture = labelled_map(values, states, labels[part], scale, "predictions by hidden state", texts)
        parts.append(picture.html)
        rules, start = picture.rules, end
    sentences = [*more, *([f"Shown are the first {T} of {len(labels)} positions."] if T < len(labels) else [])]
    return tabled(parts, map(note, sentences), rules=rules)
