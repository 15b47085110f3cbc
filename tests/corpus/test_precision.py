"""Corpora in fewer bytes: what the files hold, the sample and its loss, search, and plans that other runs share."""

import json
import math
import shutil
import struct
from functools import cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from minibert import CheckpointError, Embedder, InputError, dequantize_embeddings, embed_corpus, nearest
from minibert.checksum import read_sealed, write_sealed
from minibert.corpus import sample as sampling
from minibert.corpus.sample import CANDIDATES_PER_HIT, WIDENING, Sample
from minibert.corpus.shards import FORMATS
from minibert.data.columns import TextRow
from minibert.embedding.precision import BUCKETED, PACKED, PRECISIONS, bytes_per_vector, quantize_embeddings
from tests.support.corpus import contents, make_texts

SMALLER = [name for name in PRECISIONS if name != "float32"]
TEXTS = make_texts(300)
QUERY = "the bank of the river"


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("input") / "texts.txt"
    lines = [text.encode() for text in TEXTS]
    lines[100:100] = [b"\xff"]
    path.write_bytes(b"\n".join(lines))
    return path


def embed(embedder, source: Path, folder: Path, precision: str, **settings):
    return embed_corpus(
        embedder, source, folder, precision=precision, **{"shard_rows": 64, "skip_bad": True, **settings}
    )


@pytest.fixture(scope="module")
def corpora(source, embedder, tmp_path_factory):
    """The folder and the report of a precision and a format, made when first asked for."""

    @cache
    def make(precision: str, file_format: str = "safetensors"):
        if file_format == "parquet":
            pytest.importorskip("pyarrow")
        folder = tmp_path_factory.mktemp("corpus")
        return folder, embed(embedder, source, folder, precision, format=file_format)

    return make


