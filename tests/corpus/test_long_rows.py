"""Rows of which only the beginning is held: the vector of the whole text, or a bad row with its number."""

import json
from pathlib import Path

import pytest
import torch

from minibert import Embedder, InputError, embed_corpus
from minibert.checkpoint.weights import SafetensorsWeights
from minibert.corpus import Plan, embed_shards, finish, inputs, plan_corpus
from minibert.data.parquet import need_pyarrow
from tests.corpus.test_crashes import crash
from tests.support.corpus import make_texts

HELD = 3000  # bytes of a row, instead of 10 MB
LONG = "she sat by the bank of the river "
TEXTS = [
    "hello",
    LONG * 200,
    "배를 타고 " * 400,
    "z" * 5000,  # one word, which may go on
    LONG + " " * 5000 + LONG * 200,  # eight tokens, then nothing
    *make_texts(5),
    "closed !" * 1000,
]
BAD = [4, 5]


@pytest.fixture(autouse=True)
def _small(monkeypatch) -> None:
    monkeypatch.setattr(inputs, "LONGEST", HELD)


def written(folder: Path, ending: str, texts: list[str]) -> Path:
    path = folder / f"texts{ending}"
    if ending == ".parquet":
        need_pyarrow().parquet.write_table(need_pyarrow().table({"n": range(len(texts)), "text": texts}), path)
    else:
        rows = {
            ".txt": lambda n, text: text,
            ".jsonl": lambda n, text: json.dumps({"n": n, "text": text}),
            ".csv": lambda n, text: f'{n},"{text}"',
            ".tsv": lambda n, text: f"{n}\t{text}",
        }[ending]
        names = {".csv": ["n,text"], ".tsv": ["n\ttext"]}.get(ending, [])
        lines = [*names, *(rows(n, text) for n, text in enumerate(texts))]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def vectors_in(folder: Path) -> torch.Tensor:
    return torch.cat([SafetensorsWeights(path).tensor("vectors") for path in sorted(folder.glob("*.safetensors"))])


@pytest.mark.parametrize("ending", [".txt", ".jsonl", ".csv", ".tsv", ".parquet"])
def test_the_vectors_are_those_of_the_whole_texts(embedder: Embedder, tmp_path, ending: str) -> None:
    source = written(tmp_path, ending, TEXTS)
    plan = plan_corpus(embedder, source, tmp_path / "out", skip_bad=True, shard_rows=3)
    assert plan.manifest["input"]["unreadable"] == 2
    embed_shards(Plan.open(tmp_path / "out"), model=embedder)  # as another process, which knows the plan alone
    report = finish(plan)
    assert (report.rows, report.vectors, report.skipped, report.truncated) == (11, 9, 2, 3)
    skipped = [json.loads(line) for line in (tmp_path / "out" / "skipped.jsonl").read_text().splitlines()]
    assert [row["row"] for row in skipped] == BAD
    longest = embedder.max_length
    assert {row["why"] for row in skipped} == {
        f"has more than 3,000 bytes, and too few tokens at its beginning to be sure of the first {longest}"
    }
    expected = []
    for start in range(0, len(TEXTS), 3):  # the shards
        texts = [text for n, text in enumerate(TEXTS[start : start + 3], start + 1) if n not in BAD]
        expected.append(embedder.encode(texts))
    assert torch.equal(vectors_in(tmp_path / "out"), torch.cat(expected))
    rows = [json.loads(line) for path in sorted((tmp_path / "out").glob("shard-*.jsonl")) for line in path.open()]
    kept = {row["row"]: row["text"] for row in rows}
    assert all(TEXTS[number - 1].startswith(text) for number, text in kept.items())
    if ending in (".txt", ".parquet"):
        assert len(kept[2]) == HELD  # beside its vector


def test_rows_that_are_not_enough_are_refused_before_the_work(embedder: Embedder, tmp_path) -> None:
    source = written(tmp_path, ".txt", TEXTS)
    with pytest.raises(InputError, match=r"row 4 has more than 3,000 bytes, and too few .* in all, 2 of 11 rows"):
        plan_corpus(embedder, source, tmp_path / "out")
    with pytest.raises(InputError, match=r"row 2 has more than 3,000 bytes, and long='windows' reads all of a text"):
        embed_corpus(embedder, source, tmp_path / "out", long="windows")
    report = embed_corpus(embedder, source, tmp_path / "out", long="windows", skip_bad=True)
    assert report.skipped == 5


def test_a_prompt_and_the_side_that_is_truncated_count(embedder: Embedder, tmp_path) -> None:
    words = "she " * (embedder.max_length - 3)  # with [CLS] and [SEP] one token fewer than a row has
    source = written(tmp_path, ".txt", [words + " " * 5000])
    with pytest.raises(InputError, match="row 1 has more than"):
        embed_corpus(embedder, source, tmp_path / "out")
    source = written(tmp_path, ".txt", [LONG * 300])
    tokenizer = type(embedder.tokenizer).from_pretrained(embedder.tokenizer.name_or_path)
    tokenizer.truncation_side = "left"
    with pytest.raises(InputError, match=r"row 1 has more than 3,000 bytes, and the tokenizer, with truncation_side="):
        embed_corpus(Embedder(embedder.model, tokenizer), source, tmp_path / "left")
    report = embed_corpus(embedder, source, tmp_path / "prompt", prompt="bank ")
    assert (report.vectors, report.truncated) == (1, 1)
    assert torch.equal(vectors_in(tmp_path / "prompt"), embedder.encode([LONG * 300], prompt="bank "))


def test_rows_in_memory_are_whole(embedder: Embedder, tmp_path) -> None:
    report = embed_corpus(embedder, TEXTS, tmp_path / "out")
    assert (report.vectors, report.skipped) == (11, 0)


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the highest use of memory anew"
)
@pytest.mark.parametrize("ending", [".txt", ".jsonl", ".csv", ".tsv"])
def test_memory_is_flat_for_a_row_of_50_mb(tmp_path, ending: str) -> None:
    """Of 11 MB and of 50 MB, one after the other in a process of its own, with the limit as it is."""
    short = written(tmp_path, ending, ["hello", LONG * (11_000_000 // len(LONG)), "bank"])
    shorter = short.rename(short.with_name(f"shorter{ending}"))
    longer = written(tmp_path, ending, ["hello", LONG * (50_000_000 // len(LONG)), "bank"])
    found = crash("memory", shorter, tmp_path / "out", longer=str(longer))
    print(found)
    assert found["growth"] < 24 << 20  # of 39 MB; 8 to 18 MB are what a process keeps from its first corpus
    record = json.loads((tmp_path / "out" / "1" / "shard-00000.json").read_bytes())
    assert (record["vectors"], record["truncated"]) == (2, 1)
