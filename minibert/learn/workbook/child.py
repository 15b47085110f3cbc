"""The process in which a learner's file runs: ``python -m minibert.learn.workbook.child FILE SEED STEP …``

It writes messages, a JSON object a line, to the pipe that MINIBERT_WORKBOOK_PIPE names: ``{"loading": …}`` and
``{"loaded": …}`` around the file itself, ``{"begin": step}``, ``{"calling": …}`` and ``{"returned": …}`` around every
call of the learner's code, ``{"verdict": {…}}`` for each step, ``{"problem": {…}}`` where the file as a whole cannot be
run.  checking.py reads them.  One process judges all steps, because starting one takes seconds, almost all of them
torch's; when a step ends it, checking.py starts another for the rest.

While a step is judged, the other functions of the file are the teacher's: a mistake is told once, in its own step.
"""

import ast
import json
import os
import random
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from minibert.learn.workbook.judge import describe, failed, judge_step
from minibert.learn.workbook.steps import NAMES, STEPS, WHOLE
from minibert.learn.workbook.verdict import NOT_WRITTEN, Verdict
from minibert.learn.workbook.whole import judge_whole

PIPE = "MINIBERT_WORKBOOK_PIPE"
MEMORY = 4 << 30  # bytes that the learner's code may take beyond what is taken already


class Messages:
    """The way back to checking.py."""

    def __init__(self, pipe: int) -> None:
        self.pipe = pipe
        self.calls = 0

    def send(self, **message: Any) -> None:
        """One message."""
        sys.stdout.flush()  # what was printed belongs to the step before the message
        sys.stderr.flush()
        line = (json.dumps(message) + "\n").encode()
        while line:
            line = line[os.write(self.pipe, line) :]

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Around every call of the learner's code: the clock runs, and tensors are float64 unless it says otherwise."""
        self.send(calling=True)
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        self.calls += 1  # two calls draw differently, and the same in every check
        torch.manual_seed(self.calls)
        random.seed(self.calls)
        try:
            with torch.no_grad():
                yield
        finally:
            torch.set_default_dtype(before)
            self.send(returned=True)


def main(file: Path, seed: int, names: list[str]) -> None:
    """Run the file and judge some of its steps."""
    messages = Messages(int(os.environ.pop(PIPE)))
    torch.set_num_threads(1)
    limit_memory(MEMORY)
    module = load(file, messages)
    if module is None:
        return
    unwritten = unwritten_functions(file)
    for name in names:
        messages.send(begin=name)
        messages.send(verdict=judge(name, module, seed, file, unwritten, messages).to_dict())


def judge(
    name: str, module: types.ModuleType, seed: int, file: Path, unwritten: frozenset[str], messages: Messages
) -> Verdict:
    """The verdict on one step."""
    if name == WHOLE:
        return judge_whole(module, file, messages.calling)
    step = STEPS[NAMES.index(name)]
    if not hasattr(module, name):
        return Verdict(name, "missing", details={"expected": step.signature})
    if name in unwritten:
        return Verdict(name, NOT_WRITTEN)
    with teachers(module, name):
        return judge_step(step, getattr(module, name), seed, file, messages.calling)


@contextmanager
def teachers(module: types.ModuleType, name: str) -> Iterator[None]:
    """Within the block, every function of the file but one is the teacher's."""
    own = dict(vars(module))
    vars(module).update({step.name: step.right for step in STEPS if step.name != name})
    try:
        yield
    finally:
        vars(module).clear()
        vars(module).update(own)


def load(file: Path, messages: Messages) -> types.ModuleType | None:
    """Run the file; None, after a message, where that fails."""
    code = compile(file.read_bytes(), str(file), "exec")  # checking.py has seen that Python can read it
    module = types.ModuleType(file.stem)
    module.__file__ = str(file)
    sys.modules[file.stem] = module  # dataclasses look it up
    sys.path.insert(0, str(file.parent))  # for files beside it
    messages.send(loading=True)
    try:
        exec(code, vars(module))
    except (Exception, SystemExit) as error:
        kind = failed("", error, file).status
        messages.send(problem={"kind": "exit" if kind == "exit" else "import", **describe(error, file)})
        return None
    finally:
        with suppress(ValueError):
            sys.path.remove(str(file.parent))
        sys.path.append(str(file.parent))  # behind everything that is imported here later
    messages.send(loaded=True)
    return module


def unwritten_functions(file: Path) -> frozenset[str]:
    """The functions of the file of which nothing is written but a docstring and ``...``."""
    tree = ast.parse(file.read_bytes())
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    return frozenset(name for name, function in functions.items() if all(map(is_placeholder, function.body)))


def is_placeholder(statement: ast.stmt) -> bool:
    """``...``, a docstring, ``pass``, ``raise NotImplementedError``, ``return ...``."""
    if isinstance(statement, ast.Raise):
        raised = statement.exc.func if isinstance(statement.exc, ast.Call) else statement.exc
        return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"
    if isinstance(statement, ast.Expr | ast.Return):
        value = statement.value
        return isinstance(value, ast.Constant) and (value.value is ... or isinstance(value.value, str))
    return isinstance(statement, ast.Pass)


def limit_memory(more: int) -> None:
    """Let this process take so many bytes more; where the system can say how many it has."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
