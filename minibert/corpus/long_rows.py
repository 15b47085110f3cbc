"""Rows too long to be held: whose beginning gives the vector of the whole, and which are bad rows.

A reader holds the first 10 MB of a row (minibert/data/beginnings.py).  Where these have more tokens than the model
reads, the row's vector is that of the whole text, which would be truncated too.  Start with :func:`why_not`.
"""

from collections.abc import Callable
from typing import Any

from minibert.embedding import Embedder
from minibert.tokenizer.long_texts import knows_row


def why_not(embedder: Embedder, encoding: dict[str, Any]) -> Callable[[str], str | None]:
    """A function that says why the beginning of a text is not enough for its vector; None where it is.

    ``encoding``: the manifest's, the arguments of encode.
    """
    prompt, longest = encoding.get("prompt") or "", embedder.max_length

    def reason(beginning: str) -> str | None:
        if encoding["long"] == "windows":
            return "and long='windows' reads all of a text"
        if embedder.tokenizer.truncation_side == "left":
            return "and the tokenizer, with truncation_side='left', reads the end of a text"
        if knows_row(embedder.tokenizer, prompt + beginning, longest):
            return None
        return f"and too few tokens at its beginning to be sure of the first {longest}"

    return reason
