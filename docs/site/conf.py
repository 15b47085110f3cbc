"""Sphinx' settings for one language of the site; scripts/tools/make_site.py stages its pages and says which one."""

import os
import re
from pathlib import Path

from sphinx.search import SearchLanguage, languages

from minibert import __version__

SPECIAL = ("search", "genindex")  # pages that Sphinx makes
LANGUAGES = {"en": "English", "ko": "한국어", "zh": "中文"}


class Bigrams(SearchLanguage):
    """Search by pairs of characters: Korean words carry endings, Chinese ones have no spaces between them."""

    lang = "bigrams"
    language_name = "Bigrams"
    js_splitter_code = r"""
    var splitQuery = (query) => (query.match(/[㐀-鿿가-힣]+|[^\P{L}㐀-鿿가-힣]+|\p{N}+|_+/gu) ?? []).flatMap((run) =>
      /[㐀-鿿가-힣]/.test(run) && run.length > 1
        ? Array.from({ length: run.length - 1 }, (_, place) => run.slice(place, place + 2)) : [run]);
    """

    def split(self, text: str) -> list[str]:
        """Latin words, and of each run of Hangul or Han the characters and their pairs."""
        return [part for run in RUN.findall(text) for part in ([run] if run[0] < "㐀" else parts(run))]

    def stem(self, word: str) -> str:
        """Words are compared as they are, in lower case."""
        return word.lower()


def parts(run: str) -> list[str]:
    """The characters and the pairs of neighbours."""
    return [*run, *(run[place : place + 2] for place in range(len(run) - 1))]


RUN = re.compile(r"[㐀-鿿가-힣]+|[^\W\d_㐀-鿿가-힣]+|\d+|_+")
languages["bigrams"] = Bigrams

project = "minibert"
author = "the minibert authors"
version = release = __version__
language = {"en": "en", "ko": "ko", "zh": "zh_CN"}[os.environ["SITE_LANGUAGE"]]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_use_legacy_class_based = False
napoleon_use_rtype = False
templates_path = ["_templates"]
exclude_patterns = ["_*"]

html_theme = "furo"
html_title = "minibert"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["ko.js"] if language == "ko" else []
html_show_sourcelink = False
html_copy_source = False
html_show_sphinx = False
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/languages.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
html_show_search_summary = False  # it would fetch pages, which a browser does not do from a disk
html_search_language = "en" if language == "en" else "bigrams"


def add_languages(app, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    """Where the page stands in the other languages, or else their first page; English stands at the root."""
    own = os.environ["SITE_LANGUAGE"]
    root = "../" * (pagename.count("/") + (own != "en"))
    pages = Path(os.environ["SITE_STAGE"])
    context["languages"] = [
        {
            "code": code,
            "name": name,
            "own": code == own,
            "href": f"{root}{'' if code == 'en' else code + '/'}{where}.html",
        }
        for code, name in LANGUAGES.items()
        for where in [pagename if list(pages.glob(f"{code}/{pagename}.*")) or pagename in SPECIAL else "index"]
    ]


def skip_older_names(app, what: str, name: str, value: object, skip: bool, options: object) -> bool | None:
    """Names that are there for programs written before they changed are not for a reader."""
    return True if (getattr(value, "__doc__", "") or "").startswith("Older name") else None


def setup(app) -> None:
    """Add the language switch, and leave out what is not for readers."""
    app.connect("html-page-context", add_languages)
    app.connect("autodoc-skip-member", skip_older_names)
