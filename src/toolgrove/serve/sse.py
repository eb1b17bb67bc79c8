"""Server-sent events: what streams are made of."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from toolgrove.core.messages import JSON
from toolgrove.serve.refusal import RefusedError

DONE = "data: [DONE]\n\n"
MEDIA_TYPE = "text/event-stream"


def event(data: JSON, name: str | None = None) -> str:
    """One event. JSON has no line breaks of its own, so the data is one line."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"


async def chat_events(chunks: AsyncIterator[JSON]) -> AsyncIterator[str]:
    """Chunks as events, ``[DONE]`` at the end; a failure on the way is an event with an error."""
    try:
        async for chunk in chunks:
            yield event(chunk)
    except RefusedError as refusal:
        yield event(refusal.body())
    yield DONE


async def named_events(events: AsyncIterator[JSON]) -> AsyncIterator[str]:
    """Events that bear their type as a name, as the Responses API has them."""
    try:
        async for told in events:
            yield event(told, told["type"])
    except RefusedError as refusal:
        error = refusal.body()["error"]
        yield event({"type": "error", **error}, "error")
