"""The programs of docs/export.md, "What loads the folder", run on an exported folder: their vectors are ours to 1e-5.

scripts/studies/export_loaders.py does the same with the real checkpoints, and says how each loader is installed, in
which folder.  Nothing is fetched here: a loader that is not there is skipped.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from minibert import Embedder
from minibert.export import export_model
from tests.support.sentence_folders import FOLDER

SCRIPTS = Path(__file__).parents[2] / "scripts" / "studies"
sys.path.insert(0, str(SCRIPTS))
try:
    import export_loaders
finally:
    sys.path.remove(str(SCRIPTS))

pytestmark = pytest.mark.peers
pytest.importorskip("onnx", reason="onnx is not installed (make test does)")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (make test does)")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (make test does)")
pytest.importorskip("tokenizers", reason="tokenizers is not installed (make test does)")


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Callable[[str], Path]:
    """The folder of a format, written when it is first asked for."""
    place = tmp_path_factory.mktemp("loaders")

    def folder_of(format: str) -> Path:
        if not (place / format).exists():
            export_model(FOLDER, place / format, format=format)
        return place / format

    return folder_of


@pytest.mark.parametrize("loader", export_loaders.LOADERS, ids=lambda loader: loader.name)
def test_vectors_are_ours(loader, exported) -> None:
    """Of texts in many scripts in one padded batch, and of texts that are cut."""
    loaders = export_loaders.find_loaders()
    if loader.interpreter(loaders) is None:
        pytest.skip(f"{loader.name} is not in {loaders.name} (or $MINIBERT_LOADERS): {loader.needs}")
    embedder = Embedder.from_pretrained(FOLDER)
    for texts in (export_loaders.TEXTS, export_loaders.LONG):
        _, vectors = export_loaders.run(loader, exported(loader.format), texts, loaders)
        expected = embedder.encode(texts, normalize=True)
        assert tuple(expected.shape) == (len(vectors), len(vectors[0]))
        assert export_loaders.largest_difference(vectors, expected.tolist()) < export_loaders.BOUND


def test_a_wrong_vector_is_seen() -> None:
    vectors = F.normalize(torch.randn(3, 8), dim=-1)
    wrong = vectors.clone()
    wrong[1, 2] += 2e-5
    assert export_loaders.largest_difference(vectors.tolist(), vectors.tolist()) == 0
    assert export_loaders.largest_difference(wrong.tolist(), vectors.tolist()) > export_loaders.BOUND
    assert export_loaders.largest_difference(vectors[:2].tolist(), vectors.tolist()) == float("inf")
    assert export_loaders.largest_difference(vectors[:, :7].tolist(), vectors.tolist()) == float("inf")