def manifest_of(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def ranges_in(folder: Path) -> torch.Tensor | None:
    ranges = manifest_of(folder)["quantization"].get("ranges")
    return None if ranges is None else torch.tensor(ranges)


def stored_in(folder: Path, file_format: str) -> torch.Tensor:
    """All rows of a folder, read with the ecosystem's readers."""
    paths = sorted(folder.glob(f"shard-*.{file_format}"))
    if file_format == "safetensors":
        return torch.cat([load_file(path)["vectors"] for path in paths])
    numpy = pytest.importorskip("numpy")
    if file_format == "npy":
        return torch.from_numpy(numpy.concatenate([numpy.load(path) for path in paths]))
    table = pytest.importorskip("pyarrow.parquet").read_table(paths)
    return torch.from_numpy(numpy.stack(table["vector"].combine_chunks().to_numpy(zero_copy_only=False)))


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("precision", SMALLER)
def test_the_files(corpora, embedder, precision: str, file_format: str) -> None:
    folder, report = corpora(precision, file_format)
    stored = stored_in(folder, file_format)
    blocks = [TEXTS[:64], TEXTS[64:127], *(TEXTS[start : start + 64] for start in range(127, 300, 64))]  # one bad row
    vectors = torch.cat([embedder.encode(block) for block in blocks])
    assert stored.dtype == PRECISIONS[precision]
    assert torch.equal(stored, quantize_embeddings(vectors, precision, ranges_in(folder)))
    output = manifest_of(folder)["output"]
    assert (output["precision"], output["width"]) == (precision, 16)
    assert output["dtype"] == str(PRECISIONS[precision]).removeprefix("torch.")
    assert (report.precision, report.bytes_per_vector) == (precision, bytes_per_vector(precision, 16))
    assert stored[0].nbytes == report.bytes_per_vector
    assert (report.vectors, report.skipped, report.clipped, report.sample) == (300, 1, 0, 300)
    if precision in BUCKETED:  # the sample is the whole corpus
        alone = torch.cat([embedder.encode(TEXTS).amin(0)[None], embedder.encode(TEXTS).amax(0)[None]])
        assert torch.allclose(ranges_in(folder), alone, atol=1e-6)


def test_float32_is_as_it_was(corpora, tmp_path) -> None:
    """A plan of float32 has no keys of precision."""
    folder, report = corpora("float32")
    manifest = manifest_of(folder)
    assert "quantization" not in manifest
    assert list(manifest["output"]) == ["format", "dtype", "width", "shard_rows", "shard_bytes", "text", "ids"]
    assert list(manifest["counts"]) == ["vectors", "skipped", "truncated", "tokens"]
    assert (report.loss, report.sample, report.bytes_per_vector) == (None, 0, 64)
    assert str(report).count("\n") == 0


@pytest.mark.parametrize("precision", SMALLER)
def test_the_loss_is_that_of_the_search(corpora, embedder, precision: str) -> None:
    """The sample is the whole corpus here, so nearest() must find the same shares."""
    folder, report = corpora(precision)
    vectors = embedder.encode(TEXTS)
    read_back = dequantize_embeddings(stored_in(folder, "safetensors"), precision, 16, ranges_in(folder))
    cosines = F.cosine_similarity(vectors.double(), read_back)
    loss = manifest_of(folder)["quantization"]["loss"]
    assert loss == report.loss
    expected = [cosines.mean().item(), cosines.quantile(0.01).item(), cosines.min().item()]
    assert [loss[name] for name in ("cosine_mean", "cosine_p1", "cosine_min")] == pytest.approx(expected, abs=1e-5)
    same, kept, exact = 0, 0, F.normalize(vectors.double(), dim=1)
    for number in range(0, 300, 5):
        before = (exact @ exact[number]).float()
        before[number] = -3
        before = before.sort(descending=True, stable=True).indices[:10].tolist()
        rows = [hit.row - 1 - (hit.row > 101) for hit in nearest(folder, vectors[number], 11)]
        after = [row for row in rows if row != number][:10]
        same += before[0] == after[0]
        kept += len(set(before) & set(after))
    assert loss["same_nearest"] == pytest.approx(same / 60, abs=0.12)
    assert loss["same_top10"] == pytest.approx(kept / 600, abs=0.05)
    least = {"float16": 0.999, "int8": 0.99, "uint8": 0.99, "binary": 0.2, "ubinary": 0.2}[precision]
    assert loss["same_top10"] >= least
    lines = str(report).splitlines()
    assert f"300 vectors of 16 numbers ({precision}, {report.bytes_per_vector} bytes each) in 5 shards" in lines[0]
    assert lines[1].startswith(f"{precision} on a sample of 300 rows: cosine with float32 {loss['cosine_mean']:.6f} on")
    assert lines[2].endswith(f"of the 10 nearest rows, {loss['same_top10']:.1%} stay")


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("precision", SMALLER)
def test_nearest_equals_brute_force(corpora, embedder, precision: str, file_format: str, monkeypatch) -> None:
    monkeypatch.setattr("minibert.corpus.shards.ROWS_PER_BLOCK", 7)
    folder, _ = corpora(precision, file_format)
    stored = stored_in(folder, file_format)
    query = embedder.encode(QUERY)
    read_back = dequantize_embeddings(stored, precision, 16, ranges_in(folder))
    cosines = F.cosine_similarity(read_back, query.double()[None]).float()
    for count in (1, 7, 20, 1000):
        allowed = torch.ones(300, dtype=torch.bool)
        if precision in PACKED:
            different = ((read_back > 0) != (query > 0)).sum(dim=1)
            allowed[different.sort(stable=True).indices[CANDIDATES_PER_HIT * count :]] = False
        expected = cosines.where(allowed, -9).sort(descending=True, stable=True)
        hits = nearest(folder, QUERY, count, embedder)
        rows = [place + 1 + (place >= 100) for place in expected.indices[:count].tolist()]
        assert len(hits) == min(count, 300)
        assert [hit.score for hit in hits] == pytest.approx(expected.values[:count].tolist(), abs=1e-6)
        if precision in PACKED:  # few different scores: also the order of equal ones
            assert [hit.row for hit in hits] == rows
        assert all(hit.text == TEXTS[hit.row - 1 - (hit.row > 101)] for hit in hits)


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("precision", PACKED)
def test_bits_that_fill_no_byte(embedder, tmp_path, precision: str, file_format: str) -> None:
    if file_format == "parquet":
        pytest.importorskip("pyarrow")
    settings = {"truncate_dim": 11, "format": file_format, "precision": precision, "shard_rows": 30}
    report = embed_corpus(embedder, TEXTS[:70], tmp_path / "out", **settings)
    assert (report.width, report.bytes_per_vector) == (11, 2)
    stored = stored_in(tmp_path / "out", file_format)
    vectors = torch.cat([embedder.encode(TEXTS[start : start + 30], truncate_dim=11) for start in (0, 30)])
    assert torch.equal(stored[:60], quantize_embeddings(vectors, precision))
    query = embedder.encode(QUERY, truncate_dim=11)
    signs = dequantize_embeddings(stored, precision, 11)
    expected = F.cosine_similarity(signs, query.double()[None]).sort(descending=True).values[:7]
    hits = nearest(tmp_path / "out", QUERY, 7, embedder)  # 70 candidates: all
    assert [hit.score for hit in hits] == pytest.approx(expected.tolist(), abs=1e-6)


def test_rescoring_orders_as_sentence_transformers_does(corpora, embedder) -> None:
    """Its formula, semantic_search_faiss: the query's numbers times bits of 0 and 1."""
    numpy = pytest.importorskip("numpy")
    folder, _ = corpora("ubinary")
    query = embedder.encode(QUERY)
    bits = numpy.unpackbits(stored_in(folder, "safetensors").numpy(), axis=-1)[:, :16].astype(int)
    theirs = torch.from_numpy(numpy.einsum("j,kj->k", query.double().numpy(), bits))
    hits = nearest(folder, query, 30)
    scores = [theirs[hit.row - 1 - (hit.row > 101)].item() for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert scores[:5] == pytest.approx(theirs.sort(descending=True).values[:5].tolist())


def test_the_top_hits_of_a_real_model(minilm, tmp_path) -> None:
    """Recall of the ten nearest, of MiniLM on 200 sentences; measured: int8 and float16 1.0, bits 0.82."""
    embedder = Embedder.from_pretrained(minilm)
    animals, places = ["cat", "dog", "horse", "owl", "boat"], ["river", "bank", "garden", "city"]
    actions, times = ["sleeps", "waits", "is lost", "sings"], ["today", "at night", "in May", "again", "alone"]
    texts = [f"The {a} {b} by the {c} {d}." for a in animals for b in actions for c in places for d in times]
    texts = texts[::2]
    queries = ["A kitten naps near the water.", "music after dark", "spring in the park", "an empty ship", "a lost pet"]
    found = {}
    for precision in PRECISIONS:
        report = embed_corpus(embedder, texts, tmp_path / precision, precision=precision, normalize=True)
        found[precision] = [
            [hit.row for hit in nearest(tmp_path / precision, query, 10, embedder)] for query in queries
        ]
        assert report.bytes_per_vector == bytes_per_vector(precision, 384)

    def recall(precision: str) -> float:
        pairs = zip(found[precision], found["float32"], strict=True)
        return sum(len(set(mine) & set(theirs)) for mine, theirs in pairs) / (10 * len(queries))

    recalls = {precision: recall(precision) for precision in SMALLER}
    print(recalls)
    assert recalls["float16"] == 1
    assert recalls["int8"] == recalls["uint8"] >= 0.96
    assert [rows[0] for rows in found["int8"]] == [rows[0] for rows in found["float32"]]
    assert recalls["binary"] == recalls["ubinary"] >= 0.6


def test_the_sample_is_even_and_the_same_for_everyone() -> None:
    first, second = Sample(), Sample()
    for number in range(1, 20_001):
        row = TextRow(number, number, f"text {number}")
        first.add(row)
        second.add(row)
    assert first.texts() == second.texts()
    numbers = [int(text.split()[1]) for text in first.texts()]
    assert numbers == sorted(numbers) and len(set(numbers)) == 1000
    quarters = [sum(start < number <= start + 5000 for number in numbers) for start in range(0, 20_000, 5000)]
    assert all(200 < quarter < 300 for quarter in quarters)
    assert not first.is_all


@pytest.mark.parametrize("precision", BUCKETED)
def test_rows_outside_the_sample(embedder, source, tmp_path, precision: str, monkeypatch) -> None:
    """The ranges are wider than the sample's; what still lies beyond is clipped and counted."""
    monkeypatch.setattr(sampling, "SAMPLE_ROWS", 20)
    report = embed(embedder, source, tmp_path / "out", precision)
    drawn = Sample()
    for number, text in enumerate(TEXTS, start=1):
        drawn.add(TextRow(number + (number > 100), 0, text))
    vectors = embedder.encode(drawn.texts())
    least, greatest = vectors.amin(0), vectors.amax(0)
    margin = (greatest - least) * WIDENING
    ranges = ranges_in(tmp_path / "out")
    assert torch.allclose(ranges, torch.stack((least - margin, greatest + margin)), atol=1e-6)
    every = embedder.encode(TEXTS)
    beyond = int(((every < ranges[0]) | (every > ranges[1])).sum())
    assert report.clipped == beyond > 0
    assert manifest_of(tmp_path / "out")["counts"]["clipped"] == beyond
    assert str(report).endswith(f"{beyond:,} of 4,800 numbers lie beyond the ranges and were clipped")
    assert report.sample == 20


@pytest.mark.parametrize("precision", SMALLER)
def test_workers_and_resumed_runs_make_the_same_bytes(embedder, source, corpora, tmp_path, precision: str) -> None:
    alone = contents(corpora(precision)[0])
    first = embed(embedder, source, tmp_path / "two", precision, worker=(1, 2))
    assert not first.complete and str(first).endswith("were stopped")
    assert embed(embedder, source, tmp_path / "two", precision, worker=(0, 2)).complete
    assert contents(tmp_path / "two") == alone
    resumed = Path(shutil.copytree(corpora(precision)[0], tmp_path / "resumed"))
    (resumed / "shard-00002.json").unlink()
    (resumed / "shard-00003.safetensors").write_bytes(b"")
    report = embed(embedder, source, resumed, precision)
    assert contents(resumed) == alone
    assert report == embed(embedder, source, resumed, precision)
    (resumed / "manifest.json").write_bytes(alone["manifest.json"][:-9])  # measured again, to the same digits
    embed(embedder, source, resumed, precision)
    assert contents(resumed) == alone


def test_the_first_plan_holds_for_all(embedder, source, tmp_path, monkeypatch) -> None:
    """A worker elsewhere, whose sample has other last bits, takes the ranges that are there; nobody measures twice."""
    embed(embedder, source, tmp_path / "out", "int8", worker=(0, 2))
    calls = []
    monkeypatch.setattr("minibert.corpus.plan.measure_sample", lambda *_: calls.append(1))
    embed(embedder, source, tmp_path / "out", "int8", worker=(1, 2))
    assert not calls

    def slow(*arguments):
        shutil.copytree(tmp_path / "out", tmp_path / "race", dirs_exist_ok=True)  # another worker was faster
        return {"sample": 1, "ranges": [[0.0] * 16, [1.0] * 16], "loss": {}}

    monkeypatch.setattr("minibert.corpus.plan.measure_sample", slow)
    embed(embedder, source, tmp_path / "race", "int8")
    assert contents(tmp_path / "race") == contents(tmp_path / "out")


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ("float32", "output.dtype was 'int8' and is now 'float32'"),
        ("binary", "output.precision was 'int8' and is now 'binary'"),
        ("uint8", "output.dtype was 'int8' and is now 'uint8'; output.precision was 'int8' and is now 'uint8'"),
    ],
)
def test_another_precision_is_refused(corpora, embedder, source, other: str, sentence: str) -> None:
    folder = corpora("int8")[0]
    before = contents(folder)
    with pytest.raises(InputError, match=f"begun with something else: {sentence}"):
        embed(embedder, source, folder, other)
    assert contents(folder) == before
    with pytest.raises(InputError, match="output.precision was None and is now 'int8'"):
        embed(embedder, source, corpora("float32")[0], "int8")
    with pytest.raises(InputError, match=r"precision is 'int4' \(str\); expected one of float32"):
        embed(embedder, source, folder, "int4")


