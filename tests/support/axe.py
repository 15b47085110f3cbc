"""axe-core, which finds what keeps people from using a page; a package carries its script."""

import importlib.util
from pathlib import Path

import pytest

from tests.support.browser import Browser

SERIOUS = ("serious", "critical")


def findings(browser: Browser, only: tuple[str, ...] = ()) -> list[str]:
    """What axe finds on the open page, of any impact, or of those named; skips where axe is not installed."""
    package = importlib.util.find_spec("axe_playwright_python")
    if package is None or package.origin is None:
        pytest.skip("axe-playwright-python, which holds axe-core, is not installed (make test does)")
    browser.run((Path(package.origin).parent / "axe.min.js").read_text(encoding="utf-8"))
    browser.driver.set_script_timeout(60)
    found = browser.driver.execute_async_script(
        "const [only, done] = arguments;"
        "axe.run(document, {resultTypes: ['violations'], preload: false, iframes: false}).then(r => done("
        "r.violations.filter(v => !only.length || only.includes(v.impact)).map(v =>"
        "`${v.id}: ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 120) + ' ' + n.failureSummary).join(' | ')}`)))",
        list(only),
    )
    return list(found)
