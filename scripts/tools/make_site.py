"""Build the site: the course in three languages, guides, reference, source, and the page in which BERT runs.

    python scripts/tools/make_site.py --output site      # what make docs does

The result is a folder of files for any static host; it also opens from a disk, and loads nothing from anywhere.  Sphinx
with MyST and Furo builds it: its search works from file://, as a generator whose search is fetched does not; its API
reference reads our docstrings as they are; Furo loads no fonts.  English stands at the root, Korean and Chinese beside
it.  Needs the extra ``docs``.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path, PurePosixPath

from site_check import faults
from site_sources import write_sources

import minibert
from minibert.learn import Cell, Exercise, Lesson, Prose, lesson_numbers, open_lesson, to_notebook
from minibert.learn.lesson import with_lines
from minibert.learn.words import WORDS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
MATH = re.compile(r"\$\$([^$]+)\$\$|(?<![\\$`\w])\$([^$\n]+)\$(?![\w$])")
CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.DOTALL)
FENCED = re.compile(r"(^```.*?^```)", re.DOTALL | re.MULTILINE)
# Pages that stand elsewhere in the repository → where they stand in the site.
ELSEWHERE = {
    "minibert/demo/README.md": "checkpoint.md",
    "scripts/bench/README.md": "speed.md",
    "CHANGELOG.md": "changes.md",
}
COURSE = {"en": "The course", "ko": "강의", "zh": "课程"}
DOWNLOAD = {"en": "This lesson as a notebook", "ko": "이 과를 노트북으로", "zh": "本课的 notebook"}
LIVE = {"en": "BERT, running in this page", "ko": "이 페이지 안에서 실행되는 BERT", "zh": "在本页中运行的 BERT"}


class Stage:
    """The pages of one language, written as Sphinx reads them."""

    def __init__(self, folder: Path, language: str) -> None:
        self.folder, self.language = folder, language
        self.sources: set[str] = set()  # paths of the repository that pages link to

    def write(self, page: str, text: str) -> None:
        """Write a page whose links are the site's already."""
        file = self.folder / page
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def take(self, origin: str, page: str) -> None:
        """Take a page of the repository, with its links turned into the site's."""
        text = (ROOT / origin).read_text(encoding="utf-8")
        parts = CODE.split(text)  # every second part is code
        parts = FENCED.split(text)  # every second part is a block of code

        def linked(link: re.Match[str]) -> str:
            return self.link(link, origin, page)

        self.write(page, "".join(part if n % 2 else LINK.sub(linked, part) for n, part in enumerate(parts)))

    def link(self, link: re.Match[str], origin: str, page: str) -> str:
        """One link of a page: to a page of the site, or to a file's source."""
        label, (path, _, fragment) = link[1], link[2].partition("#")
        if not path or "://" in path:
            return link[0]
        target = os.path.normpath(PurePosixPath(origin).parent / path)
        inside = ELSEWHERE.get(target) or (target[5:] if target.startswith("docs/") else None)
        if inside:
            return f"[{label}]({relative(inside, page)}{'#' + fragment if fragment else ''})"
        return self.to_source(label, target, page, fragment)

    def to_source(self, label: str, target: str, page: str, fragment: str = "") -> str:
        """A link to the source of a file or folder, as HTML, for Sphinx knows only its own pages."""
        self.sources.add(target)
        name = f"{target}/index" if (ROOT / target).is_dir() else target
        href = relative(f"source/{name}.html", page, self.language) + (f"#{fragment}" if fragment else "")
        return f'<a href="{href}">{re.sub("`([^`]*)`", lambda c: f"<code>{escape(c[1])}</code>", label)}</a>'


def relative(target: str, page: str, language: str = "en") -> str:
    """The way from one page to another; both from the root of the language, or ``target`` from the site's."""
    way = os.path.relpath(target, PurePosixPath(page).parent)
    return way if language == "en" else f"../{way}"


