"""scripts/tools/fuzz_tokenizer.py, whose strings the tests draw from, as a module."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load_fuzzer() -> ModuleType:
    """The module; the test skips where the ``tokenizers`` package is absent."""
    pytest.importorskip("tokenizers", reason="the oracle is the tokenizers package")
    path = ROOT / "scripts" / "tools" / "fuzz_tokenizer.py"
    spec = importlib.util.spec_from_file_location("fuzz_tokenizer", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_tokenizer"] = module
    spec.loader.exec_module(module)
    return module
