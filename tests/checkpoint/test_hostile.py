"""Every broken or hostile checkpoint gives one sentence: nothing executed, read elsewhere, or held in memory."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

import minibert
from minibert import BertModel, CheckpointError, ConfigError, MinibertError
from minibert.cli import main
from tests.checkpoint import (  # noqa: F401 – they enter their cases
    hostile_onnx,
    hostile_pickles,
    hostile_settings,
    hostile_tensors,
)
from tests.checkpoint.hostile import CASES, FORMATS, Case, make_good, take_apart

SECONDS = 60.0  # for one case, so that one that never ends does; most take a hundredth of a second

# An audit hook cannot be taken out again, so there is one for all tests, which notes only what a test asks for.
NOTED: list[str] | None = None
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect")


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if NOTED is None:
        return
    if event == "open" and isinstance(arguments[0], str | bytes):
        NOTED.append(os.path.realpath(os.fsdecode(arguments[0])))
    elif event in FORBIDDEN:
        NOTED.append(event)


sys.addaudithook(_note)


@contextmanager
def nothing_but(folder: Path) -> Iterator[None]:
    """Fail when a file outside ``folder`` (and Python's own) is opened, a program started, or time runs out."""
    global NOTED  # noqa: PLW0603 – see above

    def too_long(*_: object) -> None:
        raise TimeoutError(f"still running after {SECONDS} seconds")

    own = [
        os.path.realpath(place) for place in (folder, sys.prefix, sys.base_prefix, Path(minibert.__file__).parents[1])
    ]
    signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    NOTED = noted = []
    try:
        yield
    finally:
        NOTED = None
        signal.setitimer(signal.ITIMER_REAL, 0)
    foreign = [place for place in noted if not any(place.startswith(f"{root}/") for root in own)]
    assert foreign == []


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One good checkpoint a format, each of which loads."""
    root = tmp_path_factory.mktemp("good")
    folders = {form: root / form for form in FORMATS}
    for form, folder in folders.items():
        make_good(folder, form)
        assert BertModel.from_pretrained(folder).load_report is not None
    return folders


def test_there_are_enough() -> None:
    assert len(CASES) >= 500


def test_the_guard_itself_notices(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to("../outside")
    with pytest.raises(AssertionError, match="outside"), nothing_but(tmp_path / "folder"):
        (tmp_path / "folder" / "link").read_text()
    with pytest.raises(AssertionError, match=r"os\.system"), nothing_but(tmp_path):
        os.system("true")


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch about the odd tensors that some cases save
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_sentence_and_nothing_else(
    case: Case, good: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / case.name
    shutil.copytree(good[case.format], folder)
    case.spoil(folder)
    before = sorted(path.name for path in tmp_path.iterdir())
    with nothing_but(folder), pytest.raises(MinibertError) as caught:
        BertModel.from_pretrained(folder)
    assert isinstance(caught.value, CheckpointError | ConfigError)
    sentence = str(caught.value)
    assert case.file in sentence, sentence
    for words in case.words:
        assert any(word in sentence for word in words.split("|")), sentence
    assert sentence.isprintable()
    assert len(sentence) < 2500

    capsys.readouterr()
    with nothing_but(folder):
        assert main(["inspect", str(folder)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("minibert: ")
    assert printed.err[:-1].isprintable()
    assert printed.err.endswith("\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == before  # no marker, nothing unpacked


def test_a_bit_flipped_in_the_listing_of_an_archive(good: dict[str, Path], tmp_path: Path) -> None:
    """Much there means nothing (dates, rights): the same tensors, or a sentence."""
    content = (good["bin"] / "pytorch_model.bin").read_bytes()
    start = content.index(b"PK\x01\x02")
    expected = BertModel.from_pretrained(good["bin"]).state_dict()
    shutil.copytree(good["bin"], tmp_path / "flipped")
    refused = 0
    for position in range(start, len(content), 29):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        (tmp_path / "flipped" / "pytorch_model.bin").write_bytes(changed)
        try:
            found = BertModel.from_pretrained(tmp_path / "flipped").state_dict()
        except CheckpointError:
            refused += 1
        else:
            assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert refused > 20


def test_names_that_would_take_over_the_terminal(
    good: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(good["safetensors"], tmp_path / "x")
    path = tmp_path / "x" / "model.safetensors"
    header, data = take_apart(path)
    name = "\x1b[2J\x1b]0;owned\x07\x9b\u202e"
    header[name] = {"dtype": "F32", "shape": [0], "data_offsets": [len(data), len(data)]}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    assert main(["inspect", str(tmp_path / "x")]) == 0
    printed = capsys.readouterr().out
    assert all(line.isprintable() for line in printed.splitlines())
    assert "\\x1b[2J" in printed


def test_files_that_may_not_be_read(good: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated, since root reads everything."""
    import io

    real = io.open
    for form, file in (
        ("safetensors", "config.json"), ("safetensors", "model.safetensors"), ("bin", "pytorch_model.bin"),
        ("legacy", "pytorch_model.bin"), ("shards", "model.safetensors.index.json"), ("google", ".index"),
    ):  # fmt: skip

        def refuse(path: object, *more: object, file: str = file, **how: object) -> object:
            if str(path).endswith(file):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *more, **how)

        with monkeypatch.context() as patch:
            patch.setattr(io, "open", refuse)
            with pytest.raises(CheckpointError, match="Permission denied") as caught:
                BertModel.from_pretrained(good[form])
        assert file in str(caught.value)


