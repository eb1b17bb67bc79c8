"""What stands before every request: keys, sizes, addresses; and behind it: one line in the log."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toolgrove.core.messages import JSON
from toolgrove.serve.metrics import Metrics
from toolgrove.serve.refusal import RefusedError

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from toolgrove.serve.traces import Traces

_OPEN = frozenset({"/health", "/ping"})
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1", ""})
_DRAINED = 8
_BODY_S = 60.0
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_log = logging.getLogger("toolgrove.serve")


class Limits(NamedTuple):
    """What a server lets in.

    ``api_keys``: one of these must be sent, unless there are none. ``local``: the server listens
    on this machine only, so that requests for other names (a web page that pretends to be here)
    are refused. ``timeout_s``: the longest that a request may take, waiting included.
    """

    api_keys: tuple[str, ...] = ()
    max_body_bytes: int = 8_000_000
    timeout_s: float = 600.0
    cors_origins: tuple[str, ...] = ()
    local: bool = True


@dataclass
class Note:
    """What is known of a request when it ends: what to clean up, what to log."""

    leave: list[Callable[[], Any]] = field(default_factory=list[Callable[[], Any]])
    told: JSON = field(default_factory=dict[str, Any])
    status: int = 0
    started: float = field(default_factory=time.monotonic)
    span: Span | None = None

    @property
    def seconds(self) -> float:
        """How long the request has taken so far."""
        return time.monotonic() - self.started


class Guard:
    """Wraps the app: refuses what may not come in, cleans up behind every request, also behind
    those whose clients have left, and logs one JSON line for each, with ``traces`` a span, too."""

    def __init__(
        self, app: ASGIApp, limits: Limits, metrics: Metrics, traces: Traces | None = None
    ) -> None:
        self._app, self._limits, self._metrics, self._traces = app, limits, metrics, traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request, or hands on what is none."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        note = Note(span=self._traces.begin(scope) if self._traces else None)
        scope.setdefault("state", {})["note"] = note

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                note.status = message["status"]
            await send(message)

        try:
            await self._guarded(scope, receive, watched)
        finally:
            for leave in note.leave:
                leave()
            self._report(scope, note)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._check(scope)
            if scope["method"] == "POST":
                receive = await self._read(receive)
        except RefusedError as refusal:
            headers = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else None
            answer = JSONResponse(refusal.body(), refusal.status, headers)
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").rsplit("@")[-1]
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        if self._limits.local and not self._limits.api_keys and name.lower() not in _LOCAL:
            raise RefusedError(403, f'this server answers to its own machine, not to "{name}"')
        if self._limits.api_keys and scope["path"] not in _OPEN:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            known = [hmac.compare_digest(given.encode(), k.encode()) for k in self._limits.api_keys]
            if scheme.lower() != "bearer" or not any(known):
                what = "a wrong API key" if given else "no API key: send Authorization: Bearer KEY"
                raise RefusedError(401, what, code="invalid_api_key")
        if scope["method"] == "POST":
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                raise RefusedError(415, "send JSON, with Content-Type: application/json")

    async def _read(self, receive: Receive) -> Receive:
        """The whole body, if it is not too large; what comes after it is still received."""
        try:
            async with asyncio.timeout(_BODY_S):
                body = await _whole(receive, self._limits.max_body_bytes)
        except TimeoutError:
            raise RefusedError(408, f"the body did not arrive within {_BODY_S:.0f} s") from None
        if body is None:
            return receive
        _refuse_halves(body)
        given: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return given.pop() if given else await receive()

        return again

    def _report(self, scope: Scope, note: Note) -> None:
        route = scope.get("route")
        path = getattr(route, "path", None) or "other"
        status = note.status or 499
        self._metrics.answered(path, status, note.seconds)
        if path in _OPEN or path == "/metrics":
            return
        line = {
            "path": scope["path"],
            "status": status,
            "seconds": round(note.seconds, 3),
            **note.told,
        }
        if self._traces and note.span:
            self._traces.end(note.span, scope["method"], path, line)
        _log.info("%s", json.dumps(line, ensure_ascii=True))


async def _whole(receive: Receive, limit: int) -> bytes | None:
    """The body; None when the client left before its end. What is too large is read a little
    further, so that the client comes to hear of it."""
    body = bytearray()
    size, more = 0, True
    while more and size <= limit * _DRAINED:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size <= limit:
            body += part
        more = message.get("more_body", False)
    if size > limit:
        raise RefusedError(413, f"the body is larger than {limit} bytes", code="body_too_large")
    return bytes(body)


def _refuse_halves(body: bytes) -> None:
    """RefusedError for half of a surrogate pair, which no text can hold. What is not JSON at all is
    told later."""
    if not _HALF.search(body):
        return
    try:
        json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise RefusedError(400, "half of a surrogate pair in a text", code="invalid_json") from None
    except (ValueError, RecursionError):
        return
