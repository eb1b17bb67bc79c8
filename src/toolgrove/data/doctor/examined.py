"""A row under examination: its conversation, its texts and what its tools say of its calls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from toolgrove.core.messages import JSON, Conversation, Message, Role, Tool, ToolCall
from toolgrove.data.doctor.findings import At
from toolgrove.data.doctor.schemas import Problem, Schemas
from toolgrove.data.fields import as_list, as_object, dump


class Called(NamedTuple):
    """A call with its place, its tool (None: not on offer) and what the tool's schema says."""

    message: int
    call: int
    made: ToolCall
    tool: Tool | None
    problems: list[Problem]


class Said(NamedTuple):
    """A text of the row with its place; ``role`` None: a tool's description."""

    at: At
    text: str
    role: Role | None


@dataclass(frozen=True)
class Examined:
    """A row that could be read. ``schemas`` is the memory of compiled schemas, shared by rows."""

    row: JSON
    conversation: Conversation
    schemas: Schemas = field(default_factory=Schemas)

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation's messages."""
        return self.conversation.messages

    @cached_property
    def tools(self) -> dict[str, Tool]:
        """The tools on offer by name; of two with one name the first."""
        by_name: dict[str, Tool] = {}
        for tool in self.conversation.tools:
            by_name.setdefault(tool.name, tool)
        return by_name

    @cached_property
    def calls(self) -> list[Called]:
        """Every call of the conversation, held against its tool."""
        return list(self._calls())

    def _calls(self) -> Iterator[Called]:
        for index, message in enumerate(self.messages):
            for number, call in enumerate(message.calls):
                tool = self.tools.get(call.name)
                problems = self.schemas.of(tool).problems(call.arguments) if tool else []
                yield Called(index, number, call, tool, problems)

    @cached_property
    def texts(self) -> list[Said]:
        """Every text that messages and calls carry; empty ones are left out."""
        return list(self._texts())

    def _texts(self) -> Iterator[Said]:
        for index, message in enumerate(self.messages):
            if message.content:
                yield Said(At(index, None, ("content",)), message.content, message.role)
            if message.thinking:
                yield Said(At(index, None, ("thinking",)), message.thinking, message.role)
            for number, call in enumerate(message.calls):
                for keys, text in strings_in(call.arguments, ("arguments",)):
                    yield Said(At(index, number, keys), text, message.role)

    @cached_property
    def described(self) -> list[Said]:
        """The tools on offer, each as one text."""
        return [
            Said(At(keys=("tools", number)), dump(tool.spec), None)
            for number, tool in enumerate(self.conversation.tools)
        ]


def after_thinking(text: str) -> str:
    """What is left of a text after the thinking in tags that it begins with."""
    opened = text.lstrip()
    inside, closed, rest = opened.partition("</think>")
    return rest if closed and inside.startswith("<think>") else text


def strings_in(
    value: Any, keys: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every string inside a JSON value, with the keys that lead to it; empty ones are left out."""
    stack: list[tuple[tuple[str | int, ...], Any]] = [(keys, value)]
    while stack:
        at, item = stack.pop()
        if isinstance(item, str):
            if item:
                yield at, item
            continue
        inside = as_object(item)
        if inside is not None:
            stack.extend(((*at, key), inner) for key, inner in reversed(inside.items()))
            continue
        listed = as_list(item)
        if listed is not None:
            stack.extend(((*at, n), inner) for n, inner in reversed(list(enumerate(listed))))
