"""The nearest texts of a corpus: equal to brute force, and a sentence for every folder that cannot answer."""

import copy
import json
import math
import random
import shutil
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from minibert import CheckpointError, Embedder, InputError, embed_corpus, nearest
from minibert.checksum import file_digest, write_sealed
from minibert.corpus import checked, opened
from minibert.corpus.shards import FORMATS
from tests.support.corpus import FOLDER, make_texts, put_digest, put_piece
from tests.support.sentence_folders import with_dense, write

TEXTS = make_texts(500)
QUERY = "the bank of the river"


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("input") / "texts.txt"
    lines = [text.encode() for text in TEXTS]
    lines[100:100] = [b"\xff"]  # row 101; what follows has its row one later
    path.write_bytes(b"\n".join(lines))
    return path


@pytest.fixture(scope="module")
def corpora(source, embedder, tmp_path_factory) -> Callable[[str], Path]:
    """The same vectors in each format, made when first asked for."""

    @cache
    def make(file_format: str) -> Path:
        if file_format == "parquet":
            pytest.importorskip("pyarrow")
        folder = tmp_path_factory.mktemp(file_format)
        embed_corpus(embedder, source, folder, format=file_format, shard_rows=64, skip_bad=True, pooling="max")
        return folder

    return make


@pytest.mark.parametrize("count", [1, 20, 1000])
@pytest.mark.parametrize("file_format", ["safetensors", "npy", "parquet"])
def test_equals_brute_force(corpora, embedder, count: int, file_format: str, monkeypatch) -> None:
    monkeypatch.setattr("minibert.corpus.shards.ROWS_PER_BLOCK", 7)
    vector = embedder.encode(QUERY, "max")
    cosines = torch.cosine_similarity(embedder.encode(TEXTS, "max").double(), vector[None].double()).tolist()
    places = {number + 1 + (number >= 100): number for number in range(len(TEXTS))}  # of each row
    for query, model in ((QUERY, embedder), (QUERY, None), (QUERY, str(FOLDER)), (vector, None)):
        found = nearest(corpora(file_format), query, count, model)
        assert len(found) == len({hit.row for hit in found}) == min(count, len(TEXTS))
        assert [(-hit.score, hit.row) for hit in found] == sorted((-hit.score, hit.row) for hit in found)
        for hit in found:
            assert hit.score == pytest.approx(cosines[places[hit.row]], abs=1e-6)
            assert (hit.id, hit.text) == (hit.row, TEXTS[places[hit.row]])
        left = [cosines[place] for row, place in places.items() if row not in {hit.row for hit in found}]
        assert max(left, default=-1) <= found[-1].score + 1e-6


def test_equal_scores_come_in_input_order(embedder, tmp_path) -> None:
    (tmp_path / "same.txt").write_text("the river\n" * 30 + "she sat\n" * 10)
    embed_corpus(embedder, tmp_path / "same.txt", tmp_path / "out", shard_rows=10, keep_text=False)
    found = nearest(tmp_path / "out", "the river", 12, embedder)
    assert [hit.row for hit in found] == list(range(1, 13))
    assert [hit.text for hit in found] == [None] * 12
    assert found[0].score == pytest.approx(1.0, abs=1e-6)


def test_vectors_of_zero_are_near_nothing(embedder, tmp_path) -> None:
    (tmp_path / "x.txt").write_text("\nthe river\n")
    embed_corpus(embedder, tmp_path / "x.txt", tmp_path / "out", include_special_tokens=False)
    assert [hit.score for hit in nearest(tmp_path / "out", "the river", 5)] == [pytest.approx(1.0, abs=1e-6), 0.0]
    (tmp_path / "x.txt").write_text("")
    embed_corpus(embedder, tmp_path / "x.txt", tmp_path / "none")
    assert nearest(tmp_path / "none", "the river", 5) == []


def test_the_query_is_read_as_the_corpus_was(tmp_path) -> None:
    short = Embedder.from_pretrained(FOLDER, max_length=6, dtype="bfloat16")
    (tmp_path / "x.txt").write_text("the river by the bank of the river\nshe sat\n")
    embed_corpus(short, tmp_path / "x.txt", tmp_path / "out", normalize=True)
    (hit, _) = nearest(tmp_path / "out", "the river by the bank of the river", 2)
    assert hit.score == pytest.approx(1.0, abs=1e-6)  # cut at the same place
    with pytest.raises(InputError, match="made by another model .*: .*, dtype bfloat16 there, float32 here"):
        nearest(tmp_path / "out", "x", 2, Embedder.from_pretrained(FOLDER, max_length=6))


