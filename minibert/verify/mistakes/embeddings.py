"""Mistakes in the embeddings."""

from collections.abc import Iterator

import torch
from torch import Tensor

from minibert.config import BertConfig
from minibert.verify.computation import Scope
from minibert.verify.mistakes.mistake import (
    Mistake,
    int8_per_row,
    int8_per_tensor,
    norm_mistakes,
    rounder,
    stored,
    with_value,
)

WORD, SEGMENT, POSITION = (f"embeddings.{kind}_embeddings" for kind in ("word", "token_type", "position"))
SUM, OUT = "embeddings.sum", "embeddings"


def embedding_mistakes(config: BertConfig) -> Iterator[Mistake]:
    """All of them, in the order of computation."""
    yield from _tables()
    yield from _positions()
    root = config.hidden_size**0.5
    yield Mistake("embeddings.no_segment", {SUM: lambda s: s[WORD] + s[POSITION]}, "word + position")
    yield Mistake("embeddings.no_position", {SUM: lambda s: s[WORD] + s[SEGMENT]}, "word + segment")
    yield Mistake("embeddings.word_only", {SUM: lambda s: s[WORD]}, "word")
    yield Mistake(
        "embeddings.scaled",
        {SUM: lambda s: s[WORD] * root + s[SEGMENT] + s[POSITION]},
        "√H · word + segment + position",
    )
    yield Mistake("embeddings.sum_scaled", {SUM: lambda s: s.right(SUM) * root}, "√H · (word + segment + position)")
    yield Mistake("embeddings.mean", {SUM: lambda s: s.right(SUM) / 3}, "(word + segment + position) / 3")
    yield Mistake("embeddings.word_twice", {SUM: lambda s: s.right(SUM) + s[WORD]}, "2 word + segment + position")
    yield Mistake(
        "embeddings.product", {SUM: lambda s: s[WORD] * s[POSITION] + s[SEGMENT]}, "word · position + segment"
    )
    yield from norm_mistakes(OUT, "embeddings.LayerNorm", SUM, config.layer_norm_eps)
    for late, formula in (
        ((SEGMENT, POSITION), "LayerNorm(word) + segment + position"),
        ((POSITION,), "LayerNorm(word + segment) + position"),
        ((SEGMENT,), "LayerNorm(word + position) + segment"),
    ):

        def wrong(s: Scope, late: tuple[str, ...] = late) -> Tensor:
            rest = sum((s[name] for name in late), torch.zeros(()))
            return s.layer_norm("embeddings.LayerNorm", s.right(SUM) - rest) + rest

        yield Mistake("embeddings.norm_before_sum", {OUT: wrong}, formula, {"formula": formula})
    yield Mistake(
        "embeddings.norm_each",
        {
            OUT: lambda s: sum(
                (s.layer_norm("embeddings.LayerNorm", s[n]) for n in (WORD, SEGMENT, POSITION)), torch.zeros(())
            )
        },
        "LayerNorm(word) + LayerNorm(segment) + LayerNorm(position)",
    )


def _tables() -> Iterator[Mistake]:
    """What is looked up."""

    def looked_up(s: Scope, table: str, ids: Tensor) -> Tensor:
        return s.rows(table, ids.clamp(0, len(s.c.reference.weights[f"{table}.weight"]) - 1))

    for shift in [
        k for size in (1, 2, 3, 4, 5, 6, 7, 8, 10, 16, 32, 64, 99, 100, 106, 994, 1000) for k in (size, -size)
    ]:
        yield Mistake(
            "weights.vocabulary_shifted",
            {WORD: with_value(shift, lambda s, k: looked_up(s, WORD, s.ids + k))},
            f"word_embeddings[id {'+' if shift > 0 else '-'} {abs(shift)}]",
            {"rows": f"{shift:+d}"},
        )
    for table in (WORD, POSITION, SEGMENT):
        for name, change in (
            ("float16", rounder("float16")),
            ("bfloat16", rounder("bfloat16")),
            ("int8, one scale for the matrix", int8_per_tensor),
            ("int8, one scale for each output", int8_per_row),
        ):

            def rounded(s: Scope, table: str = table, change: object = change) -> Tensor:
                ids = {WORD: s.ids, POSITION: s.positions, SEGMENT: s.segments}[table]
                if change is int8_per_tensor:  # the scale is that of the whole table
                    return int8_per_tensor(stored(s, s.w(f"{table}.weight")))[ids]
                return change(stored(s, s.rows(table, ids.flatten()))).view(*ids.shape, -1)  # type: ignore[operator, no-any-return]

            yield Mistake("dense.rounded", {table: rounded}, f"{name}(W)[id]", {"where": table, "dtype": name})
    yield Mistake(
        "embeddings.segments_flipped",
        {SEGMENT: lambda s: s.w(f"{SEGMENT}.weight")[1 - s.segments.clamp(max=1)]},
        "token_type_embeddings[1 - segment]",
    )
    yield Mistake(
        "embeddings.segments_all_zero",
        {SEGMENT: lambda s: s.w(f"{SEGMENT}.weight")[s.segments * 0]},
        "token_type_embeddings[0]",
    )
    yield Mistake(
        "embeddings.segments_all_one",
        {SEGMENT: lambda s: s.w(f"{SEGMENT}.weight")[s.segments * 0 + 1]},
        "token_type_embeddings[1]",
    )
    yield Mistake(
        "embeddings.segments_from_one",
        {SEGMENT: lambda s: looked_up(s, SEGMENT, s.segments + 1)},
        "token_type_embeddings[segment + 1]",
    )
    yield Mistake(
        "embeddings.mask_for_segments",
        {SEGMENT: lambda s: s.w(f"{SEGMENT}.weight")[s.c.visible.long()]},
        "token_type_embeddings[attention_mask]",
    )


