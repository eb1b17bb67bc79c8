"""What an agent tells while it works: pieces of replies, calls, results, the end."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, TypeAlias

from toolgrove.agent.results import Outcome
from toolgrove.core.messages import Reply, ToolCall
from toolgrove.engine.base import Finish
from toolgrove.templates.reading import Delta


class Said(NamedTuple):
    """A whole reply of the model, why it ended, and the tokens that it took; ``text``: as it was
    generated, where that is known."""

    reply: Reply
    finish: Finish = Finish.STOP
    prompt_tokens: int = 0
    tokens: int = 0
    text: str = ""


class Calling(NamedTuple):
    """A call is being made, the ``index``-th of its step."""

    index: int
    call: ToolCall


class Returned(NamedTuple):
    """A call has its result."""

    index: int
    call: ToolCall
    outcome: Outcome


class Ended(StrEnum):
    """Why an agent stopped working on a question."""

    ANSWER = "answer"
    """the model answered without another call"""
    LENGTH = "length"
    """a reply came to its limit of tokens"""
    UNREADABLE = "unreadable"
    """a reply broke off inside its thinking or inside a call"""
    STEPS = "steps"
    """too many replies"""
    TOKENS = "tokens"
    """too many tokens"""
    TIME = "time"
    """too long"""
    REPEATED = "repeated"
    """the same call again and again"""
    INTERRUPTED = "interrupted"
    """the user stopped it"""
    FAILED = "failed"
    """an error that is no tool's"""


class Over(NamedTuple):
    """The work on a question has ended; ``detail`` says more where there is more to say."""

    ended: Ended
    detail: str = ""


Event: TypeAlias = Delta | Said | Calling | Returned | Over
