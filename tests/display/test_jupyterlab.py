"""All displays in a notebook, run and opened in JupyterLab: they render, in both themes, and nothing complains.

With ``MINIBERT_PICTURES`` set to a folder, pictures of the notebook are written there, to be looked at.
"""

import base64
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.display.every import EVERY
from tests.support.browser import Browser

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SETTINGS = "@jupyterlab"
CALM = {  # no news from elsewhere, and every cell drawn, also those below the window
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}
# Of each display: where it is, and the texts of its pictures that are outside their picture.
LOOK = """
return [...document.querySelectorAll('.jp-Notebook style')].map(style => {
  const root = style.parentElement;
  const box = root.getBoundingClientRect(), outside = [];
  for (const svg of root.querySelectorAll('svg')) {
    const frame = svg.getBoundingClientRect();
    for (const text of svg.querySelectorAll('text')) {
      const place = text.getBoundingClientRect();
      if (place.left < frame.left - 1 || place.right > frame.right + 1 ||
          place.top < frame.top - 2 || place.bottom > frame.bottom + 2) outside.push(text.textContent);
    }
  }
  const fill = [...root.querySelectorAll('path[class^="mb-f"]')].map(e => getComputedStyle(e).fill);
  const computed = getComputedStyle(root);
  return {width: box.width, height: box.height, outside, fill, color: computed.color, scheme: computed.colorScheme,
          room: root.parentElement.clientWidth, inner: root.scrollWidth};
});
"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A notebook with every display, run."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed (make test does)")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed (make test does)")
    import nbformat
    from jupyter_client.manager import AsyncKernelManager

    path = tmp_path_factory.mktemp("notebook") / "displays.ipynb"
    cells = [
        nbformat.v4.new_code_cell(
            f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom tests.display.every import every"
        )
    ]
    cells += [nbformat.v4.new_code_cell(f"every({name!r})") for name in EVERY]
    book = nbformat.v4.new_notebook(cells=cells)
    kernel = AsyncKernelManager(kernel_name="python3", transport="ipc")
    nbclient.NotebookClient(book, km=kernel, timeout=120).execute()
    nbformat.write(book, path)
    return path


@pytest.fixture(scope="module")
def address(notebook: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """JupyterLab with that notebook, trusted; and the folder of its settings."""
    pytest.importorskip("jupyterlab", reason="jupyterlab is not installed (make test does)")
    home = tmp_path_factory.mktemp("home")
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR")
    environment = os.environ | {name: str(home / name.lower()) for name in names} | {"HOME": str(home)}
    environment["JUPYTERLAB_SETTINGS_DIR"] = str(home / "settings")
    subprocess.run(
        [sys.executable, "-m", "jupyter", "trust", str(notebook)], check=True, env=environment, capture_output=True
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", "--ip=127.0.0.1"]
    command += ["--ServerApp.port_retries=0", "--IdentityProvider.token=", f"--ServerApp.root_dir={notebook.parent}"]
    with (home / "log").open("w") as log, subprocess.Popen(command, env=environment, stdout=log, stderr=log) as server:
        try:
            wait_for(f"http://127.0.0.1:{port}/api", server)
            yield f"http://127.0.0.1:{port}", home / "settings"
        finally:
            server.terminate()


def wait_for(address: str, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        assert server.poll() is None, "JupyterLab has ended"
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("JupyterLab does not answer")


def set_theme(settings: Path, theme: str) -> None:
    for name, values in (CALM | {"apputils-extension/themes": {"theme": f"JupyterLab {theme}"}}).items():
        path = settings / SETTINGS / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_every_display_in_jupyterlab(theme: str, address: tuple[str, Path], chromium: Browser) -> None:
    url, settings = address
    set_theme(settings, theme)
    chromium.forget()
    chromium.allowed = (url, url.replace("http", "ws"))
    # The system is set to the other theme: what JupyterLab says counts.
    chromium.colors("light" if theme == "Dark" else "dark")
    chromium.resize(1280, 900)
    chromium.driver.get(f"{url}/lab/tree/displays.ipynb?reset")
    light = "false" if theme == "Dark" else "true"
    chromium.wait(lambda: chromium.count(f'[data-jp-theme-light="{light}"]'))
    chromium.wait(lambda: len(chromium.run(LOOK)) == len(EVERY))
    seen = dict(zip(EVERY, chromium.run(LOOK), strict=True))
    picture(chromium, theme)
    for name, found in seen.items():
        assert found["width"] > 200 and found["height"] > 20, name
        assert found["outside"] == [], name
        assert found["inner"] <= found["room"] + 1, name  # what is wider scrolls within
        assert found["scheme"] == theme.lower(), name
        channels = [int(part) for part in re.findall(r"\d+", found["color"])[:3]]
        assert (min(channels) > 150) == (theme == "Dark"), name
    darkest, *_ = seen["map of cosines"]["fill"]
    assert darkest != "rgb(0, 0, 0)"
    assert [said for said in chromium.complaints() if "mb-" in said or "displays.ipynb" in said] == []
    chromium.colors("")


def picture(browser: Browser, theme: str) -> None:
    """Pictures of the whole notebook, if somebody wants them."""
    folder = os.environ.get("MINIBERT_PICTURES")
    if not folder:
        return
    height = browser.run("return document.querySelector('.jp-Notebook .jp-WindowedPanel-inner').scrollHeight")
    browser.resize(1280, height + 200)
    time.sleep(2)
    for number, top in enumerate(range(0, height + 200, 1500)):
        clip = {"x": 0, "y": top, "width": 1280, "height": 1500, "scale": 1}
        data = browser.driver.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
        Path(folder, f"{theme.lower()}-{number:02}.png").write_bytes(base64.b64decode(data["data"]))
