"""Run lessons as notebooks and keep, or compare, what their cells print and show.

    python scripts/tools/run_lessons.py 3            # writes minibert/learn/lessons/lesson03/outputs.json
    python scripts/tools/run_lessons.py --check      # all of them: compares, writes nothing; 1 at a difference
    python scripts/tools/run_lessons.py 3 --solved   # also: every solution is told that it is right

The code of a lesson is the same in every language, so it runs once.  Needs nbclient and ipykernel (the extra ``test``).
"""

import argparse
import json
import re
import sys
import time
from typing import Any

from minibert.learn import Exercise, Lesson, lesson_numbers, open_lesson, to_notebook
from minibert.learn.lesson import FOLDER

COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b|rgba?\([^)]*\)|\bmb-[0-9a-f]{10}\b")  # a display's class is made of its colours
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
LARGEST = 300_000  # characters of outputs.json: a lesson is read and diffed, so its pictures are small
RELATIVE = 1e-3  # processors round differently, and thirty steps of training carry that on


def run(lesson: Lesson, solved: bool = False) -> dict[str, list[dict[str, Any]]]:
    """Name of a cell → its outputs, from a run of the whole notebook in a process of its own."""
    import nbformat
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    notebook = nbformat.reads(json.dumps(to_notebook(lesson)), as_version=4)
    solutions = {f"exercise-{exercise.name}": exercise.solved for exercise in lesson.exercises}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
            cell.source = solutions.get(cell.id, cell.source) if solved else cell.source
    kernel = AsyncKernelManager(kernel_name="python3", transport="ipc")  # no port of this machine is opened
    NotebookClient(notebook, km=kernel, timeout=300, coalesce_streams=True).execute()
    names = {
        cell.id: [kept(output) for output in cell.outputs if said(output)]
        for cell in notebook.cells
        if "outputs" in cell
    }
    return {name: outputs for name, outputs in names.items() if name != "start"}


def said(output: Any) -> bool:
    """Whether an output is for the reader: what goes to stderr (progress, warnings) is not."""
    return not (output.output_type == "stream" and output.name == "stderr")


def kept(output: Any) -> dict[str, Any]:
    """An output without what changes from run to run."""
    if output.output_type == "stream":
        return {"name": "stdout", "output_type": "stream", "text": output.text.splitlines(keepends=True)}
    data = {kind: text.splitlines(keepends=True) for kind, text in sorted(output.data.items())}
    count = {"execution_count": None} if output.output_type == "execute_result" else {}
    return {"data": data, **count, "metadata": {}, "output_type": output.output_type}


def difference(stored: list[dict[str, Any]], found: list[dict[str, Any]]) -> str:
    """Where the outputs of a cell part, in a sentence; "" where the words are the same and the numbers are close.

    Whole numbers are ids and counts and must be the same; in a picture, where they are places, they may be one off.
    """
    if (kinds := [set(texts(outputs)) for outputs in (stored, found)])[0] != kinds[1]:
        return f"{sorted(kinds[0])} was, {sorted(kinds[1])} is"
    for kind, before in texts(stored).items():
        after = texts(found)[kind]
        words = [NUMBER.sub("#", COLOUR.sub("", text)) for text in (before, after)]
        if words[0] != words[1]:
            place = next((i for i, (a, b) in enumerate(zip(*words, strict=False)) if a != b), min(map(len, words)))
            return " but now ".join(f"…{text[max(0, place - 60) : place + 60]}…" for text in words)
        numbers = [NUMBER.findall(COLOUR.sub("", text)) for text in (before, after)]
        for old, new in zip(*numbers, strict=True):
            if abs(float(old) - float(new)) > tolerance(old, kind):
                return f"{old} was, {new} is"
    return ""


def texts(outputs: list[dict[str, Any]]) -> dict[str, str]:
    """Kind → all that a cell printed or showed of it."""
    found: dict[str, str] = {}
    for output in outputs:
        data = {"stream": output["text"]} if output["output_type"] == "stream" else output["data"]
        for kind, text in data.items():
            found[kind] = found.get(kind, "") + "".join(text)
    return found


def tolerance(number: str, kind: str) -> float:
    """How far a number may be from the one that is stored."""
    if kind in ("text/html", "image/svg+xml"):
        return max(1.0, RELATIVE * abs(float(number)))
    mantissa, _, exponent = number.lower().partition("e")
    if "." not in mantissa and not exponent:
        return 0.0
    digits = len(mantissa.partition(".")[2]) - int(exponent or 0)
    return max(RELATIVE * abs(float(number)), 2 * 10.0**-digits)


def main() -> int:
    """Run the lessons asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", nargs="*", type=int, help="of lessons; default: all")
    parser.add_argument("--check", action="store_true", help="compare with what is stored; write nothing")
    parser.add_argument(
        "--solved", action="store_true", help="with the solutions in place: each is told that it is right"
    )
    options = parser.parse_args()
    wrong = 0
    for number in options.numbers or lesson_numbers():
        lesson, start = open_lesson(number), time.perf_counter()
        found = run(lesson)
        seconds = time.perf_counter() - start
        cells = {cell.name: found[cell.name] for cell in lesson.cells}
        faults = changed(lesson, cells) if options.check else []
        faults += unsolved(lesson, run(lesson, solved=True)) if options.solved else []
        text = json.dumps(cells, ensure_ascii=False, indent=1) + "\n"
        print(
            f"lesson {number}: {len(cells)} cells in {seconds:.1f} s, outputs of {len(text):,} characters", flush=True
        )
        if len(text) > LARGEST:
            faults.append(f"outputs.json has more than {LARGEST:,} characters")
        if not options.check:
            (FOLDER / lesson.name / "outputs.json").write_text(text, encoding="utf-8")
        for fault in faults:
            print(f"  {fault}")
        wrong += bool(faults)
    return int(wrong > 0)


def changed(lesson: Lesson, found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """The cells whose outputs are not those that are stored."""
    faults = {cell.name: difference(cell.outputs, found[cell.name]) for cell in lesson.cells}
    return [f"{name}: {fault}" for name, fault in faults.items() if fault]


def unsolved(lesson: Lesson, found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """The exercises whose solution is not told that it is right, each with what was printed instead."""

    def printed(exercise: Exercise) -> str:
        return "".join("".join(output.get("text", "")) for output in found[f"exercise-{exercise.name}"]).strip()

    return [f"{each.name}: {printed(each)}" for each in lesson.exercises if not printed(each).startswith("✓")]


if __name__ == "__main__":
    sys.exit(main())
