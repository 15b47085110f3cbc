"""The live page's server: Starlette and uvicorn, on 127.0.0.1, for browsers on this machine only.

Any web page can send requests to this machine, so requests with another Host (DNS rebinding) or Origin (cross-site) are
refused before they are read.  Start with :func:`make_app`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Any

from minibert.errors import CheckpointError, MinibertError, MissingExtraError
from minibert.explorer.content import name_of
from minibert.explorer.live import Live
from minibert.explorer.page import policy
from minibert.explorer.request_queue import WAITING, Busy, Dropped, RequestQueue
from minibert.explorer.sentences import PageError, Sentence
from minibert.explorer.text import Text
from minibert.pretrained import BertPreTrainedModel
from minibert.tokenizer import BertTokenizer

HOME = "127.0.0.1"
PORT = 8080
LARGEST_REQUEST = 256 << 10  # bytes: two texts of 20,000 characters in any script, and their edits
REQUEST_TIMEOUT = 10  # seconds for a request to arrive
RESPONSE_TIMEOUT = 60  # seconds for a response to be read
PART = 1 << 16  # bytes of a response that are sent at once


def need_server() -> Any:
    """The module uvicorn; MissingExtraError if it or starlette is not installed."""
    try:
        import starlette
        import uvicorn
    except ImportError as error:
        raise MissingExtraError.of(
            "The live page needs starlette and uvicorn", "serve", "Without them: minibert explore TEXT -o page.html."
        ) from error
    assert starlette
    return uvicorn


def make_app(live: Live, texts: Sequence[Text], port: int) -> Any:
    """The application: GET / is the page; its requests are POST /runs, /edits, /sensitivity and /progress."""
    need_server()
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    html = live.page(texts).encode()
    queue = RequestQueue(lambda name, request, is_wanted: as_json(live.answer(name, request, is_wanted)))
    headers = {"Content-Security-Policy": policy(server=True) + "; frame-ancestors 'none'"}

    async def show(scope: Any, _receive: Any, send: Any) -> None:
        await send_paced(send, html if scope["method"] == "GET" else b"", "text/html; charset=utf-8", headers)

    @asynccontextmanager
    async def at_once(request: Mapping[str, Any], _disconnected: Any) -> AsyncIterator[bytes]:
        yield as_json(live.progress(request))

    async def unexpected(_request: Any, error: Exception) -> Any:
        return JSONResponse(refusal(Sentence.of("error.model", error=type(error).__name__)), status_code=500)

    routes = [
        Route("/", Endpoint(show), methods=["GET"]),
        *(
            Route(f"/{name}", Endpoint(answer_of(partial(queue.answered, name))), methods=["POST"])
            for name in live.answers
        ),
        Route("/progress", Endpoint(answer_of(at_once)), methods=["POST"]),
    ]
    return only_from_here(Starlette(routes=routes, exception_handlers={Exception: unexpected}), port)


class Endpoint:
    """An ASGI application for Starlette's Route, which treats plain functions as request handlers."""

    def __init__(self, app: Callable[[Any, Any, Any], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)


def answer_of(
    answered: Callable[[Mapping[str, Any], Callable[[], Any]], AbstractAsyncContextManager[bytes]],
) -> Callable[[Any, Any, Any], Awaitable[None]]:
    """The ASGI function for requests that ``answered`` answers, such as RequestQueue.answered.

    Nothing is sent to a client that has disconnected.
    """
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import JSONResponse

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        async def refuse_with(status: int, sentence: str | Sentence) -> None:
            await JSONResponse(refusal(sentence), status_code=status)(scope, receive, send)

        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                request = json.loads(await read_body(Request(scope, receive)))
            if not isinstance(request, dict):
                raise ValueError
        except ClientDisconnect:
            return None
        except TimeoutError:
            return await refuse_with(408, Sentence.of("error.slow", seconds=REQUEST_TIMEOUT))
        except TooLarge:
            return await refuse_with(413, Sentence.of("error.large", bytes=LARGEST_REQUEST))
        except (ValueError, RecursionError):
            return await refuse_with(400, "A request is a JSON object.")
        try:
            async with answered(request, lambda: disconnected(receive)) as content:
                await send_paced(send, content, "application/json")
        except Dropped:
            await refuse_with(409, "A newer request of the same page has replaced this one.")
        except Busy:
            await refuse_with(503, Sentence.of("error.busy", waiting=WAITING))
        except PageError as error:
            await refuse_with(400, error.sentence)
        except MinibertError as error:
            await refuse_with(400, str(error))
        return None

    return answer


def refusal(sentence: str | Sentence) -> dict[str, Any]:
    """The body of a response that refuses: the sentence in English, and as words that the page has in its languages."""
    body: dict[str, Any] = {"error": str(sentence)}
    return body | {"sentence": sentence.describe()} if isinstance(sentence, Sentence) else body


async def disconnected(receive: Any) -> None:
    """Return when the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_paced(send: Any, content: bytes, media_type: str, headers: Mapping[str, str] | None = None) -> None:
    """Send a response in parts, each after the client has read those before; give up after RESPONSE_TIMEOUT."""
    named = {"content-type": media_type, "content-length": str(len(content))} | dict(headers or {})
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in named.items()]
    with suppress(TimeoutError):
        async with asyncio.timeout(RESPONSE_TIMEOUT):
            await send({"type": "http.response.start", "status": 200, "headers": raw})
            for start in range(0, len(content), PART):
                await send({"type": "http.response.body", "body": content[start : start + PART], "more_body": True})
            await send({"type": "http.response.body", "body": b""})


def as_json(answer: dict[str, Any]) -> bytes:
    """A response as bytes."""
    return json.dumps(answer, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


class TooLarge(Exception):
    """A request of more than LARGEST_REQUEST bytes."""


async def read_body(request: Any) -> bytes:
    """The body of a request; TooLarge as soon as it is too large, whatever its header says."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_REQUEST:
            raise TooLarge
    return bytes(body)


def only_from_here(app: Any, port: int) -> Any:
    """``app`` behind a check of each request (:func:`refuse`)."""
    from starlette.responses import JSONResponse

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            refusal = refuse(
                scope["method"], [(name.decode("latin-1"), v.decode("latin-1")) for name, v in scope["headers"]], port
            )
            if refusal is not None:
                status, sentence = refusal
                await JSONResponse({"error": sentence}, status_code=status)(scope, receive, send)
                return
        await app(scope, receive, with_safe_headers(send))

    return guarded


SAFE_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]