def nan(manifest: dict) -> None:
    manifest["quantization"]["ranges"][1][3] = math.nan


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda m: m.pop("quantization"), "int8 needs ranges, and it has none"),
        (lambda m: m["quantization"].pop("ranges"), "int8 needs ranges, and it has none"),
        (lambda m: m["quantization"].update(ranges=None), "ranges is None"),
        (lambda m: m["quantization"]["ranges"].pop(), r"ranges has the shape \(1, 16\), expected \(2, 16\)"),
        (lambda m: m["quantization"]["ranges"][0].pop(), "ranges is .* expected vectors"),
        (lambda m: m["quantization"]["ranges"].reverse(), r"ranges\[0\]\[0\] is .* the first is the least number"),
        (lambda m: m["quantization"]["ranges"][0].__setitem__(0, "x"), "ranges is .* expected vectors"),
        (nan, "ranges holds NaN"),
        (lambda m: m["output"].update(precision="int4"), "its vectors are 'int4' in 'int8'"),
        (lambda m: m["output"].update(precision="uint8"), "its vectors are 'uint8' in 'int8'"),
        (lambda m: m["output"].update(width="x"), "manifest.json is damaged"),
    ],
)
def test_damaged_ranges(corpora, embedder, source, tmp_path, change, sentence: str) -> None:
    folder = Path(shutil.copytree(corpora("int8")[0], tmp_path / "out"))
    manifest, _ = read_sealed(folder / "manifest.json")
    change(manifest)
    write_sealed(folder / "manifest.json", manifest)
    with pytest.raises(CheckpointError, match=rf"manifest.json is damaged.*{sentence}|{sentence}"):
        nearest(folder, QUERY, 3, embedder)
    with pytest.raises((CheckpointError, InputError), match=rf"{sentence}|begun with something else"):
        embed(embedder, source, folder, "int8")