def stage_english(stage: Stage) -> None:
    """Everything that stands in English alone."""
    for file in sorted(DOCS.rglob("*.md")):
        page = file.relative_to(DOCS).as_posix()
        if not page.startswith("site/"):
            stage.take(f"docs/{page}", page)
    for origin, page in ELSEWHERE.items():
        stage.take(origin, page)
    shutil.copytree(DOCS / "images", stage.folder / "images")
    shutil.copy(ROOT / "minibert" / "demo" / "loss.svg", stage.folder / "loss.svg")
    guides = sorted((stage.folder / "guides").glob("*.md"))
    stage.write("guides/index.md", "# How to …\n\n" + toctree(file.stem for file in guides))
    stage_reference(stage)


def stage_reference(stage: Stage) -> None:
    """The API: a page for each room with what it exports."""
    rooms = minibert._ROOMS
    pages = [room.removeprefix("minibert.") for room in rooms]
    stage.write("api/index.md", "# API\n\nEvery name can be imported from `minibert`.\n\n" + toctree(pages))
    for room, page in zip(rooms, pages, strict=True):
        names = "\n".join(documented(name) for name in rooms[room])
        stage.write(f"api/{page}.md", f"# {page}\n\n```{{eval-rst}}\n.. currentmodule:: minibert\n\n{names}\n```\n")


def documented(name: str) -> str:
    """Sphinx' directive for a public name."""
    if isinstance(getattr(minibert, name), type):
        return f".. autoclass:: {name}\n   :members:\n"
    return f".. autofunction:: {name}\n"


def stage_course(stage: Stage) -> None:
    """The first page and the lessons."""
    stage.write("index.md", with_live_page((DOCS / "site" / f"{stage.language}.md").read_text("utf-8"), stage))
    for number in lesson_numbers():
        lesson = open_lesson(number, stage.language)
        stage.write(f"lessons/{lesson.name}.md", "\n\n".join(lesson_page(lesson, stage)) + "\n")
    names = (f"lesson{number:02}" for number in lesson_numbers())
    stage.write("lessons/index.md", f"# {COURSE[stage.language]}\n\n{toctree(names)}")


def with_live_page(text: str, stage: Stage) -> str:
    """The first page: with the page that computes in it, and the tables of contents that the sidebar shows."""
    place = relative("live.html", "index.md", stage.language)
    title = LIVE[stage.language]
    frame = f'<iframe class="page" loading="lazy" title="{title}" src="{place}#lang={stage.language}"></iframe>'
    trees = {COURSE[stage.language]: ["lessons/index"]}
    if stage.language == "en":
        trees |= {"Use it": ["guides/index", "api/index"], "In depth": in_depth(stage)}
    hidden = (
        f"```{{toctree}}\n:hidden:\n:caption: {title}\n\n{chr(10).join(pages)}\n```\n" for title, pages in trees.items()
    )
    return text.replace(":::{live}\n:::", frame) + "\n" + "\n".join(hidden)


def in_depth(stage: Stage) -> list[str]:
    """The reference pages, the reader's first ones first."""
    pages = sorted(file.stem for file in stage.folder.glob("*.md") if file.stem != "index")
    first = ["architecture", "checkpoints", "tokenizer", "embedding", "scale", "lens", "training", "verify", "commands"]
    return [page for page in first if page in pages] + [page for page in pages if page not in first]


def toctree(pages: Iterable[str]) -> str:
    """A table of contents."""
    return "```{toctree}\n:maxdepth: 1\n\n" + "\n".join(pages) + "\n```\n"


def lesson_page(lesson: Lesson, stage: Stage) -> Iterator[str]:
    """A lesson as a page: each cell with what it shows, solutions folded."""
    words, page = WORDS[lesson.language], f"lessons/{lesson.name}.md"

    def said(text: str) -> str:
        linked = with_lines(
            text, lambda line: stage.to_source(f"`{line.name}`", f"minibert/{line.file}", page, f"line-{line.line}")
        )
        return "".join(
            part if place % 2 else MATH.sub(mathematics, part) for place, part in enumerate(CODE.split(linked))
        )

    yield f"# {words['lesson'].format(number=lesson.number)}. {lesson.title}"
    notebook = relative(f"notebooks/lesson-{lesson.number}-{lesson.language}.ipynb", page, lesson.language)
    yield f'<a href="{notebook}" download>{DOWNLOAD[lesson.language]}</a>'
    for part in lesson.parts:
        if isinstance(part, Prose):
            yield said(part.text)
        elif isinstance(part, Cell):
            yield f"```python\n{part.code}\n```"
            yield from shown(part)
        elif isinstance(part, Exercise):
            yield f"### {words['exercise'].format(number=part.number)}\n\n{said(part.text)}"
            yield f"```python\n{part.code}\n```"
            yield f'<details class="solution"><summary>{words["solution"]}</summary>'
            yield f"{said(part.explanation)}\n\n```python\n{part.solution}\n```"
            yield "</details>"


