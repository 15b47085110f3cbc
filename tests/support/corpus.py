"""Texts for corpora, the small model that embeds them, and the bytes of a folder."""

import random
from pathlib import Path

import minibert

FOLDER = Path(minibert.__file__).parent / "goldens" / "random-bert"
WORDS = ["she", "sat", "by", "the", "bank", "of", "river", "was", "closed", "배를", "타고", "hello", "!"]


def make_texts(count: int, longest: int = 20, seed: int = 1) -> list[str]:
    """Texts of 0 to ``longest`` words."""
    generator = random.Random(seed)
    return [" ".join(generator.choices(WORDS, k=generator.randint(0, longest))) for _ in range(count)]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too, by its path in the folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
