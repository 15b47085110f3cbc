"""The way of a person who comes to learn: a fresh clone, the demo, a lesson in the terminal, its first cell in Jupyter.

    python scripts/studies/newcomer.py            # lesson 1 in Korean
    python scripts/studies/newcomer.py 3 --lang zh

Clones this checkout's last commit into a new folder, with an environment of its own, and prints what each step took and
its last line.  The lesson is printed before Jupyter is installed, to see that it needs nothing.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIRST_CELL = """
import sys
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
code = [cell for cell in notebook.cells if cell.cell_type == "code"][:2]
notebook.cells = code
for cell in code:
    cell.outputs = []
NotebookClient(notebook, kernel_name="python3").execute()
for output in code[1].outputs:
    print(output.get("text") or output.data["text/plain"])
"""


def main() -> int:
    """Walk the way and time it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lesson", nargs="?", type=int, default=1)
    parser.add_argument("--lang", choices=("en", "ko", "zh"), default="ko")
    options = parser.parse_args()
    lesson = str(options.lesson)
    with tempfile.TemporaryDirectory() as place:
        clone = Path(place) / "minibert"
        script = Path(place) / "first_cell.py"
        script.write_text(FIRST_CELL, encoding="utf-8")
        binaries = clone / ".venv" / "bin"
        learn = [binaries / "minibert", "learn", lesson, "--lang", options.lang]
        pip = [binaries / "python", "-m", "pip", "install", "--quiet", "-c", "constraints.txt", "-e", ".[learn]"]
        steps: list[tuple[str, list[object]]] = [
            ("clone", ["git", "clone", "--quiet", ROOT, clone]),
            ("make demo", ["make", "--silent", "demo"]),
            (f"minibert learn {lesson} --lang {options.lang} --text", [*learn, "--text"]),
            (f"minibert learn {lesson} --lang {options.lang}", [*learn, "--no-open", "-o", "lesson.ipynb"]),
            ("pip install '.[learn]'", list(pip)),
            ("its first cell", [binaries / "python", script, "lesson.ipynb"]),
        ]
        for name, command in steps:
            start = time.perf_counter()
            done = subprocess.run(
                list(map(str, command)),
                cwd=clone if clone.exists() else place,
                capture_output=True,
                text=True,
                check=False,
            )
            seconds = time.perf_counter() - start
            last = (done.stdout if not done.returncode else done.stderr).strip().splitlines()[-1:] or [""]
            print(f"{name:40} {seconds:6.1f} s  {last[0][:100]}", flush=True)
            if done.returncode:
                return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
