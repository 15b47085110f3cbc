from tests.explorer.conftest import browser as browser  # noqa: PLC0414
from tests.explorer.conftest import chromium as chromium  # noqa: PLC0414