def shown(cell: Cell) -> Iterator[str]:
    """What a cell printed and showed."""
    for output in cell.outputs:
        data = output.get("data", {})
        html = "".join(data.get("text/html") or data.get("image/svg+xml") or [])
        text = "".join(output.get("text") or data.get("text/plain", [])).rstrip()
        body = html or f"<pre>{escape(text)}</pre>"
        if body:
            yield f'````{{raw}} html\n<div class="output">\n{body}\n</div>\n````'


def mathematics(formula: re.Match[str]) -> str:
    """A formula as MathML, which browsers draw themselves."""
    from latex2mathml.converter import convert

    return str(convert(formula[1] or formula[2], display="block" if formula[1] else "inline"))


def build(output: Path) -> list[str]:
    """Build the site into a folder and return what is wrong with it."""
    if output.exists():
        shutil.rmtree(output)
    sources = {"minibert", "scripts", "configs", "tests/parity/tolerances.py"}
    with tempfile.TemporaryDirectory() as place:
        stages = {language: Stage(Path(place) / language, language) for language in WORDS}
        for language, stage in stages.items():
            shutil.copytree(DOCS / "site", stage.folder, ignore=shutil.ignore_patterns("*.md", "__pycache__"))
            if language == "en":
                stage_english(stage)
            stage_course(stage)
            sources |= stage.sources
        for language, stage in stages.items():
            goal = output if language == "en" else output / language
            environment = os.environ | {"SITE_LANGUAGE": language, "SITE_STAGE": place}
            command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", stage.folder, goal]
            if subprocess.run(list(map(str, command)), env=environment, check=False).returncode:
                return [f"Sphinx found faults in the pages in {language}, named above."]
            shutil.rmtree(goal / ".doctrees")
            shutil.rmtree(goal / "_sources", ignore_errors=True)
    for file in output.rglob("*.html"):
        file.write_text(accessible(file.read_text(encoding="utf-8")), encoding="utf-8")
    write_sources(sources, output)
    (output / "notebooks").mkdir()
    for number in lesson_numbers():
        for language in WORDS:
            notebook = to_notebook(open_lesson(number, language), pictures=False)  # nobody has signed it there
            text = json.dumps(notebook, ensure_ascii=False, indent=1)
            (output / "notebooks" / f"lesson-{number}-{language}.ipynb").write_text(text + "\n", encoding="utf-8")
    model = minibert.BertForPreTraining.from_pretrained("minibert-demo")
    tokenizer = minibert.BertTokenizer.from_pretrained("minibert-demo")
    minibert.explore(model, tokenizer, "She was very [MASK] to see him.", path=output / "live.html", live=True)
    (output / ".nojekyll").touch()
    return faults(output)


def accessible(html: str) -> str:
    """A page whose code can be scrolled with the keys, and whose headings in the sidebar have a level."""
    html = html.replace("<pre>", '<pre tabindex="0">')
    return html.replace('<p class="caption" role="heading">', '<p class="caption" role="heading" aria-level="2">')


def main() -> int:
    """Build, check, and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "site", help="the folder to write; it is made anew")
    output, start = parser.parse_args().output, time.perf_counter()
    found = build(output)
    for fault in found:
        print(fault)
    size = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
    pages = len(list(output.rglob("*.html")))
    print(f"{output}: {pages} pages, {size / 1e6:.1f} MB, in {time.perf_counter() - start:.0f} s; {len(found)} faults")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
