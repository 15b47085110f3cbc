"""How much of the processor's matrix-product rate does the model reach?

    python scripts/bench/bench_gemm.py                     bert-base's shape, 32 texts of 128 tokens
    python scripts/bench/bench_gemm.py --batch 8 --tokens 64 --model minilm

Counted are the floating-point operations of every matrix product of the forward pass, 2·m·n·k each, the two inside the
attention included; nothing else (no softmax, GELU, LayerNorm, residuals), so the figure can only be too low.  They are
divided by the time of the whole forward pass from ready ids, of the readable model (BertModel, pooler included) and of
the embedding engine (packed, in batches of its own, mean pooling).  Beside them, in the same rounds, torch.mm runs the
model's own shapes, with the weight as torch.nn.Linear keeps it and transposed, and large squares, each for as long as
--seconds.  The percentage is the model's rate over the fastest of these in the same round; the last line takes the
fastest of the whole run instead.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import material
import rounds

if TYPE_CHECKING:
    from torch import Tensor

    from minibert import BertConfig


def forward_operations(config: "BertConfig", batch: int, tokens: int, *, pooler: bool) -> int:
    """Floating-point operations in the matrix products of one forward pass of ``batch`` texts of ``tokens`` tokens."""
    H, intermediate, rows = config.hidden_size, config.intermediate_size, batch * tokens
    projections = 4 * product(rows, H, H)  # query, key, value, attention output
    attention = 2 * batch * product(tokens, tokens, H)  # scores and context, all heads together: N · D = H
    feed_forward = 2 * product(rows, intermediate, H)
    return config.num_hidden_layers * (projections + attention + feed_forward) + pooler * product(batch, H, H)


def product(m: int, n: int, k: int) -> int:
    """Operations of an (m, k) by (k, n) matrix product: a multiplication and an addition each."""
    return 2 * m * n * k


def matrices(config: "BertConfig", rows: int, square: int) -> "dict[str, tuple[Tensor, Tensor]]":
    """The products to compare with, by name."""
    import torch

    H, intermediate = config.hidden_size, config.intermediate_size
    found = {}
    for n, k in ((H, H), (intermediate, H), (H, intermediate)):
        weight = torch.randn(n, k)
        found[f"({rows}, {k}) × ({k}, {n}), as in Linear"] = (torch.randn(rows, k), weight.t())
        found[f"({rows}, {k}) × ({k}, {n})"] = (torch.randn(rows, k), weight.t().contiguous())
    for size in (square // 2, square):
        found[f"({size}, {size}) × ({size}, {size})"] = (torch.randn(size, size), torch.randn(size, size))
    return found


def rate(work: Callable[[], Any], operations: int, least: float) -> Callable[[], float]:
    """One turn: ``work`` again and again for ``least`` seconds; GFLOP/s."""

    def run() -> float:
        work()
        times, started = 0, time.perf_counter()
        while not times or time.perf_counter() - started < least:
            work()
            times += 1
        return operations * times / (time.perf_counter() - started) / 1e9

    return run


def product_runs(config: "BertConfig", rows: int, options: argparse.Namespace) -> dict[str, Callable[[], float]]:
    """A turn of each plain product."""
    import torch

    runs = {}
    for name, (left, right) in matrices(config, rows, options.square).items():
        out = torch.empty(left.shape[0], right.shape[1])
        operations = product(left.shape[0], right.shape[1], left.shape[1])
        runs[name] = rate(lambda a=left, b=right, c=out: torch.mm(a, b, out=c), operations, options.seconds)
    return runs


def report(rates: dict[str, list[float]], models: list[str]) -> None:
    """Rates, then percentages."""
    from minibert.terminal import table

    print(table(("", "GFLOP/s"), [(name, rounds.spread(found, ".0f")) for name, found in rates.items()]))
    plain = [found for name, found in rates.items() if name not in models]
    best_of_round = [max(values) for values in zip(*plain, strict=True)]
    for name in models:
        share = rounds.Ratio.of(rates[name], best_of_round)
        print(
            f"{name}: {share.median:.0%} [{share.lowest:.0%}–{share.highest:.0%}] of the round's fastest product, "
            f"interval of the median {share.low:.0%}–{share.high:.0%} ({share.confidence:.0%}); "
            f"{statistics.median(rates[name]) / max(best_of_round):.0%} of the fastest of all rounds"
        )


def measure(options: argparse.Namespace, work: Path) -> None:
    """Everything."""
    import peers as known
    import torch

    import minibert

    threads = material.use_threads(options.threads)
    folder = material.checkpoint(options.model, work)
    model = minibert.BertModel.from_pretrained(folder)
    embedder = known.Minibert(folder, work, threads)
    ids = torch.randint(1000, model.config.vocab_size, (options.batch, options.tokens))
    mask, shape = torch.ones_like(ids), (options.batch, options.tokens)

    def readable() -> Any:
        with torch.inference_mode():
            return model(ids)

    counted = {pooler: forward_operations(model.config, *shape, pooler=pooler) for pooler in (True, False)}
    models = {
        "BertModel.forward": rate(readable, counted[model.pooler is not None], options.seconds),
        "embedding engine": rate(lambda: embedder.pooled(ids, mask), counted[False], options.seconds),
    }
    runs = {**models, **product_runs(model.config, options.batch * options.tokens, options)}
    print(
        f"{material.TITLES.get(options.model, options.model)}; {options.batch} × {options.tokens}: "
        f"{counted[False] / 1e9:.1f} GFLOP; {options.rounds} rounds, each turn {options.seconds} s or more"
    )
    print(f"minibert {minibert.__version__}, {rounds.versions('torch')}; {threads} threads; {rounds.machine()}")
    report(rounds.take_turns(runs, options.rounds), list(models))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=material.BASE, help="minilm, base (default) or a folder")
    parser.add_argument("--batch", type=material.positive, default=32, metavar="B", help="texts (default 32)")
    parser.add_argument("--tokens", type=material.positive, default=128, metavar="T", help="of each (default 128)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a turn, at least (default 2)")
    parser.add_argument("--square", type=material.positive, default=4096, metavar="N", help="default 4096, and half")
    material.add_rounds(parser, 7)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.batch, options.seconds, options.square = 2, 2, 0.05, 512
    with tempfile.TemporaryDirectory() as work:
        measure(options, Path(work))
    return 0


if __name__ == "__main__":
    sys.exit(main())
