"""What planning a corpus takes: rows per second and the highest use of memory, at 1, 10 and 100 million rows.

The rows are not on a disk: a file-like object generates the lines while they are read, so only planning is measured.
``python scripts/studies/plan_size.py --rows 1000000 10000000`` prints a line for each, each measured in a process of
its own.
"""

import argparse
import io
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from minibert.corpus.inputs import CorpusInput
from minibert.corpus.planning import divide

ROWS_PER_BLOCK = 4096
# As a manifest says it, so that nothing looks at the empty file.
DESCRIBED = {"format": ".txt", "lines": True, "head": {}, "column": "text", "id_column": None, "files": [{"row": 1}]}


class Lines(io.RawIOBase):
    """``Row 17 of a corpus that nobody wrote down.`` and so on, made when they are read."""

    def __init__(self, rows: int) -> None:
        self.rows, self.next, self.ready = rows, 1, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        if not self.ready and self.next <= self.rows:
            numbers = range(self.next, min(self.next + ROWS_PER_BLOCK, self.rows + 1))
            self.ready = memoryview("".join(f"Row {n} of a corpus that nobody wrote down.\n" for n in numbers).encode())
            self.next = numbers.stop
        count = min(len(buffer), len(self.ready))
        buffer[:count] = self.ready[:count]
        self.ready = self.ready[count:]
        return count


class Synthetic(type(Path())):
    """A path whose content is generated; the file itself is empty."""

    rows = 0

    def open(self, *_: object, **__: object):
        return io.BufferedReader(Lines(self.rows), 1 << 20)


def measure(rows: int) -> None:
    """Divide so many rows into shards, and print what it took."""
    with tempfile.TemporaryDirectory() as folder:
        path = Synthetic(folder) / "rows.txt"
        path.touch()
        Synthetic.rows = rows
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began, busy = time.perf_counter(), time.process_time()
        found = divide(CorpusInput.of(DESCRIBED, [path]))
        seconds, busy = time.perf_counter() - began, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert found.rows == rows
    print(
        f"{rows:>13,} rows, {found.shards:>7,} shards: {seconds:8.1f} s, of the processor {busy:8.1f} s, "
        f"{rows / busy:>9,.0f} rows per second of it; at most {peak / 1024:,.0f} MiB of memory "
        f"({before / 1024:,.0f} before); the plan has {sum(map(len, found.pieces)):,} bytes",
        flush=True,
    )


def main() -> None:
    """Measure each number of rows in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    rows = parser.parse_args().rows
    if len(rows) == 1:
        measure(rows[0])
    for count in rows if len(rows) > 1 else ():
        subprocess.run([sys.executable, __file__, "--rows", str(count)], check=True)


if __name__ == "__main__":
    main()
