"""Folders of vectors with flipped bits, cut and exchanged files: made again to the same bytes, or a sentence."""

import logging
import random
import shutil
from pathlib import Path

import pytest

from minibert import embed_corpus
from minibert.checksum import write_sealed
from minibert.corpus.folder import open_folder
from minibert.corpus.manifest import plan_digest, read_manifest
from minibert.corpus.pieces import read_piece
from minibert.corpus.shards import read_record
from minibert.errors import CheckpointError, MinibertError
from tests.support.corpus import contents, make_texts
from tests.support.damage import damaged

DAMAGES = 500  # of single files, looked at by the functions that read them
RUNS = 40  # that go on in a damaged folder


def embed(embedder, source: Path, folder: Path, **settings):
    return embed_corpus(embedder, source, folder, shard_rows=6, skip_bad=True, **settings)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("input") / "texts.txt"
    path.write_bytes(b"\n".join([b"caf\xe9", *(text.encode() for text in make_texts(16, 5))]))
    return path


@pytest.fixture(scope="module")
def whole(embedder, source, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "out"
    embed(embedder, source, folder)
    return folder


@pytest.fixture(scope="module")
def interrupted(embedder, source, tmp_path_factory) -> Path:
    """Two of three shards, and a plan."""
    folder = tmp_path_factory.mktemp("interrupted") / "out"
    embed(embedder, source, folder, worker=(0, 2))
    return folder


@pytest.fixture(scope="module")
def other(embedder, source, tmp_path_factory) -> Path:
    """What another run made of the same texts."""
    folder = tmp_path_factory.mktemp("other") / "out"
    embed(embedder, source, folder, normalize=False, layers=1)
    return folder


def test_readers_notice_every_damage(whole, tmp_path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "out"))
    plan = read_manifest(folder)
    names = sorted(path.name for path in folder.iterdir() if path.name != "skipped.jsonl")  # which nothing reads
    draw = random.Random(0)
    for number in range(DAMAGES):
        path = folder / names[number % len(names)]
        good = path.read_bytes()
        path.write_bytes(damaged(good, draw))
        if path.name == "manifest.json":
            with pytest.raises(CheckpointError):
                read_manifest(folder)
        elif path.name.startswith(("plan", "records")):
            (piece,) = plan[path.name.split("-")[0]]
            with pytest.raises(CheckpointError, match="is missing or damaged"):
                list(read_piece(open_folder(folder), piece))
        else:
            shard, place = int(path.stem.split("-")[1]), open_folder(folder)
            assert read_record(place, shard, "safetensors", plan_digest(plan), checksums=True) is None, path
        path.write_bytes(good)


def test_runs_that_go_on_make_again_what_is_damaged(embedder, source, whole, interrupted, tmp_path, caplog) -> None:
    draw, expected = random.Random(1), contents(whole)
    for number in range(RUNS):
        folder = Path(shutil.copytree((whole, interrupted)[number % 2], tmp_path / str(number)))
        path = draw.choice(sorted(path for path in folder.iterdir() if path.name != "skipped.jsonl"))
        path.write_bytes(damaged(path.read_bytes(), draw))
        caplog.clear()
        with caplog.at_level(logging.WARNING, "minibert"):
            embed(embedder, source, folder)
        assert contents(folder) == expected, path
        assert "damaged" in caplog.text


def test_exchanged_files(embedder, source, whole, other, tmp_path) -> None:
    expected, names = contents(whole), sorted(contents(whole))
    pairs = [(names[n], names[m]) for n in range(len(names)) for m in range(n) if names[n][-5:] == names[m][-5:]]
    for one, two in pairs:
        folder = Path(shutil.copytree(whole, tmp_path / f"{one}-{two}"))
        (folder / one).write_bytes(expected[two])
        (folder / two).write_bytes(expected[one])
        try:
            embed(embedder, source, folder)
        except MinibertError as error:
            assert "manifest.json" in str(error)  # a shard's record was put in its place
        else:
            assert contents(folder) == expected
    for name in names:
        folder = Path(shutil.copytree(whole, tmp_path / f"other-{name}"))
        shutil.copy(other / name, folder / name)
        if name == "manifest.json":
            with pytest.raises(MinibertError, match=r"was begun with something else: encoding.layers was 1 and is now"):
                embed(embedder, source, folder)
        else:
            embed(embedder, source, folder)
            assert contents(folder) == expected, name


def test_all_files_of_a_shard_of_another_run_are_no_shard(embedder, source, whole, other, tmp_path, caplog) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "out"))
    for path in other.glob("shard-00001.*"):
        shutil.copy(path, folder)
    embed(embedder, source, folder)
    assert contents(folder) == contents(whole)
    assert "shard-00001.json or a file that it lists is damaged, or of another corpus" in caplog.text


def test_a_damaged_manifest_is_not_written_over_another_plan(embedder, source, whole, tmp_path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "out"))
    manifest = folder / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"truncate", b"truncatf"))
    before = contents(folder)
    with pytest.raises(CheckpointError, match=r"manifest.json is damaged: .* Put back a copy of it, or give another"):
        embed(embedder, source, folder, layers=1)
    assert contents(folder) == before
    embed(embedder, source, folder)
    assert contents(folder) == contents(whole)


def test_a_sealed_file_covers_every_bit(tmp_path) -> None:
    from minibert.checksum import is_sealed, read_sealed

    path = tmp_path / "x.json"
    write_sealed(path, {"word": "배", "number": 1})
    assert read_sealed(path) == ({"word": "배", "number": 1}, True)
    good = path.read_bytes()
    for bit in range(8 * len(good)):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(CheckpointError, match="x.json is damaged"):
            is_sealed(path)
