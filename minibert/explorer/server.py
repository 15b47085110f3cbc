"""The live page's server: Starlette and uvicorn, on 127.0.0.1 and for one's own browser only.

A page of any site can send requests to this machine; so what comes with another site's Host (DNS rebinding) or Origin
(cross-site requests) is refused, before it is read.  Questions are small JSON documents.  Start with :func:`make_app`.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from minibert.errors import CheckpointError, MinibertError, MissingExtraError
from minibert.explorer.live import Live
from minibert.explorer.page import policy
from minibert.explorer.request_queue import WAITING, Busy, Dropped, Questions
from minibert.pretrained import BertPreTrainedModel
from minibert.tokenizer import BertTokenizer

HOME = "127.0.0.1"
PORT = 8080
LARGEST_QUESTION = 256 << 10  # bytes; two texts of 20,000 characters, in any letters, and their edits
SLOWEST_QUESTION = 10  # seconds for a question to arrive
SLOWEST_READER = 60  # seconds for an answer to be read
PART = 1 << 16  # bytes of an answer that are sent at once


def need_server() -> Any:
    """The module uvicorn; MissingExtraError when it, or starlette, is not installed."""
    try:
        import starlette
        import uvicorn
    except ImportError as error:
        raise MissingExtraError.of(
            "The live page needs starlette and uvicorn", "serve", "Without them: minibert explore TEXT -o page.html."
        ) from error
    assert starlette
    return uvicorn


def make_app(live: Live, texts: Sequence[str], port: int) -> Any:
    """The application: GET / is the page, POST /walks, /edits and /sensitivity are its questions."""
    need_server()
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    html = live.page(texts).encode()
    questions = Questions(lambda question, given, wanted: as_json(live.answer(question, given, wanted)))
    headers = {"Content-Security-Policy": policy(live=True) + "; frame-ancestors 'none'"}

    async def show(scope: Any, _receive: Any, send: Any) -> None:
        await send_paced(send, html if scope["method"] == "GET" else b"", "text/html; charset=utf-8", headers)

    async def unexpected(_request: Any, error: Exception) -> Any:
        sentence = f"The model could not be run: {type(error).__name__}. The terminal has the details."
        return JSONResponse({"error": sentence}, status_code=500)

    routes = [
        Route("/", Endpoint(show), methods=["GET"]),
        *(Route(f"/{name}", Endpoint(answer_of(questions, name)), methods=["POST"]) for name in live.answers),
    ]
    return only_from_here(Starlette(routes=routes, exception_handlers={Exception: unexpected}), port)


class Endpoint:
    """An ASGI function as Starlette's Route takes it: an object, since it takes functions for another kind."""

    def __init__(self, app: Callable[[Any, Any, Any], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)


def answer_of(questions: Questions, name: str) -> Callable[[Any, Any, Any], Awaitable[None]]:
    """The ASGI function that answers questions of one kind.  Nothing is sent to an asker who has left."""
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import JSONResponse

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        async def refuse_with(status: int, sentence: str) -> None:
            await JSONResponse({"error": sentence}, status_code=status)(scope, receive, send)

        try:
            async with asyncio.timeout(SLOWEST_QUESTION):
                given = json.loads(await read_question(Request(scope, receive)))
            if not isinstance(given, dict):
                raise ValueError
        except ClientDisconnect:
            return None
        except TimeoutError:
            return await refuse_with(408, f"The question did not arrive within {SLOWEST_QUESTION} seconds.")
        except TooLarge:
            return await refuse_with(413, f"A question has {LARGEST_QUESTION} bytes at most.")
        except (ValueError, RecursionError):
            return await refuse_with(400, "A question is a JSON object.")
        try:
            async with questions.answered(name, given, lambda: has_left(receive)) as content:
                await send_paced(send, content, "application/json")
        except Dropped:
            await refuse_with(409, "A newer question of the same page has taken the place of this one.")
        except Busy:
            await refuse_with(503, f"{WAITING} questions wait already; ask again in a moment.")
        except MinibertError as error:
            await refuse_with(400, str(error))
        return None

    return answer


async def has_left(receive: Any) -> None:
    """Return when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_paced(send: Any, content: bytes, kind: str, headers: Mapping[str, str] | None = None) -> None:
    """Send an answer in parts, each when the client has read the ones before; give up on one that does not read."""
    named = {"content-type": kind, "content-length": str(len(content))} | dict(headers or {})
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in named.items()]
    with suppress(TimeoutError):
        async with asyncio.timeout(SLOWEST_READER):
            await send({"type": "http.response.start", "status": 200, "headers": raw})
            for start in range(0, len(content), PART):
                await send({"type": "http.response.body", "body": content[start : start + PART], "more_body": True})
            await send({"type": "http.response.body", "body": b""})


def as_json(answer: dict[str, Any]) -> bytes:
    """The answer's bytes."""
    return json.dumps(answer, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


class TooLarge(Exception):
    """A question of more than LARGEST_QUESTION bytes."""


async def read_question(request: Any) -> bytes:
    """The body, given up as soon as it is too large, whatever its header says."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_QUESTION:
            raise TooLarge
    return bytes(body)


def only_from_here(app: Any, port: int) -> Any:
    """``app`` for requests that the page itself, or its reader, makes; others get 403 and a sentence."""
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
    """``send`` with what tells a browser to show the answer to nobody else."""

    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = message | {"headers": [*message.get("headers", []), *SAFE_HEADERS]}
        await send(message)

    return sending


def refuse(method: str, headers: Sequence[tuple[str, str]], port: int) -> tuple[int, str] | None:
    """Why a request is refused, with its status; None for one that is answered."""
    ours = {f"{name}:{port}" for name in (HOME, "localhost")} | ({HOME, "localhost"} if port == 80 else set())
    named: dict[str, list[str]] = {}
    for name, value in headers:
        named.setdefault(name.lower(), []).append(value)
    hosts = named.get("host", [])
    if len(hosts) != 1 or hosts[0].lower() not in ours:
        return 403, f"This page is at http://{HOME}:{port} and answers under no other name."
    if any(origin.lower() not in {f"http://{host}" for host in ours} for origin in named.get("origin", [])):
        return 403, "This page answers no requests from other sites."
    if method == "POST":
        if any(site.lower() not in ("same-origin", "none") for site in named.get("sec-fetch-site", [])):
            return 403, "This page answers no requests from other sites."
        if [kind.split(";")[0].strip().lower() for kind in named.get("content-type", [])] != ["application/json"]:
            return 415, "A question is sent as application/json."
    return None


def serve_page(
    model: BertPreTrainedModel,
    tokenizer: BertTokenizer,
    texts: Sequence[str],
    *,
    port: int = PORT,
    samples: int | None = None,
    name: str | None = None,
    ready: Callable[[str], None] = print,
) -> None:
    """Serve the live page on 127.0.0.1 until interrupted; ``ready`` is told its address.  Port 0: any free one.

    Raises MissingExtraError without starlette and uvicorn, InputError for texts, CheckpointError for a port in use.
    """
    import socket

    uvicorn = need_server()
    called = name or Path(str(tokenizer.name_or_path or type(model).__name__)).name
    live = Live(model, tokenizer, called, samples)
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
