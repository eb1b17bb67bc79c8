"""Text that knows why it is there."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """Why a piece of text stands in a rendered conversation."""

    SCAFFOLD = "scaffold"
    SYSTEM = "system"
    TOOLS = "tools"
    USER = "user"
    RESULT = "result"
    THINK_OPEN = "think_open"
    THINKING = "thinking"
    THINK_CLOSE = "think_close"
    TEXT_MARK = "text_mark"
    TEXT = "text"
    SEPARATOR = "separator"
    CALL_MARK = "call_mark"
    CALL_NAME = "call_name"
    CALL_ARGS = "call_args"
    CALL_STOP = "call_stop"
    STOP = "stop"


WRITTEN_BY_MODEL = frozenset(Kind) - {
    Kind.SCAFFOLD,
    Kind.SYSTEM,
    Kind.TOOLS,
    Kind.USER,
    Kind.RESULT,
}
"""The kinds that a model emits; all others are given to it.

``TEXT_MARK`` is a mark that frames text (gpt-oss's channels), ``SEPARATOR`` white space between
text and calls, ``CALL_STOP`` a mark after the calls that hands over to the tools (ReAct's
``Observation:``), ``STOP`` the token that ends the turn.
"""

CALL_KINDS = frozenset({Kind.CALL_MARK, Kind.CALL_NAME, Kind.CALL_ARGS})

MARKUP = frozenset(
    {
        Kind.SCAFFOLD,
        Kind.THINK_OPEN,
        Kind.THINK_CLOSE,
        Kind.TEXT_MARK,
        Kind.CALL_MARK,
        Kind.CALL_STOP,
        Kind.STOP,
    }
)
"""The kinds whose text a template wrote: only there are control tokens placed by id (law 6)."""


class Span(NamedTuple):
    """A piece of text, its kind, the message it belongs to, and the call within that message.

    ``message`` is an index into ``Conversation.messages`` (None: the template's own text);
    ``call`` an index into ``Message.calls`` (None: not part of one call).
    """

    text: str
    kind: Kind
    message: int | None = None
    call: int | None = None


def text_of(spans: Iterable[Span]) -> str:
    """The text of all spans, one after the other."""
    return "".join([span[0] for span in spans])


def cut(spans: list[Span], length: int) -> tuple[list[Span], list[Span]]:
    """The spans before and after the first ``length`` characters; one may be cut in two."""
    for index, span in enumerate(spans):
        if length < len(span[0]):
            if length == 0:
                return spans[:index], spans[index:]
            left = span._replace(text=span.text[:length])
            right = span._replace(text=span.text[length:])
            return [*spans[:index], left], [right, *spans[index + 1 :]]
        length -= len(span[0])
    return spans, []
