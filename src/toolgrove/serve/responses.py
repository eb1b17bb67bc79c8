"""Responses as OpenAI's Responses API tells them, whole and as events."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from toolgrove.core.messages import JSON
from toolgrove.serve.answer import Choice, usage_of
from toolgrove.serve.asking import Ask
from toolgrove.serve.responses_wire import ResponsesRequest
from toolgrove.serve.scheduler import Part
from toolgrove.templates.reading import Delta, DeltaKind

_NAMES = {
    DeltaKind.TEXT: "response.output_text",
    DeltaKind.THINKING: "response.reasoning_text",
    DeltaKind.CALL_ARGS: "response.function_call_arguments",
}


@dataclass
class ResponsesAnswer:
    """The answer to a request: items of thinking, text and calls, in the order of the reply."""

    request: ResponsesRequest
    ask: Ask
    id: str = field(default_factory=lambda: f"resp_{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))
    choices: list[Choice] = field(default_factory=list[Choice])
    items: list[JSON] = field(default_factory=list[JSON])
    said: int = 0

    def __post_init__(self) -> None:
        self.choices = [Choice(self.ask, 0)]

    def take(self, part: Part) -> None:
        """Takes a part of the reply."""
        for _ in self._events(part):
            pass

    def whole(self) -> JSON:
        """The response, once the reply has ended."""
        usage = usage_of(self.choices)
        cut = self.choices[0].reason() == "length"
        return {
            **self._head("incomplete" if cut else "completed"),
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "output": self.items,
            "usage": {
                "input_tokens": usage.prompt,
                "input_tokens_details": {"cached_tokens": usage.cached},
                "output_tokens": usage.completion,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": usage.prompt + usage.completion,
            },
        }

    async def chunks(self, parts: AsyncIterator[Part]) -> AsyncIterator[JSON]:
        """The events of a stream: each item is added, grows, and is done."""
        for kind in ("response.created", "response.in_progress"):
            yield self._event(kind, response=self._head("in_progress"))
        async for part in parts:
            for event in self._events(part):
                yield event
        whole = self.whole()
        yield self._event(f"response.{whole['status']}", response=whole)

    def _events(self, part: Part) -> Iterator[JSON]:
        for delta in self.choices[0].take(part.piece):
            yield from self._grown(delta)
        if part.piece.finish is not None and self.items:
            yield from self._done(self.items[-1])

    def _grown(self, delta: Delta) -> Iterator[JSON]:
        if delta.kind is DeltaKind.CALL_NAME or not self._goes_on(delta.kind):
            if self.items:
                yield from self._done(self.items[-1])
            item = self._item(delta)
            self.items.append(item)
            place = len(self.items) - 1
            added = {**item, "content": []} if "content" in item else dict(item)
            yield self._event("response.output_item.added", output_index=place, item=added)
            if item["type"] == "message":
                yield self._placed("response.content_part.added", item, part=_part(""))
        item = self.items[-1]
        if item["type"] == "function_call":
            if delta.kind is not DeltaKind.CALL_ARGS:
                return
            item["arguments"] += delta.text
        else:
            item["content"][0]["text"] += delta.text
        yield self._placed(f"{_NAMES[delta.kind]}.delta", item, delta=delta.text)

    def _goes_on(self, kind: DeltaKind) -> bool:
        """Whether a delta of that kind belongs to the last item."""
        types = {DeltaKind.TEXT: "message", DeltaKind.THINKING: "reasoning"}
        return bool(self.items) and self.items[-1]["type"] == types.get(kind, "function_call")

    def _item(self, delta: Delta) -> JSON:
        if delta.kind is DeltaKind.CALL_NAME:
            call = self.choices[0].calls[delta.index]
            found: JSON = {"call_id": call.id, "name": call.name, "arguments": ""}
            return {"id": _id("fc"), "type": "function_call", "status": "in_progress", **found}
        if delta.kind is DeltaKind.THINKING:
            content = [{"type": "reasoning_text", "text": ""}]
            return {"id": _id("rs"), "type": "reasoning", "summary": [], "content": content}
        item: JSON = {"id": _id("msg"), "type": "message", "status": "in_progress"}
        return {**item, "role": "assistant", "content": [_part("")]}

    def _done(self, item: JSON) -> Iterator[JSON]:
        if item["type"] == "function_call":
            item["status"] = "completed"
            name, given = "response.function_call_arguments", item["arguments"]
            yield self._placed(f"{name}.done", item, arguments=given, name=item["name"])
        elif item["type"] == "message":
            item["status"] = "completed"
            part = item["content"][0]
            yield self._placed("response.output_text.done", item, text=part["text"], logprobs=[])
            yield self._placed("response.content_part.done", item, part=part)
        else:
            text = item["content"][0]["text"]
            yield self._placed("response.reasoning_text.done", item, text=text)
        place = len(self.items) - 1
        yield self._event("response.output_item.done", output_index=place, item=item)

    def _placed(self, kind: str, item: JSON, **told: object) -> JSON:
        """An event about an item."""
        place: JSON = {"item_id": item["id"], "output_index": len(self.items) - 1}
        if item["type"] != "function_call":
            place["content_index"] = 0
        if kind == "response.output_text.delta":
            place["logprobs"] = []
        return self._event(kind, **place, **told)

    def _event(self, kind: str, **told: object) -> JSON:
        self.said += 1
        return {"type": kind, "sequence_number": self.said - 1, **told}

    def _head(self, status: str) -> JSON:
        asked = self.request
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": asked.instructions,
            "max_output_tokens": asked.max_output_tokens,
            "model": self.ask.model.name,
            "output": [],
            "parallel_tool_calls": asked.parallel_tool_calls,
            "previous_response_id": None,
            "reasoning": {"effort": asked.reasoning.effort if asked.reasoning else None},
            "store": False,
            "temperature": self.ask.jobs[0].sampling.temperature,
            "text": asked.text or {"format": {"type": "text"}},
            "tool_choice": asked.tool_choice or "auto",
            "tools": asked.tools or [],
            "top_p": self.ask.jobs[0].sampling.top_p,
            "truncation": "disabled",
            "usage": None,
            "metadata": asked.metadata or {},
        }


def _id(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(12)}"


def _part(text: str) -> JSON:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
