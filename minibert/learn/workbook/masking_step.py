"""The step that draws: 15 % of the pieces, of which 80 % become [MASK], 10 % another piece and 10 % stay.

A right function may draw in any way, so what it returns is judged by counting.  Every count has bounds that a right
function leaves with a probability below 10⁻⁸, see :func:`bounds`; a known mistake is named where the counts lie in its
own bounds and outside those of the right ones.  The draws come from a generator with the seed of the check, so that a
function that uses it always gets the same verdict.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from minibert.learn.workbook.values import shown

ROWS, TOKENS = 400, 128
VOCABULARY, MASK = 16_000, 4
SPECIAL = [0, 2, 3]  # [PAD], [CLS], [SEP]
CHOSEN = 0.15
FATES = (0.8, 0.1, 0.1)  # [MASK], another piece, as it is
IGNORED = -100
SIGMAS = 6.0  # a normal draw lies outside with a probability of 2 · 10⁻⁹

Mask = Callable[..., Any]


@dataclass(frozen=True)
class Counted:
    """What is wrong about a count, or that nothing is.

    Attributes:
        key: of a known mistake; "" where it is not known.
        what: which count, a key of the texts.
        expected: its bounds.
        found: what was counted.
        details: what the mistake's sentence has blanks for.
    """

    key: str
    what: str
    expected: str
    found: str


def inputs(seed: int) -> Tensor:
    """(ROWS, TOKENS): [CLS] pieces [SEP] and, in one row of four, padding for the second half.

    All pieces are below 8,000, so that it can be seen whether another piece comes from the whole vocabulary.
    """
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(1000, 8000, (ROWS, TOKENS), generator=draw)
    ids[:, 0] = 2
    ids[:, -1] = 3
    ids[::4, TOKENS // 2 - 1] = 3
    ids[::4, TOKENS // 2 :] = 0
    return ids


def arguments(seed: int, draw: int = 0) -> tuple[Tensor, list[int], int, int, torch.Generator]:
    """What the function is given; ``draw`` tells one call from another."""
    return inputs(seed), list(SPECIAL), MASK, VOCABULARY, torch.Generator().manual_seed(1000 * seed + draw)


def bounds(share: float, count: int, slack: float = 0.0) -> tuple[float, float]:
    """Between which a share lies of ``count`` independent draws: SIGMAS standard deviations on either side.

    ``slack`` is added for a function that rounds: one that takes a whole number of pieces in each row.
    """
    deviation = SIGMAS * (share * (1 - share) / max(count, 1)) ** 0.5
    return max(0.0, share - deviation - slack), min(1.0, share + deviation + slack)


def is_within(value: float, limits: tuple[float, float]) -> bool:
    """Bounds included."""
    return limits[0] <= value <= limits[1]


def judge(ids: Tensor, masked: Tensor, labels: Tensor, again: Tensor) -> Iterator[Counted]:
    """Whatever is wrong, the first thing first; only that counts, and what is behind it may follow from it.

    Args:
        ids: (B, T), as they were given.
        masked: (B, T), what came back.
        labels: (B, T), the labels.
        again: (B, T), the labels of a second call, with another generator.
    """
    special = torch.isin(ids, torch.tensor(SPECIAL))
    ordinary = int((~special).sum())
    asked = labels != IGNORED
    yield from judge_labels(ids, masked, labels, special)
    yield from judge_changes(ids, masked, asked, special)
    if bool((labels == again).all()):
        yield Counted("masking.same_every_call", "calls", "≠", "=")
    full = torch.arange(ROWS) % 4 != 0  # rows without padding
    if bool((asked[full] == asked[full][:1]).all()):
        yield Counted("masking.same_every_row", "rows", "≠", "=")
    yield from judge_share(int(asked.sum()), ordinary)
    if is_within(int(asked.sum()) / ordinary, bounds(CHOSEN, ordinary, 1 / (TOKENS - 2))):
        yield from judge_places(asked, special)
    yield from judge_fates(ids[asked], masked[asked])


def judge_labels(ids: Tensor, masked: Tensor, labels: Tensor, special: Tensor) -> Iterator[Counted]:
    """Whether labels are the chosen pieces as they were, and -100 elsewhere."""
    asked = labels != IGNORED
    if bool((labels == ids).all()):
        yield Counted("masking.labels_everywhere", "labels", f"{IGNORED}", "ids")
    for other in (-1, 0):
        if not asked.logical_not().any() and bool(((labels == other) | (labels == ids)).all()):
            yield Counted("masking.ignored_other", "labels", f"{IGNORED}", str(other))
    if not asked.any():
        yield Counted("masking.nothing", "chosen", f"{CHOSEN}", "0")
    wrong_label = asked & (labels != ids)
    if wrong_label.any():
        key = "masking.labels_masked" if bool((labels[asked] == masked[asked]).all()) else ""
        at = tuple(wrong_label.nonzero()[0].tolist())
        yield Counted(key, f"labels[{at[0]}, {at[1]}]", str(int(ids[at])), str(int(labels[at])))
    if bool((asked & special).any()):
        at = tuple((asked & special).nonzero()[0].tolist())
        yield Counted("masking.special", f"labels[{at[0]}, {at[1]}]", f"{IGNORED}", str(int(labels[at])))


def judge_changes(ids: Tensor, masked: Tensor, asked: Tensor, special: Tensor) -> Iterator[Counted]:
    """Whether nothing is changed but what was chosen."""
    changed = masked != ids
    if bool((changed & ~asked).any()):
        at = tuple((changed & ~asked).nonzero()[0].tolist())
        key = "masking.labels_of_masks" if bool((masked[asked] == MASK).all()) else ""
        if bool((masked[special] != ids[special]).any()) and not bool((changed & ~asked & ~special).any()):
            key = "masking.special"
        yield Counted(key, f"input_ids[{at[0]}, {at[1]}]", str(int(ids[at])), str(int(masked[at])))


def judge_share(chosen: int, ordinary: int) -> Iterator[Counted]:
    """How many are chosen."""
    slack = 1 / (TOKENS - 2)  # a whole number of pieces in each row, rounded either way
    limits = bounds(CHOSEN, ordinary, slack)
    share = chosen / ordinary
    if is_within(share, limits):
        return
    key = ""
    for name, other, slack_of in (
        ("masking.share_of_all", CHOSEN * ROWS * TOKENS / ordinary, slack),
        ("masking.keeps_fifteen", 1 - CHOSEN, slack),
        ("masking.all", 1.0, 0.0),
    ):
        if is_within(share, bounds(other, ordinary, slack_of)):
            key = name
    if chosen in (ROWS, ROWS - 1):
        key = "masking.one_a_row"
    yield Counted(key, "chosen", share_text(*limits), shown(share))


def judge_places(asked: Tensor, special: Tensor) -> Iterator[Counted]:
    """Whether every place of a row is chosen as often as any other."""
    for column in range(1, TOKENS - 1):
        free = ~special[:, column]
        count = int(free.sum())
        low, high = bounds(CHOSEN, count, 1 / (TOKENS - 2))
        # One bound for 126 places: 7 deviations where one count has 6.
        low, high = low - (high - low) / 12, high + (high - low) / 12
        share = float(asked[free, column].double().mean()) if count else CHOSEN
        if not is_within(share, (low, high)):
            yield Counted("masking.places", f"column {column}", share_text(max(0.0, low), high), shown(share))
            return


def judge_fates(before: Tensor, after: Tensor) -> Iterator[Counted]:
    """What becomes of the chosen pieces."""
    count = len(before)
    masked, kept = after == MASK, after == before
    drawn = after[~masked & ~kept]
    shares = [float(which.double().mean()) for which in (masked, ~masked & ~kept, kept)]
    # A piece of the whole vocabulary is, once in V, the old one or [MASK].
    limits = [bounds(share, count, 2 / VOCABULARY) for share in FATES]
    outside = [n for n, share in enumerate(shares) if not is_within(share, limits[n])]
    if outside:
        first = outside[0]
        names = ("masked", "replaced", "kept")
        yield Counted(fate_mistake(shares, count), names[first], share_text(*limits[first]), shown(shares[first]))
        return
    if len(torch.unique(drawn)) < len(drawn) / 2:
        yield Counted("masking.one_piece", "pieces", f"> {len(drawn) // 2}", str(len(torch.unique(drawn))))
    elif float((drawn < 8000).double().mean()) > bounds(0.5, len(drawn))[1]:
        limits_of_half = share_text(*bounds(0.5, len(drawn)))
        yield Counted("masking.pieces_of_text", "pieces", limits_of_half, shown(float((drawn < 8000).double().mean())))


KNOWN_FATES = {
    "masking.all_masked": (1.0, 0.0, 0.0),
    "masking.none_replaced": (0.8, 0.0, 0.2),
    "masking.none_kept": (0.8, 0.2, 0.0),
    "masking.second_draw": (0.8, 0.02, 0.18),
    "masking.second_draw_kept": (0.8, 0.18, 0.02),
    "masking.mask_and_keep": (0.9, 0.0, 0.1),
    "masking.mask_and_replace": (0.9, 0.1, 0.0),
    "masking.swapped_with_replaced": (0.1, 0.8, 0.1),
    "masking.swapped_with_kept": (0.1, 0.1, 0.8),
    "masking.overwritten": (0.72, 0.1, 0.18),
    "masking.thirds": (1 / 3, 1 / 3, 1 / 3),
}


def fate_mistake(shares: list[float], count: int) -> str:
    """The one known mistake whose three shares these are; "" where there is none or more than one."""
    fitting = [
        key
        for key, known in KNOWN_FATES.items()
        if all(
            is_within(share, bounds(other, count, 2 / VOCABULARY)) for share, other in zip(shares, known, strict=True)
        )
    ]
    return fitting[0] if len(fitting) == 1 else ""


def share_text(low: float, high: float) -> str:
    """Bounds, to be read."""
    return f"{low:.3f} – {high:.3f}"
