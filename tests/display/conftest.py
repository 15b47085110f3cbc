"""The browser of the page's tests."""

from tests.explorer.conftest import chromium as chromium  # noqa: PLC0414
