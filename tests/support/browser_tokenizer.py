"""The page's tokenizer, in JavaScript, run in a browser and held against ours."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from minibert.errors import TokenizerError
from minibert.explorer.page import bundle
from minibert.tokenizer import BertTokenizer
from minibert.tokenizer.portable import settings_of, unicode_data, vocabulary_of
from tests.support.browser import Browser

DRIVER = Path(__file__).parents[1] / "explorer" / "engine" / "tokenizer_driver.js"
Example = tuple[str, str | None]  # a text and its pair

# What the JavaScript calls the attributes of an Encoding.
NAMES = {
    "ids": "ids",
    "segments": "type_ids",
    "tokens": "tokens",
    "special": "special_tokens_mask",
    "words": "word_ids",
    "offsets": "offsets",
}


class BrowserTokenizer:
    """``tokenizer`` as the page gets it.  Texts travel as escaped JSON: WebDriver takes no lone surrogates."""

    def __init__(
        self, browser: Browser, tokenizer: BertTokenizer, tables: dict[str, Any] | None = None, **settings: Any
    ) -> None:
        self._browser, self._tokenizer = browser, tokenizer
        browser.run(bundle(DRIVER))
        data = {
            "settings": settings_of(tokenizer) | settings,
            "vocabulary": vocabulary_of(tokenizer),
            "tables": tables or unicode_data(),
        }
        browser.run("window.open(arguments[0])", json.dumps(data))

    def encode(self, examples: Sequence[Example], max_length: int | None = None) -> list[dict[str, Any]]:
        """The rows that the browser makes of ``examples``."""
        data = json.dumps({"examples": examples, "maxLength": max_length})
        rows: list[dict[str, Any]] = json.loads(self._browser.run("return window.encodeAll(arguments[0])", data))
        return rows

    def tokens_of(self, ids: Sequence[int]) -> list[str | None]:
        """The tokens of ids."""
        return list(self._browser.run("return window.tokensOf(arguments[0])", list(ids)))

    def differences(self, examples: Sequence[Example], max_length: int | None = None) -> Iterator[str]:
        """A line for each example of which the browser makes another row than ours."""
        theirs = self.encode(examples, max_length)
        for example, ours, row in zip(examples, rows_of(self._tokenizer, examples, max_length), theirs, strict=True):
            wrong = [name for name in {**ours, **row} if ours.get(name) != row.get(name)]
            if wrong:
                both = (f"{name}: ours {ours.get(name)!a}, the browser's {row.get(name)!a}" for name in wrong)
                yield f"{example!a}: {'; '.join(both)}"


def rows_of(
    tokenizer: BertTokenizer, examples: Sequence[Example], max_length: int | None = None
) -> Iterator[dict[str, Any]]:
    """The rows that we make of ``examples``, in the names and types of the JavaScript."""
    batch = [text if second is None else (text, second) for text, second in examples]
    try:
        whole = tokenizer(batch, verbose=False)
    except TokenizerError as error:
        if len(batch) == 1:
            yield {"error": f"{str(error).partition(':')[0]}: half of a character."}
        else:
            for example in examples:
                yield from rows_of(tokenizer, [example], max_length)
        return
    cut = whole if max_length is None else tokenizer(batch, truncation=True, max_length=max_length, verbose=False)
    for number, ids in enumerate(whole["input_ids"]):
        encoding = cut[number]
        row = {name: getattr(encoding, attribute) for name, attribute in NAMES.items()}
        row["special"] = list(map(bool, row["special"]))
        row["offsets"] = list(map(list, row["offsets"]))
        yield row | {"fullLength": len(ids)}
