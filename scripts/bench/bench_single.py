"""How long does one short text take?  Ours, plain and optimised, against what people use today.

    python scripts/bench/bench_single.py                MiniLM and bert-base's shape, 16 and 128 tokens
    python scripts/bench/bench_single.py --model minilm --tokens 16 --rounds 20 --calls 100
    python scripts/bench/bench_single.py --from-text    tokenization included

Timed on every side: from a (1, T) tensor of ids to the (1, H) mean-pooled vector, fp32; with --from-text from the text
to the vector of unit length, where every peer has transformers' fast tokenizer.  "minibert" is what Embedder.encode
runs, "minibert, optimised" the same after ``embedder.optimize()``, with and without a compiler; its set-up is not in
the times.  That all vectors agree is checked before anything is timed.

In a round each library has one turn of --calls calls, after a few that do not count: while one runs, the idle threads
of the others go to sleep and its weights are in the caches, as in a program that uses one library.  The median call
of a turn is that round's figure.  A ratio is transformers' / the library's, so above 1 is faster than transformers with
SDPA.  With --backend auto, or names, ours runs with these too; a second table then divides every other's time by
theirs.  Needs pip install '.[test,bench]'; a peer that is missing is left out.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import material
import rounds

if TYPE_CHECKING:
    from peer import Peer

NOT_COUNTED = 8  # calls at the beginning of a turn
PEERS = "transformers,onnxruntime,onnxruntime-fused,openvino,ctranslate2"
AGAINST = "transformers"
PASSAGE = """
Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do: once or twice
she had peeped into the book her sister was reading, but it had no pictures or conversations in it, and what is the use
of a book, thought Alice, without pictures or conversation? So she was considering in her own mind, as well as she
could, for the hot day made her feel very sleepy and stupid, whether the pleasure of making a daisy-chain would be worth
the trouble of getting up and picking the daisies, when suddenly a White Rabbit with pink eyes ran close by her.
"""


def text_of(tokens: int, count: Callable[[str], int]) -> str:
    """A text of exactly that many tokens, [CLS] and [SEP] included: words of the passage, as far as they fit.

    ``count`` says how many tokens a text has.  Leaves with a sentence when no such text is found.
    """
    text = ""
    for _, word in zip(range(4 * tokens), cycle(PASSAGE.split()), strict=False):
        longer = f"{text} {word}".strip()
        if count(longer) <= tokens:
            text = longer
        if count(text) == tokens:
            return text
    return sys.exit(f"This model's vocabulary makes no text of exactly {tokens} tokens from the passage; try another.")


def turn(work: Callable[[], Any], calls: int, clock: Callable[[], float]) -> Callable[[], float]:
    """One turn: the median of ``calls`` calls, in milliseconds."""

    def run() -> float:
        for _ in range(NOT_COUNTED):
            work()
        taken = []
        for _ in range(calls):
            started = clock()
            work()
            taken.append(clock() - started)
        return statistics.median(taken) * 1e3

    return run


def works(peers: "Sequence[Peer]", text: str, from_text: bool) -> dict[str, Callable[[], Any]]:
    """What each library does in a call."""
    import peers as known
    from peer import padded

    ids, mask = padded(known.token_rows(peers[0], [text]), 0)
    if from_text:
        return {peer.name: (lambda peer=peer: peer.embed([text])) for peer in peers}
    return {peer.name: (lambda peer=peer: peer.pooled(ids, mask)) for peer in peers if peer.has_forward}


def compare(peers: "Sequence[Peer]", text: str, options: argparse.Namespace) -> None:
    """Time them and print a line each."""
    import peers as known

    from minibert.terminal import table

    runs = works(peers, text, options.from_text)
    found = {name: run() for name, run in runs.items()}
    agreement = {name: known.check_agreement(found["minibert"], vector, name) for name, vector in found.items()}
    times = rounds.take_turns(
        {name: turn(run, options.calls, options.clock) for name, run in runs.items()}, options.rounds
    )
    rows = []
    for name, taken in times.items():
        row = [name, rounds.spread(taken), agreement[name]]
        if AGAINST in times and name != AGAINST:
            ratio = rounds.Ratio.of(times[AGAINST], taken)
            row += [str(ratio), ratio.interval]
        rows.append((*row, "", "")[:5])
    print(table(("", "milliseconds", "max |Δ|", f"against {AGAINST}", "interval of the median"), rows))
    for own in (peer.name for peer in peers if isinstance(peer, known.MinibertBackend)):
        ratios = [(name, rounds.Ratio.of(taken, times[own])) for name, taken in times.items() if name != own]
        print(f"\nmilliseconds of each, divided by those of {own}")
        print(table(("", "ratio", "interval of the median"), [(name, str(r), r.interval) for name, r in ratios]))


def measure(model: str, options: argparse.Namespace, work: Path) -> None:
    """Everything about one model."""
    import peers as known

    threads = material.use_threads(options.threads)
    own = [] if options.backend_alone else [known.MinibertOptimized, known.MinibertPrepacked]
    backends = known.with_backends(options.backend)
    wanted = known.installed([*own, *backends, *known.named(options.peers)])
    folder = material.checkpoint(model, work)
    loaded = known.load([known.Minibert, *wanted], folder, work / f"forms of {folder.name}", threads)
    print(f"\n{material.TITLES.get(model, model)}; {options.rounds} rounds of {options.calls} calls")
    print(f"{known.versions_of(wanted)}; {threads} threads; {rounds.machine()}")
    for peer in loaded:
        if not (peer.has_forward or options.from_text):
            print(f"  {peer.name} begins with texts; it takes part with --from-text")
        if isinstance(peer, known.MinibertOptimized | known.MinibertBackend):
            print(f"  {peer.name}: {peer.said}")
    for tokens in options.tokens:
        text = text_of(tokens, lambda text: len(known.token_rows(loaded[0], [text])[0]))
        print(f"\none text of {tokens} tokens, from {'the text' if options.from_text else 'its ids'} to the vector")
        compare(loaded, text, options)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    material.add_model(parser, [material.MINILM, material.BASE])
    parser.add_argument("--tokens", type=material.positive, nargs="+", default=[16, 128], metavar="T")
    parser.add_argument("--calls", type=material.positive, default=40, metavar="N", help="a turn (default 40)")
    parser.add_argument("--from-text", action="store_true", help="time tokenization too")
    parser.add_argument("--peers", default=PEERS, metavar="NAMES", help=f"with commas between; default {PEERS}")
    material.add_backend(parser)
    material.add_processor_time(parser)
    parser.add_argument("--backend-alone", action="store_true", help="of ours, not the paths of optimize()")
    material.add_rounds(parser, 10)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.calls = 2, 5
    with tempfile.TemporaryDirectory() as work:
        for model in options.model:
            measure(model, options, Path(work))
    return 0


if __name__ == "__main__":
    sys.exit(main())
