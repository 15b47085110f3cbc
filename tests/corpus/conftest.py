"""The embedder that the tests of corpora share."""

import pytest

from minibert import Embedder
from tests.support.corpus import FOLDER


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    return Embedder.from_pretrained(FOLDER)
