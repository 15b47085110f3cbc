"""The worker of a page that computes, asked as the page asks it; tensors come as the server packs them."""

import json
import re
from pathlib import Path
from typing import Any

from tests.support.browser import Browser

# Starts a worker of our own in the page, from the function that the page starts its own from.
START = """
const [settings, weights, done] = arguments;
const blob = new Blob([`(${engineWorker})()`], { type: "text/javascript" });
window.testWorker = new Worker(URL.createObjectURL(blob));
window.testWorker.onerror = (event) => done(event.message);
window.testWorker.onmessage = ({ data }) => done(data.opened ? "opened" : JSON.stringify(data));
window.testWorker.postMessage({ open: JSON.parse(settings) });
window.testWorker.postMessage({ weights });
"""
ASK = """
const [name, request, done] = arguments;
const asText = (key, value) => {
  if (!ArrayBuffer.isView(value?.values)) return value;
  const bytes = new Uint8Array(value.values.buffer, value.values.byteOffset, value.values.byteLength);
  let letters = "";
  for (const byte of bytes) letters += String.fromCharCode(byte);
  return { shape: value.shape, dtype: value.dtype, data: btoa(letters) };
};
const told = [];
window.testWorker.onmessage = ({ data }) => {
  told.push(data);
  if (data.answer || data.error) done(JSON.stringify(told, asText));
};
window.testWorker.postMessage({ id: 1, name, request });
"""


class PageWorker:
    """A worker in the page that stands at ``path``."""

    def __init__(self, browser: Browser, path: Path) -> None:
        self.browser = browser
        html = path.read_text(encoding="utf-8")
        content = json.loads(html.split('id="content">')[1].split("</script>")[0])
        weights = "".join(re.findall(r'class="weights">([^<]*)', html))
        browser.open(path.as_uri())
        settings = content["engine"] | {"palette": content["palette"], "model": content["model"]}
        assert browser.driver.execute_async_script(START, json.dumps(settings), weights) == "opened"

    def messages(self, name: str, request: dict[str, Any]) -> list[dict[str, Any]]:
        """All that the worker says about a request."""
        told: list[dict[str, Any]] = json.loads(self.browser.driver.execute_async_script(ASK, name, request))
        return told

    def answer(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        """The whole answer, put together as the page does it."""
        told = self.messages(name, request)
        last = told[-1]["answer"]
        parts = [message["part"] for message in told if "part" in message]
        if not parts:
            return dict(last)
        (answer,) = parts
        for run, more in zip(answer["runs"], last["runs"], strict=True):
            run["tensors"].update(more.pop("tensors", {}))
            run.update(more)
        if "words" in last:
            answer["comparison"]["words"] = last["words"]
        return dict(answer)

    def error(self, name: str, request: dict[str, Any]) -> Any:
        """The sentence with which a request is refused."""
        return self.messages(name, request)[-1]["error"]
