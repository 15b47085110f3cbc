"""Two published observations about noise in BERT, tried on a real model: are they so here?

    python scripts/studies/lens_observations.py [--model FOLDER] [--samples 8] [--std 0.1] [--seed 0]

(a) Noise on punctuation hardly spreads.  (b) Layers 1 to 3 are local, and in the middle layers (of 12: 6 and 7) the
tokens of one entity move together.  Each is turned into one number for each layer, a limit that was chosen before it
was measured, and a verdict.  Intervals are 95 %, from 2,000 drawings of the sentences (or entities) with replacement;
they know the variety of these sentences, not of English.  Layers are counted from 1 here, as the observations do.

The default model is all-MiniLM-L6-v2, the real BERT at hand: six layers, distilled and then trained to embed
sentences.  What is refuted of it may hold of another: give that with --model.
"""

import argparse
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from inputs import minilm
from torch import Tensor

from minibert import BertModel, BertTokenizer, sensitivity
from minibert.commands.verb import positive
from minibert.terminal import table

SENTENCES = {  # and the entities in them
    "New York City, the largest city in the United States, is known for its museums.": [
        "New York City", "United States",
    ],
    "When Barack Obama spoke in San Francisco, many people listened; some even cried.": [
        "Barack Obama", "San Francisco",
    ],
    "The old house, which had stood empty for years, was sold to Warren Buffett last week.": ["Warren Buffett"],
    "My aunt moved from Hong Kong to South Africa; she never, as far as I know, came back.": [
        "Hong Kong", "South Africa",
    ],
    "Is the Golden Gate Bridge really longer than the old one, or does it only look so?": ["Golden Gate Bridge"],
    "They drove, slowly and with care, through the Black Forest to see Angela Merkel speak.": [
        "Black Forest", "Angela Merkel",
    ],
    "The students read Leo Tolstoy in spring, in summer they read Jane Austen, and then nothing.": [
        "Leo Tolstoy", "Jane Austen",
    ],
    "The price of oil rose: Saudi Arabia had said, without a reason, that it would sell less.": ["Saudi Arabia"],
    "A man from Los Angeles bought, for very little money, a painting by Claude Monet at a market.": [
        "Los Angeles", "Claude Monet",
    ],
    "After the war the White House was painted again; the garden, however, stayed as it was.": ["White House"],
}  # fmt: skip
HARDLY = 0.5  # (a): less than half of what a word's noise does to the others
NEAR, MOST = 2, 0.5  # (b): more than half of what happens to the others happens within ±2 tokens
LOCAL_LAYERS = 3
DRAWINGS = 2000
Sample = TypeVar("Sample")


@dataclass(frozen=True)
class Case:
    """One sentence with its tables."""

    tokens: tuple[str, ...]
    entities: tuple[range, ...]  # the positions of each
    single: Tensor  # (L, T, T)
    per_layer: Tensor  # (L, T, T)

    def is_punctuation(self, position: int) -> bool:
        """A piece without a letter or a digit."""
        return not any(letter.isalnum() for letter in self.tokens[position])

    def inner(self) -> range:
        """All positions but [CLS] and [SEP]."""
        return range(1, len(self.tokens) - 1)


def measure(
    model: BertModel, tokenizer: BertTokenizer, text: str, names: list[str], options: argparse.Namespace
) -> Case:
    """The tables of one sentence, and where its entities are."""
    inputs = tokenizer(text, return_tensors="pt")
    entities = []
    for name in names:
        start = text.index(name)
        first, last = inputs.char_to_token(0, start), inputs.char_to_token(0, start + len(name) - 1)
        entities.append(range(first, last + 1))
    settings = {"std": options.std, "samples": options.samples, "seed": options.seed}
    single, per_layer = (sensitivity(model, inputs, mode=mode, **settings).maps for mode in ("single", "per_layer"))
    return Case(tuple(inputs.tokens()), tuple(entities), single, per_layer)


def interval(samples: Sequence[Sample], number: Callable[[Sequence[Sample]], float]) -> tuple[float, float, float]:
    """``number`` of the samples, and the 95 % interval of drawing as many of them again."""
    draw = torch.Generator().manual_seed(0)
    values = sorted(
        number([samples[i] for i in torch.randint(len(samples), (len(samples),), generator=draw).tolist()])
        for _ in range(DRAWINGS)
    )
    return number(samples), values[int(0.025 * DRAWINGS)], values[int(0.975 * DRAWINGS)]


