"""Server-sent events: what streams are made of."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from toolgrove.core.messages import JSON
from toolgrove.serve.refusal import RefusedError

DONE = "data: [DONE]\n\n"
MEDIA_TYPE = "text/event-stream"


_BREAKS = {ord(char): f"\\u{ord(char):04x}" for char in "\x85\u2028\u2029"}
"""Characters that some clients take for line ends; as escapes they are none."""


def event(data: JSON, name: str | None = None) -> str:
    """One event, its data on one line, whatever the client takes for a line's end."""
    head = f"event: {name}\n" if name else ""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"{head}data: {text.translate(_BREAKS)}\n\n"


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
