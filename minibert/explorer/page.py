"""The page as one file: markup, style, scripts and numbers in one HTML text that loads nothing.

A content-security-policy in its head allows exactly the style and the script that stand in it, by their hashes; so
whatever a text holds, it can be shown but not run.  The numbers and texts stand in a block of JSON, which a browser
does not run, with the letters that could end the block written as escapes.
"""

import base64
import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

STATIC = Path(__file__).parent / "static"
ENTRY = "main.js"
IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w-]+\.js)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?function|const|let|class)", re.MULTILINE)
STYLES = ("style.css", "views.css")


def page_html(content: dict[str, Any]) -> str:
    """The whole page for ``content`` (content.py)."""
    template = (STATIC / "page.html").read_text(encoding="utf-8")
    parts = {
        "policy": policy(bool(content["live"])),
        "style": style(),
        "content": safe_json(content),
        "script": script(),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], template)  # in one pass: a text may hold {{script}}


def policy(live: bool) -> str:
    """The content-security-policy: nothing but what stands in the page; live, also questions to where it came from."""
    connect = "'self'" if live else "'none'"
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{fingerprint(script())}'",
            f"style-src '{fingerprint(style())}'",
            f"connect-src {connect}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def fingerprint(text: str) -> str:
    """The hash of an element's content, as a policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


ESCAPES = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}


def safe_json(content: object) -> str:
    """JSON that can stand inside a script element: no letter in it can end one, nor begin a comment."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    text = re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text)  # half a letter is no UTF-8
    return text.translate(ESCAPES)


@cache
def style() -> str:
    """The style sheets, one after the other."""
    return "\n".join((STATIC / name).read_text(encoding="utf-8") for name in STYLES)


@cache
def script() -> str:
    """The modules of static/ as one script: each after those it imports, the imports themselves taken out.

    So the top-level names of all modules are names of one script; tests/explorer/test_page.py sees that none is there
    twice.
    """
    done: dict[str, str] = {}

    def add(name: str) -> None:
        if name in done:
            return
        done[name] = ""  # a module that imports itself in a circle finds itself begun
        text = (STATIC / name).read_text(encoding="utf-8")
        for other in IMPORT.findall(text):
            add(other)
        del done[name]  # its place is after all that it imports
        done[name] = EXPORT.sub("", IMPORT.sub("", text))

    add(ENTRY)
    return '"use strict";\n(() => {\n' + "\n".join(done.values()) + "})();\n"
