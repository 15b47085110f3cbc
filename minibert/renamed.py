"""Public names of version 0.1.0 that are now others: each still works, with a DeprecationWarning, until 0.3.

The tables hold all of them.  A module or class takes its older names from ``NAMES`` and ``MOVED``, a function its older
arguments from ``ARGUMENTS``, an argument its older values from ``LITERALS``; keys are dotted names.  The command line
takes its older verbs, options and values of options from ``VERBS``, ``OPTIONS`` and ``VALUES``, and says so on stderr,
because Python hides a DeprecationWarning there.
"""

import argparse
import functools
import inspect
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)
V = TypeVar("V")

# module or class: {older name in it: name in it today}
NAMES: dict[str, dict[str, str]] = {
    "minibert": {"Readout": "LogitLens", "readout": "logit_lens"},
    "minibert.embedding.embedder.Embedder": {"tokens_a_batch": "tokens_per_batch"},
    "minibert.lens": {"Readout": "LogitLens", "readout": "logit_lens"},
    "minibert.lens.noise.Sensitivity": {"deviation": "std"},
    "minibert.source.Checkpoint": {"found": "paths"},
}

# module: {name that was in it: the module that it is in today}
MOVED: dict[str, dict[str, str]] = {
    "minibert.checkpoint": {"load_architecture": "minibert.auto"},
}

# function, method or class that is called: {older argument: argument today}
ARGUMENTS: dict[str, dict[str, str]] = {
    "minibert.corpus.search.nearest": {"query": "queries"},
    "minibert.explorer.explore": {"deviation": "std"},
    "minibert.lens.drawing.draw_attention": {"found": "trace"},
    "minibert.lens.drawing.draw_sensitivity": {"found": "sensitivity"},
    "minibert.lens.noise.sensitivity": {"deviation": "std"},
    "minibert.finetuning.run.finetune": {"workers": "processes"},
    "minibert.verify.models.verify_models": {"ours": "theirs"},
    "minibert.training.settings.Settings.__init__": {"clip": "max_grad_norm", "recompute": "gradient_checkpointing"},
}

# type of an argument: {older value: value today}
LITERALS: dict[str, dict[str, str]] = {
    "minibert.lens.perturbing.Mode": {"once": "single", "afresh": "per_layer"},
}

# verb: {older option: option today}
OPTIONS: dict[str, dict[str, str]] = {
    "finetune": {"--clip": "--max-grad-norm", "--recompute": "--gradient-checkpointing"},
    "noise": {"--deviation": "--std"},
    "pretrain": {"--clip": "--max-grad-norm", "--recompute": "--gradient-checkpointing"},
}

# verb: {option: {older value: value today}}
VALUES: dict[str, dict[str, dict[str, str]]] = {
    "noise": {"--mode": LITERALS["minibert.lens.perturbing.Mode"]},
}

# older verb: verb today
VERBS: dict[str, str] = {"readout": "logit-lens"}


def sentence(older: str, newer: str) -> str:
    """That a name is now another."""
    return f"{older} is now {newer}; the older name goes in 0.3."


def warn(older: str, newer: str, *, stacklevel: int = 3) -> None:
    """Warn that a name is now another; ``stacklevel`` as in warnings.warn."""
    warnings.warn(sentence(older, newer), DeprecationWarning, stacklevel=stacklevel)


def say(older: str, newer: str) -> None:
    """Say it on stderr."""
    print(f"minibert: {sentence(older, newer)}", file=sys.stderr)


def older_name(owner: str, name: str, stacklevel: int = 4) -> str | None:
    """What ``name`` of the module or class ``owner`` is called today, with a warning; None where it was none."""
    newer = NAMES.get(owner, {}).get(name)
    if newer is not None:
        warn(f"{owner}.{name}", newer, stacklevel=stacklevel)
    return newer


def moved_name(owner: str, name: str) -> Any:
    """What was ``name`` in the module ``owner``, with a warning; AttributeError for a name that never was there."""
    module = MOVED[owner].get(name)
    if module is None:
        raise AttributeError(f"module {owner!r} has no attribute {name!r}")
    warn(f"{owner}.{name}", f"{module}.{name}", stacklevel=4)
    return getattr(import_module(module), name)


def newer_value(owner: str, value: V, stacklevel: int = 4) -> V:
    """What ``value`` of an argument of the type ``owner`` is called today, with a warning where that is another."""
    newer: Any = LITERALS[owner].get(value) if isinstance(value, str) else None
    if newer is None:
        return value
    warn(repr(value), repr(newer), stacklevel=stacklevel)
    return cast(V, newer)


def older_attributes(cls: C) -> C:
    """Give a class the attributes that its line in ``NAMES`` lists, as properties that read today's."""
    owner = f"{cls.__module__}.{cls.__qualname__}"
    for older, newer in NAMES[owner].items():

        def read(self: Any, older: str = older, newer: str = newer) -> Any:
            warn(f"{cls.__qualname__}.{older}", newer)
            return getattr(self, newer)

        setattr(cls, older, property(read, doc=f"Older name of ``{newer}``."))
    return cls


def older_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function take the older names of its arguments that its line in ``ARGUMENTS`` lists."""
    names = ARGUMENTS[f"{function.__module__}.{function.__qualname__}"]

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        for older in names.keys() & kwargs.keys():
            newer = names[older]
            if newer in kwargs:
                raise TypeError(f"{function.__name__}() got {newer!r} and its older name {older!r}")
            warn(f"The argument {older} of {function.__name__}()", newer)
            kwargs[newer] = kwargs.pop(older)
        return function(*args, **kwargs)

    called.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return called


def add_older_options(parser: argparse.ArgumentParser, names: dict[str, str]) -> None:
    """Let a verb's parser take options under their older names, a line of ``OPTIONS``; its help does not show them."""
    for older, newer in names.items():
        action = parser._option_string_actions[newer]
        parser._option_string_actions[older] = OlderOption(action, older, newer)


def add_older_values(parser: argparse.ArgumentParser, names: dict[str, dict[str, str]]) -> None:
    """Let options take their values under older names, a line of ``VALUES``; the help does not show them."""
    for option, values in names.items():

        def read(text: str, option: str = option, values: dict[str, str] = values) -> str:
            if text in values:
                say(f"{option} {text}", values[text])
            return values.get(text, text)

        parser._option_string_actions[option].type = read


class OlderOption(argparse.Action):
    """An option under its older name: a sentence on stderr, then what the option does."""

    def __init__(self, action: argparse.Action, older: str, newer: str) -> None:
        taken = {name: getattr(action, name) for name in ("dest", "nargs", "const", "type", "choices")}
        super().__init__([older], **taken)
        self.action, self.newer = action, newer

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        say(str(option), self.newer)
        self.action(parser, namespace, values, option)