def test_another_model_is_refused(corpora, embedder, minilm) -> None:
    with pytest.raises(InputError, match=r"was made by another model \(.*random-bert\): sha256 \w+ there, \w+ here"):
        nearest(corpora("npy"), QUERY, 3, str(minilm))
    with pytest.raises(InputError, match=r"The query has the shape \(384,\), expected \(16,\)"):
        nearest(corpora("npy"), torch.zeros(384), 3)
    with pytest.raises(InputError, match=r"count is 0 \(int\); expected a whole number of at least 1"):
        nearest(corpora("npy"), QUERY, 0)


def test_a_model_that_is_gone(embedder, source, tmp_path) -> None:
    shutil.copytree(FOLDER, tmp_path / "model")
    embed_corpus(Embedder.from_pretrained(tmp_path / "model"), source, tmp_path / "out", skip_bad=True)
    assert nearest(tmp_path / "out", QUERY, 1)[0].score > 0.5
    (tmp_path / "model").rename(tmp_path / "elsewhere")
    with pytest.raises(
        CheckpointError, match=r"manifest\.json names it; if it lies elsewhere now, give it \(--model\)"
    ):
        nearest(tmp_path / "out", QUERY, 1)
    assert nearest(tmp_path / "out", QUERY, 1, tmp_path / "elsewhere")[0].score > 0.5
    memory = Embedder(embedder.model.__class__(embedder.model.config), embedder.tokenizer)
    embed_corpus(memory, source, tmp_path / "memory", skip_bad=True)
    with pytest.raises(InputError, match="names no model: it was only in memory"):
        nearest(tmp_path / "memory", QUERY, 1)
    assert nearest(tmp_path / "memory", QUERY, 1, memory)[0].score > 0.5


def damage(folder: Path, name: str, change) -> None:
    path = folder / name
    content = change(path.read_bytes())
    path.unlink() if content is None else path.write_bytes(content)
    with suppress(ValueError, TypeError):  # no JSON any more, no file, no object
        if path.suffix == ".json":
            write_sealed(path, {**json.loads(content)})  # what is wrong in it was written so


def without(key: str):
    def change(content: bytes) -> bytes:
        manifest = json.loads(content)
        del manifest[key]
        return json.dumps(manifest).encode()

    return change


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("manifest.json", lambda content: None, "holds no manifest.json. Make it: minibert embed"),
        ("manifest.json", lambda content: content[:-9], "manifest.json is damaged: its content"),
        ("manifest.json", lambda content: b"[]", "manifest.json holds a JSON list"),
        ("manifest.json", without("version"), "is not the manifest of a corpus"),
        ("manifest.json", without("encoding"), "is damaged: parts of it are missing"),
        ("manifest.json", without("records"), r"manifest\.json is damaged \(KeyError\('records'\)\)"),
        ("manifest.json", lambda c: c.replace(b'"shards": 8', b'"shards": 110', 1), "8 shards, expected 110"),
        ("records-00000.jsonl", lambda c: c.replace(b'"vectors": 64', b'"vectors": "x"'), "manifest.json is damaged"),
        ("records-00000.jsonl", lambda c: c.replace(b'"vectors": 64', b'"vectors": 65'), "is missing or damaged"),
        ("records-00000.jsonl", lambda c: c[: c.rindex(b"{", 0, -300)], "is missing or damaged"),
        ("shard-00003.safetensors", lambda content: None, "shard-00003.safetensors is missing or damaged"),
        ("shard-00003.safetensors", lambda content: content[:-4], "shard-00003.safetensors is missing or"),
        ("shard-00003.safetensors", lambda c: c.replace(b"[64,16]", b"[16,64]"), "holds torch.float32"),
        ("shard-00003.safetensors", lambda c: c.replace(b"vectors", b"Vectors"), "expected 'vectors'"),
        ("shard-00003.npy", lambda content: None, "shard-00003.npy is missing or damaged"),
        ("shard-00003.npy", lambda content: b"", "shard-00003.npy is missing or damaged"),
        ("shard-00003.npy", lambda c: c.replace(b"(64, 16)", b"(16, 64)"), "does not hold 64 rows of 16 float32"),
        ("shard-00003.parquet", lambda content: None, "shard-00003.parquet is missing or damaged"),
        ("shard-00003.parquet", lambda content: content[:-4], "shard-00003.parquet is missing or damaged"),
        ("shard-00000.jsonl", lambda content: None, "shard-00000.jsonl is missing or damaged"),
        ("shard-00000.jsonl", lambda content: b"[]\n" * 64, "shard-00000.jsonl is missing or damaged"),
        ("shard-00000.jsonl", lambda content: content[:20], "it says nothing of vector"),
    ],
)  # fmt: skip
def test_damaged_folders(corpora, embedder, tmp_path, name: str, change, sentence: str) -> None:
    ending = Path(name).suffix[1:]
    folder = Path(shutil.copytree(corpora(ending if ending in FORMATS else "npy"), tmp_path / "corpus"))
    damage(folder, name, change)
    if name.startswith("shard") and (folder / name).exists():
        with pytest.raises(CheckpointError, match=rf"{name} is missing or damaged \(its SHA-256 is not the one in"):
            nearest(folder, QUERY, 500, embedder)
        put_digest(folder, name)
    elif name.startswith("records"):
        with pytest.raises(CheckpointError, match=rf"{name} is missing or damaged: its SHA-256 is not the one in"):
            nearest(folder, QUERY, 500, embedder)
        put_piece(folder, (folder / name).read_bytes())
    with pytest.raises(CheckpointError, match=sentence):
        nearest(folder, QUERY, 500, embedder)