def with_safe_headers(send: Any) -> Any:
    """``send`` with headers that keep other sites from reading or framing the response."""

    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = message | {"headers": [*message.get("headers", []), *SAFE_HEADERS]}
        await send(message)

    return sending


def refuse(method: str, headers: Sequence[tuple[str, str]], port: int) -> tuple[int, str] | None:
    """The status and reason with which a request is refused; None if it is accepted."""
    hosts = {f"{name}:{port}" for name in (HOME, "localhost")} | ({HOME, "localhost"} if port == 80 else set())
    named: dict[str, list[str]] = {}
    for name, value in headers:
        named.setdefault(name.lower(), []).append(value)
    host = named.get("host", [])
    if len(host) != 1 or host[0].lower() not in hosts:
        return 403, f"This page is at http://{HOME}:{port} and answers under no other name."
    if any(origin.lower() not in {f"http://{name}" for name in hosts} for origin in named.get("origin", [])):
        return 403, "This page answers no requests from other sites."
    if method == "POST":
        if any(site.lower() not in ("same-origin", "none") for site in named.get("sec-fetch-site", [])):
            return 403, "This page answers no requests from other sites."
        if [value.split(";")[0].strip().lower() for value in named.get("content-type", [])] != ["application/json"]:
            return 415, "A request is sent as application/json."
    return None


def serve_page(
    model: BertPreTrainedModel,
    tokenizer: BertTokenizer,
    texts: Sequence[Text],
    *,
    port: int = PORT,
    samples: int | None = None,
    name: str | None = None,
    ready: Callable[[str], None] = print,
) -> None:
    """Serve the live page on 127.0.0.1 until interrupted; ``ready`` is called with its address.  Port 0: any free one.

    Raises MissingExtraError without starlette and uvicorn, InputError for texts, CheckpointError for a port in use.
    """
    import socket

    uvicorn = need_server()
    live = Live(model, tokenizer, name or name_of(model, tokenizer), samples)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOME, port))
        except OSError as error:
            raise CheckpointError(f"Port {port} of {HOME} is taken ({error.strerror}); try another: --port.") from error
        port = listener.getsockname()[1]
        app = make_app(live, texts, port)
        listener.listen()
        ready(f"http://{HOME}:{port}/")
        config = uvicorn.Config(app, log_level="warning", lifespan="off", access_log=False, server_header=False)
        uvicorn.Server(config).run(sockets=[listener])
