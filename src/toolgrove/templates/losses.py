"""What a rendered conversation leaves out, found in its spans."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Conversation, Message, Role
from toolgrove.core.spans import Kind, Span, text_of

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.\-]+")
"""Keys that every wire format writes as they are."""
# an attribute of an enum's class is slow to look up
_CALL_NAME, _CALL_ARGS, _TOOLS = Kind.CALL_NAME, Kind.CALL_ARGS, Kind.TOOLS
_ASSISTANT = Role.ASSISTANT
_SHOWN_AS = {Role.SYSTEM: Kind.SYSTEM, Role.USER: Kind.USER, Role.TOOL: Kind.RESULT}


def losses_of(
    conv: Conversation, spans: Iterable[Span], completions: Mapping[int, Sequence[Span]]
) -> list[str]:
    """One sentence for each thing that is in the conversation but not in its spans.

    ``spans`` are those of the whole and of every prompt that a turn is served with: some makers
    show a system prompt only while the last user message is answered.

    ``completions`` holds what each assistant message trains, in the context it is served in: the
    thinking that a template drops from history later on is not lost.
    """
    lost: list[str] = []
    shown = {(span[2], span[1]) for span in spans}
    if conv.tools and not any(kind is _TOOLS for _, kind in shown):
        lost.append(f"the {len(conv.tools)} tools are not shown")
    for index, message in enumerate(conv.messages):
        if message.role is _ASSISTANT:
            missing = _turn_losses(message, completions[index])
        elif message.text.strip() and (index, _SHOWN_AS[message.role]) not in shown:
            missing = ["its text is not shown"]
        else:
            continue
        lost += [f"messages[{index}] ({message.role}): {what}" for what in missing]
    return lost


def _turn_losses(message: Message, completion: Sequence[Span]) -> list[str]:
    lost: list[str] = []
    written = {span[3] for span in completion if span[1] is _CALL_NAME}
    if len(written) < len(message.calls):
        lost.append(f"{len(message.calls) - len(written)} of its calls are not written")
    if message.thinking or message.content:
        kinds = {span[1] for span in completion}
        if (message.thinking or "").strip() and Kind.THINKING not in kinds:
            lost.append("its thinking is not written")
        if message.text.strip() and not kinds & {Kind.TEXT, Kind.THINKING}:
            lost.append("its text is not written")
    for index, call in enumerate(message.calls):
        text = text_of([span for span in completion if span[3] == index])
        names = [key for key in _keys(call.arguments) if key not in text]
        gone = [key for key in names if _PLAIN_NAME.fullmatch(key)]
        if gone and index in written and call.given is None:
            lost.append(f"the argument {gone[0]!r} of its call of {call.name!r} is not written")
    given = {dump(call.given) for call in message.calls if call.given is not None}
    if given and any(span.kind is _CALL_ARGS and span.text in given for span in completion):
        lost.append("arguments given as a JSON string are written as a string, not as an object")
    return lost


def _keys(value: Any) -> Iterator[str]:
    """The keys of a value, at any depth."""
    if isinstance(value, dict):
        for key, item in cast(dict[str, Any], value).items():
            yield key
            if isinstance(item, dict | list):
                yield from _keys(item)
    elif isinstance(value, list):
        for item in cast(list[Any], value):
            yield from _keys(item)
