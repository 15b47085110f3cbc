"""A function in a file of the user, named as ``path/to/file.py:name``; and what to say when it fails.

Loading runs the file.  Only verbs whose purpose it is call this, for a path that the user wrote, and their ``--help``
says so.
"""

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from minibert.errors import InputError, MinibertError

EXAMPLE = "path/to/file.py:name"


def names_code(spec: object) -> bool:
    """True for a text such as ``path/to/file.py:name``."""
    return isinstance(spec, str) and spec.rpartition(":")[0].endswith(".py")


def load_callable(spec: str) -> Callable[..., Any]:
    """Run the file of ``path/to/file.py:name`` and return what bears that name in it.

    Files beside it can be imported by it.  Raises InputError: no file, no such name, something that cannot be called,
    or an error while the file runs, with its line.
    """
    file, _, name = spec.rpartition(":")
    if not file.endswith(".py") or not name.isidentifier():
        raise InputError(f"{spec!r} names no function: write the file and the function in it, as in {EXAMPLE}.")
    path = Path(file).expanduser()
    if not path.is_file():
        raise InputError(f"{file} is not a file on this disk; {spec!r} should name a function as in {EXAMPLE}.")
    module_name = f"_minibert_user_{path.stem}_{abs(hash(path.resolve())):x}"
    module_spec = importlib.util.spec_from_file_location(module_name, path.resolve())
    assert module_spec is not None and module_spec.loader is not None  # both are there for a name with .py
    module = importlib.util.module_from_spec(module_spec)
    folder = str(path.resolve().parent)
    sys.modules[module_name] = module  # dataclasses and pickle look it up
    sys.path.insert(0, folder)
    try:
        with running(path, f"{file} cannot be run"):
            module_spec.loader.exec_module(module)
    except InputError:
        del sys.modules[module_name]
        raise
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
    if not hasattr(module, name):
        defined = [
            known for known, value in vars(module).items() if callable(value) and value.__module__ == module_name
        ]
        close = get_close_matches(name, defined, n=1)
        hint = f" Did you mean {close[0]}?" if close else f" It defines {', '.join(defined) or 'no function'}."
        raise InputError(f"{file} has nothing named {name!r}.{hint}")
    function = getattr(module, name)
    if not callable(function):
        raise InputError(f"{name} in {file} is a value of type {type(function).__name__}; expected a function.")
    return function  # type: ignore[no-any-return]


def call_by_name(
    function: Callable[..., Any], spec: str, offered: Mapping[str, Callable[[], Any]], what: str = "build"
) -> Any:
    """Call a function of the user with what its parameters ask for by name.

    Args:
        function: as :func:`load_callable` returned it.
        spec: how the user named it.
        offered: name of a parameter → what makes its value, which is called only if it is asked for.
        what: what the function does, a verb.

    Raises InputError when it asks for anything else, or fails, with its line.
    """
    parameters = inspect.signature(function).parameters.values()
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    unknown = next((name for name in needed if name not in offered), None)
    if unknown is not None:
        *names, last = offered
        raise InputError(
            f"{spec} asks for {unknown!r}; its parameters may be {', '.join(names)} and {last}, by these names."
        )
    wanted = {p.name: offered[p.name]() for p in parameters if p.name in offered}
    with running(spec.rpartition(":")[0], f"{spec} failed to {what}"):
        return function(**wanted)


@contextmanager
def running(path: str | Path | None, what: str) -> Iterator[None]:
    """Within the block, an error of the user's code becomes an InputError that begins with ``what``.

    It says the error and the last line of ``path`` that led to it; for None, the last line of all.
    """
    try:
        yield
    except (MinibertError, KeyboardInterrupt):
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"{what}: {described(error, path)}") from error


def described(error: BaseException, path: str | Path | None) -> str:
    """An error as the end of a sentence: its type, its message, its line."""
    message = str(error).strip().partition("\n")[0]
    if isinstance(error, SyntaxError) and error.lineno is not None:
        where = (
            f" (line {error.lineno} of {Path(error.filename).name})" if error.filename else f" (line {error.lineno})"
        )
        message = error.msg
    else:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if path is not None and _same(frame.filename, path)]
        last = (own or frames or [None])[-1]  # type: ignore[list-item]
        where = "" if last is None else f" (line {last.lineno} of {Path(last.filename).name}: {last.line})"
    return f"{type(error).__name__}{': ' if message else ''}{message}{where}."


def _same(frame: str, path: str | Path) -> bool:
    return Path(frame).resolve() == Path(path).resolve()
