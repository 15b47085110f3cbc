"""The page a teacher opens in a browser: one walk of a text through BERT, every value of it to look at.

``explore`` writes it as one file that needs no network, and a notebook shows it in a frame; ``serve`` (server.py) is
the same page live, where noise and missing heads change everything that follows.  ``content.py`` says what the page
knows, ``page.py`` makes the file, ``static/`` is the page itself.
"""

import html
from pathlib import Path

from minibert.explorer.content import LETTERS, STD, content_of
from minibert.explorer.page import page_html
from minibert.files import write_text
from minibert.pretrained import BertPreTrainedModel
from minibert.renamed import older_arguments
from minibert.source import Source
from minibert.tokenizer import BertTokenizer

__all__ = ["Page", "explore"]

FRAME = (
    '<iframe title="minibert explorer" sandbox="allow-scripts" style="width: 100%; height: 860px; border: 0" '
    'srcdoc="{}"></iframe>'
)


class Page(str):
    """The HTML of a page.  As the last value of a notebook's cell it shows itself, in a frame of its own.

    Neither styles nor keys pass the frame in either direction; inside it the page is what its file is.
    """

    def _repr_html_(self) -> str:
        return FRAME.format(html.escape(self, quote=True))

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
    name: str | None = None,
    samples: int | None = None,
    std: float = STD,
    limit: int = LETTERS,
) -> Page:
    """The page of one text, or of two to compare: HTML that opens offline; written to ``path`` where that is given.

    Args:
        model: any model of minibert, in eval mode.  With a head that predicts words the page shows what each layer
            would predict.
        tokenizer: the model's.
        text: shown token by token; one longer than the model reads is cut, and the page says so.
        second: another text; the page then compares the words they share.
        path: the file to write, whole or not at all.
        name: what the page calls the model; default the tokenizer's ``name_or_path``.
        samples: draws of noise for each position of the sensitivity maps; 0 leaves them out.  Default 4, and 0 for
            more than 128 tokens, where they would take minutes.
        std: the standard deviation of that noise.
        limit: about how many letters the numbers may take.  Longer texts are shown in less detail; the page says what
            is left out.

    Raises InputError for a text without anything in it and for a model in training mode.
    """
    called = name or Path(str(tokenizer.name_or_path or type(model).__name__)).name
    texts = [text] if second is None else [text, second]
    content = content_of(model, tokenizer, texts, name=called, samples=samples, std=std, limit=limit)
    page = Page(page_html(content))
    if path is not None:
        write_text(Path(path), page)
    return page
