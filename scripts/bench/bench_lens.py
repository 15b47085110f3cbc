"""What do the points of the lens cost with no hook active?  The model against itself without them.

    python scripts/bench/bench_lens.py [--pairs 400] [--repeat 1] [--batch 1] [--tokens 16] [--model FOLDER]

The second model is compiled from the same files (model.py, pretrained.py): ``self.point(name, value)`` becomes
``value``, ``self.is_watched()`` goes from its condition, the base class becomes nn.Module.  Both use the same
tensors. They run in random order within each pair; a third model, another copy without points, runs too, and shows
how far two equal models differ on this machine. Printed are the median ratio of times, with / without, and the mean
(of the logarithms), each with its 95 % confidence interval. The verdict uses the median, because interruptions by
other programs distort the mean. With one thread the time is the processor's, not the clock's. A short input is the
hardest case.
"""

import argparse
import ast
import gc
import math
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import minibert.model
import minibert.pretrained
from minibert import BertConfig, BertModel

LIMIT = 1.01


class WithoutMarks(ast.NodeTransformer):
    """The source of a module as it would be if nothing could be looked at."""

    def __init__(self) -> None:
        self.removed = 0

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """``self.point("name", value)`` and ``self.point_fields(value)`` become ``value``."""
        self.generic_visit(node)
        if not isinstance(node.func, ast.Attribute) or node.func.attr not in ("point", "point_fields"):
            return node
        self.removed += 1
        return node.args[-1]

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        """``a or self.is_watched()`` becomes ``a``."""
        self.generic_visit(node)
        kept = [value for value in node.values if "is_watched" not in ast.unparse(value)]
        self.removed += len(node.values) - len(kept)
        node.values = kept
        return node if len(kept) > 1 else kept[0]

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        """``scores = scores`` goes, where a mark was all there was."""
        self.generic_visit(node)
        return None if ast.unparse(node.targets[0]) == ast.unparse(node.value) else node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """``Observable`` becomes ``nn.Module``."""
        self.generic_visit(node)
        node.bases = [
            ast.parse("nn.Module", mode="eval").body if ast.unparse(base) == "Observable" else base
            for base in node.bases
        ]
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        """``minibert.watch`` is not there."""
        return None if node.module == "minibert.watch" else node


def without_marks(module: ModuleType, other_names: dict[str, Any] | None = None) -> tuple[ModuleType, str, int]:
    """``module`` made again from its source without marks; its source; how many marks there were.

    ``other_names`` replace names that it imports.
    """
    assert module.__file__ is not None
    marks = WithoutMarks()
    tree = ast.fix_missing_locations(marks.visit(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))))
    source = ast.unparse(tree)
    for name in other_names or {}:
        source = source.replace(f"from minibert.pretrained import {name}\n", "")
    made = ModuleType(f"{module.__name__}_without_marks")
    made.__dict__.update(other_names or {})
    exec(compile(source, made.__name__, "exec"), made.__dict__)
    return made, source, marks.removed


def plain_twin(model: BertModel) -> torch.nn.Module:
    """The same model, with the same tensors, of the classes without marks."""
    base, _, _ = without_marks(minibert.pretrained)
    made, _, _ = without_marks(minibert.model, {"BertPreTrainedModel": base.BertPreTrainedModel})
    twin = made.BertModel(model.config)
    twin.load_state_dict(model.state_dict(), assign=True)
    assert not any(hasattr(module, "point") for module in twin.modules()), "a mark is left"
    return twin.eval()


def seconds(run: Callable[[], Any], repeat: int) -> float:
    """How long ``repeat`` runs take."""
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    for _ in range(repeat):
        run()
    return clock() - start


def report(name: str, ratios: list[float]) -> tuple[float, float]:
    """Print the median and mean ratio with their intervals; returns the median's, which assumes no distribution."""
    ordered, count = sorted(ratios), len(ratios)
    away = math.ceil(1.96 * math.sqrt(count) / 2)  # ranks: the binomial's standard deviation is √n / 2
    low, high = ordered[max(count // 2 - away, 0)], ordered[min((count - 1) // 2 + away, count - 1)]
    logarithms = [math.log(ratio) for ratio in ratios]
    mean, reach = statistics.fmean(logarithms), 1.96 * statistics.stdev(logarithms) / math.sqrt(count)
    print(
        f"{name:42} median {statistics.median(ratios):.4f} [{low:.4f}–{high:.4f}], mean {math.exp(mean):.4f} "
        f"[{math.exp(mean - reach):.4f}–{math.exp(mean + reach):.4f}], {count} pairs"
    )
    return low, high


def main() -> int:
    """Measure and print; exit code 1 when the marks certainly cost more than the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=400, help="at least 2 (default 400)")
    parser.add_argument("--repeat", type=int, default=1, help="forward passes in one turn (default 1)")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--attention", choices=("sdpa", "eager"), default="sdpa")
    parser.add_argument("--model", help="a checkpoint; default: one of all-MiniLM-L6-v2's size with random weights")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if options.model:
        model = BertModel.from_pretrained(options.model, attn_implementation=options.attention)
    else:
        sizes = {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536}
        model = BertModel(BertConfig(**sizes, attn_implementation=options.attention)).eval()
    models = {"with marks": model, "without": plain_twin(model), "without, again": plain_twin(model)}
    ids = torch.randint(model.config.vocab_size, (options.batch, options.tokens))
    mask = torch.ones_like(ids)
    times: dict[str, list[float]] = {name: [] for name in models}
    draw = random.Random(0)
    with torch.inference_mode():
        outputs = [some(ids, mask).last_hidden_state for some in models.values()]
        assert all(torch.equal(output, outputs[0]) for output in outputs), "the models differ"
        gc.disable()
        for number in range(options.pairs + 10):
            for name in draw.sample(list(models), len(models)):
                some = models[name]
                taken = seconds(lambda some=some: some(ids, mask), options.repeat)
                if number >= 10:  # the first turns warm up
                    times[name].append(taken)
        gc.enable()
    config = model.config
    print(
        f"{config.num_hidden_layers} layers, hidden size {config.hidden_size}, {options.attention}, input "
        f"{options.batch} × {options.tokens}, torch {torch.__version__}, {options.threads} threads; a forward pass "
        f"takes {statistics.median(times['without']) / options.repeat * 1e3:.2f} ms"
    )

    def ratios(name: str) -> list[float]:
        return [a / b for a, b in zip(times[name], times["without"], strict=True)]

    low, high = report("with marks / without", ratios("with marks"))
    report("without, again / without (the noise floor)", ratios("without, again"))
    verdict = "yes" if high <= LIMIT else "no" if low > LIMIT else "undecided: take more --pairs"
    print(f"within {LIMIT - 1:.0%}: {verdict}")
    return 1 if low > LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())