@pytest.mark.parametrize(
    "source", ["x" * 5000, "a\0b", "~nobody-here/x", "/nowhere/at/all", "\udcff", "../", "a/b/c", "\x1b[2J"]
)
def test_sources_that_are_none(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", source]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("minibert: ")
    assert printed.err[:-1].isprintable()


WORST = (
    "config-a-billion-layers", "config-a-billion-labels", "config-file-100k-brackets", "config-file-200-MB",
    "config-file-3-MB-of-brackets", "other-vocab_size-268435455", "other-depth-268435455", "safetensors-header-1-GB",
    "safetensors-30k-tensors", "safetensors-a-long-name", "safetensors-tensor-shape-huge", "safetensors-header-2e63",
    "safetensors-15k-thin-layers", "safetensors-layer-billion", "shards-map-100k", "bin_shards-map-20k-shards",
    "shards-shard-linked-to-zero", "google-index-1-GB", "bin-zeros-1-GB", "bin-pickle-1-GB",
    "program-bytearray-of-a-terabyte", "program-tensor-of-a-terabyte", "program-key-bomb", "program-call-bomb",
    "program-list-bomb", "program-value-bomb", "program-deep-tuple", "program-3-MB", "program-endless-text",
    "program-shared-a-thousand-times", "saved-zip-expanded-a-million-times", "tensor-storage-larger-than-said",
    "archive-compressed-1-GB", "archive-overlapping", "archive-listing-of-100-MB", "archive-size-lies",
    "onnx-a-million-fields", "onnx-30k-nodes", "onnx-30k-tensors", "onnx-1-GB", "onnx-tensor-a-terabyte-in-no-bytes",
    "onnx-tensor-a-terabyte-of-varints", "onnx-doubling-constants", "onnx-a-long-chain",
    "legacy-storage-of-a-terabyte", "legacy-storage-count-2e64", "legacy-keys-a-tuple-bomb",
)  # fmt: skip
LOADER = """
import json, resource, sys
from minibert import BertModel, MinibertError
BertModel.from_pretrained(sys.argv[1])  # whatever is imported late is imported now
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), used + (1 << 30)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = {}
for folder in sys.argv[2:]:
    try:
        BertModel.from_pretrained(folder)
        found[folder] = "loaded"
    except MinibertError as error:
        found[folder] = str(error)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps({"found": found, "grown": grown}))
"""


def test_the_worst_of_them_in_little_memory(good: dict[str, Path], tmp_path: Path) -> None:
    """In a process that may take a gigabyte more than it has, and takes less than 200 MB."""
    folders = [tmp_path / name for name in WORST]
    for folder in folders:
        shutil.copytree(good[CASES[folder.name].format], folder)
        CASES[folder.name].spoil(folder)
    command = [sys.executable, "-c", LOADER, str(good["safetensors"]), *map(str, folders)]
    root = str(Path(minibert.__file__).parents[1])
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": root}, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    for folder in folders:
        case, sentence = CASES[folder.name], result["found"][str(folder)]
        assert case.file in sentence
        assert all(any(word in sentence for word in words.split("|")) for words in case.words), sentence
    assert result["grown"] < 200 << 10  # Linux counts in units of 1024 bytes
