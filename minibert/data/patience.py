"""Trying again: what may pass (a dropped connection, a busy server) is asked for some more times, later each time.

Start with :class:`Patience`; a place for it are ``web.py`` and ``stored.py``.
"""

import logging
import time

logger = logging.getLogger("minibert.data")
ATTEMPTS = 5
FIRST_WAIT = 0.5  # seconds; then twice as long each time, so that a file is given up after 7.5
LONGEST_WAIT = 30.0  # that a server may ask for


class Patience:
    """How often something has failed in a row."""

    def __init__(self, shown: str) -> None:
        """``shown``: the URL, for messages."""
        self.shown, self.failed = shown, 0

    def worked(self) -> None:
        """Some bytes have come: a later failure is a first one."""
        self.failed = 0

    def wait(self, why: str, asked: float = 0.0) -> bool:
        """Wait before the next attempt; False, at once, when there were enough of them.

        ``asked``: the seconds that a server asked to wait.
        """
        self.failed += 1
        if self.failed >= ATTEMPTS:
            return False
        pause = max(FIRST_WAIT * 2 ** (self.failed - 1), min(asked, LONGEST_WAIT))
        logger.warning("%s: %s; trying again in %g s (%d of %d).", self.shown, why, pause, self.failed + 1, ATTEMPTS)
        time.sleep(pause)
        return True
