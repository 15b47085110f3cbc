"""Tokenized documents: flat tensors with offsets, so that ten million pieces take 50 megabytes and not a gigabyte.

A text is tokenized once; passages, pairs and masks are cheap and drawn anew.  A stored text is mapped into memory.  It
records its origin, so that a run does not learn from a text that is not the one asked for.  Start with
:class:`TokenizedText`.
"""

import hashlib
import io
import json
import struct
import tempfile
import unicodedata
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from torch import Tensor
from tqdm import tqdm

from minibert.checkpoint.save import StoredNumbers, write_safetensors
from minibert.checkpoint.weights import open_safetensors
from minibert.checksum import is_sealed
from minibert.data.memory import Data, data_digest
from minibert.errors import CheckpointError, InputError, MinibertError, reason_of
from minibert.pretraining.documents import Document
from minibert.source import Source, as_path
from minibert.tokenizer import BertTokenizer, characters

FORMAT = "2"  # with a checksum
CACHE_SIZE = 1 << 17  # strings with their ids; about 30 MB
ID_BYTES = array("i").itemsize
DOCUMENTS_TOGETHER = 256  # per call of the tokenizer, which costs as much as dozens of words
Label = Callable[[Document], str]
TENSORS = {
    "pieces": torch.int32, "begins_stretch": torch.bool, "sentences": torch.int64, "documents": torch.int64,
    "labels": torch.int32,
}  # fmt: skip


@dataclass(frozen=True)
class TokenizedText:
    """The pieces of documents, without special tokens."""

    pieces: Tensor  # (P,) int32: ids, one sentence after the other
    begins_stretch: Tensor  # (P,) bool: the piece follows white space, so that a text may be cut here
    sentences: Tensor  # (S + 1,) int64: the first piece of each sentence; at the end P
    documents: Tensor  # (D + 1,) int64: the first sentence of each document; at the end S
    labels: Tensor  # (D,) int32: the index of each document's name in ``names``
    names: tuple[str, ...]  # of languages, or of other groups with separate held-out scores

    @classmethod
    def of(cls, documents: Iterable[Document], tokenizer: BertTokenizer, label: Label | None = None) -> "TokenizedText":
        """Tokenize; ``label`` names a document's group, by default its script (``"hangul"``, ``"latin"``).

        Special tokens in the text are treated as text.  Sentences without pieces, and documents without sentences, are
        left out.  Raises InputError when nothing is left.
        """
        streams = {name: io.BytesIO() for name in TENSORS}
        names = tokenize(documents, tokenizer, streams, label)
        tensors = {name: torch.frombuffer(streams[name].getbuffer(), dtype=dtype) for name, dtype in TENSORS.items()}
        return cls(**tensors, names=names)

    @staticmethod
    def write(
        documents: Iterable[Document],
        tokenizer: BertTokenizer,
        path: Source,
        origin: dict[str, Any],
        label: Label | None = None,
    ) -> None:
        """Tokenize into a file, the same as ``of(…).save(path, origin)``, in memory that does not grow with the text.

        Raises CheckpointError when the file cannot be written.
        """
        path = as_path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with ExitStack() as stack:
                streams = {
                    name: stack.enter_context(tempfile.TemporaryFile(dir=path.parent, prefix=".")) for name in TENSORS
                }
                names = tokenize(documents, tokenizer, streams, label)
                stored = {name: StoredNumbers(streams[name], dtype) for name, dtype in TENSORS.items()}
                write_safetensors(path, stored, about(names, origin), sealed=True)
        except MinibertError:
            raise
        except OSError as error:
            raise CheckpointError(f"{path} cannot be written ({reason_of(error)}).") from error

    def __str__(self) -> str:
        return (
            f"{len(self.documents) - 1:,} documents, {len(self.sentences) - 1:,} sentences, {len(self.pieces):,} pieces"
        )

    def piece_counts(self, size: int) -> Tensor:
        """(size,) int64: the count of each piece of a vocabulary of that size."""
        return torch.bincount(self.pieces, minlength=size)

    def save(self, path: Source, origin: dict[str, Any]) -> None:
        """Write a safetensors file, whole or not at all, with its origin (:func:`origin_of`)."""
        tensors = {name: getattr(self, name) for name in TENSORS}
        write_safetensors(as_path(path), tensors, about(self.names, origin), sealed=True)

    @classmethod
    def load(cls, path: Source, origin: dict[str, Any]) -> "TokenizedText":
        """Map a file that :meth:`save` wrote into memory.

        Raises InputError when it has another origin, CheckpointError when it is no such file.
        """
        path = as_path(path)
        try:
            sealed = is_sealed(path)
            with open_safetensors(path) as file:
                stored = dict(file.metadata() or {})
                if not sealed or stored.get("format") != FORMAT:
                    raise ValueError(f"its format is {stored.get('format')!r}, expected {FORMAT!r}")
                check_origin(path, json.loads(stored["origin"]), origin)
                tensors = {name: file.get_tensor(name) for name in TENSORS}
                names = tuple(json.loads(stored["names"]))
        except MinibertError as error:
            if isinstance(error, InputError):
                raise
            raise CheckpointError(f"{error} Remove it; it is made again from the text.") from error
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise CheckpointError(
                f"{path} is no whole tokenized text ({reason_of(error)}). Remove it; it is made again from the text."
            ) from error
        return cls(**tensors, names=names)


