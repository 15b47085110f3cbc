"""BERT as a source of fixed features (paper, section 5.3, table 7): its weights stay, something small on top learns.

For texts a linear classifier on their mean vector; for words a two-layer BiLSTM before the classification layer, as in
the paper, on one of six choices of layers.  The hidden states are computed once and kept as float16.  Used by
compare_pretraining.py; start with :class:`Choice`.
"""

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import inputs  # noqa: F401  puts the checkout on the path
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from tqdm import tqdm

from minibert import BertModel
from minibert.finetuning.entities import EntityExamples
from minibert.finetuning.examples import run_rows
from minibert.finetuning.placing import labels_of
from minibert.finetuning.scores import entity_scores
from minibert.losses import IGNORE_INDEX
from minibert.tokenizer.windows import TokenRow
from minibert.training.optimizer import scheduled_learning_rate
from minibert.training.settings import Settings


class Choice(NamedTuple):
    """Which hidden states are the features: 0 the embeddings, -1 the last layer; and what becomes of several."""

    name: str
    layers: slice
    how: str  # "one", "sum" (weights learned) or "concat"

    def width(self, layers: int, hidden_size: int) -> int:
        """Numbers a word, of a model with so many layers."""
        return hidden_size * (len(range(layers + 1)[self.layers]) if self.how == "concat" else 1)


TABLE_7 = (
    Choice("embeddings", slice(0, 1), "one"),
    Choice("second-to-last hidden", slice(-2, -1), "one"),
    Choice("last hidden", slice(-1, None), "one"),
    Choice("weighted sum, last four hidden", slice(-4, None), "sum"),
    Choice("concat, last four hidden", slice(-4, None), "concat"),
    Choice("weighted sum, all layers", slice(1, None), "sum"),
)


