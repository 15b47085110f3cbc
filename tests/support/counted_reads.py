"""Counting what a process reads of some files: every call that takes bytes from one."""

import io
from collections import Counter
from pathlib import Path
from typing import Any


class CountedFile(io.FileIO):
    """A file that adds what is read to a counter, under its path."""

    def __init__(self, path: Path, counts: Counter[str]) -> None:
        super().__init__(path, "rb")
        self.counts, self.path = counts, str(path)

    def count(self, content: Any) -> Any:
        self.counts[self.path] += content if isinstance(content, int) else len(content or b"")
        return content

    def read(self, size: int | None = -1, /) -> Any:
        return self.count(super().read(-1 if size is None else size))

    def readall(self) -> Any:
        return self.count(super().readall())

    def readinto(self, buffer: Any, /) -> Any:
        return self.count(super().readinto(buffer))


def count_reads(monkeypatch, folder: Path) -> Counter[str]:
    """Bytes read, by path, of the files in ``folder`` that are opened for reading as bytes from now on."""
    counts: Counter[str] = Counter()
    real = Path.open

    def opened(path: Path, mode: str = "r", buffering: int = -1, **others: Any) -> Any:
        if mode != "rb" or path.parent != folder:
            return real(path, mode, buffering, **others)
        raw = CountedFile(path, counts)
        return raw if buffering == 0 else io.BufferedReader(raw)

    monkeypatch.setattr(Path, "open", opened)
    return counts
