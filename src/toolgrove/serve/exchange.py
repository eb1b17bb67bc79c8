"""One request from the line to its last byte: waiting, streaming, leaving, being recorded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple, Protocol, TypeVar

from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.requests import Request

from toolgrove.core.messages import JSON
from toolgrove.serve.answer import Choice, message_told, usage_of
from toolgrove.serve.asking import Ask
from toolgrove.serve.guard import Note
from toolgrove.serve.metrics import Metrics
from toolgrove.serve.record import Recorder
from toolgrove.serve.refusal import RefusedError
from toolgrove.serve.responses_wire import ResponsesRequest
from toolgrove.serve.scheduler import Part
from toolgrove.serve.served import Served
from toolgrove.serve.sse import MEDIA_TYPE
from toolgrove.serve.wire import Wire

T = TypeVar("T")
UNUSED_HEADER = "X-Toolgrove-Unused"
"""Names what a request said that changes nothing."""

_CLIENT_GONE = 499


class Answer(Protocol):
    """The answer of one of the paths: takes the parts of its replies and tells them."""

    ask: Ask
    id: str
    choices: list[Choice]

    def take(self, part: Part) -> None:
        """Takes a part of a reply."""
        ...

    def whole(self) -> JSON:
        """The body, once every reply has ended."""
        ...

    def chunks(self, parts: AsyncIterator[Part]) -> AsyncIterator[JSON]:
        """The chunks of a stream."""
        ...


class Desk(NamedTuple):
    """What handles requests: the models, how long one may take, what is counted and recorded."""

    served: Served
    timeout_s: float
    metrics: Metrics
    recorder: Recorder | None = None


Events = Callable[[AsyncIterator[JSON]], AsyncIterator[str]]


async def respond(
    desk: Desk, http: Request, request: Wire, answer: Answer, events: Events | None
) -> Response:
    """Puts the request in the line and answers it: whole, or with ``events`` as a stream.

    Whatever goes wrong before the first part has its own status; later it is an event.
    """
    note: Note = http.scope["state"]["note"]
    note.told |= {"id": answer.id, "model": answer.ask.model.name}
    ticket = desk.served.scheduler.submit(answer.ask.prepared)
    note.leave.append(lambda: desk.served.scheduler.leave(ticket))
    parts = ticket.parts(desk.timeout_s - note.seconds)
    first = await unless_gone(http, anext(parts))
    first_s = note.seconds
    headers = {UNUSED_HEADER: ", ".join(answer.ask.unused)} if answer.ask.unused else {}

    def done() -> None:
        _report(desk, note, request, answer, first_s)

    if events is None:
        await unless_gone(http, _take(_all_of(first, parts), answer))
        done()
        return JSONResponse(answer.whole(), headers=headers)
    chunks = _then(answer.chunks(_all_of(first, parts)), done)
    headers |= {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(events(chunks), media_type=MEDIA_TYPE, headers=headers)


async def unless_gone(http: Request, work: Awaitable[T]) -> T:
    """What the work gives; RefusedError (499, which nobody reads) when the client leaves before."""

    async def gone() -> None:
        while (await http.receive())["type"] != "http.disconnect":
            pass

    doing: asyncio.Future[T] = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(gone())
    try:
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise RefusedError(_CLIENT_GONE, "the client has left")
        return doing.result()
    finally:
        leaving.cancel()
        doing.cancel()


async def _all_of(first: Part, rest: AsyncIterator[Part]) -> AsyncIterator[Part]:
    yield first
    async for part in rest:
        yield part


async def _take(parts: AsyncIterator[Part], answer: Answer) -> None:
    async for part in parts:
        answer.take(part)


async def _then(chunks: AsyncIterator[JSON], done: Callable[[], None]) -> AsyncIterator[JSON]:
    async for chunk in chunks:
        yield chunk
    done()


def _report(desk: Desk, note: Note, request: Wire, answer: Answer, first_s: float) -> None:
    usage = usage_of(answer.choices)
    desk.metrics.generated(usage, first_s)
    note.told |= {
        "prompt_tokens": usage.prompt,
        "cached_tokens": usage.cached,
        "completion_tokens": usage.completion,
        "first_token_seconds": round(first_s, 3),
        "finish": ",".join(choice.reason() for choice in answer.choices),
    }
    if desk.recorder is not None:
        desk.recorder.add(_entry(request, answer))


def _entry(request: Wire, answer: Answer) -> JSON:
    """The exchange as ``convert --from openai-log`` reads it: streams are told whole, the Responses
    API as the chat that was meant."""
    if isinstance(request, ResponsesRequest):
        asked: Any = request.chat()
        choices = [
            {"message": message_told(choice), "finish_reason": choice.reason()}
            for choice in answer.choices
        ]
        response: JSON = {"id": answer.id, "model": answer.ask.model.name, "choices": choices}
    else:
        asked = request.model_dump(mode="json", exclude_unset=True, by_alias=True)
        response = answer.whole()
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "request": asked,
        "response": response,
        "prompt_token_ids": list(answer.ask.jobs[0].prompt),
        "completion_token_ids": [choice.ids for choice in answer.choices],
    }
