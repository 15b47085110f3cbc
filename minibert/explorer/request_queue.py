"""The line of questions before the one model of the live page: first come, first answered, one at a time.

A browser closes the connection of a question that it no longer needs, and a slider asks many questions a second; so a
question is dropped before it is begun when its asker has left or when a newer question of the same page replaces it.
What waits, and what is made but not yet read by a slow client, is bounded in number.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from minibert.errors import InputError

WAITING = 32  # questions that wait; a page has at most two
UNREAD = 4  # answers in memory that their askers have not read to the end
LONGEST_NAME = 64  # characters of a page's name

# What a question replaces: a newer text makes the sensitivity of the old one pointless, an edit does not.
REPLACES = {"walks": ("walks", "edits", "sensitivity"), "edits": ("walks", "edits"), "sensitivity": ("sensitivity",)}

Compute = Callable[[str, Mapping[str, Any], Callable[[], bool]], bytes]


class Dropped(Exception):
    """A question that was not answered, because nobody waits for the answer."""


class Busy(Exception):
    """Too many questions wait."""


class Questions:
    """Questions in line for ``compute(question, given, wanted)``, which runs in a thread, one at a time.

    ``wanted()`` says, while it runs, whether somebody still waits for the answer.
    """

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._turn = asyncio.Lock()
        self._unread = asyncio.Semaphore(UNREAD)
        self._newest: dict[tuple[str, str], asyncio.Event] = {}  # by page and kind; set when it is replaced
        self.waiting = 0

    @asynccontextmanager
    async def answered(
        self, question: str, given: Mapping[str, Any], left: Callable[[], Coroutine[Any, Any, None]]
    ) -> AsyncIterator[bytes]:
        """The answer, once it is this question's turn; it counts as unread within the block.

        ``left`` returns when the asker has gone.  Raises Dropped, Busy, and what ``compute`` raises.
        """
        if self.waiting >= WAITING:
            raise Busy
        with self._place(question, page_of(given)) as replaced:
            ends = [asyncio.create_task(left()), asyncio.create_task(replaced.wait())]
            try:
                async with held(self._unread, ends):
                    async with held(self._turn, ends):
                        answer = await asyncio.to_thread(self._compute, question, given, lambda: not over(ends))
                    if over(ends):
                        raise Dropped
                    yield answer
            finally:
                for end in ends:
                    end.cancel()

    @contextmanager
    def _place(self, question: str, page: str | None) -> Iterator[asyncio.Event]:
        """A place in the line, which older questions of the same page lose; the event of losing it."""
        replaced = asyncio.Event()
        if page is not None:
            for kind in REPLACES[question]:
                if older := self._newest.get((page, kind)):
                    older.set()
            self._newest[page, question] = replaced
        self.waiting += 1
        try:
            yield replaced
        finally:
            self.waiting -= 1
            if page is not None and self._newest.get((page, question)) is replaced:
                del self._newest[page, question]


def page_of(given: Mapping[str, Any]) -> str | None:
    """The name a page gave itself; None for a question without one, which replaces nothing and is not replaced."""
    page = given.get("page")
    if page is not None and not (isinstance(page, str) and 0 < len(page) <= LONGEST_NAME):
        raise InputError(f"page is a name of 1 to {LONGEST_NAME} characters.")
    return page


def over(ends: Iterable[asyncio.Task[Any]]) -> bool:
    """Whether the asker has left or the question is replaced."""
    return any(end.done() for end in ends)


@asynccontextmanager
async def held(lock: asyncio.Lock | asyncio.Semaphore, ends: Sequence[asyncio.Task[Any]]) -> AsyncIterator[None]:
    """Hold ``lock`` within the block; raise Dropped when one of ``ends`` comes before it is free."""
    acquiring = asyncio.create_task(lock.acquire())
    try:
        await asyncio.wait([acquiring, *ends], return_when=asyncio.FIRST_COMPLETED)
        if over(ends):
            raise Dropped
        yield
    finally:
        if acquiring.done() and not acquiring.cancelled():
            lock.release()
        else:
            acquiring.cancel()
