"""Does verification name the mistake?  Every wrong BERT of tests/verify/wrong.py, and what is said of it.

The weights are perturbed a little (--as-is leaves them): minibert-demo's are whole float16 numbers and its key biases
nearly 0, so that rounding to float16 or leaving out that bias changes nothing that could be told.

--held-out runs tests/verify/held_out.py instead: wrong BERTs of a person who had not seen the table of mistakes.

Exit code 1 when a name is wrong, or too few are named: 95 % of the single mistakes, 90 % of the pairs.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch
from inputs import ROOT  # noqa: F401  (puts the checkout on the path)

from minibert import BertConfig, BertForPreTraining
from tests.verify import held_out
from tests.verify.naming import RIGHT, check, explain_case, perturbed, with_few_words
from tests.verify.wrong import PAIRS, SINGLE, Case

PORTS = ("functional", "fused", "written", "packed", "numpy_port")


def drawn() -> BertForPreTraining:
    """Seeded weights, larger than before training, so that attention and every bias show."""
    torch.manual_seed(5)
    sizes = {"hidden_size": 60, "num_attention_heads": 5, "intermediate_size": 92, "num_hidden_layers": 4}
    model = BertForPreTraining(BertConfig(vocab_size=150, max_position_embeddings=64, **sizes)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            norm = "LayerNorm.weight" in name
            parameter.copy_(
                torch.randn(parameter.shape) * (0.2 if norm or parameter.dim() == 1 else 0.15) + float(norm)
            )
    return model


def main() -> int:
    """All of it; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default="minibert-demo", help="default: minibert-demo")
    parser.add_argument(
        "--random", action="store_true", help="a small model of drawn weights: 5 heads of 12, no power of 2"
    )
    parser.add_argument("--as-is", action="store_true", help="leave the weights as they are")
    parser.add_argument("--every-word", action="store_true", help="keep the whole vocabulary, not 500 rows (slower)")
    parser.add_argument("--only", default="", help="cases whose name begins with this")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--held-out", action="store_true", help="the cases of tests/verify/held_out.py")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = drawn() if args.random else BertForPreTraining.from_pretrained(args.checkpoint)
    if not args.every_word and not args.random:
        model = with_few_words(model)
    if not args.as_is:
        perturbed(model)
    model.to(getattr(torch, args.dtype))
    start, failed = time.perf_counter(), False
    for port in PORTS if not args.only and not args.held_out else ():
        findings = explain_case(model, Case(port, (), ())).findings
        failed |= bool(findings)
        print(
            f"{port}, right: {'no difference' if not findings else 'WRONG, ' + findings[0].mistakes[0].name}",
            flush=True,
        )
    folder = tempfile.TemporaryDirectory()
    singles, pairs = (held_out.SINGLE, held_out.PAIRS) if args.held_out else (SINGLE, PAIRS)
    for title, cases, least in (("one mistake", singles, 0.95), ("two mistakes", pairs, 0.90)):
        counts: Counter[str] = Counter()
        for case in cases:
            if not str(case).startswith(args.only):
                continue
            try:
                result = held_out.check(model, case, Path(folder.name)) if args.held_out else check(model, case)
            except Exception as error:
                counts["missed"] += 1
                print(f"{'missed':10} {'':7} {case}  [{type(error).__name__}: {error}]", flush=True)
                continue
            counts[result.verdict] += 1
            print(f"{result.verdict:10} {result.seconds:5.1f} s {case}  [{'; '.join(result.found)}]", flush=True)
        total = sum(counts.values())
        if total:
            right = sum(counts[verdict] for verdict in RIGHT)
            failed |= counts["WRONG"] > 0 or right < least * total
            told = ", ".join(f"{number} {verdict}" for verdict, number in counts.items())
            print(f"{title}: {right} of {total} = {100 * right / total:.1f} % ({told})", flush=True)
    print(f"{time.perf_counter() - start:.0f} s")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
