"""``minibert learn check``: run a learner's file in a process of its own, and report on every step."""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from minibert.errors import InputError
from minibert.learn.workbook import child
from minibert.learn.workbook.report import Report
from minibert.learn.workbook.steps import NAMES, WHOLE, find_step
from minibert.learn.workbook.texts import check_language
from minibert.learn.workbook.verdict import WAITING, Verdict

FILE = "my_bert.py"
TIME_LIMIT = 10.0  # seconds for one call; a right function takes a fraction of one
WHOLE_FACTOR = 12  # the last step calls verify, which runs the model many times
STARTING = 300.0  # seconds for a process to start, and for our own part of a step, on a machine that has much to do
MOST_PRINTED = 1 << 20  # bytes a step may print
KEPT = 2000  # characters of it that are shown
PACKAGE = Path(__file__).resolve().parents[3]


def check(
    file_or_folder: str | Path = ".",
    step: str | int | None = None,
    *,
    language: str = "en",
    seed: int = 0,
    time_limit: float = TIME_LIMIT,
) -> Report:
    """Check the steps of a workbook.

    Args:
        file_or_folder: my_bert.py, or the folder that it is in.
        step: one step, by number or name; default: all.
        language: of the report: ``en``, ``ko`` or ``zh``.
        seed: another number gives other inputs.
        time_limit: seconds for one call of the learner's code.

    Raises InputError for a step, language or seed that there is none of, or where there is no file.
    """
    check_language(language)
    file = find_file(file_or_folder)
    if not 0 <= seed < 1 << 31:
        raise InputError(f"seed is {seed}; expected a number from 0 to {(1 << 31) - 1}.")
    if time_limit <= 0:
        raise InputError(f"time_limit is {time_limit:g}; expected more than 0 seconds.")
    names = NAMES if step is None else (find_step(step),)
    functions = [name for name in names if name != WHOLE]
    problem = unreadable(file)
    verdicts: list[Verdict] = []
    if problem is None:
        problem, verdicts = run_steps(file, seed, functions, time_limit)
    if WHOLE in names and problem is None:
        if all(verdict.is_right for verdict in verdicts):
            problem, last = run_steps(file, seed, [WHOLE], time_limit)
            verdicts += last
        else:
            verdicts.append(Verdict(WHOLE, WAITING))
    return Report(file, language, seed, tuple(names), problem, verdicts)


def find_file(file_or_folder: str | Path) -> Path:
    """The learner's file; InputError where there is none."""
    path = Path(file_or_folder).expanduser()
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"There is no {file}. minibert learn build writes it, with the holes to fill.")
    return file.resolve()


def unreadable(file: Path) -> dict[str, Any] | None:
    """What keeps Python from reading the file; nothing of it runs."""
    source = file.read_bytes()
    if not source.strip():
        return {"kind": "empty"}
    try:
        compile(source, str(file), "exec")
    except SyntaxError as error:
        line = (error.text or "").strip()
        return {"kind": "syntax", "line": error.lineno or 0, "error": str(error.msg), "code": line}
    except (ValueError, RecursionError, MemoryError) as error:  # a NUL in it, or brackets without end
        return {"kind": "syntax", "line": 0, "error": str(error) or type(error).__name__, "code": ""}
    return None


def run_steps(
    file: Path, seed: int, names: Sequence[str], time_limit: float
) -> tuple[dict[str, Any] | None, list[Verdict]]:
    """What is wrong with the file as a whole, or None, and a verdict for each step.

    A process that a step ends is started again for the steps after it.
    """
    verdicts: list[Verdict] = []
    left = list(names)
    while left:
        process = Process(file, seed, left, time_limit)
        problem = process.run()
        verdicts += process.verdicts
        if problem is not None:
            return problem, verdicts
        left = left[len(process.verdicts) :]
    return None, verdicts


