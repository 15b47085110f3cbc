"""Other ways to run: transposed for single short texts, compiled or not; other devices and dtypes."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import minibert
from minibert import BertModel, Embedder, InputError
from minibert.embedding.packed import Packed, packed_hidden_states
from minibert.embedding.transposed import MAX_TOKENS, Transposed
from minibert.tokenizer.windows import TokenRow

FOLDER = Path(minibert.__file__).parent / "goldens" / "random-bert"
TEXTS = ["", "the bank", "He sat on the bank of the river.", "나는 배를 타고 여행을 간다.", "word " * 40]
FALLBACK = """
import sys
import torch
from minibert import Embedder
embedder = Embedder.from_pretrained(sys.argv[1])
plain = embedder.encode("the bank of the river", normalize=True)
done = embedder.optimize()
assert not done.compiled, done
print(done)
assert (embedder.encode("the bank of the river", normalize=True) - plain).abs().max() <= 1e-6
"""


@pytest.mark.parametrize("length", [1, 2, 16, 17, MAX_TOKENS])
def test_transposed_hidden_states_equal_the_packed_ones(minilm, length):
    model = BertModel.from_pretrained(minilm)
    ids = torch.randint(1000, 2000, (length,), generator=torch.Generator().manual_seed(length)).tolist()
    packed = Packed.of([TokenRow(ids, length // 2)], torch.device("cpu"))
    wanted = set(range(7))
    with torch.inference_mode():
        expected = packed_hidden_states(model, packed, wanted)
        found = Transposed(model).hidden_states(packed, wanted)
    for number in wanted:
        assert found[number].shape == (length, 384)
        assert (found[number] - expected[number]).abs().max() <= 2e-6 * expected[number].abs().max()


def test_single_texts_run_transposed_and_nothing_else_does(monkeypatch):
    embedder = Embedder.from_pretrained(FOLDER)
    plain = [embedder.encode(text, [0, 1, 2], normalize=True) for text in TEXTS]
    assert not embedder.optimize(compile=False).compiled
    assert embedder.transposed is not None
    lengths: list[int] = []
    run = embedder.transposed.run
    monkeypatch.setattr(embedder.transposed, "run", lambda *rows: lengths.append(len(rows[0])) or run(*rows))
    for text, expected in zip(TEXTS, plain, strict=True):
        assert (embedder.encode(text, [0, 1, 2], normalize=True) - expected).abs().max() <= 1e-6
    assert len(lengths) == len(TEXTS)
    embedder.encode(TEXTS)
    assert len(lengths) == len(TEXTS)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("c++") is None, reason="there is no C++ compiler")
def test_compiled_vectors_agree_for_every_length(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    embedder = Embedder.from_pretrained(FOLDER)
    plain = [embedder.encode(text, normalize=True) for text in TEXTS]
    done = embedder.optimize()
    assert done.compiled, done
    assert str(done).endswith(f"compiled; setting up took {done.seconds:.1f} s.")
    for text, expected in zip(TEXTS, plain, strict=True):
        assert (embedder.encode(text, normalize=True) - expected).abs().max() <= 1e-6


@pytest.mark.slow
def test_without_a_compiler_a_sentence_says_so_and_the_rest_is_kept(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", FALLBACK, str(FOLDER)],
        env={"PATH": "", "CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "transposed, but not compiled (" in result.stdout


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_dtypes_give_float32_vectors_of_the_same_direction(dtype):
    exact = Embedder.from_pretrained(FOLDER).encode(TEXTS, normalize=True)
    found = Embedder.from_pretrained(FOLDER, dtype=dtype).encode(TEXTS, normalize=True)
    assert found.dtype == torch.float32
    tolerance = 1e-6 if dtype == torch.float64 else 0.02
    assert ((found * exact).sum(dim=1) - 1).abs().max() <= tolerance


def test_a_device_that_is_not_here_is_a_sentence():
    assert Embedder.from_pretrained(FOLDER, device="auto").model.device.type in ("cpu", "cuda", "mps")
    for name in ("cuda:99", "no-such-device"):
        with pytest.raises(InputError, match=f"There is no device '{name}' here"):
            Embedder.from_pretrained(FOLDER, device=name)
