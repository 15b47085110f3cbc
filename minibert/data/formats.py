"""The files that are read as data, by their endings and their first bytes.

========================  ==========================  =========================  ==================================
ending                    pretrain                    embed, predict             finetune
========================  ==========================  =========================  ==================================
.txt                      sentences or prose          a text per line            entities: a word and its label
.csv .tsv .jsonl          the text column's cells     the text column's cells    columns; entities: lists or spans
.parquet                  are documents                                          (.jsonl, .parquet), words in .tsv
.json                     –                           questions: SQuAD           answers: SQuAD
.conll and others         as .txt                     –                          entities: a word and its label
========================  ==========================  =========================  ==================================

Each but .parquet may be compressed: ``.txt.gz``, ``.csv.zst`` (compressed.py).  :func:`check_format` refuses other
files by their ending or by their first bytes.
"""

from pathlib import Path
from typing import NamedTuple

from minibert.data.compressed import COMPRESSIONS, READING_ERRORS, compression_of, opened
from minibert.data.remote import File, RemoteFile
from minibert.errors import InputError, MinibertError, reason_of
from minibert.files import exists, is_file
from minibert.source import Source, as_path, is_path

ROWS = (".csv", ".tsv", ".jsonl", ".parquet")


class Use(NamedTuple):
    """What a file of data is read for."""

    endings: tuple[str, ...]
    listed: str  # in a message
    any_text: bool = False  # whether a file with another ending is read as lines of text
    name: str = "an input"


USES = {
    "texts": Use((".txt", *ROWS), ".txt (one text a line), .csv, .tsv, .jsonl or .parquet"),
    "documents": Use((".txt", *ROWS), ".txt or other plain text, .csv, .tsv, .jsonl or .parquet", any_text=True),
    "words": Use(
        (".jsonl", ".parquet"),
        "two columns (.conll, .tsv, .txt: word, tab, label, a blank line between sentences) or lists in .jsonl and "
        ".parquet",
        any_text=True,
        name="a file of labelled words",
    ),
    "questions": Use((".json", *ROWS), "SQuAD's .json, or .csv, .tsv, .jsonl or .parquet"),
}

WORDS_OF = "a word processor's document", "Save it as plain text, .txt."
SHEET = "a spreadsheet", "Save the sheet as .csv, in UTF-8."
MARKUP = "text with markup, which would be learned as words", "Take the text out of it into a .txt file."
ARCHIVE = "an archive", "Unpack it, and name the files or their folder."
COMPRESSED = (
    "compressed in a way that is not read here",
    "Decompress it, or compress it with gzip (.gz) or zstd (.zst).",
)
PICTURE = "a picture", "There is no text in it to read."
PROGRAM = "a program's own data, not text", "Write the texts to a .jsonl or .parquet file."
PDF = "a PDF", "Take its text out of it into a .txt file (pdftotext FILE.pdf FILE.txt)."
DATABASE = "a database", "Write the texts to a .jsonl or .csv file."
WEIGHTS = "a file of tensors, not text", "Name a file of texts."
REFUSED = {
    **dict.fromkeys((".docx", ".doc", ".odt", ".rtf", ".hwp", ".hwpx", ".pages"), WORDS_OF),
    **dict.fromkeys((".xlsx", ".xls", ".ods", ".xlsm"), SHEET),
    **dict.fromkeys((".html", ".htm", ".xhtml", ".xml", ".epub", ".tex"), MARKUP),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".rar", ".jar", ".whl"), ARCHIVE),
    **dict.fromkeys((".bz2", ".xz", ".lz4", ".z", ".br", ".lzma"), COMPRESSED),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".tif", ".tiff", ".bmp"), PICTURE),
    **dict.fromkeys((".pkl", ".pickle", ".arrow", ".feather", ".tfrecord", ".record", ".exe", ".so", ".dll"), PROGRAM),
    **dict.fromkeys((".npy", ".npz", ".pt", ".pth", ".bin", ".safetensors", ".h5", ".ckpt", ".onnx"), WEIGHTS),
    **dict.fromkeys((".db", ".sqlite", ".sqlite3", ".mdb"), DATABASE),
    ".pdf": PDF,
}
# The first bytes of a file, whatever its name is.
BEGINNINGS: tuple[tuple[bytes, tuple[str, str]], ...] = (
    (b"%PDF-", PDF),
    (b"PK\x03\x04", ("a zip archive, as .docx, .xlsx and .epub are", "Save its content as .txt or .csv.")),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", ("an older Office document", "Save its content as .txt or .csv.")),
    (b"BZh", ("compressed with bzip2", "Decompress it: bunzip2 FILE.")),
    (b"\xfd7zXZ\x00", ("compressed with xz", "Decompress it: unxz FILE.")),
    (b"7z\xbc\xaf\x27\x1c", ARCHIVE),
    (b"Rar!\x1a\x07", ARCHIVE),
    (b"\x89PNG\r\n", PICTURE),
    (b"\xff\xd8\xff", PICTURE),
    (b"GIF8", PICTURE),
    (b"\x7fELF", PROGRAM),
    (b"ARROW1\x00\x00", PROGRAM),
    (b"SQLite format 3\x00", DATABASE),
)
PARQUET = b"PAR1"
MARKUP_BEGINS = (b"<!doctype html", b"<html", b"<?xml")


