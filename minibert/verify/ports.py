"""Any program that says it is BERT, checked against the readable one.

Start with :func:`explain_port`.
"""

import copy
import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minibert.config import BertConfig
from minibert.errors import InputError
from minibert.pretrained import BertPreTrainedModel
from minibert.verify.batches import Batch
from minibert.verify.computation import Reference
from minibert.verify.explanation import Explanation, Finding
from minibert.verify.layouts import Index
from minibert.verify.mistakes import Mistake
from minibert.verify.observe import ROLES, Observation, observe
from minibert.verify.padding import batch_with_padding_text
from minibert.verify.search import UNITS, explain_runs
from minibert.verify.user_code import call_by_name, load_callable


def reference_of(model: nn.Module) -> Reference:
    """The settings and weights of a model with BERT's names.

    Raises InputError where the model has other names.
    """
    config: Any = model.config
    if not isinstance(config, BertConfig):
        config = BertConfig.from_dict(config.to_dict())
    weights = {name.removeprefix("bert."): value for name, value in model.state_dict().items()}
    if "embeddings.word_embeddings.weight" not in weights:
        raise InputError(
            f"The reference model ({type(model).__name__}) has no embeddings.word_embeddings.weight, so it is not BERT "
            "under its published names. Give minibert's model first, and the port second."
        )
    floating = {name: value.detach().cpu() for name, value in weights.items() if value.is_floating_point()}
    dtype = weights["embeddings.word_embeddings.weight"].dtype
    return Reference(config, floating, "TokenClassification" in type(model).__name__, dtype)


