"""From tokens back to text.  Case, accents and the original spacing are lost.

Pieces that begin with "##" are joined to the one before; other tokens are separated by a space.  Then the space before
English punctuation and contractions is removed.  The rules are those of the ``tokenizers`` library's WordPiece decoder,
which applies them per token, and of transformers' older clean-up, which applies them to the whole text.
"""

from collections.abc import Iterable

from minibert.tokenizer.wordpiece import CONTINUATION

_ATTACHED = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" do not", " don't"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)


def join_tokens(tokens: Iterable[str]) -> str:
    """``["un", "##want", "##ed", "."]`` → ``"unwanted."``."""
    parts = []
    for i, token in enumerate(tokens):
        continues = token.startswith(CONTINUATION)
        parts.append(_attach(token if i == 0 else token.removeprefix(CONTINUATION) if continues else f" {token}"))
    return "".join(parts)


def clean_up(text: str) -> str:
    """Attach punctuation and contractions in a whole text; "do not" is left as it is."""
    for spaced, attached in _ATTACHED:
        if spaced != " do not":
            text = text.replace(spaced, attached)
    return text


def _attach(token: str) -> str:
    if not token.startswith(" ") and " " not in token:
        return token
    for spaced, attached in _ATTACHED:
        token = token.replace(spaced, attached)
    return token
