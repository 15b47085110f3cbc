"""The steps about a checkpoint: its names, and the guess."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from minibert.learn.workbook import reference as right
from minibert.learn.workbook.cases import Case, Exercise, from_functions
from minibert.learn.workbook.model_steps import demo, right_model

Tensors = dict[str, Tensor]


def my_names(seed: int) -> Exercise:
    """A file of today, one of 2018 (gamma and beta), and one of which every name has its prefix left out.

    The tensors are small and drawn: only names count here.
    """
    draw = torch.Generator().manual_seed(seed)
    config, state, _ = demo()
    today: Tensors = {name: torch.randn(3, generator=draw, dtype=torch.float64) for name in state}
    today["cls.predictions.decoder.weight"] = today["bert.embeddings.word_embeddings.weight"]
    today["cls.predictions.decoder.bias"] = today["cls.predictions.bias"]
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value * 2
        for name, value in today.items()
    }
    old["bert.embeddings.position_ids"] = torch.arange(3)
    bare = {name.removeprefix("bert."): value * 3 for name, value in today.items()}
    cases = [
        Case(name, (given,), right.my_names(given)) for name, given in (("today", today), ("old", old), ("bare", bare))
    ]
    return Exercise(cases, lambda: from_functions(cases, name_mistakes(config.num_hidden_layers)))


def name_mistakes(L: int) -> Iterator[Any]:  # noqa: PLR0915
    """Key and wrong function; each makes the right names and then spoils them."""

    def exchanged(one: str, two: str) -> Callable[[Mapping[str, Tensor]], Tensors]:
        """Two parts of a name taken for each other."""

        def wrong(state: Mapping[str, Tensor]) -> Tensors:
            mine = right.my_names(state)
            to = {f"{one}_": f"{two}_", f"{two}_": f"{one}_"}
            changed = {}
            for name, value in mine.items():
                front, _, last = name.rpartition(".")
                part = next((each for each in to if last.removeprefix(each) in ("weight", "bias")), None)
                place = last if part is None else last.replace(part, to[part], 1)
                changed[f"{front}.{place}"] = value
            return changed

        return wrong

    def kinds_exchanged(state: Mapping[str, Tensor]) -> Tensors:
        """Gamma for bias, beta for weight."""
        swap = {"gamma": "beta", "beta": "gamma"}
        changed = {}
        for name, value in state.items():
            module, _, kind = name.rpartition(".")
            changed[f"{module}.{swap.get(kind, kind)}"] = value
        return right.my_names(changed)

    def without(*ends: str) -> Callable[[Mapping[str, Tensor]], Tensors]:
        return lambda state: right.my_names({name: value for name, value in state.items() if not name.endswith(ends)})

    def with_rest(*parts: str) -> Callable[[Mapping[str, Tensor]], Tensors]:
        """What has no place is kept under its own name."""

        def wrong(state: Mapping[str, Tensor]) -> Tensors:
            rest = {name: value for name, value in state.items() if any(part in name for part in parts)}
            return right.my_names(state) | rest

        return wrong

    def prefixed_only(state: Mapping[str, Tensor]) -> Tensors:
        """Without "bert." nothing of the encoder is found."""
        return right.my_names({n: v for n, v in state.items() if n.startswith(("bert.", "cls."))})

    def prefix_kept(state: Mapping[str, Tensor]) -> Tensors:
        """With "bert." nothing of the encoder is found."""
        return right.my_names({n: v for n, v in state.items() if not n.startswith("bert.")})

    def numbered(change: Callable[[int], int]) -> Callable[[Mapping[str, Tensor]], Tensors]:
        def wrong(state: Mapping[str, Tensor]) -> Tensors:
            changed = {}
            for name, value in right.my_names(state).items():
                parts = name.split(".")
                if parts[0] == "layers":
                    parts[1] = str(change(int(parts[1])))
                changed[".".join(parts)] = value
            return changed

        return wrong

    yield "names.gamma_beta", without("gamma", "beta")
    yield "names.gamma_beta_exchanged", kinds_exchanged
    yield "names.only_gamma_beta", without("LayerNorm.weight", "LayerNorm.bias")
    yield "names.needs_prefix", prefixed_only
    yield "names.prefix_kept", prefix_kept
    yield "names.norms_exchanged", exchanged("attention_norm", "output_norm")
    yield "names.outputs_exchanged", exchanged("attention_output", "output")
    yield "names.query_key_exchanged", exchanged("query", "key")
    yield "names.key_value_exchanged", exchanged("key", "value")
    yield "names.query_value_exchanged", exchanged("query", "value")
    yield "names.layers_from_one", numbered(lambda number: number + 1)
    yield "names.layers_reversed", numbered(lambda number: L - 1 - number)
    yield "names.decoder_kept", with_rest("decoder")
    yield "names.next_sentence_kept", with_rest("seq_relationship")
    yield "names.position_ids_kept", with_rest("position_ids")
    yield "names.rest_kept", with_rest("decoder", "seq_relationship", "position_ids")
    yield "names.rest_kept", with_rest("seq_relationship", "position_ids")
    yield "names.rest_kept", with_rest("decoder", "seq_relationship")
    yield "names.unchanged", dict
    for name, key in (
        ("embed.word", "embed.segment"), ("embed.position", "embed.segment"), ("embed.word", "embed.position"),
    ):  # fmt: skip

        def tables(state: Mapping[str, Tensor], one: str = name, two: str = key) -> Tensors:
            mine = right.my_names(state)
            return {**mine, one: mine[two], two: mine[one]}

        yield "names.tables_exchanged", tables, {"one": name, "two": key}


def fill_mask(seed: int) -> Exercise:
    """The right model, and two rows with [MASK] in different places."""
    draw = torch.Generator().manual_seed(seed)
    model = right_model()
    mask_id = 4
    cases = []
    for name, length, place, k in (("short", 7, 2, 3), ("long", 11, 8, 5)):
        ids = [2, *torch.randint(1000, 16000, (length - 2,), generator=draw).tolist(), 3]
        ids[place] = mask_id
        with torch.no_grad():
            cases.append(Case(name, (model, ids, mask_id, k), right.fill_mask(model, ids, mask_id, k)))
    return Exercise(cases, lambda: from_functions(cases, guess_mistakes()))


Guesses = list[tuple[int, float]]


def guess_mistakes() -> Iterator[Any]:
    """Key and wrong function."""

    def guess(
        place: Callable[[list[int], int], int] = lambda ids, mask_id: ids.index(mask_id),
        segment: int = 0,
        seen: int = 1,
        dim: int = -1,
        largest: bool = True,
        probabilities: Callable[[Tensor], Tensor] = lambda scores: scores.softmax(-1),
        turned: bool = False,
    ) -> Callable[..., Guesses]:
        @torch.no_grad()
        def fill_mask(model: Any, input_ids: list[int], mask_id: int, k: int) -> Guesses:
            ids = torch.tensor([input_ids])
            _, _, logits = model(ids, torch.full_like(ids, seen), torch.full_like(ids, segment))
            scores = logits[0]
            values = (scores.softmax(0) if dim == 0 else probabilities(scores))[place(input_ids, mask_id)]
            best = values.topk(k, largest=largest)
            pairs = list(zip(best.indices.tolist(), best.values.tolist(), strict=True))
            return pairs[::-1] if turned else pairs

        return fill_mask

    @torch.no_grad()
    def among_best(model: Any, input_ids: list[int], mask_id: int, k: int) -> Guesses:
        ids = torch.tensor([input_ids])
        best = model(ids, torch.ones_like(ids), torch.zeros_like(ids))[2][0, input_ids.index(mask_id)].topk(k)
        return list(zip(best.indices.tolist(), best.values.softmax(-1).tolist(), strict=True))

    yield "guess.no_softmax", guess(probabilities=lambda scores: scores)
    yield "guess.log", guess(probabilities=lambda scores: scores.log_softmax(-1))
    yield "guess.softmax_over_tokens", guess(dim=0)
    yield "guess.softmax_of_best", among_best
    yield "guess.at_cls", guess(place=lambda ids, mask_id: 0)
    yield "guess.at_end", guess(place=lambda ids, mask_id: -1)
    yield "guess.off_by_one", guess(place=lambda ids, mask_id: ids.index(mask_id) + 1)
    yield "guess.off_by_one", guess(place=lambda ids, mask_id: ids.index(mask_id) - 1)
    yield "guess.at_mask_id", guess(place=lambda ids, mask_id: mask_id)
    yield "guess.smallest", guess(largest=False)
    yield "guess.turned", guess(turned=True)
    yield "guess.segment_one", guess(segment=1)
    yield "guess.mask_zero", guess(seen=0)
    yield "guess.exchanged", lambda *args: [(value, number) for number, value in right.fill_mask(*args)]
    yield "guess.one_list", lambda *args: [number for number, _ in right.fill_mask(*args)]
