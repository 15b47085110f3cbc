"""The documents: every command in them runs or parses, every link leads somewhere, every advice works.

Commands stand behind ``$ `` in blocks marked ``console``, or alone in the last cell of a table's row.  A document is
run from top to bottom in one folder, where ``path/to/…`` are small checkpoints and files have a few rows.  What cannot
be run here has its options parsed.
"""

import argparse
import io
import json
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from torch.distributed.run import get_args_parser as torchrun_parser

from minibert._version import __version__
from minibert.cli import build_parser, main
from minibert.errors import MissingExtraError
from tests.support.library_tokenizers import write_checkpoint

ROOT = Path(__file__).parents[1]
TEXT_FILES = {".py", ".md", ".toml", ".txt", ".yml", ".yaml", ".cff", ".js", ".html", ".json", ""}
DOCS = sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
GUIDES = sorted(f"docs/guides/{path.name}" for path in (ROOT / "docs" / "guides").glob("*.md"))
BENCHMARKS = "scripts/bench/README.md"
RUN = ["README.md", "CONTRIBUTING.md", *DOCS, *GUIDES, BENCHMARKS]
DOCUMENTS = [*RUN, "README.ko.md", "README.zh.md", "CHANGELOG.md"]
# What is added to a command, so that it takes a moment.
TINY = "--heldout books/0.txt --config bert-tiny --vocab-size 300 --max-length 32 --steps 2"
SMALLER = {
    "pretrain": TINY.split(),
    "finetune": ["--max-length", "16", "--steps", "2"],
    "explore": ["--samples", "0"],
}
DIFFERS = (  # exit code 1
    "minibert learn check gelu",
    "minibert learn check layer_norm",
    "minibert learn check layer_norm --hint",
    "minibert verify-tokenizer minibert-demo --against my_tokenizer.py:tokenize",
    'minibert verify-training my_training.py:build my_training.py:smaller_eps --text "The pear tree is in bloom."',
)
LONG = ("pretrain", "finetune", "evaluate", "predict")  # run on a few rows here: what they print is of the real data

# A tokenizer with two mistakes, for docs/verify.md.
MY_TOKENIZER = """
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from minibert import BertTokenizer

ours = BertTokenizer.from_pretrained("minibert-demo")
mine = Tokenizer(WordPiece(ours.get_vocab(), unk_token="[UNK]", max_input_chars_per_word=50))
mine.normalizer = BertNormalizer(lowercase=False, strip_accents=False, handle_chinese_chars=False)
mine.pre_tokenizer = BertPreTokenizer()
mine.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])


def tokenize(text):
    return mine.encode(text).tokens
"""


# What docs/commands.md trains.
MY_TRAINING = """
import torch
from minibert import BertConfig, BertForMaskedLM


def build(config):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertForMaskedLM(BertConfig(vocab_size=config.vocab_size, **sizes))
    return model, torch.optim.AdamW(model.parameters())
"""


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


def blocks(name: str) -> Iterator[tuple[str, str]]:
    """The fenced blocks of a document, in order: what they are marked as, and their text."""
    text = (ROOT / name).read_text(encoding="utf-8")
    yield from re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def calls(name: str) -> Iterator[tuple[str, str]]:
    """The commands and Python blocks of a document, in order, each with what the document says it prints."""
    text = (ROOT / name).read_text(encoding="utf-8")
    pattern = r"^```(?P<kind>\w*)\n(?P<content>(?s:.*?))^```$|^\|.*\| `(?P<cell>minibert [^`]+)` \|$"
    for found in re.finditer(pattern, text, re.MULTILINE):
        if found["cell"]:
            yield found["cell"], ""
        elif found["kind"] in ("python", "diff"):
            yield found["content"], ""
        elif found["kind"] == "console":
            for part in re.split(r"^\$ ", found["content"].replace("\\\n", " "), flags=re.MULTILINE)[1:]:
                command, _, printed = part.partition("\n")
                yield command, printed


