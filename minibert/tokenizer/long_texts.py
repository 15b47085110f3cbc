"""Texts of which only the beginning is there: whether that is enough for the row that a model reads.

cuts.py and library_cuts.py say which first ids are certain.  Start with :func:`knows_row`.
"""

from minibert.tokenizer.request import Request
from minibert.tokenizer.tokenizer import BertTokenizer


def knows_row(tokenizer: BertTokenizer, beginning: str, max_length: int) -> bool:
    """Whether ``beginning`` alone has the truncated row of a text that begins so, whatever follows.

    Never where the tokenizer truncates at the left, since the end of the text is not there.
    """
    request = Request.of(False, True, max_length, None, tokenizer.model_max_length)
    return tokenizer._row_builder(request, 0).is_filled_by(beginning)
