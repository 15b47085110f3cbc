"""The engine with any model, in the browser of the other tests of the page; and the strings for its tokenizer."""

from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from minibert.pretrained import BertPreTrainedModel
from tests.support.engine import Engine
from tests.support.fuzzer import load_fuzzer


@pytest.fixture
def open_engine(browser, tmp_path) -> Iterator[Callable[..., Engine]]:
    """``open_engine(model, dtype, simd)``: the model is rounded, in place, to what the page holds in this dtype."""

    def opened(model: BertPreTrainedModel, dtype: str = "float32", simd: bool = True) -> Engine:
        return Engine(browser, model, tmp_path / "engine.html", dtype, simd)

    browser.driver.set_script_timeout(120)  # MiniLM and all its points, where other processes have the cores
    yield opened
    browser.driver.set_script_timeout(20)


@pytest.fixture(scope="session")
def fuzzer() -> ModuleType:
    """scripts/tools/fuzz_tokenizer.py, for its adversarial strings."""
    return load_fuzzer()
