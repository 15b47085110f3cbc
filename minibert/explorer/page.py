"""The page as one HTML file: markup, styles, scripts and data, with nothing to load.

Its Content-Security-Policy allows only its own style and script, by their hashes, so no text shown in the page can run
as a script.  Numbers and texts are a block of JSON in which the characters that could end the block are escaped.
"""

import base64
import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

STATIC = Path(__file__).parent / "static"
ENTRY = STATIC / "main.js"
WORKER = STATIC / "engine" / "worker.js"
IMPORT = re.compile(r'^import \{[^}]*\} from "(\.{1,2}/[\w./-]+\.js)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?function|const|let|class)", re.MULTILINE)
BLOCK = 1 << 20  # letters of base64, a multiple of 4: each block is decoded while the browser still reads the next
STYLES = ("style.css", "views.css")


def page_html(content: dict[str, Any], weights: str | None = None) -> str:
    """The whole page for ``content`` (content.py); with ``weights`` (weights.py) for a page that computes."""
    template = (STATIC / "page.html").read_text(encoding="utf-8")
    computes = weights is not None
    blocks = [weights[at : at + BLOCK] for at in range(0, len(weights), BLOCK)] if weights else []
    parts = {
        "policy": policy(server=bool(content["live"]) and not computes, engine=computes),
        "style": style(),
        "content": safe_json(content),
        "weights": "".join(f'<script type="text/plain" class="weights">{block}</script>\n' for block in blocks),
        "script": script(engine=computes),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], template)  # once: a text may hold {{script}}


def policy(*, server: bool = False, engine: bool = False) -> str:
    """The Content-Security-Policy: only what is in the page.

    ``server``: also requests to the page's own server.  ``engine``: also WebAssembly, and a worker from a script that
    the page makes itself, which only its own script, named by its hash, can do; the worker inherits this policy.
    """
    wasm = " 'wasm-unsafe-eval'" if engine else ""
    connect = "'self'" if server else "'none'"
    worker = "blob:" if engine else "'none'"
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{fingerprint(script(engine=engine))}'{wasm}",
            f"style-src '{fingerprint(style())}'",
            f"connect-src {connect}",
            f"worker-src {worker}",
            "img-src blob: data:",  # a picture of a view, to be saved
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def fingerprint(text: str) -> str:
    """The hash of an element's content, as in a Content-Security-Policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


ESCAPES = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}


def safe_json(content: object) -> str:
    """JSON that is safe inside a script element: nothing in it can end the element or begin a comment."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    text = re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text)  # lone surrogates are not UTF-8
    return text.translate(ESCAPES)


@cache
def style() -> str:
    """The style sheets, one after the other."""
    return "\n".join((STATIC / name).read_text(encoding="utf-8") for name in STYLES)


@cache
def script(*, engine: bool = False) -> str:
    """The page's own script; ``engine``: after the worker's, which is the text of a function (ask_engine.js)."""
    worker = f"function engineWorker() {{\n{bundle(WORKER)}}}\n" if engine else ""
    return f'"use strict";\n{worker}{bundle(ENTRY)}'


@cache
def bundle(entry: Path) -> str:
    """The module ``entry`` and all that it imports as one script, each after those it imports, without the imports.

    The top-level names of all modules share one scope, so each may occur only once.
    """
    done: dict[Path, str] = {}

    def add(path: Path) -> None:
        if path in done:
            return
        done[path] = ""  # ends import circles
        text = path.read_text(encoding="utf-8")
        for other in IMPORT.findall(text):
            add((path.parent / other).resolve())
        del done[path]  # it comes after all that it imports
        done[path] = EXPORT.sub("", IMPORT.sub("", text))

    add(entry.resolve())
    return '"use strict";\n(() => {\n' + "\n".join(done.values()) + "})();\n"
