"""The queue of requests to the one model of the live page: first in, first out, one at a time.

A slider sends many requests per second, and a browser closes the connection of a request that it no longer needs.  So a
request is dropped before it starts if its client has disconnected or if a newer request of the same page replaces it.
The numbers of waiting requests and of responses not yet read by slow clients are bounded.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from minibert.errors import InputError

WAITING = 32  # requests that wait; a page has at most two
UNREAD = 4  # responses in memory that their clients have not read completely
LONGEST_NAME = 64  # characters of a page's name

# What a request replaces: a new text replaces the sensitivity maps of the old one, an edit does not.
REPLACES = {"runs": ("runs", "edits", "sensitivity"), "edits": ("runs", "edits"), "sensitivity": ("sensitivity",)}

Compute = Callable[[str, Mapping[str, Any], Callable[[], bool]], bytes]


class Dropped(Exception):
    """A request that is not answered, because no client waits for it."""


class Busy(Exception):
    """Too many requests are waiting."""


class RequestQueue:
    """Requests for ``compute(name, request, is_wanted)``, which runs in a thread, one at a time.

    ``is_wanted()`` tells the computation whether a client still waits for the response.
    """

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._turn = asyncio.Lock()
        self._unread = asyncio.Semaphore(UNREAD)
        self._newest: dict[tuple[str, str], asyncio.Event] = {}  # by page and name; set when it is replaced
        self.waiting = 0

    @asynccontextmanager
    async def answered(
        self, name: str, request: Mapping[str, Any], disconnected: Callable[[], Coroutine[Any, Any, None]]
    ) -> AsyncIterator[bytes]:
        """The response, when it is this request's turn; within the block it counts as unread.

        ``disconnected`` returns when the client has disconnected.  Raises Dropped, Busy, and what ``compute`` raises.
        """
        if self.waiting >= WAITING:
            raise Busy
        with self._place(name, page_of(request)) as replaced:
            ends = [asyncio.create_task(disconnected()), asyncio.create_task(replaced.wait())]
            try:
                async with held(self._unread, ends):
                    async with held(self._turn, ends):
                        response = await asyncio.to_thread(self._compute, name, request, lambda: not over(ends))
                    if over(ends):
                        raise Dropped
                    yield response
            finally:
                for end in ends:
                    end.cancel()

    @contextmanager
    def _place(self, name: str, page: str | None) -> Iterator[asyncio.Event]:
        """A place in the queue, taken from older requests of the same page; yields the event of losing it."""
        replaced = asyncio.Event()
        if page is not None:
            for other in REPLACES[name]:
                if older := self._newest.get((page, other)):
                    older.set()
            self._newest[page, name] = replaced
        self.waiting += 1
        try:
            yield replaced
        finally:
            self.waiting -= 1
            if page is not None and self._newest.get((page, name)) is replaced:
                del self._newest[page, name]


def page_of(request: Mapping[str, Any]) -> str | None:
    """The name of the page that sent a request; None without one: it replaces nothing and is not replaced."""
    page = request.get("page")
    if page is not None and not (isinstance(page, str) and 0 < len(page) <= LONGEST_NAME):
        raise InputError(f"page is a name of 1 to {LONGEST_NAME} characters.")
    return page


def over(ends: Iterable[asyncio.Task[Any]]) -> bool:
    """Whether the client has disconnected or the request is replaced."""
    return any(end.done() for end in ends)


@asynccontextmanager
async def held(lock: asyncio.Lock | asyncio.Semaphore, ends: Sequence[asyncio.Task[Any]]) -> AsyncIterator[None]:
    """Hold ``lock`` within the block; Dropped if one of ``ends`` is done before it is free."""
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
