"""From a fresh process to the first embedding, with a checkpoint the size of bert-base: ours against transformers'.

    python scripts/bench_load.py [--rounds 7] [--checkpoint FOLDER]

Each run is a new process that imports the library, loads the model and the tokenizer, and runs one sentence.  The two
take turns (A B A B), so that both see the same machine.  Without --checkpoint, a BERT of bert-base's shape with random
weights is made in a temporary folder.  Needs transformers: pip install 'minibert[test]'.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

RUN = """
import json, resource, sys, time
start = time.perf_counter()
from {library} import BertModel, BertTokenizer
import torch
model = BertModel.from_pretrained(sys.argv[1])
tokenizer = BertTokenizer.from_pretrained(sys.argv[1])
with torch.inference_mode():
    output = model(**tokenizer("The weather is lovely today.", return_tensors="pt"))
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
first = output.last_hidden_state[0, 0, :4].tolist()
print(json.dumps({{"seconds": seconds, "peak": peak, "first": first}}))
"""


def make_checkpoint(folder: Path) -> None:
    """A BERT of bert-base's shape with random weights, and a vocabulary of the right size."""
    import minibert

    minibert.BertModel(minibert.BertConfig.from_pretrained("bert-base-uncased")).save_pretrained(folder)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "weather", "is", "lovely", "today", "."]
    words += [f"word{number}" for number in range(30522 - len(words))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")


def run(library: str, folder: Path) -> dict[str, object]:
    """One fresh process."""
    command = [sys.executable, "-c", RUN.format(library=library), str(folder)]
    # Both run from compiled bytecode, as installed packages do, also where a developer's shell forbids to write it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--checkpoint", type=Path)
    options = parser.parse_args()
    try:
        import transformers
    except ImportError:
        sys.exit("The peer is missing: pip install 'minibert[test]'.")
    import torch

    import minibert

    libraries = ("minibert", "transformers")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.checkpoint or Path(temporary)
        if options.checkpoint is None:
            make_checkpoint(folder)
        for library in libraries:  # once each, not counted: the files come into the disk cache
            run(library, folder)
        results: dict[str, list[dict[str, object]]] = {library: [] for library in libraries}
        for _ in range(options.rounds):
            for library in libraries:
                results[library].append(run(library, folder))
    print(f"minibert {minibert.__version__}, transformers {transformers.__version__}, torch {torch.__version__}")
    seconds = {name: [float(str(r["seconds"])) for r in runs] for name, runs in results.items()}
    peaks = {name: [float(str(r["peak"])) for r in runs] for name, runs in results.items()}
    for name in libraries:
        print(
            f"{name:13} median {statistics.median(seconds[name]):5.2f} s "
            f"[{min(seconds[name]):.2f}–{max(seconds[name]):.2f}], peak {statistics.median(peaks[name]):5.0f} MiB"
        )
    ratios = [theirs / ours for ours, theirs in zip(seconds["minibert"], seconds["transformers"], strict=True)]
    print(f"minibert is {statistics.median(ratios):.2f}× faster [{min(ratios):.2f}–{max(ratios):.2f}], ", end="")
    print(f"{options.rounds} alternating rounds; peak memory ratio ", end="")
    print(f"{statistics.median(peaks['minibert']) / statistics.median(peaks['transformers']):.2f}")
    same = results["minibert"][0]["first"] == results["transformers"][0]["first"]
    print("the embeddings are " + ("identical" if same else "DIFFERENT"))
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
