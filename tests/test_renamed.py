"""Every older public name works, with a warning, and means what today's does."""

import argparse
import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest

from minibert import renamed
from minibert.cli import build_parser, main


def owner_of(name: str):
    """The module, class or function of a dotted name."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            owner = import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            owner = getattr(owner, part)
        return owner
    raise AssertionError(name)


@pytest.mark.parametrize(("owner", "names"), renamed.NAMES.items())
def test_names(owner, names):
    found = owner_of(owner)
    for older, newer in names.items():
        if inspect.ismodule(found):
            with pytest.warns(DeprecationWarning, match=f"{older} is now {newer}"):
                assert getattr(found, older) is getattr(found, newer)
            continue
        assert isinstance(vars(found)[older], property), (owner, older)
        fields = getattr(found, "__dataclass_fields__", {}) | dict.fromkeys(getattr(found, "_fields", ()))
        assert newer in fields or hasattr(found, newer), (owner, newer)
        assert older not in fields


@pytest.mark.parametrize(("owner", "names"), renamed.MOVED.items())
def test_moved_names(owner, names):
    for name, module in names.items():
        with pytest.warns(DeprecationWarning, match=rf"{owner}\.{name} is now {module}\.{name}"):
            assert getattr(owner_of(owner), name) is getattr(owner_of(module), name)
    with pytest.raises(AttributeError):
        owner_of(owner).nothing_of_the_kind  # noqa: B018


@pytest.mark.parametrize(("function", "names"), renamed.ARGUMENTS.items())
def test_arguments(function, names):
    known = inspect.signature(owner_of(function)).parameters
    for older, newer in names.items():
        assert newer in known, (function, newer)
        assert older not in known, (function, older)


@pytest.mark.parametrize(("kind", "values"), renamed.LITERALS.items())
def test_literals(kind, values):
    known = get_args(owner_of(kind))
    for older, newer in values.items():
        assert newer in known and older not in known
        assert renamed.newer_value(kind, newer) == newer
        with pytest.warns(DeprecationWarning, match=f"'{older}' is now '{newer}'"):
            assert renamed.newer_value(kind, older) == newer


@pytest.mark.parametrize(("verb", "names"), renamed.OPTIONS.items())
def test_options(verb, names):
    parser = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction)).choices[verb]
    for older, newer in names.items():
        assert newer in parser._option_string_actions
        assert older in parser._option_string_actions
        assert older not in parser.format_help()


@pytest.mark.parametrize(("verb", "options"), renamed.VALUES.items())
def test_values(verb, options, capsys):
    parser = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction)).choices[verb]
    for option, values in options.items():
        for older, newer in values.items():
            choices = parser._option_string_actions[option].choices
            assert newer in choices and older not in choices
            assert parser._option_string_actions[option].type(older) == newer
            assert f"{option} {older} is now {newer};" in capsys.readouterr().err


@pytest.mark.parametrize(("older", "newer"), renamed.VERBS.items())
def test_verbs(older, newer, capsys):
    with pytest.raises(SystemExit) as ended:
        main([older, "--help"])
    said = capsys.readouterr()
    assert ended.value.code == 0
    assert said.out.startswith(f"usage: minibert {newer} ")
    assert said.err == f"minibert: minibert {older} is now minibert {newer}; the older name goes in 0.3.\n"


def test_an_older_argument_is_taken_and_both_are_refused(monkeypatch):
    def scaled(value: float, *, std: float = 1.0) -> float:
        return value * std

    monkeypatch.setitem(renamed.ARGUMENTS, f"{__name__}.{scaled.__qualname__}", {"deviation": "std"})
    called = renamed.older_arguments(scaled)
    with pytest.warns(DeprecationWarning, match="The argument deviation of scaled"):
        assert called(2.0, deviation=3.0) == 6.0
    with pytest.raises(TypeError, match="its older name"):
        called(2.0, std=1.0, deviation=3.0)
    assert list(inspect.signature(called).parameters) == ["value", "std"]


def test_older_attributes_read_todays(monkeypatch):
    class Report:
        samples = 5

    monkeypatch.setitem(renamed.NAMES, f"{__name__}.{Report.__qualname__}", {"draws": "samples"})
    renamed.older_attributes(Report)
    with pytest.warns(DeprecationWarning, match="draws is now samples"):
        assert Report().draws == 5


def test_an_older_option_is_taken(capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument("--std", type=float, nargs=2)
    parser.add_argument("--quiet", action="store_true")
    renamed.add_older_options(parser, {"--deviation": "--std", "--silent": "--quiet"})
    options = parser.parse_args(["--deviation", "0.5", "1", "--silent"])
    assert capsys.readouterr().err.startswith("minibert: --deviation is now --std; the older name goes in 0.3.\n")
    assert options.std == [0.5, 1.0]
    assert options.quiet
    assert "deviation" not in parser.format_help()


def test_an_older_name_of_the_front_door(monkeypatch):
    import minibert

    monkeypatch.setitem(renamed.NAMES, "minibert", {"Bert": "BertModel"})
    with pytest.warns(DeprecationWarning, match=r"minibert\.Bert is now BertModel"):
        assert minibert.Bert is minibert.BertModel
    with pytest.raises(AttributeError):
        minibert.nothing_of_the_kind  # noqa: B018


def test_the_changelog_has_every_older_name():
    text = (Path(__file__).parents[1] / "CHANGELOG.md").read_text(encoding="utf-8")
    tables = (renamed.NAMES, renamed.MOVED, renamed.ARGUMENTS, renamed.LITERALS, renamed.OPTIONS)
    names = [pair for table in tables for names in table.values() for pair in names.items()]
    names += [(f"minibert {older}", f"minibert {newer}") for older, newer in renamed.VERBS.items()]
    for older, newer in names:
        assert re.search(rf"^\| .* \| `{older}` \| `{newer}", text, re.MULTILINE), (older, newer)
