"""From a fresh process to the first embedding, with a checkpoint the size of bert-base: ours against transformers'.

    python scripts/bench/bench_load.py [--rounds 7] [--checkpoint FOLDER]

Each run is a new process that imports the library, loads the model and the tokenizer, and runs one sentence.  The two
take turns, so that both see the same machine.  Without --checkpoint, a BERT of bert-base's shape with random weights
is made in a temporary folder.  Needs transformers: pip install '.[test]'.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import material
import rounds

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
LIBRARIES = ("minibert", "transformers")


def child(library: str, folder: Path) -> Callable[[], dict[str, object]]:
    """One turn: a fresh process."""
    return partial(rounds.in_child, library, "-c", RUN.format(library=library), str(folder))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=material.positive, default=7, metavar="N", help="default 7")
    parser.add_argument("--checkpoint", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    if not rounds.versions("transformers"):
        sys.exit("The peer is missing: pip install '.[test]'.")
    import minibert

    with tempfile.TemporaryDirectory() as temporary:
        folder = options.checkpoint or material.write_base(Path(temporary))
        runs = {library: child(library, folder) for library in LIBRARIES}
        for run in runs.values():  # once each, not counted: the files come into the disk cache
            run()
        results = rounds.take_turns(runs, options.rounds)
    print(f"minibert {minibert.__version__}, {rounds.versions('transformers', 'torch')}; {rounds.machine()}")
    seconds = {name: [float(str(r["seconds"])) for r in found] for name, found in results.items()}
    peaks = {name: statistics.median(float(str(r["peak"])) for r in found) for name, found in results.items()}
    for name in LIBRARIES:
        print(f"{name:13} {rounds.spread(seconds[name])} s, peak {peaks[name]:5.0f} MiB")
    ratio = rounds.Ratio.of(seconds["transformers"], seconds["minibert"])
    print(f"minibert is {ratio.median:.2f}× faster {ratio.range}, {options.rounds} alternating rounds, ", end="")
    print(f"interval of the median {ratio.interval}; peak memory ratio {peaks['minibert'] / peaks['transformers']:.2f}")
    same = results["minibert"][0]["first"] == results["transformers"][0]["first"]
    print("the embeddings are " + ("identical" if same else "DIFFERENT"))
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
