"""What the tests do in a browser: open, click, press, read; and see what it complained about or asked the network."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

INSIDE = ("about:blank", "blob:", "data:")  # addresses of what a page holds itself


def programs() -> tuple[str, str] | None:
    """Where Chromium and its driver are; None if one is missing."""
    found = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    binary, driver = next(filter(None, found), None), shutil.which("chromedriver")
    return (binary, driver) if binary and driver else None


class Browser:
    """Headless Chromium."""

    def __init__(self, binary: str, driver: str) -> None:
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = binary
        for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "window-size=1280,900"):
            options.add_argument(f"--{argument}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=driver))
        self.driver.set_script_timeout(20)
        self.allowed = ("file://",)

    def quit(self) -> None:
        self.driver.quit()

    def open(self, address: str, allowed: str = "file://") -> None:
        self.allowed = (allowed,)
        self.driver.get(address)
        self.wait(lambda: self.count(".tab") > 0)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def colors(self, theme: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def click(self, selector: str) -> None:
        """A click of the pointer where the element is, which another element above it would catch."""
        element = self.driver.find_element("css selector", selector)
        self.run("arguments[0].scrollIntoView({block: 'center', inline: 'center'})", element)
        element.click()

    def press(self, *keys: str) -> None:
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def focus(self, selector: str) -> None:
        self.run("document.querySelector(arguments[0]).focus()", selector)

    def slide(self, selector: str, value: float) -> None:
        self.run(
            "const e = document.querySelector(arguments[0]); e.value = arguments[1];"
            "e.dispatchEvent(new Event('input', {bubbles: true}))",
            selector,
            value,
        )

    def text(self, selector: str) -> str:
        return str(self.run("return document.querySelector(arguments[0]).textContent", selector))

    def texts(self, selector: str) -> list[str]:
        return list(self.run("return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)", selector))

    def count(self, selector: str) -> int:
        return int(self.run("return document.querySelectorAll(arguments[0]).length", selector))

    def view(self, name: str) -> None:
        self.click(f"#tab-{name}")
        assert self.run("return document.querySelector('#view').dataset.view") == name

    def wait(self, condition: Callable[[], Any]) -> Any:
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, 20, poll_frequency=0.05).until(lambda _driver: condition())

    def spoken(self) -> str:
        """What a screen reader was last told."""
        return self.text(".spoken")

    def renderers(self) -> list[Path]:
        """The folders in /proc of this browser's processes that show pages; other browsers may run beside it."""
        parents, shows = {}, set()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                parents[int(process.name)] = int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
                if b"--type=renderer" in (process / "cmdline").read_bytes():
                    shows.add(int(process.name))
            except OSError:  # it has ended
                continue

        def is_ours(process: int) -> bool:
            return process == self.driver.service.process.pid or (process in parents and is_ours(parents[process]))

        return [Path("/proc", str(process)) for process in shows if is_ours(process)]

    def forget(self) -> None:
        self.driver.get("about:blank")
        self.driver.get_log("browser")
        self.driver.get_log("performance")

    def complaints(self) -> list[str]:
        """What stands on the console as a warning or an error; it is forgotten then."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] != "INFO"]

    def assert_quiet(self) -> None:
        """No error on the console (a breach of the page's policy is one), no request to anywhere else."""
        assert self.complaints() == []
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        assert [url for url in asked if not url.startswith((*self.allowed, *INSIDE))] == []


def numbers(texts: list[str]) -> list[float]:
    """Numbers as the page writes them."""
    return [float(text.replace("−", "-")) for text in texts]