def test_a_folder_that_is_not_complete(embedder, source, tmp_path) -> None:
    embed_corpus(embedder, source, tmp_path / "out", shard_rows=64, skip_bad=True, worker=(0, 2))
    with pytest.raises(InputError, match="out is not complete yet. Run its embed command again"):
        nearest(tmp_path / "out", QUERY, 5, embedder)


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_flipped_bit_never_changes_an_answer_in_silence(corpora, embedder, tmp_path, file_format: str) -> None:
    folder = Path(shutil.copytree(corpora(file_format), tmp_path / "corpus"))
    query = embedder.encode(QUERY, "max")
    expected = nearest(folder, query, 30)
    paths = sorted(path for path in folder.iterdir() if path.name.startswith("shard") and path.suffix != ".json")
    generator, refused = random.Random(1), 0
    for _ in range(100):
        path = generator.choice(paths)
        content = path.read_bytes()
        place, bit = generator.randrange(len(content)), generator.randrange(8)
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
        try:
            assert nearest(folder, query, 30) == expected
        except CheckpointError as error:
            refused += 1
            assert f"{path.name} is missing or damaged" in str(error)
        path.write_bytes(content)
    assert refused >= 50  # the texts of shards without a hit are not read
    assert nearest(folder, query, 30) == expected


def test_exchanged_shards(corpora, embedder, tmp_path) -> None:
    folder = Path(shutil.copytree(corpora("npy"), tmp_path / "corpus"))
    for ending in ("npy", "jsonl"):
        first, second = (folder / f"shard-0000{number}.{ending}" for number in (2, 5))
        first.rename(folder / "between")
        second.rename(first)
        (folder / "between").rename(second)
        with pytest.raises(CheckpointError, match=r"shard-0000[25]\.\w+ is missing or damaged \(its SHA-256 is not"):
            nearest(folder, QUERY, 500, embedder)


def test_a_shard_is_hashed_once(corpora, embedder, tmp_path, monkeypatch) -> None:
    hashed: list[str] = []
    checked.remembered.cache_clear()
    monkeypatch.setenv("MINIBERT_CACHE", str(tmp_path))
    monkeypatch.setattr(checked, "file_digest", lambda path: hashed.append(path.name) or file_digest(path))
    for _ in range(3):
        nearest(corpora("npy"), embedder.encode(QUERY, "max"), 500)
    assert sorted(name for name in hashed if name.startswith("shard")) == sorted(
        f"shard-0000{number}.{ending}" for number in range(8) for ending in ("npy", "jsonl")
    )


def test_vectors_that_are_not_finite(corpora, embedder, tmp_path) -> None:
    folder = Path(shutil.copytree(corpora("npy"), tmp_path / "corpus"))
    path = folder / "shard-00003.npy"
    for value in (math.nan, math.inf):
        path.write_bytes(path.read_bytes()[:-4] + struct.pack("<f", value))
        put_digest(folder, path.name)
        with pytest.raises(CheckpointError, match="shard-00003.npy .*holds NaN or infinity, which no vector has"):
            nearest(folder, QUERY, 3, embedder)
    with pytest.raises(InputError, match="The query's vector holds NaN or infinity"):
        nearest(corpora("npy"), torch.full((16,), math.nan), 3)
    sick = copy.deepcopy(embedder)
    with torch.no_grad():
        sick.model.embeddings.word_embeddings.weight[sick.tokenizer.convert_tokens_to_ids("river")] = math.nan
    (tmp_path / "x.txt").write_text("she sat\nthe river\n")
    (failed,) = embed_corpus(sick, tmp_path / "x.txt", tmp_path / "out").failed
    assert failed.why.startswith("The vector of text 2 of 2 holds NaN or infinity")
    assert not list((tmp_path / "out").glob("shard*"))


