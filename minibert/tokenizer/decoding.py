"""From tokens back to text.  Lossy by design: case, accents and spacing were given up on the way in.

WordPiece pieces are joined where "##" stands, everything else is separated by a space; then the space before
English punctuation and contractions is taken out.  The rules are those of the ``tokenizers`` library's WordPiece
decoder, which applies them token by token, and of the ecosystem's older clean-up, which applies them to the text.
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
        spaced = (
            token if i == 0 else token.removeprefix(CONTINUATION) if token.startswith(CONTINUATION) else f" {token}"
        )
        parts.append(_attach(spaced))
    return "".join(parts)


def clean_up(text: str) -> str:
    """Attach punctuation and contractions across a whole text; "do not" stays as it is here."""
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
