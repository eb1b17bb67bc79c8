"""What was said: conversations of messages, tool calls, tool results and the tools on offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, TypeAlias, cast

JSON: TypeAlias = dict[str, Any]


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool: two calls are equal when name and arguments are.

    ``given`` keeps the arguments' own text where a row had them as a JSON string: some makers'
    templates print that text as it is. ``loss`` and ``loss_scale`` are the row's own weights.
    """

    name: str
    arguments: JSON
    id: str | None = field(default=None, compare=False)
    given: str | None = field(default=None, compare=False)
    loss: bool | None = field(default=None, compare=False)
    loss_scale: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Message:
    """One message. ``content`` None with ``has_content`` False means that the key was absent.

    ``thinking`` is the reasoning given beside the content (None: not given). A tool result has
    the role ``tool``, its text in ``content`` and, where known, the tool's ``name`` and the
    ``call_id`` it answers.
    """

    role: Role
    content: str | None = None
    thinking: str | None = None
    calls: tuple[ToolCall, ...] = ()
    name: str | None = None
    call_id: str | None = None
    has_content: bool = True
    loss: bool | None = None
    loss_scale: float | None = None

    @property
    def text(self) -> str:
        """The content, with null and absent as the empty string."""
        return self.content or ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool on offer, as JSON in OpenAI's form: ``{"type": "function", "function": {...}}``.

    ``spec`` keeps the order and the extra keys of the row, since makers' templates print them.
    """

    spec: JSON

    @property
    def function(self) -> JSON:
        """The inner object: name, description, parameters."""
        inner = self.spec.get("function")
        return cast(JSON, inner) if isinstance(inner, dict) else self.spec

    @property
    def name(self) -> str:
        """The tool's name."""
        return str(self.function["name"])

    @property
    def description(self) -> str:
        """The tool's description, or the empty string."""
        return str(self.function.get("description") or "")

    @property
    def parameters(self) -> JSON:
        """The JSON Schema of the arguments; ``{}`` where the tool takes none."""
        schema = self.function.get("parameters")
        return cast(JSON, schema) if isinstance(schema, dict) else {}


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages and the tools on offer, with media and whatever else the row carried."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    images: tuple[Any, ...] = ()
    videos: tuple[Any, ...] = ()
    audios: tuple[Any, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def until(self, count: int) -> Conversation:
        """The same conversation with its first ``count`` messages only."""
        if count >= len(self.messages):
            return self
        told = (self.images, self.videos, self.audios, self.extra)
        return Conversation(self.messages[:count], self.tools, *told)

    def without(self, start: int, end: int) -> Conversation:
        """The same conversation without its messages from ``start`` to ``end`` (exclusive)."""
        return replace(self, messages=self.messages[:start] + self.messages[end:])

    def without_given(self) -> Conversation:
        """The same conversation with arguments as values only, their original text forgotten."""
        if not any(call.given for message in self.messages for call in message.calls):
            return self
        return replace(self, messages=tuple(_without_given(m) for m in self.messages))


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said: its thinking, its visible text and its calls.

    ``thinking`` is None when the reply held no thinking block. ``complete`` is False for a reply
    that was cut off inside its thinking or inside a call.
    """

    thinking: str | None
    content: str
    calls: tuple[ToolCall, ...] = ()
    complete: bool = True


def _without_given(message: Message) -> Message:
    if not message.calls:
        return message
    return replace(message, calls=tuple(replace(call, given=None) for call in message.calls))


def tool_names(tools: Sequence[Tool]) -> list[str]:
    """The names of the tools, in their order."""
    return [tool.name for tool in tools]