def about(names: tuple[str, ...], origin: dict[str, Any]) -> dict[str, str]:
    """The metadata of a stored text."""
    return {"format": FORMAT, "names": json.dumps(names), "origin": json.dumps(origin, sort_keys=True)}


def tokenize(
    documents: Iterable[Document], tokenizer: BertTokenizer, streams: Mapping[str, BinaryIO], label: Label | None = None
) -> tuple[str, ...]:
    """Write the numbers of each of ``TENSORS`` into its stream; returns the names of the labels.

    Raises InputError when there is no piece.
    """
    label, stretches, names = label or script_of, Stretches(tokenizer), dict[str, int]()
    pieces = sentences = 0  # so far
    for name in ("sentences", "documents"):
        streams[name].write(struct.pack("q", 0))
    for document, sentences_of_it in stretches.of(documents):
        before = sentences
        for ids in sentences_of_it:
            joined = b"".join(ids)
            if joined:
                streams["pieces"].write(joined)
                streams["begins_stretch"].write(b"".join([BEGINS[len(one)] for one in ids]))
                pieces, sentences = pieces + len(joined) // ID_BYTES, sentences + 1
                streams["sentences"].write(struct.pack("q", pieces))
        if sentences > before:
            streams["documents"].write(struct.pack("q", sentences))
            streams["labels"].write(struct.pack("i", names.setdefault(label(document), len(names))))
    if not pieces:
        raise InputError("There is no text: the documents have no sentence with a piece in it.")
    return tuple(names)


def check_origin(path: Path, stored: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise InputError, naming what differs, unless both are equal."""
    expected = json.loads(json.dumps(expected))
    for name in sorted(stored.keys() | expected.keys()):
        if stored.get(name) != expected.get(name):
            raise InputError(
                f"{path} was made with another {name.replace('_', ' ')} ({stored.get(name)!r}, now "
                f"{expected.get(name)!r}). Remove it, or name another folder, and the text is tokenized again."
            )


def origin_of(paths: Iterable[Data], tokenizer: BertTokenizer, **reading: Any) -> dict[str, Any]:
    """What a tokenized text depends on: checksums of the files and of the vocabulary, and how the files are read.

    ``reading`` is everything else that determines the text, such as the arguments of ``read_documents`` and the share
    that is held out.
    """
    content = hashlib.sha256()
    for path in paths:
        content.update(bytes.fromhex(data_digest(path)))
    vocabulary = json.dumps(sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]))
    return {
        "text": content.hexdigest(),
        "vocabulary": hashlib.sha256(vocabulary.encode()).hexdigest(),
        "do_lower_case": tokenizer.do_lower_case,
        "strip_accents": tokenizer.strip_accents,
        "tokenize_chinese_chars": tokenizer.tokenize_chinese_chars,
        **reading,
    }


class Begins(dict[int, bytes]):
    """For the ids of a stretch, by their bytes, a 1 and zeros: where the stretch begins."""

    def __missing__(self, size: int) -> bytes:
        self[size] = b"\1" + bytes(size // ID_BYTES - 1) if size else b""
        return self[size]


BEGINS = Begins()


class Stretches:
    """Sentences to ids (int32, as bytes), one stretch (a string between spaces) at a time, with a cache.

    No rule of BERT's tokenizer looks across white space, so the ids are those of the whole sentence; and the places
    where a sentence may be cut are known.
    """

    def __init__(self, tokenizer: BertTokenizer) -> None:
        self._tokenizer = tokenizer
        self._cache: dict[str, bytes] = {}

    def of(self, documents: Iterable[Document]) -> Iterator[tuple[Document, Iterator[list[bytes]]]]:
        """Each document with the ids of the stretches of its sentences."""
        stream = iter(tqdm(documents, desc="tokenizing", unit=" documents", leave=False, disable=None))
        while together := list(islice(stream, DOCUMENTS_TOGETHER)):
            parts = [[characters.WHITESPACE.split(sentence) for sentence in one.sentences] for one in together]
            self._learn({stretch for document in parts for sentence in document for stretch in sentence})
            for document, sentences in zip(together, parts, strict=True):
                yield document, ([self._cache[stretch] for stretch in sentence] for sentence in sentences)

    def _learn(self, stretches: set[str]) -> None:
        if len(self._cache) > CACHE_SIZE:
            self._cache.clear()
        new = [stretch for stretch in stretches if stretch not in self._cache]
        if not new:
            return
        rows = self._tokenizer(
            new, add_special_tokens=False, split_special_tokens=True, return_token_type_ids=False,
            return_attention_mask=False, verbose=False,
        )["input_ids"]  # fmt: skip
        for stretch, ids in zip(new, rows, strict=True):
            self._cache[stretch] = array("i", ids).tobytes()


def script_of(document: Document) -> str:
    """The most frequent script in a document's first sentences: ``"latin"``, ``"hangul"``, ``"cjk"`` …"""
    counts: Counter[str] = Counter()
    for sentence in document.sentences[:20]:
        counts.update(filter(None, map(script_of_letter, sentence)))
    return counts.most_common(1)[0][0] if counts else "none"


@cache
def script_of_letter(letter: str) -> str | None:
    """The first word of a letter's Unicode name, mostly the name of its script; None for other characters."""
    return unicodedata.name(letter, "").partition(" ")[0].lower() or None if letter.isalpha() else None