def test_a_flipped_bit_of_the_ranges(corpora, embedder, tmp_path) -> None:
    folder = Path(shutil.copytree(corpora("int8")[0], tmp_path / "out"))
    path = folder / "manifest.json"
    content = bytearray(path.read_bytes())
    content[content.index(b'"ranges"') + 40] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="manifest.json is damaged: its content does not have the checksum"):
        nearest(folder, QUERY, 3, embedder)


@pytest.mark.parametrize("file_format", FORMATS)
def test_files_of_another_precision(corpora, embedder, tmp_path, file_format: str) -> None:
    """Their checksums are put right, so that the readers themselves look."""
    from tests.support.corpus import put_digest

    folder = Path(shutil.copytree(corpora("int8", file_format)[0], tmp_path / "out"))
    name = f"shard-00001.{file_format}"
    for other in ("uint8", "float16", "binary"):
        shutil.copy(corpora(other, file_format)[0] / name, folder / name)
        put_digest(folder, name)
        with pytest.raises(CheckpointError, match=rf"{name} is missing or damaged \(it"):
            nearest(folder, QUERY, 3, embedder)


def test_numbers_that_are_none(corpora, embedder, tmp_path) -> None:
    from tests.support.corpus import put_digest

    folder = Path(shutil.copytree(corpora("float16", "npy")[0], tmp_path / "out"))
    path = folder / "shard-00003.npy"
    path.write_bytes(path.read_bytes()[:-2] + struct.pack("<e", math.nan))
    put_digest(folder, path.name)
    with pytest.raises(CheckpointError, match="shard-00003.npy .*holds NaN or infinity, which no vector has"):
        nearest(folder, QUERY, 3, embedder)


