"""What the tokenizer's tests share: the real vocabularies where they are present, and the fuzzer as a module."""

from pathlib import Path
from types import ModuleType

import pytest

from minibert.tokenizer import BertTokenizer
from tests.support.fuzzer import load_fuzzer

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
    return load_fuzzer()