class WeightedSum(nn.Module):
    """Softmax-weighted sum of layers, and a scale: ELMo's scalar mix (Peters et al. 2018), which the paper follows.

    It begins as the mean.
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.weights, self.scale = nn.Parameter(torch.zeros(layers)), nn.Parameter(torch.ones(()))

    def forward(self, states: Tensor) -> Tensor:
        """(B, layers, T, H) to (B, T, H)."""
        return self.scale * torch.einsum("l,blth->bth", self.weights.softmax(0), states)


class Tagger(nn.Module):
    """The chosen features, a two-layer BiLSTM, a label for each word."""

    def __init__(self, choice: Choice, layers: int, hidden_size: int, lstm_size: int, labels: int) -> None:
        super().__init__()
        self.choice = choice
        self.mix = WeightedSum(len(range(layers + 1)[choice.layers])) if choice.how == "sum" else None
        width = choice.width(layers, hidden_size)
        self.lstm = nn.LSTM(width, lstm_size, num_layers=2, bidirectional=True, batch_first=True)
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(2 * lstm_size, labels)

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        """All hidden states (B, L + 1, T, H) of words, and how many there are (B,), to logits (B, T, labels)."""
        chosen = states[:, self.choice.layers]
        features = self.mix(chosen) if self.mix is not None else chosen.transpose(1, 2).flatten(2)
        packed = pack_padded_sequence(self.dropout(features), lengths.cpu(), batch_first=True, enforce_sorted=False)
        read, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        logits: Tensor = self.classifier(self.dropout(read))
        return logits


@dataclass
class WordStates:
    """The hidden states of the first pieces of words, and the labels there; rows as in ``examples``."""

    examples: EntityExamples
    states: list[Tensor]  # of each row that has words: (L + 1, words, H) float16
    labels: list[Tensor]  # (words,) int64
    places: list[tuple[int, list[int]]]  # number of the row, positions of the words

    @classmethod
    def of(cls, model: BertModel, examples: EntityExamples, name: str) -> "WordStates":
        """Run the frozen model once."""
        positions = {
            id(row): [place for place, label in enumerate(labels) if label != IGNORE_INDEX]
            for row, labels in zip(examples.rows, examples.labels, strict=True)
        }

        def read(output: Any, rows: list[TokenRow]) -> list[Tensor]:
            states = torch.stack(output.hidden_states).half()  # (L + 1, B, T, H)
            return [states[:, number, positions[id(row)]].cpu() for number, row in enumerate(rows)]

        found = run_rows(model, examples.rows, examples.pad_id, read, name)
        places = [(number, positions[id(row)]) for number, row in enumerate(examples.rows) if positions[id(row)]]
        labels = [torch.tensor([examples.labels[row][place] for place in where]) for row, where in places]
        return cls(examples, [found[row] for row, _ in places], labels, places)

    def batch(self, numbers: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """States (B, L + 1, T, H) float32, lengths (B,) and labels (B, T) of some rows, padded to the longest."""
        padded = pad_sequence([self.states[number].transpose(0, 1) for number in numbers], batch_first=True)
        labels = pad_sequence([self.labels[number] for number in numbers], batch_first=True, padding_value=IGNORE_INDEX)
        lengths = torch.tensor([len(self.labels[number]) for number in numbers])
        return padded.transpose(1, 2).to(device).float(), lengths, labels.to(device)

    def score(self, tagger: Tagger, names: dict[int, str], size: int = 64) -> float:
        """Strict F1 of whole entities."""
        device = next(tagger.parameters()).device
        found: dict[tuple[int, int], str] = {}
        for start in range(0, len(self.states), size):
            numbers = list(range(start, min(start + size, len(self.states))))
            states, lengths, _ = self.batch(numbers, device)
            for number, labels in zip(numbers, tagger(states, lengths).argmax(-1).tolist(), strict=True):
                row, where = self.places[number]
                found.update(((row, place), names[label]) for place, label in zip(where, labels, strict=False))
        predicted, start = [], 0
        for one in self.examples.placed:
            predicted.append(labels_of(one, lambda row, place, first=start: found.get((first + row, place), "O")))
            start += len(one.rows)
        return entity_scores([sentence.labels for sentence in self.examples.sentences], predicted)["f1"]


def fit(
    head: nn.Module,
    count: int,
    loss: Callable[[list[int]], Tensor],
    score: Callable[[], float],
    settings: Settings,
    batch_size: int,
) -> float:
    """Train ``head`` with AdamW on ``count`` examples, the rate as everywhere here; the best epoch's weights stay.

    ``loss``: of the examples of these numbers, a mean.  ``score``: of the dev data; its highest is returned.
    """
    optimizer = torch.optim.AdamW(head.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    draw, best, kept = random.Random(settings.seed), -1.0, copy.deepcopy(head.state_dict())
    done, total = 0, settings.epochs * -(-count // batch_size)
    bar = tqdm(total=total, desc="frozen features", unit=" steps", leave=False, disable=None)
    for _ in range(settings.epochs):
        head.train()
        order = draw.sample(range(count), count)
        for start in range(0, count, batch_size):
            for group in optimizer.param_groups:
                group["lr"] = scheduled_learning_rate(settings, done, total)
            optimizer.zero_grad()
            loss(order[start : start + batch_size]).backward()
            nn.utils.clip_grad_norm_(head.parameters(), settings.max_grad_norm)
            optimizer.step()
            bar.update()
            done += 1
        head.eval()
        with torch.no_grad():
            found = score()
        if found > best:
            best, kept = found, copy.deepcopy(head.state_dict())
    bar.close()
    head.load_state_dict(kept)
    return best


def fit_tagger(
    choice: Choice, parts: Sequence[WordStates], names: dict[int, str], settings: Settings, batch_size: int,
    lstm_size: int, device: torch.device,
) -> tuple[float, float]:  # fmt: skip
    """Train on the first of ``parts``, keep the best epoch on the second; strict F1 on that and on the third."""
    training, dev, test = parts
    layers, hidden_size = training.states[0].shape[0] - 1, training.states[0].shape[-1]
    torch.manual_seed(settings.seed)
    tagger = Tagger(choice, layers, hidden_size, lstm_size, len(names)).to(device)

    def loss(numbers: list[int]) -> Tensor:
        states, lengths, labels = training.batch(numbers, device)
        return F.cross_entropy(tagger(states, lengths).flatten(0, 1), labels.flatten(), ignore_index=IGNORE_INDEX)

    best = fit(tagger, len(training.states), loss, lambda: dev.score(tagger, names), settings, batch_size)
    with torch.no_grad():
        return best, test.score(tagger, names)


def fit_linear(
    vectors: Sequence[Tensor], labels: Sequence[Tensor], settings: Settings, batch_size: int, device: torch.device
) -> tuple[float, float]:
    """A linear classifier on vectors (texts, W): training, dev and test; accuracy on the last two."""
    mean, deviation = vectors[0].mean(0), vectors[0].std(0).clamp(min=1e-6)  # each number on the same scale
    x = [((part - mean) / deviation).to(device) for part in vectors]
    y = [part.to(device) for part in labels]
    torch.manual_seed(settings.seed)
    head = nn.Linear(x[0].shape[1], int(max(part.max() for part in y)) + 1).to(device)

    def accuracy(part: int) -> float:
        return float((head(x[part]).argmax(-1) == y[part]).double().mean())

    def loss(numbers: list[int]) -> Tensor:
        return F.cross_entropy(head(x[0][numbers]), y[0][numbers])

    best = fit(head, len(x[0]), loss, lambda: accuracy(1), settings, batch_size)
    with torch.no_grad():
        return best, accuracy(2)