def _positions() -> Iterator[Mistake]:
    """Where the tokens are said to stand."""

    def at(s: Scope, positions: Tensor) -> Tensor:
        weight = s.w(f"{POSITION}.weight")
        return weight[positions.clamp(0, len(weight) - 1)]

    yield Mistake(
        "positions.from_one", {POSITION: lambda s: at(s, s.positions + 1)}, "position_embeddings[t + 1]", {"first": "1"}
    )
    yield Mistake(
        "positions.from_one", {POSITION: lambda s: at(s, s.positions + 2)}, "position_embeddings[t + 2]", {"first": "2"}
    )
    for padding in (0, 1):
        yield Mistake(
            "positions.after_padding",
            {POSITION: with_value(padding, lambda s, p: at(s, s.c.visible.long().cumsum(1) * s.c.visible.long() + p))},
            f"position_embeddings[cumsum(mask) · mask + {padding}]",
            {"padding": str(padding)},
        )
    yield Mistake(
        "positions.reversed", {POSITION: lambda s: at(s, s.positions.flip(1))}, "position_embeddings[T - 1 - t]"
    )
    yield Mistake("positions.all_zero", {POSITION: lambda s: at(s, s.positions * 0)}, "position_embeddings[0]")
    yield Mistake(
        "positions.by_segment",
        {POSITION: lambda s: at(s, _within_segments(s.segments))},
        "position_embeddings[t within the segment]",
    )
    yield Mistake(
        "positions.by_sample",
        {POSITION: lambda s: at(s, torch.arange(len(s.ids))[:, None].expand_as(s.ids))},
        "position_embeddings[b]",
    )
    yield Mistake(
        "positions.packed",
        {POSITION: lambda s: at(s, (s.c.visible.flatten().long().cumsum(0) - 1).view_as(s.ids).clamp(min=0))},
        "position_embeddings[number of the token among those of all texts]",
    )
    yield Mistake(
        "positions.across_texts",
        {POSITION: lambda s: at(s, torch.arange(s.ids.numel()).view_as(s.ids))},
        "position_embeddings[b · T + t]",
    )
    for interleaved in (True, False):
        yield Mistake(
            "positions.sinusoidal",
            {POSITION: with_value(interleaved, sinusoidal)},
            "sin, cos (t / 10000^(2i/H))",
            {"how": "sine and cosine in turn" if interleaved else "first all sines, then all cosines"},
        )


def _within_segments(segments: Tensor) -> Tensor:
    """(B, T): the place of a token in its segment."""
    counted = [
        (segments == number).long().cumsum(1) * (segments == number) for number in range(int(segments.max()) + 1)
    ]
    return torch.stack(counted).sum(0) - 1


def sinusoidal(s: Scope, interleaved: bool) -> Tensor:
    """The positions of Vaswani et al. 2017, section 3.5, in place of learnt ones."""
    H = s.config.hidden_size
    rates = 10000.0 ** (-torch.arange(0, H, 2, dtype=torch.float64) / H)
    angles = s.positions[..., None].double() * rates
    if interleaved:
        return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
