"""The wheel, installed outside the checkout, where there is no numpy: it loads, embeds, saves, records, verifies."""

import importlib.util
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What torch, safetensors and huggingface_hub need, and nothing that needs or brings numpy.
ALLOWED = (
    "torch torchgen functorch safetensors huggingface_hub hf_xet tqdm filelock fsspec jinja2 markupsafe mpmath "
    "networkx sympy typing_extensions packaging yaml requests urllib3 certifi idna charset_normalizer httpx httpcore "
    "h11 anyio sniffio click typer rich shellingham markdown_it mdurl pygments"
)
SCRIPT = """
import importlib.util, sys, tempfile, pathlib
assert importlib.util.find_spec("numpy") is None, "numpy is here, so nothing is proved"
import minibert
assert not str(minibert.__file__).startswith(sys.argv[1]), minibert.__file__
from minibert.config import known_architectures
assert len(known_architectures()) == 13
assert minibert.BertConfig.from_pretrained("kcbert-base").max_position_embeddings == 300
folder = pathlib.Path(minibert.__file__).parent / "goldens" / "random-bert"
model = minibert.BertForPreTraining.from_pretrained(folder)
tokenizer = minibert.BertTokenizer.from_pretrained(folder)
vectors = minibert.embed_texts(model, tokenizer, ["the bank", "배를 타고"])
assert vectors.shape == (2, 16)
corpus = pathlib.Path(tempfile.mkdtemp())
(corpus / "texts.txt").write_text("the bank\\nshe sat\\n")
for format in ("safetensors", "npy"):
    minibert.embed_corpus(minibert.Embedder(model, tokenizer), corpus / "texts.txt", corpus / format, format=format)
    (hit,) = minibert.nearest(corpus / format, "the bank", 1, minibert.Embedder(model, tokenizer))
    assert hit.row == 1
from minibert.verify import make_golden, verify, verify_published
place = pathlib.Path(tempfile.mkdtemp())
model.save_pretrained(place)
tokenizer.save_pretrained(place)
make_golden(place, place / "golden.safetensors")
assert verify(place, place / "golden.safetensors").same
assert verify(folder, folder / "golden.safetensors").same
from minibert.verify.published import FILE
assert FILE.is_file()
from minibert.verify.sentences import LANGUAGES, sentence
assert all("√D" in sentence("attention.no_scale", {}, language) for language in LANGUAGES)
from minibert.cli import main
assert main(["fill-mask", "the [MASK]", "--model", str(place)]) == 0
carries_own = sys.argv[2] == "True"
assert main(["fill-mask", "the [MASK]"]) == (0 if carries_own else 2)
assert main(["tokenize", "the bank"]) == (0 if carries_own else 2)
assert main(["verify", str(place), "--against", "transformers"]) == 2
arguments = ["--input", str(corpus / "texts.txt"), "--output", str(corpus / "parquet"), "--model", str(place)]
assert main(["embed", *arguments, "--format", "parquet"]) == 2
assert "numpy" not in sys.modules
print("done")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    pytest.importorskip("setuptools")
    place = tmp_path_factory.mktemp("wheel")
    clean = place / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout: the wheel is built from the files that git knows")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (clean / name).parent.mkdir(parents=True, exist_ok=True)
            (clean / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", place, clean]
    subprocess.run(list(map(str, command)), check=True)
    (built,) = place.glob("*.whl")
    assert built.name.startswith("minibert_torch-"), "on the public index, the name minibert is another project's"
    return built


def test_carries_what_it_needs(wheel) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for folder in ("minibert/configs/bert-tiny.json", "minibert/verify/published.json", "minibert/py.typed"):
        assert folder in names
    assert not [name for name in names if name.startswith(("tests", "scripts", "configs/"))]
    modules = {
        str(path.relative_to(ROOT)) for path in (ROOT / "minibert").rglob("*.py") if "__pycache__" not in path.parts
    }
    assert modules <= set(names), "a package is missing from pyproject.toml's list"
    own = {str(path.relative_to(ROOT)) for path in (ROOT / "minibert" / "demo").glob("*")}
    assert own == {name for name in names if name.startswith("minibert/demo/")}, "the checkpoint and its card"


def test_runs_without_numpy_outside_the_checkout(wheel, tmp_path) -> None:
    home = tmp_path / "env"
    venv.create(home, with_pip=False)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    for name in ALLOWED.split():
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            continue
        origin = Path(spec.origin)
        target = origin.parent if origin.name == "__init__.py" else origin
        (site / target.name).symlink_to(target)
    zipfile.ZipFile(wheel).extractall(site)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [home / "bin" / "python", script, str(ROOT), str((ROOT / "minibert" / "demo").is_dir())],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("done\n")
    assert "transformers is not installed; to compare with it: in a checkout of minibert, pip install" in done.stderr