def batches_for_ports(config: BertConfig, seed: int = 0) -> dict[str, Batch]:
    """Drawn ids on which as many mistakes as possible show.

    One text without padding, and a few texts with padding, of which the first is not the longest.  Both segments are
    used.  The number of tokens is one that no other dimension has, so that a tensor's shape says what its axes are.
    """
    H, N = config.hidden_size, config.num_attention_heads
    taken = {H, N, H // N, config.intermediate_size, 2, 3, 4, 5, 6}
    longest = min(config.max_position_embeddings - 2, 40)
    lengths = [T for T in (13, 11, 17, 19, 23, 14, 15, 9, 10, 7, 6, 5) if T not in taken and T <= longest]
    if len(lengths) < 2:
        raise InputError(
            f"max_position_embeddings is {config.max_position_embeddings}: too few tokens to tell mistakes."
        )
    T, alone = lengths[:2]
    B = next(size for size in (4, 3, 5, 6) if size not in (N, H // N))
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(config.vocab_size, (B + 1, max(T, alone)), generator=draw)
    of_texts = torch.tensor([T - 4, T, max(2, T // 2), max(2, T // 3), T - 1, T - 2])[:B]
    mask = (torch.arange(T) < of_texts[:, None]).long()
    segments = (torch.arange(T) >= of_texts[:, None] // 2).long().clamp(max=config.type_vocab_size - 1)
    second = (torch.arange(alone) >= alone // 3).long()[None].clamp(max=config.type_vocab_size - 1)
    return {
        "padded texts": {"input_ids": ids[:B, :T], "attention_mask": mask, "token_type_ids": segments * mask},
        "one text": {
            "input_ids": ids[B:, :alone],
            "attention_mask": torch.ones(1, alone, dtype=torch.long),
            "token_type_ids": second,
        },
    }


Run = Callable[[Batch], Observation]


def check_units(bound: float) -> float:
    """What counts as rounding where values are found by their numbers; InputError for 0."""
    if not bound:
        raise InputError(
            "bound is 0: values that are found by their numbers are compared with formulas in float64, from which they "
            "differ by rounding. Give a bound above 0; 16 is the default."
        )
    return bound


def explain_port(
    reference: nn.Module | Reference,
    theirs: Callable[..., Any],
    batches: Mapping[str, Batch] | None = None,
    *,
    units: float = UNITS,
) -> Explanation:
    """Run a program on some batches and say which value is the first that is wrong, and why.

    Args:
        reference: the right model, with BERT's names.
        theirs: an ``nn.Module`` of any structure, or a function, called with ``input_ids``, ``attention_mask``,
            ``token_type_ids`` by the names that its parameters have, or by position.
        batches: name → inputs, each (B, T) int64; default: drawn ids (:func:`batches_for_ports`).
        units: what counts as rounding, in units in the last place of a value's largest number.

    Raises InputError when the program fails, or computes nothing of the size of this model's hidden states.
    """
    right = reference if isinstance(reference, Reference) else reference_of(reference)
    complete = {name: with_defaults(batch) for name, batch in (batches or batches_for_ports(right.config)).items()}

    def without_dropout() -> Run | None:
        return partial(observe, copy.deepcopy(theirs).eval()) if isinstance(theirs, nn.Module) else None

    return explain_program(right, partial(observe, theirs), complete, without_dropout=without_dropout, units=units)


def explain_program(
    right: Reference,
    run: Run,
    batches: Mapping[str, Batch],
    *,
    without_dropout: Callable[[], Run | None] = lambda: None,
    hide: Callable[[Batch], Batch | None] = batch_with_padding_text,
    units: float = UNITS,
) -> Explanation:
    """As :func:`explain_port`, of anything that can be run on a batch.

    Args:
        right: settings and weights of the right model.
        run: runs the program on ``input_ids``, ``attention_mask``, ``token_type_ids``, each (B, T) int64.
        batches: name → these inputs.
        without_dropout: the program as it is without its random draws, if that can be had; for one that draws.
        hide: a batch → two of its texts, the second all padding; None where the program takes no such text.
        units: what counts as rounding, in units in the last place of a value's largest number.
    """
    check_ids(right.config, batches)
    findings: list[Finding] = []
    notes: list[str] = []
    runs, random = observe_twice(run, batches)
    if random is not None:
        findings.append(random)
        if (calm := without_dropout()) is not None:
            run = calm
            runs, again = observe_twice(run, batches)
            if again is not None and again.theirs != random.theirs:
                findings.append(again)
    check_size(right, batches, runs)
    widest = max(batches.values(), key=lambda batch: len(batch["input_ids"]))
    hidden = hide(widest) if len(widest["input_ids"]) > 1 else None
    padding_text = None
    if hidden is not None:
        try:
            padding_text = hidden, run(hidden)
        except InputError as error:  # packed programs have no token of such a text
            notes.append(f"a text of nothing but padding makes the program fail ({error})")
    explanation = explain_runs(right, batches, runs, units, padding_text=padding_text)
    explanation.findings[:0] = findings
    explanation.notes += notes
    return explanation


def check_ids(config: BertConfig, batches: Mapping[str, Batch]) -> None:
    """InputError if a batch has ids outside the model's tables, or more tokens than it has positions."""
    for name, batch in batches.items():
        T = batch["input_ids"].shape[1]
        if T > config.max_position_embeddings:
            raise InputError(
                f"The texts of {name} have {T} tokens; this model has {config.max_position_embeddings} positions."
            )
        for role, rows, table in (
            ("input_ids", config.vocab_size, "vocabulary"),
            ("token_type_ids", config.type_vocab_size, "table of segments"),
        ):
            outside = (batch[role] < 0) | (batch[role] >= rows)
            if bool(outside.any()):
                place = tuple(outside.nonzero()[0].tolist())
                raise InputError(
                    f"The {role} of {name} hold {int(batch[role][place])} at {place}, which is outside this model's "
                    f"{table} of {rows}. Do they belong to another checkpoint?"
                )


def check_size(right: Reference, batches: Mapping[str, Batch], runs: Mapping[str, Observation]) -> None:
    """InputError if no value has a shape that could hold one of BERT's, in any layout, or that of one text.

    Where more was computed than BERT has, a value that is as wide as the hidden states has to be there.
    """
    name = max(batches, key=lambda each: batches[each]["input_ids"].numel())
    index = Index(runs[name].values, batches[name]["attention_mask"].bool(), right.sizes)
    axes = {right.axes(each) for each in right.names}
    wide = axes if len(index.values) < len(right.names) else {each for each in axes if "H" in each}
    for family in (index.family(each, fixed) for each in sorted(wide) for fixed in ("", "B")):
        if family.choices and all(family.read):
            return
    B, T = batches[name]["input_ids"].shape
    shapes = [tuple(value.tensor.shape) for value in runs[name].values]
    common = ", ".join(str(shape) for shape, _ in Counter(shapes).most_common(3)) or "none"
    raise InputError(
        f"Nothing there has the shape of a value of this model, which has hidden states of {B} × {T} × "
        f"{right.config.hidden_size} for these {B} × {T} ids; the most frequent shapes are {common}. "
        "Is it of another model, or were the values recorded on other ids?"
    )


def with_defaults(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A batch with a mask that shows all and segments that are 0, where it has none."""
    ids = batch["input_ids"]
    return {
        "input_ids": ids,
        "attention_mask": batch.get("attention_mask", torch.ones_like(ids)),
        "token_type_ids": batch.get("token_type_ids", torch.zeros_like(ids)),
    }


def observe_twice(run: Run, batches: Mapping[str, Batch]) -> tuple[dict[str, Observation], Finding | None]:
    """Their runs, and the first value that is another one the second time."""
    runs = {name: run(batch) for name, batch in batches.items()}
    for name, batch in batches.items():
        for here, there in zip(runs[name].values, run(batch).values, strict=False):
            if here.tensor.shape != there.tensor.shape or not torch.equal(
                here.tensor.nan_to_num(), there.tensor.nan_to_num()
            ):
                dropout = Mistake("random.dropout", {}, "another value in every run")
                return runs, Finding("random", (dropout,), [], here.name)
    return runs, None


def build_port(spec: str, model: Callable[[], BertPreTrainedModel], folder: Path | None) -> Any:
    """The program that a function of the user builds, named as ``path/to/my_bert.py:build``.

    The function is given what its parameters ask for by name: ``config``; ``state_dict``, copies of the checkpoint's
    weights under minibert's names; ``folder``, where the checkpoint lies.  One that asks for ``input_ids`` is the
    program itself.  ``model`` loads the checkpoint, which is not done before the function is found.

    Raises InputError when the file or the function is not there, fails, asks for anything else, or returns nothing that
    can be called.
    """
    function = load_callable(spec)
    parameters = inspect.signature(function).parameters.values()
    if any(p.name in ROLES["input_ids"] and p.default is p.empty for p in parameters):
        return function
    program = call_by_name(function, spec, offered(model, folder), "build the port")
    if not callable(program):
        raise InputError(
            f"{spec} returned a value of type {type(program).__name__}; expected an nn.Module, or a function of "
            "input_ids, attention_mask and token_type_ids."
        )
    return program


def offered(model: Callable[[], BertPreTrainedModel], folder: Path | None) -> dict[str, Callable[[], Any]]:
    """What a user's function may ask for by name, each made when it is asked for; the weights are copies."""
    return {
        "config": lambda: model().config,
        "state_dict": lambda: {name: value.clone() for name, value in model().state_dict().items()},
        "folder": lambda: folder,
    }
