"""Outcomes: what became of one case, with all that a report shows of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from toolgrove.core.messages import JSON, Conversation, Message, Reply, Role, ToolCall
from toolgrove.data.canonical import openai_messages

RIGHT = "right"
"""The mark that every outcome has: 1 where the case went right as a whole."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one case.

    ``marks`` measure it, each from 0 to 1; a measure that does not apply to the case is left out.
    ``messages`` are the conversation with what the model said in it, from ``asked`` on its own
    replies and what came back to them. ``expected`` says in words what was wanted. ``group`` names
    the cases that belong together (the turns of a conversation): intervals draw groups.
    """

    suite: str
    category: str
    name: str
    marks: Mapping[str, float]
    reason: str = ""
    kind: str = ""
    expected: str = ""
    messages: Sequence[JSON] = field(default_factory=list[JSON])
    asked: int = 0
    tools: Sequence[JSON] = field(default_factory=list[JSON])
    texts: Sequence[str] = field(default_factory=list[str])
    group: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def right(self) -> bool:
        """Whether the case went right as a whole."""
        return self.marks[RIGHT] == 1

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells the case from all others."""
        return (self.suite, self.category, self.name)

    def as_json(self) -> JSON:
        """The outcome as a line of a journal."""
        return {
            "suite": self.suite,
            "category": self.category,
            "name": self.name,
            "marks": dict(self.marks),
            "reason": self.reason,
            "kind": self.kind,
            "expected": self.expected,
            "messages": list(self.messages),
            "asked": self.asked,
            "tools": list(self.tools),
            "texts": list(self.texts),
            "group": self.group,
            "notes": dict(self.notes),
        }


def said_message(reply: Reply) -> Message:
    """A reply as the message that stands in the history of what follows."""
    return Message(Role.ASSISTANT, reply.content, reply.thinking, reply.calls)


def shown(conversation: Conversation, more: Sequence[Message]) -> JSON:
    """The fields of an outcome that show a conversation and what was said after it."""
    return {
        "messages": openai_messages((*conversation.messages, *more)),
        "asked": len(conversation.messages),
        "tools": [tool.spec for tool in conversation.tools],
    }


def result_message(call: ToolCall, content: str) -> Message:
    """What a call returned, as a message."""
    return Message(Role.TOOL, content, name=call.name, call_id=call.id)
