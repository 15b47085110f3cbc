"""What the tests of corpora share: a small model, texts, and the bytes of a folder."""

import random
from pathlib import Path

import pytest

import minibert
from minibert import Embedder

FOLDER = Path(minibert.__file__).parent / "goldens" / "random-bert"
WORDS = ["she", "sat", "by", "the", "bank", "of", "river", "was", "closed", "배를", "타고", "hello", "!"]


def make_texts(count: int, longest: int = 20, seed: int = 1) -> list[str]:
    """Texts of 0 to ``longest`` words."""
    generator = random.Random(seed)
    return [" ".join(generator.choices(WORDS, k=generator.randint(0, longest))) for _ in range(count)]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    return Embedder.from_pretrained(FOLDER)
