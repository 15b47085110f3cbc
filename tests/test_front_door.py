"""``import minibert`` gives every public name and costs nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

import minibert


def test_every_public_name_can_be_imported() -> None:
    for name in minibert.__all__:
        assert getattr(minibert, name) is not None
    assert set(dir(minibert)) == set(minibert.__all__)
    with pytest.raises(AttributeError, match="module 'minibert' has no attribute 'Bert'"):
        minibert.Bert  # noqa: B018


def test_no_module_has_a_public_name() -> None:
    """Importing such a module, ``minibert.fill_mask``, would put it in the place of the function."""
    modules = {path.stem for path in Path(minibert.__file__).parent.iterdir()}
    assert not modules & set(minibert.__all__)


def test_auto_classes_are_berts() -> None:
    assert minibert.AutoModel is minibert.BertModel
    assert minibert.AutoTokenizer is minibert.BertTokenizer is minibert.BertTokenizerFast
    assert minibert.AutoConfig.from_pretrained("bert-tiny").hidden_size == 128
    model = minibert.AutoModelForMaskedLM.from_config(minibert.AutoConfig.from_pretrained("bert-tiny"))
    assert isinstance(model, minibert.BertForMaskedLM)


def test_importing_fetches_only_what_is_used() -> None:
    code = (
        "import sys, minibert\n"
        "assert 'torch' not in sys.modules\n"
        "minibert.BertConfig.from_pretrained('bert-tiny')\n"
        "minibert.BertTokenizer(vocab={'[PAD]': 0, '[UNK]': 1, '[CLS]': 2, '[SEP]': 3, '[MASK]': 4, 'a': 5})('a a')\n"
        "assert 'torch' not in sys.modules, 'the tokenizer needs no torch'\n"
        "import gc\n"
        "minibert.BertModel\n"
        "assert gc.isenabled()\n"
        "for name in ('numpy', 'huggingface_hub', 'transformers', 'torch._dynamo', 'minibert.verify'):\n"
        "    assert name not in sys.modules or name == 'numpy', name\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


def test_without_numpy_it_is_silent() -> None:
    code = "import sys; sys.modules['numpy'] = None; import minibert; minibert.BertModel"
    found = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1], capture_output=True, text=True
    )
    assert found.stderr == ""
