"""Does the page's tokenizer, in JavaScript, give what ours gives?  In a real headless Chromium, in full.

    python scripts/studies/browser_tokenizer.py strings --count 50000  adversarial strings over four real vocabularies
    python scripts/studies/browser_tokenizer.py code-points            every code point alone, cased and uncased
    python scripts/studies/browser_tokenizer.py code-points --rules cased --first 0 --last 2ffff
    python scripts/studies/browser_tokenizer.py size                   what a page carries for its tokenizer

Compared are ids, tokens, segments, special tokens, words, offsets and lengths; lone surrogates are to be refused.
Needs selenium, Chromium with its driver and the ``tokenizers`` package.  The vocabularies are looked for in
../shared/vocab; a small one and minibert-demo's stand in.  Prints the number of differences; exits 1 unless it is 0.
"""

import argparse
import gzip
import json
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from inputs import ROOT

sys.path.insert(0, str(ROOT / "scripts" / "tools"))

import fuzz_tokenizer as fuzz

from minibert.tokenizer import BertTokenizer
from minibert.tokenizer.portable import settings_of, unicode_data, vocabulary_of
from tests.support.browser import Browser
from tests.support.browser_tokenizer import BrowserTokenizer, Example

BATCH = 2000
LENGTHS = (None, 24, 7)  # max_length of one batch after the other
SHOWN = 10
CODE_POINT_RULES = {"uncased": (True, None, True), "cased": (False, None, True)}


def vocabularies() -> dict[str, dict[str, int]]:
    """The real ones, else what stands in."""
    found = fuzz.find_vocabularies()
    if len(found) > 1:
        del found["small"]
        return found
    print("no vocabularies in ../shared/vocab: a small one and minibert-demo's stand in")
    return found | {"minibert-demo": BertTokenizer.from_pretrained("minibert-demo").get_vocab()}


def compare(
    in_browser: BrowserTokenizer, examples: Iterable[Example], name: str, lengths: tuple[int | None, ...] = (None,)
) -> int:
    """The number of differences; the first of them are printed."""
    different = done = 0
    started = time.perf_counter()
    remaining = iter(examples)
    for number in range(sys.maxsize):
        batch = list(islice(remaining, BATCH))
        if not batch:
            break
        for line in in_browser.differences(batch, lengths[number % len(lengths)]):
            different += 1
            if different <= SHOWN:
                print(f"{name}: {line}")
        done += len(batch)
    seconds = time.perf_counter() - started
    print(f"{name}: {done} texts, {different} differences, {seconds:.0f} s", flush=True)
    return different


def compare_strings(browser: Browser, arguments: argparse.Namespace) -> int:
    """Adversarial strings, a third of them with a second one, under every set of rules."""
    pairs = [(name, vocab, rules) for name, vocab in vocabularies().items() for rules in fuzz.RULES]
    different = 0
    for number, (name, vocab, rules) in enumerate(pairs):
        strings = fuzz.Strings(vocab, arguments.seed * 1000 + number)
        share = arguments.count // len(pairs) + (number < arguments.count % len(pairs))
        examples = ((strings.one(), strings.one() if index % 3 == 2 else None) for index in range(share))
        in_browser = BrowserTokenizer(browser, fuzz.ours_of(vocab, rules))
        different += compare(in_browser, examples, f"{name} {rules}", LENGTHS)
    return different


def compare_code_points(browser: Browser, arguments: argparse.Namespace) -> int:
    """Every code point, surrogates too; a vocabulary of every letter, so that no difference hides behind [UNK]."""
    vocab, different = fuzz.letter_vocabulary(), 0
    for name in [arguments.rules] if arguments.rules else CODE_POINT_RULES:
        in_browser = BrowserTokenizer(browser, fuzz.ours_of(vocab, CODE_POINT_RULES[name]))
        codes = range(arguments.first, arguments.last + 1)
        examples = ((chr(code), None) for code in codes)
        different += compare(in_browser, examples, f"{name}, U+{codes[0]:04X} to U+{codes[-1]:04X}")
    return different


def print_sizes() -> None:
    """The characters that each part takes in a page, and its bytes after gzip."""

    def rows() -> Iterator[tuple[str, Any]]:
        for name, part in unicode_data().items():
            yield f"Unicode tables: {name}", part
        yield "Unicode tables", unicode_data()
        tokenizer = BertTokenizer.from_pretrained("minibert-demo")
        yield "minibert-demo: settings", settings_of(tokenizer)
        yield "minibert-demo: vocabulary", vocabulary_of(tokenizer)

    for name, part in rows():
        text = json.dumps(part, ensure_ascii=False, separators=(",", ":")).encode()
        print(f"{name:32} {len(text):9,} bytes {len(gzip.compress(text)):9,} after gzip")


def main() -> int:
    """Parse, run, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["strings", "code-points", "size"])
    parser.add_argument("--count", type=int, default=50_000, help="how many strings")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rules", choices=list(CODE_POINT_RULES), help="of code points; both unless given")
    parser.add_argument("--first", type=lambda text: int(text, 16), default=0, help="the first code point, hexadecimal")
    parser.add_argument("--last", type=lambda text: int(text, 16), default=0x10FFFF)
    arguments = parser.parse_args()
    if arguments.what == "size":
        print_sizes()
        return 0
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        sys.exit("There is no chromium with chromedriver here; on Debian: apt-get install chromium chromium-driver.")
    browser = Browser(binary, driver)
    try:
        browser.driver.get("about:blank")
        compared = compare_strings if arguments.what == "strings" else compare_code_points
        different = compared(browser, arguments)
    finally:
        browser.quit()
    print(f"{different} differences")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
