"""Text to BERT's inputs and back, identical to the ``tokenizers`` library's BERT pipeline and readable.

Read basic.py (cleaning and words), wordpiece.py (pieces), then encoding.py ([CLS] a [SEP] b [SEP]).  tokenizer.py is
the calling convention; fast.py the same rules at speed; characters.py what Unicode means here.
"""

from minibert.tokenizer.added_tokens import AddedToken
from minibert.tokenizer.basic import BasicTokenizer
from minibert.tokenizer.batch_encoding import BatchEncoding, CharSpan, TokenSpan
from minibert.tokenizer.encoding import Encoding
from minibert.tokenizer.tokenizer import BertTokenizer
from minibert.tokenizer.wordpiece import WordPiece

__all__ = [
    "AddedToken",
    "BasicTokenizer",
    "BatchEncoding",
    "BertTokenizer",
    "CharSpan",
    "Encoding",
    "TokenSpan",
    "WordPiece",
]