@pytest.mark.parametrize("precision", SMALLER)
def test_a_vector_that_is_not_finite_is_refused_when_it_is_made(tmp_path, precision: str) -> None:
    from tests.support.corpus import FOLDER

    sick = Embedder.from_pretrained(FOLDER)
    with torch.no_grad():
        sick.model.embeddings.word_embeddings.weight[sick.tokenizer.convert_tokens_to_ids("river")] = math.nan
    with pytest.raises(InputError, match="Of a sample of 2 rows: The vector of text 2 of 2 holds NaN or infinity"):
        embed_corpus(sick, ["she sat", "the river"], tmp_path / "out", precision=precision)
    assert contents(tmp_path / "out") == {}
    with pytest.raises(InputError, match="The vector of text 1 of 1 holds NaN or infinity"):
        sick.encode(["the river"], precision=precision)


@pytest.mark.parametrize("precision", SMALLER)
def test_hardly_any_rows(embedder, tmp_path, precision: str) -> None:
    for number, texts in enumerate(([], ["the river"], ["the river", "she sat"], ["", ""])):
        folder, file = tmp_path / str(number), tmp_path / f"{number}.txt"
        file.write_text("".join(f"{text}\n" for text in texts))
        report = embed_corpus(embedder, file, folder, precision=precision, include_special_tokens=False)
        assert (report.complete, report.vectors, report.sample) == (True, len(texts), len(texts))
        assert (report.loss["cosine_mean"] is None) == (number in (0, 3))  # nothing, and nothing but zeros
        assert (report.loss["same_nearest"] is None) == (len(texts) < 2)
        hits = nearest(folder, "the river", 5, embedder)
        assert len(hits) == len(texts)
        if number in (1, 2):
            assert hits[0].row == 1
        assert embed_corpus(embedder, file, folder, precision=precision, include_special_tokens=False) == report
        str(report)
    (tmp_path / "bad.txt").write_bytes(b"\xff\n\xff")
    report = embed_corpus(embedder, tmp_path / "bad.txt", tmp_path / "bad", precision=precision, skip_bad=True)
    assert (report.vectors, report.sample, report.skipped) == (0, 0, 2)
    assert nearest(tmp_path / "bad", "the river", 5, embedder) == []


def test_what_one_vector_and_none_print(tmp_path, capsys, embedder) -> None:
    one, none = tmp_path / "one", tmp_path / "none"
    report = embed_corpus(embedder, ["the river"], one, precision="binary")
    assert "1 vector of 16 numbers" in str(report) and "a sample of 1 row:" in str(report)
    (tmp_path / "empty.txt").write_text("")
    embed_corpus(embedder, tmp_path / "empty.txt", none)
    assert nearest(none, "the river", 3, embedder) == []
