"""Texts the tests of pre-training share: real ones where they are at hand, and one that leaks whatever can leak."""

import random
from pathlib import Path

from minibert import BertTokenizer
from minibert.pretraining.documents import Document, read_documents
from minibert.pretraining.tokenized import TokenizedText

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ENGLISH = [f"{a}{b}" for a in "bdfglmnprst" for b in ("ake", "ill", "ond", "ust", "een", "ar")]
KOREAN = [f"{a}{b}" for a in "가나다라마바사아자차" for b in "고미수진하도"]
MARKS = [".", ",", "!", "?", '"', "'", ";", ":", "-", "~", "_"]
ENDINGS = ["##s", "##ing", "##는", "##를"]


def tokenizer() -> BertTokenizer:
    """A cased tokenizer of a few words, in small letters and with a capital, some with an ending."""
    pieces = [*SPECIAL, *MARKS, *ENGLISH, *(word.capitalize() for word in ENGLISH), *KOREAN, *ENDINGS]
    return BertTokenizer({piece: number for number, piece in enumerate(pieces)}, do_lower_case=False)


def revealing_documents(count: int = 400, seed: int = 3) -> list[Document]:
    """Documents of two languages, each with its own length of sentence, ending and marks: what a naive pair betrays."""
    draw = random.Random(seed)
    documents = []
    for number in range(count):
        words, endings = (ENGLISH, ("s", "ing")) if number % 2 else (KOREAN, ("는", "를"))
        length, end = draw.choice([3, 6, 10]), draw.choice([".", "!", "?"])
        mark, often = draw.choice([",", ";", "-"]), draw.choice([0.05, 0.3])
        sentences = []
        for _ in range(draw.randint(4, 30)):
            text = []
            for place in range(max(1, length + draw.randint(-1, 1))):
                word = draw.choice(words) + (draw.choice(endings) if draw.random() < 0.2 else "")
                text.append(word.capitalize() if place == 0 else word + (mark if draw.random() < often else ""))
            sentences.append(" ".join(text) + end)
        documents.append(Document(sentences, f"document-{number}", 1))
    return documents


def revealing_text(count: int = 400, seed: int = 3) -> TokenizedText:
    return TokenizedText.of(revealing_documents(count, seed), tokenizer())


def books(folder: Path, chapters: str = r"CHAPTER|Chapter|[IVX]+\. ") -> list[Document]:
    """The English books, a chapter a document."""
    paths = [path for path in sorted(folder.glob("*.txt")) if path.name != "README.txt"]
    return list(read_documents(paths, split_sentences=True, heading=chapters, encoding="latin-1"))


def reviews(folder: Path) -> list[Document]:
    """The Korean reviews, each a document."""
    return list(read_documents(folder / "ko_movie_reviews.txt", split_sentences=True, document="line"))
