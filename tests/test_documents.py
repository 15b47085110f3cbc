"""The documents: every command in them runs or parses, every link leads somewhere, every advice works."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from minibert.errors import MissingExtraError

ROOT = Path(__file__).parents[1]
TEXT_FILES = {".py", ".md", ".toml", ".txt", ".yml", ".yaml", ".cff", ".js", ".html", ".json", ""}


def tracked_files() -> list[Path]:
    """Every text file of the project that git knows, or would know."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = (ROOT / name for name in listed.stdout.decode().split("\0") if name)
    return [path for path in paths if path.is_file() and path.suffix in TEXT_FILES]


def test_nothing_advises_to_install_another_projects_package() -> None:
    """On the public index, ``minibert`` is not ours: neither ``pip install minibert`` nor ``minibert[extra]``."""
    old_advice = re.compile(r"""pip install [^\n]*?(?<![\w./-])minibert(?![\w/.-])|(?<![\w.])minibert\\?\[[a-z]""")
    for advice in ("pip install minibert", "pip install -U 'minibert[plot]'", "the extra minibert[plot]"):
        assert old_advice.search(advice)
    for path in tracked_files():
        if path != Path(__file__):
            found = old_advice.search(path.read_text(encoding="utf-8", errors="replace"))
            assert not found, f"{path.relative_to(ROOT)}: {found[0] if found else ''}"


def test_the_advice_names_an_extra_that_there_is() -> None:
    """``pip install '.[EXTRA]'``, in messages and documents: pyproject.toml has each of the extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project["optional-dependencies"])
    assert str(MissingExtraError.of("It is not installed", "plot")) == (
        "It is not installed: in a checkout of minibert, pip install '.[plot]'."
    )
    named = set()
    for path in tracked_files():
        text = path.read_text(encoding="utf-8", errors="replace")
        for names in re.findall(r"pip install '\.\[([a-z,]+)\]'", text):
            named |= set(names.split(","))
        if path.suffix == ".py" and path.is_relative_to(ROOT / "minibert"):
            named |= set(re.findall(r"""MissingExtraError\.of\([^()]*?"(\w+)"[,)]""", text))
    assert {"parquet", "serve", "plot", "train", "tensorboard", "test", "bench"} <= named <= extras
