"""The source of minibert as pages of the site: highlighted, each line with an anchor, folders as lists."""

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SHOWN = (".py", ".js", ".json", ".toml", ".css", ".html")
LARGEST = 100_000  # bytes of a file that a list shows; larger ones are data
STYLE = """
body { font-family: system-ui, sans-serif; margin: 1rem; color: #1f2328; background: #fff; }
pre { overflow-x: auto; } a { color: #0645ad; } :target { background: #ffef9e; }
span.linenos { padding-right: 1em; }
"""


def write_sources(wanted: Iterable[str], output: Path) -> None:
    """Write a page for every file and folder in ``wanted``, paths from the root, and for what is in the folders."""
    waiting, done = sorted(wanted), set[str]()
    while waiting:
        name = waiting.pop()
        if name in done:
            continue
        done.add(name)
        is_folder = (ROOT / name).is_dir()
        inner = files_in(ROOT / name) if is_folder else []
        waiting += [path.relative_to(ROOT).as_posix() for path in inner]
        file = output / "source" / (f"{name}/index.html" if is_folder else f"{name}.html")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(page(name, listing(inner) if is_folder else highlighted(ROOT / name)), encoding="utf-8")


def files_in(folder: Path) -> list[Path]:
    """What a folder's list shows: files of code and folders with something in them."""
    inner = (path for path in sorted(folder.iterdir()) if path.name not in ("__pycache__", "outputs.json"))
    return [path for path in inner if (any(path.glob("*.*")) if path.is_dir() else is_shown(path))]


def is_shown(path: Path) -> bool:
    """Whether a file is code or settings."""
    return path.suffix in SHOWN and path.stat().st_size <= LARGEST


def listing(paths: Iterable[Path]) -> str:
    """Links to the pages of files and folders."""
    hrefs = {path.name: f"{path.name}/index.html" if path.is_dir() else f"{path.name}.html" for path in paths}
    items = (f'<li><a href="{href}">{escape(name)}</a></li>' for name, href in hrefs.items())
    return f"<ul>{''.join(items)}</ul>"


def highlighted(path: Path) -> str:
    """A file's text, with line-1, line-2 … as anchors."""
    from pygments import highlight
    from pygments.lexers import TextLexer, get_lexer_for_filename
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_for_filename(path.name)
    except ClassNotFound:
        lexer = TextLexer()
    return str(highlight(path.read_text(encoding="utf-8"), lexer, formatter()))


def formatter() -> Any:
    """Pygments' writer of HTML."""
    from pygments.formatters import HtmlFormatter

    return HtmlFormatter(linenos="inline", linespans="line", wrapcode=True)


def page(name: str, body: str) -> str:
    """A page that loads nothing."""
    home = "../" * (name.count("/") + 1 + (ROOT / name).is_dir())
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(name)}</title><style>{STYLE}{formatter().get_style_defs()}</style></head>\n<body><main>"
        f'<p><a href="{home}index.html">minibert</a></p><h1>{escape(name)}</h1>{body}</main></body></html>\n'
    )