def shown(found: tuple[float, float, float]) -> str:
    """A number and its interval."""
    return f"{found[0]:.2f} [{found[1]:.2f}–{found[2]:.2f}]"


def spread(case: Case, layer: int, position: int) -> float:
    """The mean change of the other tokens for noise at this one in the embeddings."""
    row = case.single[layer, position]
    return ((row.sum() - row[position]) / (len(row) - 1)).item()


def punctuation(cases: Sequence[Case]) -> None:
    """(a): what a mark's noise does to the others, against a word's."""
    marks = sum(case.is_punctuation(i) for case in cases for i in case.inner())
    words = sum(len(case.inner()) for case in cases) - marks
    print(f"(a) Noise on punctuation hardly spreads: {marks} marks and {words} pieces of words, noise at the")
    print("embeddings; the mean movement of all other tokens for each unit of noise.\n")
    rows, ratios = [], []
    for layer in range(len(cases[0].single)):
        spreads = [
            (
                [spread(case, layer, i) for i in case.inner() if case.is_punctuation(i)],
                [spread(case, layer, i) for i in case.inner() if not case.is_punctuation(i)],
            )
            for case in cases
        ]

        def ratio(some: Sequence[tuple[list[float], list[float]]]) -> float:
            return statistics.fmean(x for m, _ in some for x in m) / statistics.fmean(x for _, w in some for x in w)

        found = interval(spreads, ratio)
        pairs = [(m, w) for marks_of, words_of in spreads for m in marks_of for w in words_of]
        less = sum(m < w for m, w in pairs) / len(pairs)
        mark, word = (statistics.fmean(x for entry in spreads for x in entry[kind]) for kind in (0, 1))
        rows.append((layer + 1, f"{mark:.4f}", f"{word:.4f}", shown(found), f"{less:.0%}"))
        ratios.append(found)
    headers = ("layer", "mark", "word", "mark / word", "a mark moves others less than a word of its sentence")
    print(table(headers, rows, right=headers[:3]), end="\n\n")
    if all(value < HARDLY for value, _, _ in ratios):
        verdict = f"reproduced: less than {HARDLY:.0%} of a word's in every layer"
    elif all(high < 1 for _, _, high in ratios):
        least, most = min(value for value, _, _ in ratios), max(value for value, _, _ in ratios)
        verdict = (
            "in part: a mark's noise certainly spreads less than a word's in every layer, but it is "
            f"{least:.0%} to {most:.0%} of it; 'hardly' is refuted"
        )
    else:
        layers = [str(n) for n, (_, _, high) in enumerate(ratios, start=1) if high >= 1]
        verdict = f"refuted: in layer {', '.join(layers)} it is not certain to spread less than a word's at all"
    print(f"verdict (a): {verdict}.\n")


def near_share(case: Case, layer: int, reach: int) -> tuple[float, float]:
    """How much of the movement of other tokens lies within ``reach``, and how much would if all moved alike."""
    near = total = places = alike = 0.0
    for i in case.inner():
        others = [j for j in case.inner() if j != i]
        close = [j for j in others if abs(j - i) <= reach]
        near += case.per_layer[layer, i, close].sum().item()
        total += case.per_layer[layer, i, others].sum().item()
        places, alike = places + len(others), alike + len(close)
    return near / total, alike / places


def locality(cases: Sequence[Case]) -> None:
    """(b), first half: how near is what moves."""
    print("(b) Layers 1 to 3 are local: noise at each layer's input; the share of the change of the other")
    print("tokens (without [CLS] and [SEP]) that lies near the perturbed one.\n")
    rows, shares = [], []
    for layer in range(len(cases[0].per_layer)):
        by_reach = [
            interval([near_share(case, layer, reach)[0] for case in cases], statistics.fmean)
            for reach in (1, NEAR, 2 * NEAR)
        ]
        shares.append(by_reach[1])
        rows.append((layer + 1, *map(shown, by_reach)))
    alike = [f"{statistics.fmean(near_share(c, 0, reach)[1] for c in cases):.2f}" for reach in (1, NEAR, 2 * NEAR)]
    rows.append(("all alike", *alike))
    headers = ("layer", "within ±1", f"within ±{NEAR}", f"within ±{2 * NEAR}")
    print(table(headers, rows, right=headers[:1]), end="\n\n")
    early, late = shares[:LOCAL_LAYERS], shares[LOCAL_LAYERS:]
    most = all(value > MOST for value, _, _ in early)
    more = not late or min(value for value, _, _ in early) > max(value for value, _, _ in late)
    share_of = f"more than {MOST:.0%} within ±{NEAR}"
    if most and more:
        verdict = f"reproduced: {share_of} in each of layers 1 to {LOCAL_LAYERS}, and more than in any later one"
    elif most:
        verdict = f"in part: {share_of} in each of layers 1 to {LOCAL_LAYERS}, but a later one is as local"
    elif more:
        verdict = f"in part: layers 1 to {LOCAL_LAYERS} are more local than the later ones, but not all have {share_of}"
    else:
        verdict = f"refuted: layers 1 to {LOCAL_LAYERS} neither have {share_of} each, nor more than every later one"
    print(f"verdict (b), local: {verdict}.\n")


