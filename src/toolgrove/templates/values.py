"""The small values that chat templates, agent templates and readers hand to each other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from toolgrove.core.messages import Message, Role, Tool, ToolCall
from toolgrove.core.spans import Span

THINK_OPEN = "<think>"
THINK_CLOSE = "</think>"
NO_LIMIT = 2**62
"""a place behind every text"""


class ThinkMarks(NamedTuple):
    """What opens and closes thinking in a reply, white space around it left out.

    ``bare``: a reply without thinking begins with the closing mark alone. ``unasked``: the family's
    models open thinking though the prompt does not; a reply that must be JSON has no room for it
    otherwise.
    """

    open: str = THINK_OPEN
    close: str = THINK_CLOSE
    bare: bool = False
    unasked: bool = True


COMPOSED_THINK = ThinkMarks(unasked=False)
"""of families that do not think: only composed dialects write what they are given"""


class NextTurn(NamedTuple):
    """What a model writes to stop where a family's text has no token at a turn's end: the token
    that opens the next turn, the user's or the one with tool results."""

    user: str
    results: str


class Place(StrEnum):
    """Where an agent template puts tool results."""

    USER = "user"
    """all results of a step in one user turn"""
    TOOL = "tool"
    """each result in a tool turn of its own, framed by the chat template"""
    TOOLS = "tools"
    """all results of a step in one tool turn, framed by the chat template"""
    ASSISTANT = "assistant"
    """inside the assistant's turn, which then goes on"""


class ToolText(NamedTuple):
    """What an agent template says about the tools: the whole system text, and words that open
    the first user message."""

    system: list[Span]
    first_user: list[Span]


class Step(NamedTuple):
    """What a turn's calls are written for: the tools on offer, the assistant's message, how many
    calls the conversation made before, and whether exactly the maker's text is asked for."""

    tools: tuple[Tool, ...] = ()
    message: Message = Message(Role.ASSISTANT)
    earlier: int = 0
    native: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """The ``index``-th of the ``count`` results of one step.

    ``call`` is the call that it answers, by its id, else by its place (None: no such call);
    ``order`` counts all calls of the conversation before that call.
    """

    message: Message
    call: ToolCall | None = None
    index: int = 0
    count: int = 1
    order: int = 0
    native: bool = False

    @property
    def content(self) -> str:
        """The result's text."""
        return self.message.text

    @property
    def name(self) -> str:
        """The tool's name: the row's own, else that of the call; empty when neither is known."""
        return self.message.name or (self.call.name if self.call else "")


class Scan(NamedTuple):
    """What a look at a reply found after a position.

    With calls: ``text[begin:end]`` is call markup, all before it is text. Without: all before
    ``begin`` is text and the rest is undecided until more text arrives (``end`` is the text's
    length when a call has begun there, else ``begin``).
    """

    begin: int
    end: int
    calls: tuple[ToolCall, ...] = ()


class Window(NamedTuple):
    """A reply as far as it is known: look at ``text`` from ``start`` on.

    ``fresh`` is where the reply's visible text began or the last call ended; ``final`` means that
    no more text will come. A call that begins at ``limit`` or later is not asked for: to look for
    it is wasted.
    """

    text: str
    start: int
    fresh: int
    final: bool
    tools: tuple[Tool, ...]
    limit: int = NO_LIMIT
