"""Texts for corpora, the small model that embeds them, and the bytes of a folder."""

import json
import random
from pathlib import Path

import minibert
from minibert.checksum import file_digest, read_sealed, write_sealed

FOLDER = Path(minibert.__file__).parent / "goldens" / "random-bert"
WORDS = ["she", "sat", "by", "the", "bank", "of", "river", "was", "closed", "배를", "타고", "hello", "!"]


def make_texts(count: int, longest: int = 20, seed: int = 1) -> list[str]:
    """Texts of 0 to ``longest`` words."""
    generator = random.Random(seed)
    return [" ".join(generator.choices(WORDS, k=generator.randint(0, longest))) for _ in range(count)]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too, by its path in the folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def put_piece(folder: Path, content: bytes, name: str = "records-00000.jsonl") -> None:
    """Write a piece of the list of records, or of the plan, with its checksum in the manifest."""
    (folder / name).write_bytes(content)
    manifest, _ = read_sealed(folder / "manifest.json")
    for piece in [*manifest["plan"], *manifest["records"]]:
        if piece["name"] == name:
            piece["sha256"] = file_digest(folder / name)
    write_sealed(folder / "manifest.json", manifest)


def put_digest(folder: Path, name: str) -> None:
    """Make the corpus' checksum of a shard's file that of its content, so that the content itself is looked at."""
    records = [json.loads(line) for line in (folder / "records-00000.jsonl").read_bytes().splitlines()]
    for record in records:
        if name in record["files"]:
            record["files"][name]["sha256"] = file_digest(folder / name)
    put_piece(folder, "".join(json.dumps(record) + "\n" for record in records).encode())