def pairs_of(case: Case, entity: range) -> list[tuple[int, int, int]]:
    """(i, j, k): i and j in the entity; k as far from i on the other side, a word that is not in any entity."""
    inside = {position for other in case.entities for position in other}
    found = []
    for i in entity:
        for j in entity:
            k = 2 * i - j
            if i != j and k in case.inner() and k not in inside and not case.is_punctuation(k):
                found.append((i, j, k))
    return found


def mean_of_all(logarithms: Sequence[list[float]]) -> float:
    """Every pair counts as much as any other, in whichever entity it is."""
    return statistics.fmean(value for some in logarithms for value in some)


def entities(cases: Sequence[Case]) -> None:
    """(b), second half: do an entity's tokens move together, above all in the middle layers?"""
    count = len(cases[0].per_layer)
    middle = (count // 2, count // 2 + 1)
    known = [(case, pairs) for case in cases for entity in case.entities if (pairs := pairs_of(case, entity))]
    number = sum(len(pairs) for _, pairs in known)
    print(f"(b) Tokens of one entity move together in the middle layers ({middle[0]} and {middle[1]} of {count}): one")
    print("token of an entity is perturbed; how far another of its tokens changes, against a word as far away on the")
    print(f"other side; {number} such pairs in {len(known)} entities; 1: no difference.\n")
    rows, ratios = [], []
    for layer in range(count):
        cells = []
        for maps in (
            [(case.per_layer[layer], pairs) for case, pairs in known],
            [(c.single[layer], p) for c, p in known],
        ):
            ratios_of = [[(moved[i, j] / moved[i, k]).log().item() for i, j, k in pairs] for moved, pairs in maps]
            value, low, high = map(math.exp, interval(ratios_of, mean_of_all))
            cells.append((value, low, high))
        ratios.append(cells[0])
        rows.append((layer + 1, *map(shown, cells)))
    headers = ("layer", "noise at this layer's input", "noise at the embeddings")
    print(table(headers, rows, right=headers[:1]), end="\n\n")
    inside = [ratios[number - 1] for number in middle]
    outside = [value for number, (value, _, _) in enumerate(ratios, start=1) if number not in middle]
    together = all(low > 1 for _, low, _ in inside)
    if together and min(value for value, _, _ in inside) > max(outside):
        verdict = "reproduced: they do, and more than in any other layer"
    elif together:
        best = max(range(count), key=lambda n: ratios[n][0]) + 1
        verdict = f"in part: they do, but the middle layers are nothing special; it is strongest in layer {best}"
    else:
        certain = [str(number) for number, (_, low, _) in enumerate(ratios, start=1) if low > 1]
        verdict = (
            "refuted: in the middle layers it is not certain that they move more than words as far away; "
            f"it is in layers {', '.join(certain) or 'none'}"
        )
    print(f"verdict (b), entities: {verdict}.")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a folder with an English BERT; default all-MiniLM-L6-v2")
    parser.add_argument("--samples", type=positive, default=8, help="samples per token (default 8)")
    parser.add_argument("--std", type=float, default=0.1, help="of the noise (default 0.1)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = options.model or minilm()
    model, tokenizer = BertModel.from_pretrained(folder), BertTokenizer.from_pretrained(folder)
    cases = [measure(model, tokenizer, text, names, options) for text, names in SENTENCES.items()]
    print(
        f"{options.model or 'all-MiniLM-L6-v2'}: {model.config.num_hidden_layers} layers; "
        f"{len(cases)} sentences, noise of standard deviation {options.std:g}, {options.samples} samples per token, "
        f"seed {options.seed}\n"
    )
    punctuation(cases)
    locality(cases)
    entities(cases)
    return 0


if __name__ == "__main__":
    sys.exit(main())
