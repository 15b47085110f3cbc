"""How fast are whole texts embedded?  Ours against what people use today, tokenization included.

    python scripts/bench/bench_embedding.py                                        MiniLM against sentence-transformers
    python scripts/bench/bench_embedding.py --model minilm base --peers all --rounds 9
    python scripts/bench/bench_embedding.py --model FOLDER --text corpus.txt --quick

The texts are English paragraphs and sentences and Korean reviews of mixed length, drawn with a fixed seed from
../shared (or the lines of --text FILE).  Each library gets the same list and returns one mean-pooled vector of unit
length per text, in fp32; the vectors are compared before anything is timed.  minibert and sentence-transformers run
``encode`` with their defaults; the other peers (transformers, onnxruntime, onnxruntime-fused, openvino,
openvino-throughput, ctranslate2) get transformers' fast tokenizer on the whole list, then token-sorted batches of 32.
Our tokenizer's cache of words is emptied before each run; theirs have none.  Models are loaded beforehand.

With --backend auto, or names, ours runs with these too; each peer is then compared with every one of ours.

They take turns; a ratio is theirs / ours within a round: above 1, minibert is faster.  Needs
pip install '.[test,bench]'; a peer that is missing is left out.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import material
import rounds

if TYPE_CHECKING:
    from peer import Peer


def turn(peer: "Peer", texts: list[str], clock: Callable[[], float]) -> Callable[[], float]:
    """One timed run."""

    def run() -> float:
        peer.fresh()
        return rounds.seconds(lambda: peer.embed(texts), clock)

    return run


def compare(
    ours: "list[Peer]", peers: "list[Peer]", texts: list[str], options: argparse.Namespace, agreement: dict[str, str]
) -> None:
    """Time them and print a line each, with a table of ratios for each of ours."""
    from minibert.terminal import table

    times = rounds.take_turns({peer.name: turn(peer, texts, options.clock) for peer in (*ours, *peers)}, options.rounds)
    rows = [
        (name, rounds.spread(taken), f"{len(texts) / statistics.median(taken):.1f}", agreement[name])
        for name, taken in times.items()
    ]
    print(table(("", "seconds", "texts/s", "max |Δ|"), rows, right=("texts/s",)))
    for own in ours:
        others = [name for name in times if name != own.name]
        ratios = [(name, rounds.Ratio.of(times[name], times[own.name])) for name in others]
        print(f"\nseconds of each, divided by those of {own.name}")
        print(table(("", "ratio", "interval of the median"), [(name, str(r), r.interval) for name, r in ratios]))


def measure(model: str, options: argparse.Namespace, work: Path) -> None:
    """Everything about one model."""
    import peers as known

    threads = material.use_threads(options.threads)
    wanted = known.installed(known.named(options.peers))
    folder = material.checkpoint(model, work)
    texts = material.read_texts(options.texts, options.text)
    own = [known.Minibert, *known.with_backends(options.backend)]
    loaded = known.load([*own, *wanted], folder, work / f"forms of {folder.name}", threads)
    found = {peer.name: peer.embed(texts) for peer in loaded}  # once each, not timed: also the warm-up
    agreement = {name: known.check_agreement(found["minibert"], vectors, name) for name, vectors in found.items()}
    lengths = [len(row) for row in known.token_rows(loaded[0], texts)]
    print(
        f"\n{material.TITLES.get(model, model)}; {len(texts):,} texts, {sum(lengths):,} tokens, {options.rounds} rounds"
    )
    print(f"{known.versions_of(wanted)}; {threads} threads; {rounds.machine()}")
    for peer in loaded:
        print(f"  {peer.name}: {getattr(peer, 'said', peer.way)}")
    compare(loaded[: len(own)], loaded[len(own) :], texts, options, agreement)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    material.add_model(parser, [material.MINILM])
    material.add_texts(parser, 2000)
    material.add_rounds(parser, 5)
    parser.add_argument(
        "--peers",
        default="sentence-transformers",
        metavar="NAMES",
        help="with commas between, or all; default sentence-transformers",
    )
    material.add_backend(parser)
    material.add_processor_time(parser)
    options = parser.parse_args()
    if options.quick:
        options.texts, options.rounds = min(options.texts, 48), 2
    with tempfile.TemporaryDirectory() as work:
        for model in options.model:
            measure(model, options, Path(work))
    return 0


if __name__ == "__main__":
    sys.exit(main())
