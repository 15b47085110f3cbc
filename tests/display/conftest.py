"""The browser and axe-core of the page's tests."""

from tests.explorer.conftest import chromium as chromium  # noqa: PLC0414
from tests.explorer.test_access import axe as axe  # noqa: PLC0414
