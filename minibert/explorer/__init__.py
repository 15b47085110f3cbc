"""The explorer: a page that shows every value of a run of BERT in a browser.

``explore`` writes it as one file that needs no network; a notebook shows it in a frame.  With ``live=True`` BERT itself
is in that file (computing.py).  ``serve_page`` (server.py) answers the same questions for a model of any size.
``content.py`` makes the page's data, ``page.py`` the file, and ``static/`` holds its scripts and styles.
"""

import html
import os
from pathlib import Path
from urllib.parse import quote

from minibert.errors import InputError
from minibert.explorer.computing import computing_page
from minibert.explorer.content import CHARACTERS, STD, content_of, name_of
from minibert.explorer.page import page_html
from minibert.explorer.text import texts_of
from minibert.files import write_text
from minibert.pretrained import BertPreTrainedModel
from minibert.renamed import older_arguments
from minibert.source import Source
from minibert.tokenizer import BertTokenizer

__all__ = ["Page", "explore"]

FRAME = (
    '<iframe title="minibert explorer" sandbox="allow-scripts allow-downloads" '
    'style="width: 100%; height: 860px; border: 0" {}="{}"></iframe>'
)
LIVE_FILE = "minibert-explorer.html"  # of a page that computes, beside the notebook


class Page(str):
    """The HTML of a page.  A notebook shows it in a frame, which isolates its styles and keys from the notebook's.

    ``beside``: the file of a page that computes; the frame shows that file, so that a notebook's output stays small.
    """

    beside: Path | None = None

    def _repr_html_(self) -> str:
        if self.beside is not None:
            return FRAME.format("src", quote(Path(os.path.relpath(self.beside)).as_posix()))
        return FRAME.format("srcdoc", html.escape(self, quote=True))

    def __repr__(self) -> str:
        return f"<minibert page, {len(self.encode()) / 1e6:.1f} MB of HTML; str() has it, a notebook shows it>"


@older_arguments
def explore(
    model: BertPreTrainedModel,
    tokenizer: BertTokenizer,
    text: str,
    second: str | None = None,
    path: Source | None = None,
    *,
    pair: bool = False,
    name: str | None = None,
    samples: int | None = None,
    std: float = STD,
    limit: int = CHARACTERS,
    live: bool = False,
    int8: bool = False,
) -> Page:
    """The page of one text, or of two texts to compare, as HTML that opens offline.

    Args:
        model: any model of minibert, in eval mode.  With a masked-language-modelling head the page also shows the
            predictions of each layer (logit lens).
        tokenizer: the model's.
        text: a text longer than the model reads is cut, and the page says so.
        second: another text; the page then compares the words that occur in both.
        pair: the model reads both texts at once, ``[CLS] text [SEP] second [SEP]``.
        path: the file to write, atomically; default: no file.
        name: what the page calls the model; default the tokenizer's ``name_or_path``.
        samples: noise samples for each position of the sensitivity maps; 0 leaves the maps out.  Default 4, or 0 for
            more than 128 tokens, where they would take minutes.
        std: the standard deviation of that noise.
        limit: about how many characters the numbers may take.  Longer texts are shown in less detail; the page says
            what is left out.
        live: the model is in the page, which computes every run by itself: other texts, noise, masks.  Such a page is
            always a file, by default ``minibert-explorer.html`` in the working directory, and has tens of megabytes.
        int8: with ``live``: the weights as int8, in half the size; the page says how much that changes.

    Raises InputError for an empty text, a pair of one text, a model in training mode, and for a model or a text (more
    than 20,000 characters) that is too large for a live page.
    """
    called = name or name_of(model, tokenizer)
    texts = texts_of(text, second, pair=pair)
    if int8 and not live:
        raise InputError("int8 is of the weights in a live page; give live=True, too.")
    if live:
        page = Page(computing_page(model, tokenizer, texts, name=called, int8=int8, samples=samples))
        page.beside = Path(LIVE_FILE if path is None else path)
        write_text(page.beside, page)
        return page
    content = content_of(model, tokenizer, texts, name=called, samples=samples, std=std, limit=limit)
    page = Page(page_html(content))
    if path is not None:
        write_text(Path(path), page)
    return page
