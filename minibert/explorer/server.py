"""The live page's server: Starlette and uvicorn, on 127.0.0.1 and for one's own browser only.

A page of any site can send requests to this machine; so what comes with another site's Host (DNS rebinding) or Origin
(cross-site requests) is refused, before it is read.  Questions are small JSON documents.  Start with :func:`make_app`.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from minibert.errors import CheckpointError, MinibertError, MissingExtraError
from minibert.explorer.live import Live
from minibert.explorer.page import policy
from minibert.pretrained import BertPreTrainedModel
from minibert.tokenizer import BertTokenizer

HOME = "127.0.0.1"
PORT = 8080
LARGEST_QUESTION = 256 << 10  # bytes; two texts of 20,000 characters, in any letters, and their edits


def need_server() -> Any:
    """The module uvicorn; MissingExtraError when it, or starlette, is not installed."""
    try:
        import starlette
        import uvicorn
    except ImportError as error:
        raise MissingExtraError(
            "The live page needs starlette and uvicorn: pip install 'minibert[serve]'. Without them: "
            "minibert explore TEXT -o page.html."
        ) from error
    assert starlette
    return uvicorn


def make_app(live: Live, texts: Sequence[str], port: int) -> Any:
    """The application: GET / is the page, POST /walks, /edits and /sensitivity are its questions."""
    need_server()
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import HTMLResponse, JSONResponse
    from starlette.routing import Route

    html = live.page(texts)

    async def show(_request: Any) -> Any:
        return HTMLResponse(html, headers={"Content-Security-Policy": policy(live=True) + "; frame-ancestors 'none'"})

    async def answer(request: Any) -> Any:
        try:
            given = json.loads(await read_question(request))
        except TooLarge:
            return JSONResponse({"error": f"A question has {LARGEST_QUESTION} bytes at most."}, status_code=413)
        except (ValueError, RecursionError):
            return JSONResponse({"error": "A question is a JSON object."}, status_code=400)
        try:
            return JSONResponse(await run_in_threadpool(live.answer, request.url.path.strip("/"), given))
        except MinibertError as error:
            return JSONResponse({"error": str(error)}, status_code=400)

    async def unexpected(_request: Any, error: Exception) -> Any:
        sentence = f"The model could not be run: {type(error).__name__}. The terminal has the details."
        return JSONResponse({"error": sentence}, status_code=500)

    routes = [Route("/", show), *(Route(f"/{name}", answer, methods=["POST"]) for name in live.answers)]
    return only_from_here(Starlette(routes=routes, exception_handlers={Exception: unexpected}), port)


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