def test_a_query_has_the_query_prompt(tmp_path) -> None:
    prompts = {"query": "the bank: ", "document": "she sat ", "x": "home, "}
    settings = {"prompts": prompts, "default_prompt_name": "x"}
    dense = with_dense() | {"config_sentence_transformers.json": settings | {"truncate_dim": 9}}
    folder = write(tmp_path / "model", dense)
    embedder = Embedder.from_pretrained(folder)
    (tmp_path / "x.txt").write_text("\n".join(TEXTS[:50]))
    embed_corpus(embedder, tmp_path / "x.txt", tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["encoding"]["prompt"] == "she sat "
    assert (manifest["encoding"]["truncate_dim"], manifest["output"]["width"]) == (9, 9)
    assert manifest["model"]["query_prompt"] == "the bank: "
    documents = embedder.encode_document(TEXTS[:50])
    for given, query in (
        ({}, embedder.encode_query(QUERY)),
        ({"prompt": ""}, embedder.encode(QUERY, prompt="")),
        ({"prompt_name": "x"}, embedder.encode(QUERY)),
    ):
        for hit in nearest(tmp_path / "out", QUERY, 50, **given):
            cosine = torch.cosine_similarity(documents[hit.row - 1].double(), query.double(), dim=0).item()
            assert hit.score == pytest.approx(cosine, abs=1e-6)
    embed_corpus(embedder, tmp_path / "x.txt", tmp_path / "other", prompt_name="x", truncate_dim=4)
    first = load_file(tmp_path / "other" / "shard-00000.safetensors")["vectors"]
    assert torch.allclose(first, embedder.encode(TEXTS[:50], truncate_dim=4), atol=1e-6)
    with pytest.raises(InputError, match="made by another model .*: steps_sha256 .* there, None here"):
        nearest(tmp_path / "out", QUERY, 3, Embedder.from_pretrained(folder, steps=()))
    with pytest.raises(InputError, match=r"begun with something else: encoding.prompt was 'she sat ' and is now ''"):
        embed_corpus(embedder, tmp_path / "x.txt", tmp_path / "out", prompt="")


@pytest.mark.parametrize("file_format", FORMATS)
def test_several_queries_in_one_pass(corpora, embedder, file_format: str) -> None:
    folder = corpora(file_format)
    texts = [QUERY, "she sat", "배를 타고", QUERY]
    each = [nearest(folder, text, 7, embedder) for text in texts]
    assert nearest(folder, texts, 7, embedder) == nearest(folder, tuple(texts), 7, embedder) == each
    vectors = embedder.encode(texts, "max")
    assert nearest(folder, vectors, 7) == [nearest(folder, vector, 7) for vector in vectors]
    assert nearest(folder, [], 7, embedder) == nearest(folder, vectors[:0], 7) == []
    assert nearest(folder, vectors[:1], 7) == [nearest(folder, vectors[0], 7)]
    with pytest.warns(DeprecationWarning, match="query of nearest.* is now queries"):
        assert nearest(folder, query=QUERY, count=7) == each[0]
    for wrong in (7, [7], torch.zeros(2, 2, 16), [embedder.encode("x")]):
        with pytest.raises(InputError, match="The query "):
            nearest(folder, wrong, 7)


def test_an_opened_corpus_is_read_again_when_it_changes(corpora, embedder, tmp_path, monkeypatch) -> None:
    """Shards stay mapped, and the manifest parsed, until a file changes."""
    monkeypatch.setattr(opened, "COARSE_TICK", 0)  # else young files are not kept
    folder = Path(shutil.copytree(corpora("npy"), tmp_path / "corpus"))
    expected = nearest(folder, QUERY, 30, embedder)
    corpus = opened.open_corpus(folder)
    assert opened.open_corpus(folder) is corpus and sorted(corpus.mapped) == list(range(8))
    assert nearest(folder, QUERY, 30, embedder) == expected
    path = folder / "shard-00002.npy"
    content = path.read_bytes()
    (folder / "other").write_bytes(content[:-1] + b"\x01")
    (folder / "other").rename(path)
    with pytest.raises(CheckpointError, match="shard-00002.npy is missing or damaged"):
        nearest(folder, QUERY, 30, embedder)
    path.write_bytes(content)
    assert nearest(folder, QUERY, 30, embedder) == expected
    monkeypatch.setattr(opened, "KEPT", 3)
    fresh = opened.OpenCorpus(folder, corpus.manifest)
    assert len(list(fresh.blocks())) == 8 and sorted(fresh.mapped) == [5, 6, 7]
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(CheckpointError, match="is not the manifest of a corpus"):
        nearest(folder, QUERY, 30, embedder)
