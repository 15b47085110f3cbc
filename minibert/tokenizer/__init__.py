"""Text to BERT's inputs and back, with the ids of the ``tokenizers`` library's BERT pipeline.

Read basic.py (cleaning and words), wordpiece.py (pieces), encoder.py (the two together), then encoding.py (rows:
[CLS] A [SEP] B [SEP]).  tokenizer.py holds the public class, fast.py the same rules at speed, characters.py the Unicode
classes that the rules ask for.  Vocabularies that are not WordPiece: library.py.
"""

from minibert.tokenizer.added_tokens import AddedToken
from minibert.tokenizer.basic import BasicTokenizer
from minibert.tokenizer.batch_encoding import BatchEncoding, CharSpan, TokenSpan
from minibert.tokenizer.encoding import Encoding
from minibert.tokenizer.library import LibraryTokenizer
from minibert.tokenizer.tokenizer import BertTokenizer
from minibert.tokenizer.wordpiece import WordPiece

__all__ = [
    "AddedToken",
    "BasicTokenizer",
    "BatchEncoding",
    "BertTokenizer",
    "CharSpan",
    "Encoding",
    "LibraryTokenizer",
    "TokenSpan",
    "WordPiece",
]