def data_path(source: Source, what: str = "the data") -> Path:
    """``source`` as a path; raises InputError for anything else."""
    if not is_path(source):
        kind = "None" if source is None else "an empty text" if source == "" else f"a {type(source).__name__}"
        raise InputError(f"{what} is {kind}; expected the path of a file.")
    return as_path(source)


def ending_of(path: File) -> str:
    """The ending that tells the format, in lower case: ``".csv"`` of "X.CSV" and of "x.csv.gz"."""
    return (path if compression_of(path) is None else path.with_suffix("")).suffix.lower()


def check_format(path: File, use: str = "texts") -> str:
    """The ending of a file that is read for ``use``, a key of ``USES``; ``""`` for text with any other ending.

    Raises InputError, saying what the file is and what to do, for a file that is not read, for one that does not exist,
    and for one whose first bytes are those of another format.
    """
    purpose, ending = USES[use], ending_of(path)
    shown = path.suffix.lower()
    if ending in REFUSED or shown in REFUSED:
        what, advice = REFUSED.get(ending) or REFUSED[shown]
        raise InputError(f"{path} is {what}; {purpose.name} is {purpose.listed}. {advice}")
    if ending == ".json" and ".json" not in purpose.endings:
        raise InputError(
            f"{path} ends in '.json', one value for the whole file; {purpose.name} is {purpose.listed}. Rows of JSON, "
            "one object a line, end in .jsonl."
        )
    compression = compression_of(path)
    if ending == ".parquet" and compression is not None:
        raise InputError(
            f"{path} is a .parquet inside a {shown}; it is compressed already. Decompress it: {compression.undo} FILE."
        )
    is_text = purpose.any_text and not (use == "words" and ending == ".csv")
    if ending not in purpose.endings and not is_text:
        if not path.suffix and not isinstance(path, RemoteFile) and not exists(path):  # mistyped, or a folder
            raise InputError(f"{path} does not exist.")
        raise InputError(f"{path} ends in {path.suffix!r}; {purpose.name} is {purpose.listed}.")
    if not isinstance(path, RemoteFile) and not is_file(path):  # what is elsewhere says so when it is opened
        raise InputError(f"{path} does not exist.")
    check_beginning(path, ending)
    return ending if ending in purpose.endings else ""


def check_beginning(path: File, ending: str) -> None:
    """Raise InputError when the first bytes of a file are not those of text, or of the format that its ending names."""
    try:
        with path.open("rb") as file:
            raw = file.read(16)
        named = compression_of(path)
        for one in COMPRESSIONS.values():
            if one.begins(raw) and one is not named:
                raise InputError(
                    f"{path} is compressed with {one.name}. Call it {path.name}{one.ending}, or decompress it: "
                    f"{one.undo}."
                )
        if named is not None and raw and not named.begins(raw):
            raise InputError(
                f"{path} ends in {named.ending} and is not compressed with {named.name}. Take {named.ending} off its "
                "name."
            )
        with opened(path) as file:
            begin = file.read(64)
    except MinibertError:
        raise
    except READING_ERRORS as error:
        raise InputError(f"{path} cannot be read ({reason_of(error)}).") from error
    if ending == ".parquet":
        return  # pyarrow says what is wrong with it
    for beginning, (what, advice) in BEGINNINGS:
        if begin.startswith(beginning):
            raise InputError(f"{path} is {what}, whatever its name says. {advice}")
    if begin.startswith(PARQUET) and begin[4:5] in (b"", b"\x15"):
        raise InputError(f"{path} is a parquet file, whatever its name says. Let its name end in .parquet.")
    if begin.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(MARKUP_BEGINS):
        raise InputError(f"{path} is {MARKUP[0]}. {MARKUP[1]}")
