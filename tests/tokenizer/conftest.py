"""What the tokenizer's tests share: the real vocabularies where they are present, and the fuzzer as a module."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from minibert.tokenizer import BertTokenizer

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"

# Google's toy vocabulary from tokenization_test.py, with [PAD] and [MASK] added so that batches can be padded.
TOY = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "want", "##want", "##ed", "wa", "un", "runn", "##ing", ","]
TOY += ["low", "lowest", "hello", "world", ".", *"abcdefg"]


@pytest.fixture(scope="session")
def vocabularies() -> Path:
    """The folder of real vocabularies, one folder a checkpoint."""
    folder = SHARED / "vocab"
    if not folder.is_dir():
        pytest.skip("the real vocabularies (../shared/vocab) are not here")
    return folder


@pytest.fixture(scope="session")
def uncased(vocabularies: Path) -> BertTokenizer:
    return BertTokenizer.from_pretrained(vocabularies / "bert-base-uncased")


@pytest.fixture
def toy() -> BertTokenizer:
    return BertTokenizer({token: i for i, token in enumerate(TOY)})


@pytest.fixture(scope="session")
def fuzzer() -> ModuleType:
    """scripts/tools/fuzz_tokenizer.py, whose strings and comparison the tests run in small."""
    pytest.importorskip("tokenizers", reason="the oracle is the tokenizers package")
    path = ROOT / "scripts" / "tools" / "fuzz_tokenizer.py"
    spec = importlib.util.spec_from_file_location("fuzz_tokenizer", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_tokenizer"] = module
    spec.loader.exec_module(module)
    return module
