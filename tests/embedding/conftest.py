"""The two embedders that these tests ask for: a tiny random one, and the real MiniLM."""

from pathlib import Path

import pytest

import minibert
from minibert import Embedder

FOLDER = Path(minibert.__file__).parent / "goldens" / "random-bert"


@pytest.fixture(scope="module")
def tiny() -> Embedder:
    return Embedder.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def minilm_embedder(minilm) -> Embedder:
    return Embedder.from_pretrained(minilm)