class Process:
    """One process that judges steps until it is through or something ends it."""

    def __init__(self, file: Path, seed: int, names: Sequence[str], time_limit: float) -> None:
        self.file, self.names, self.time_limit = file, names, time_limit
        self.command = [sys.executable, "-m", child.__name__, str(file), str(seed), *names]
        self.verdicts: list[Verdict] = []
        self.current = ""  # the step; "" while the file is loaded
        self.is_calling = self.is_loaded = False
        self.since = time.monotonic()
        self.printed = bytearray()
        self.count = 0  # bytes printed in this step
        self.problem: dict[str, Any] | None = None

    def run(self) -> dict[str, Any] | None:
        """Judge; ``verdicts`` has one more for a step that ended the process.  Returns a problem of the whole file."""
        reading, writing = os.pipe()
        path = os.pathsep.join(filter(None, [str(PACKAGE), os.environ.get("PYTHONPATH", "")]))
        environment = {**os.environ, child.PIPE: str(writing), "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[writing],
            env=environment,
            start_new_session=True,
        )
        os.close(writing)
        assert process.stdout is not None
        try:
            status = self.listen(reading, process.stdout.fileno())
            if not status:  # it closed the pipe: it is through, or it died
                with suppress(subprocess.TimeoutExpired):
                    process.wait(10)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # and whatever the learner's code started
            process.wait()
            process.stdout.close()
            os.close(reading)
        if self.problem is None and len(self.verdicts) < len(self.names):
            self.ended(status or "crash", process.returncode)
        return self.problem

    def listen(self, reading: int, output: int) -> str:
        """Read messages and output until the process is through; the status of a step that has to be ended."""
        with selectors.DefaultSelector() as selector:
            for pipe in (reading, output):
                os.set_blocking(pipe, False)
                selector.register(pipe, selectors.EVENT_READ)
            rest = b""
            while True:
                limit = self.limit()
                remaining = self.since + limit - time.monotonic()
                if remaining <= 0:
                    return "timeout"
                ready = {key.fd for key, _ in selector.select(min(remaining, 1.0))}
                if output in ready:
                    text = os.read(output, 1 << 16)
                    if not text:
                        selector.unregister(output)
                    self.count += len(text)
                    self.printed += text[: max(0, 4 * KEPT - len(self.printed))]
                    if self.count > MOST_PRINTED:
                        return "flood"
                elif reading in ready:  # after the output that came before it
                    data = os.read(reading, 1 << 16)
                    if not data:
                        return ""
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        self.heard(json.loads(line))

    def limit(self) -> float:
        """The seconds that what is going on may take."""
        if not self.is_calling:
            return STARTING
        return self.time_limit * (WHOLE_FACTOR if self.current == WHOLE else 1)

    def heard(self, message: dict[str, Any]) -> None:
        """One message."""
        self.since = time.monotonic()
        if "begin" in message:
            self.current = message["begin"]
            self.printed.clear()
            self.count = 0
        elif "calling" in message or "loading" in message:
            self.is_calling = True
            if "loading" in message:  # what came before is Python's own, not the learner's
                self.printed.clear()
                self.count = 0
        elif "returned" in message or "loaded" in message:
            self.is_calling = False
            self.is_loaded = self.is_loaded or "loaded" in message
        elif "verdict" in message:
            self.verdicts.append(Verdict(**{**message["verdict"], "printed": self.text()}))
        else:
            self.problem = {**message["problem"], "printed": self.text()}

    def text(self) -> str:
        """The beginning of what was printed in this step."""
        return self.printed.decode(errors="replace")[:KEPT]

    def ended(self, status: str, code: int) -> None:
        """The verdict for what ended the process."""
        details = {"seconds": f"{self.limit():g}", "code": code, "megabytes": MOST_PRINTED >> 20}
        if not self.is_loaded:
            kind = status if status in ("timeout", "flood") else "crash"
            self.problem = {"kind": kind, **details, "printed": self.text()}
        else:
            step = self.current or self.names[0]
            self.verdicts.append(Verdict(step, status, details=details, printed=self.text()))
