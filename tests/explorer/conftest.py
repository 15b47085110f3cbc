"""A small model whose vocabulary is out to break the page, its page as a file, and a real browser to open it in."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from minibert import BertConfig, BertForMaskedLM, BertTokenizer, explore
from minibert.auto import load_architecture

HOSTILE = "<script>alert(1)</script>"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [
    "he",
    "sat",
    "on",
    "the",
    "bank",
    "of",
    "river",
    "she",
    "put",
    "money",
    "in",
    ",",
    ".",
    "배",
    "##를",
    "中",
    "文",
]
NASTY = [
    HOSTILE,
    "</script>",
    "<!--",
    "<img src=x onerror=alert(1)>",
    "\"'`",
    "\u2028",
    "&lt;b&gt;",
    "{{script}}",
    "😀",
    "שלום",
]
SIGNS = list("<>/()=!\"'&-{}[]`script alert1mgonex")
FIRST, SECOND = "He sat on the bank of the river.", "She put the money in the bank."
SETTINGS = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 320,
    "initializer_range": 0.2,
}


@pytest.fixture(scope="session")
def tokenizer() -> BertTokenizer:
    vocabulary = dict.fromkeys([*SPECIAL, *WORDS, *NASTY, *SIGNS, *(f"##{sign}" for sign in SIGNS)])
    return BertTokenizer({token: number for number, token in enumerate(vocabulary)})


@pytest.fixture(scope="session")
def model(tokenizer) -> BertForMaskedLM:
    import torch

    torch.manual_seed(5)
    return BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **SETTINGS)).eval()


@pytest.fixture(scope="session")
def page(model, tokenizer, tmp_path_factory) -> Path:
    """The page of two texts."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    explore(model, tokenizer, FIRST, SECOND, path)
    return path


@pytest.fixture(scope="session")
def demo_page(tmp_path_factory) -> Path:
    """The page of two texts with minibert-demo in it, which computes by itself."""
    path = tmp_path_factory.mktemp("demo") / "page.html"
    tokenizer, model = BertTokenizer.from_pretrained("minibert-demo"), load_architecture("minibert-demo").eval()
    explore(model, tokenizer, "The sea.", "He saw the sea.", path, name="minibert-demo", live=True)
    return path


@pytest.fixture(scope="module")
def port(model, tokenizer) -> Iterator[int]:
    """A live page of the small model, on a free port."""
    uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed (make test does)")
    from minibert.explorer.live import Live
    from minibert.explorer.server import make_app

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        number = listener.getsockname()[1]
        listener.listen()
        app = make_app(Live(model, tokenizer, "tiny"), [FIRST], number)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield number
        server.should_exit = True
        thread.join()


def content_in(path: Path) -> dict:
    """The JSON that stands in a page."""
    html = path.read_text(encoding="utf-8")
    found = json.loads(html.split('<script type="application/json" id="content">')[1].split("</script>")[0])
    assert isinstance(found, dict)
    return found
