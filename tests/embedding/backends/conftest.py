"""One cache for these tests, so that the graphs of the small model are built once, and both backends on it."""

from pathlib import Path

import pytest

import minibert
from minibert import Embedder

FOLDER = Path(minibert.__file__).parent / "goldens" / "random-bert"


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    """A cache folder in which the small model's graphs are."""
    return tmp_path_factory.mktemp("backends")


@pytest.fixture(autouse=True)
def cache(built, monkeypatch) -> Path:
    """The cache that ``MINIBERT_CACHE`` names."""
    monkeypatch.setenv("MINIBERT_CACHE", str(built))
    return built


@pytest.fixture(params=["onnxruntime", "openvino"])
def name(request) -> str:
    """Each backend, where it is installed."""
    pytest.importorskip(request.param, reason=f"{request.param} is not installed (make test does)")
    return str(request.param)


@pytest.fixture
def embedder(name) -> Embedder:
    """The small model with that backend."""
    return Embedder.from_pretrained(FOLDER, backend=name)
