"""A server in front of somebody else's API: our keys, limits and records, their answers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any, NamedTuple

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.requests import Request

from toolgrove.agent.events import Said
from toolgrove.agent.remote import Answer, wire
from toolgrove.core.errors import ModelError
from toolgrove.core.messages import JSON, Conversation, Message, Role
from toolgrove.engine.http import Address, StatusError, connect, fetch
from toolgrove.serve.app import add_errors
from toolgrove.serve.guard import Guard, Limits
from toolgrove.serve.metrics import Metrics
from toolgrove.serve.record import Recorder
from toolgrove.serve.refusal import RefusedError
from toolgrove.serve.sse import MEDIA_TYPE

if TYPE_CHECKING:
    from toolgrove.serve.traces import Traces

_CHAT = "/v1/chat/completions"
_PATHS = (_CHAT, "/v1/completions", "/v1/responses", "/v1/embeddings")


class There(NamedTuple):
    """A model behind an API: where that is, and what it calls the model."""

    address: Address
    model: str


def make_proxy(
    remote: There,
    limits: Limits,
    recorder: Recorder | None = None,
    name: str | None = None,
    traces: Traces | None = None,
) -> FastAPI:
    """The app. ``name`` is what requests call the model; left out, as the API does.

    Bodies go on as they came, but for the model's name, and answers come back as they are. Chats
    are recorded whole, streamed ones, too.
    """

    @asynccontextmanager
    async def running(_app: FastAPI) -> AsyncIterator[None]:
        yield
        if recorder is not None:
            await asyncio.to_thread(recorder.close)

    app = FastAPI(title="Toolgrove", lifespan=running, docs_url=None, redoc_url=None)
    add_errors(app)
    metrics = Metrics()
    passing = _Passing(remote, recorder, name or remote.model)

    @app.get("/v1/models")
    async def models() -> JSON:
        entry = {"id": passing.name, "object": "model", "created": passing.begun}
        return {"object": "list", "data": [{**entry, "owned_by": "remote", "root": remote.model}]}

    @app.get("/health")
    async def health() -> Response:
        try:
            await asyncio.to_thread(fetch, remote.address, "/v1/models")
        except ModelError as error:
            return JSONResponse({"status": error.what}, 503)
        return JSONResponse({"status": "ok"})

    @app.get("/metrics")
    async def counted() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    for path in _PATHS:
        app.add_api_route(path, passing.answer, methods=["POST"], response_model=None)
    app.add_middleware(Guard, limits=limits, metrics=metrics, traces=traces)
    return app


class _Passing:
    """Hands requests on and answers back."""

    def __init__(self, remote: There, recorder: Recorder | None, name: str) -> None:
        self.name, self.begun = name, int(time.time())
        self._remote, self._recorder = remote, recorder

    async def answer(self, http: Request) -> Response:
        """One request."""
        try:
            body: Any = json.loads(await http.body())
        except ValueError as error:
            raise RefusedError(400, f"the body is no JSON: {error}") from None
        if not isinstance(body, dict):
            raise RefusedError(400, "the body is no JSON object")
        asked: JSON = body
        if asked.get("model") not in (None, self.name, self._remote.model):
            what = f'no model "{asked["model"]}"; models: {self.name}'
            raise RefusedError(404, what, param="model", code="model_not_found")
        sent = {**asked, "model": self._remote.model}
        connection, answer = await asyncio.to_thread(self._send, http.url.path, sent)
        if answer.getheader("content-type", "").startswith(MEDIA_TYPE):
            lines = self._lines(connection, answer, asked, http.url.path)
            return StreamingResponse(lines, media_type=MEDIA_TYPE)
        text = await asyncio.to_thread(_read, connection, answer)
        self._record(asked, text, http.url.path)
        return Response(text, media_type="application/json")

    def _send(self, path: str, body: JSON) -> tuple[HTTPConnection, HTTPResponse]:
        try:
            return connect(self._remote.address, path, body)
        except StatusError as error:
            raise RefusedError(error.status, error.said, code="remote") from error
        except ModelError as error:
            raise RefusedError(502, error.what, code="remote") from error

    def _lines(
        self, connection: HTTPConnection, answer: HTTPResponse, asked: JSON, path: str
    ) -> Iterator[bytes]:
        events: list[JSON] = []
        try:
            for line in answer:
                yield line
                data = line[5:].strip() if line.startswith(b"data:") else b""
                if self._recorder is not None and data and data != b"[DONE]":
                    events.append(json.loads(data))
        except (OSError, HTTPException) as error:
            broken = {"error": {"message": f"the reply broke off: {error}", "code": "remote"}}
            yield b"data: " + json.dumps(broken).encode() + b"\n\n"
            return
        finally:
            connection.close()
        if events:
            self._record(asked, json.dumps(self._whole(events)).encode(), path)

    def _whole(self, events: list[JSON]) -> JSON:
        """A stream as the answer that it would be in one piece."""
        said = list(Answer(Conversation(())).read(iter(events)))[-1]
        if not isinstance(said, Said):
            raise ModelError("a stream without an end")
        reply = said.reply
        spoken = Message(Role.ASSISTANT, reply.content, reply.thinking, reply.calls)
        choice = {"message": wire(Conversation((spoken,)))[0], "finish_reason": str(said.finish)}
        return {"id": events[0].get("id"), "model": self.name, "choices": [choice]}

    def _record(self, asked: JSON, text: bytes, path: str) -> None:
        if self._recorder is None or path != _CHAT:
            return
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._recorder.add({"time": when, "request": asked, "response": json.loads(text)})


def _read(connection: HTTPConnection, answer: HTTPResponse) -> bytes:
    try:
        return answer.read()
    except (OSError, HTTPException) as error:
        raise RefusedError(502, f"the reply broke off: {error}", code="remote") from error
    finally:
        connection.close()