@pytest.fixture
def place(tmp_path, monkeypatch, minilm) -> Path:
    """A folder in which the documents' commands find what they name."""
    reviews = [("A film to see twice.", 1), ("시간이 아깝다", 0), ("배우들 연기가 정말 좋았다", 1), ("Dull.", 0)]
    rows = [f"{number}\t{text}\t{label}" for number, (text, label) in enumerate(reviews * 3)]
    table = "id\ttext\tlabel\n" + "\n".join(rows) + "\n"
    (tmp_path / "reviews.tsv").write_text(table, encoding="utf-8")
    (tmp_path / "reviews.csv").write_text(table.replace("\t", ","), encoding="utf-8")
    for name in ("more.tsv", "test.tsv"):
        (tmp_path / name).write_text("text\tlabel\nIt was long.\t0\nI saw it twice.\t1\n", encoding="utf-8")
    pairs = [f"{first}\t{second}\t{abs(a - b)}.0" for first, a in reviews for second, b in reviews]
    for name in ("pairs.tsv", "more-pairs.tsv"):
        (tmp_path / name).write_text(
            "\n".join(["sentence1\tsentence2\tscore", *pairs[name == "pairs.tsv" :]]), encoding="utf-8"
        )
    choices = {"question": "She", "choices": ["sings.", "looks."]}
    questions = [{"context": f"There are {n} cats.", **choices, "label": n % 2} for n in range(12)]
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, questions)), encoding="utf-8")
    (tmp_path / "texts.json").write_text(json.dumps([text for text, _ in reviews]), encoding="utf-8")
    (tmp_path / "my_tokenizer.py").write_text(MY_TOKENIZER, encoding="utf-8")
    (tmp_path / "my_training.py").write_text(MY_TRAINING, encoding="utf-8")
    (tmp_path / "books").mkdir()
    for book in range(8):
        sentences = [f"The {word} cat {book} sat on the mat. " for word in ("red", "green", "old", "new", "big")]
        (tmp_path / "books" / f"{book}.txt").write_text("".join(sentences * 2), encoding="utf-8")
    (tmp_path / "path").mkdir()
    stand_ins = {
        "all-MiniLM-L6-v2": minilm,
        "another": minilm,
        "bert-base-multilingual-uncased": ROOT / "minibert" / "demo",
        "uncased_L-12_H-768_A-12": ROOT / "tests" / "checkpoint" / "google",
    }
    (tmp_path / "path" / "to").mkdir()
    write_checkpoint(tmp_path / "path" / "to" / "multilingual-e5-small")
    for name, folder in stand_ins.items():
        (tmp_path / "path" / "to" / name).symlink_to(folder)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    if "datasets" in sys.modules:
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("sys.stdin", io.StringIO("continue\n"))
    return tmp_path


class Parsed(Exception):
    """Raised in place of what a script does after its options."""


def parse_script(path: Path, arguments: list[str], monkeypatch) -> None:
    """Run a script up to the point where its options are parsed."""
    parse = argparse.ArgumentParser.parse_args

    def only_parse(*given, **named) -> None:
        parse(*given, **named)
        raise Parsed

    with monkeypatch.context() as patched:
        patched.syspath_prepend(str(path.parent))
        patched.setattr(argparse.ArgumentParser, "parse_args", only_parse)
        patched.setattr(sys, "argv", [str(path), *arguments])
        with pytest.raises(Parsed):
            runpy.run_path(str(path), run_name="__main__")


def like(printed: str) -> list[str]:
    """The lines of an output, with every number and every bar alike: other machines round otherwise."""
    numbers = re.compile(r"[\d.,]*\d(e-\d+)?|[█▉▊▋▌▍▎▏]+")
    lines = [numbers.sub("#", re.sub("[─ ]+", " ", line)).strip() for line in printed.splitlines()]
    return [line for line in lines if line]


def check_printed(expected: str, printed: str) -> None:
    """What a document shows is printed in that order; … stands for whatever else there is."""
    rest = iter(like(printed))
    for line in like(expected):
        assert line == "…" or line in rest, f"{line!r} is not printed, or not in that place:\n{printed}"


def do(call: str, expected: str, monkeypatch) -> bool:
    """Run a command or a block of Python, or parse its options; whether it was run as it stands."""
    words = shlex.split(call, comments=True)
    if words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert set(words[1:]) <= set(targets)
        return False
    if words[0] == "python":
        parse_script(ROOT / words[1], words[2:], monkeypatch)
        return False
    if words[0] == "torchrun":
        at = words.index("-m")
        torchrun_parser().parse_args(words[1 : at + 2])
        assert words[at + 1] == "minibert"
        build_parser().parse_args(words[at + 2 :])
        return False
    if words[0] == "cat":
        assert (words[2], words[-2]) == ("|", ">")
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(Path(words[1]).read_bytes())))
        words = words[3:-2]
    assert words[0] == "minibert", f"{call}: the test does not know how to run this"
    if "--serve" in words or words[-1].endswith(".onnx"):
        build_parser().parse_args(words[1:])
        return False
    smaller = SMALLER.get(words[1], [])
    if "--epochs" in words:  # of two ways to say how long, a command may have one
        words = words[: words.index("--epochs")]
    if expected.startswith("minibert: "):  # a refusal
        try:
            status: object = main(words[1:])
        except SystemExit as error:
            status = error.code
        assert status == 2
        return True
    differs = call in DIFFERS or re.search(r"^\d+ findings?:", expected, re.MULTILINE) is not None
    assert main([*words[1:], *smaller]) == differs
    return words[1] not in LONG and "--in" not in words and "my-bert" not in words


@pytest.mark.parametrize("name", RUN)
def test_every_command_runs(name: str, place, monkeypatch, capsys) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("tokenizers")
    namespace: dict[str, object] = {}
    for module in [module for module in sys.modules if module.startswith("my_")]:
        monkeypatch.delitem(sys.modules, module)  # the reader's file of another document
    for call, expected in calls(name):
        capsys.readouterr()
        if call.startswith("# my_"):  # a file of the reader's
            Path(call.split()[1]).write_text(call, encoding="utf-8")
        elif call.startswith("-"):  # and how it is mended
            before, after = (line[1:] for line in call.splitlines())
            path = next(path for path in place.glob("my_*.py") if before in path.read_text(encoding="utf-8"))
            path.write_text(path.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
        elif "\n" in call:
            quick = call.replace(".optimize()", ".optimize(compile=False)")  # else the C++ compiler runs for a minute
            exec(compile(quick, name, "exec"), namespace)
            printed = capsys.readouterr().out
            for comment in re.findall(r"^print\(.*\)  # ([\w.]+)$", call, re.MULTILINE):
                assert comment in printed
        elif do(call, expected, monkeypatch):
            printed = capsys.readouterr()
            check_printed(expected, printed.err if expected.startswith("minibert: ") else printed.out)


def test_enough_is_found() -> None:
    """The pattern finds commands everywhere, every verb among them."""
    found = [call for name in RUN for call, _ in calls(name) if "\n" not in call]
    verbs = {call.split()[1] for call in found if call.startswith("minibert ")}
    subparsers = next(action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    assert verbs == set(subparsers.choices)
    assert len(verbs) == 23
    assert "twenty-three verbs" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(found) > 60
    with pytest.raises(AssertionError, match="is not printed"):
        check_printed("a 1\n…\nb 2", "a 3\nc 4\n")
    check_printed("a 1\n…\nb 2", "a 3\nc 4\nb 9.5\n")


def test_the_demo_prints_what_the_readme_shows(monkeypatch, capsys) -> None:
    (expected,) = [content for kind, content in blocks("README.md") if not kind]
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "tools"))
    monkeypatch.setattr(sys, "argv", ["demo.py"])
    with suppress(SystemExit):
        runpy.run_path(str(ROOT / "scripts" / "tools" / "demo.py"), run_name="__main__")
    check_printed(expected, capsys.readouterr().out)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_and_paths_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    folder = (ROOT / name).parent
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert not target.startswith("http"), f"{target}: a test cannot know whether it exists"
        assert (folder / target).exists(), target
    for path, _, test in re.findall(r"`((?:tests|scripts|minibert|docs)/[\w./*-]+)(::(\w+))?`", text):
        assert list(ROOT.glob(path)), path
        assert not test or f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), test


def test_readme_fits_and_its_reading_order_has_the_lines_it_says() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("\n") <= 150
    rows = re.findall(r"^\| \[`[\w./]+`\]\(([\w./]+)\) \| (\d+) \|", text, re.MULTILINE)
    assert len(rows) == 10
    total = 0
    for path, said in rows:
        lines = (ROOT / path).read_text(encoding="utf-8").count("\n")
        total += lines
        assert abs(lines - int(said)) <= max(10, 0.1 * lines), f"{path} has {lines} lines, README says {said}"
    (said,) = re.findall(r"^About ([\d,]+) lines, in this order", text, re.MULTILINE)
    assert abs(total - int(said.replace(",", ""))) <= 0.05 * total, f"the reading order has {total} lines"


def test_the_benchmarks_are_those_of_the_makefile() -> None:
    """``make bench`` and the document run the same scripts with the same options; the scripts that it names exist."""
    makefile = re.findall(r"\$\(BIN\)/python (scripts/bench/.*)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    document = [call.removeprefix("python ") for call, _ in calls(BENCHMARKS)]
    assert document[: len(makefile)] == makefile
    for name in re.findall(r"`(\w+\.py)`", (ROOT / BENCHMARKS).read_text(encoding="utf-8")):
        assert (ROOT / BENCHMARKS).with_name(name).is_file(), name


def test_files_that_other_programs_read_agree_with_the_project() -> None:
    """CITATION.cff, the hooks and the workflow: they parse, call make alone, and name what pyproject.toml names."""
    yaml = pytest.importorskip("yaml")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["license"]) == (__version__, project["license"])
    assert citation["authors"] == project["authors"] == [{"name": "the minibert authors"}]
    assert "url" not in citation
    assert "urls" not in project
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [(room["repo"], hook["entry"]) for room in hooks["repos"] for hook in room["hooks"]] == [
        ("local", "make lint")
    ]
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == ["make lint", "make test"]
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13", "3.14"]
