"""A list of a row's messages as core messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from toolgrove.core.errors import did_you_mean
from toolgrove.core.messages import JSON, Message, Role, ToolCall
from toolgrove.data.calls import (
    read_call,
    read_calls,
    read_loss,
    read_loss_scale,
    read_tool_calls,
    with_weights,
)
from toolgrove.data.content import Media, Parts, read_parts, result_text
from toolgrove.data.fields import (
    as_list,
    as_object,
    bad,
    describe,
    dump,
    optional_text,
    parse_loose,
    show,
)

_SYSTEM, _USER, _ASSISTANT, _TOOL = Role  # an attribute of an enum's class is slow to look up
_CALL = "tool_call"
_ROLES: dict[str, str] = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "human": Role.USER,
    "assistant": Role.ASSISTANT,
    "gpt": Role.ASSISTANT,
    "chatgpt": Role.ASSISTANT,
    "bot": Role.ASSISTANT,
    "model": Role.ASSISTANT,
    _CALL: _CALL,
    "function_call": _CALL,
    "tool": Role.TOOL,
    "tool_response": Role.TOOL,
    "function_response": Role.TOOL,
    "function": Role.TOOL,
    "observation": Role.TOOL,
    "observations": Role.TOOL,
}
_COMMON_ROLES = ("system", "user", "assistant", "tool_call", "tool_response", "human", "gpt")
_THINK, _END_THINK = "<think>", "</think>"
_THINKING = ("reasoning_content", "thinking", "reasoning")


@dataclass(slots=True)
class Talk:
    """The messages read so far, and the media that stood in them.

    ``calling`` is True right after a ``tool_call`` message, whose turn further calls join.
    """

    messages: list[Message] = field(default_factory=list[Message])
    media: Media = field(default_factory=Media)
    calling: bool = False


def read_talk(value: Any, path: str) -> Talk:
    """The messages of a column: a list, or a list as JSON text."""
    if isinstance(value, str):
        try:
            value = parse_loose(value)
        except ValueError as error:
            raise bad(path, f"not JSON ({error}): {show(value)}") from None
    items = as_list(value)
    if items is None:
        raise bad(path, f"not a list but {describe(value)}", "write a list of messages")
    if not items:
        raise bad(path, "no messages", "give at least one message, or leave the row out")
    talk = Talk()
    add_messages(talk, items, path)
    return talk


def add_messages(talk: Talk, items: Sequence[Any], path: str) -> None:
    """Reads message objects and appends them to the talk.

    A run of ``tool_call`` messages is one assistant message with several calls; an assistant
    message right before the run, if it has no calls of its own, is the one that they join.
    """
    for index, item in enumerate(items):
        at = f"{path}[{index}]"
        entry = as_object(item)
        if entry is None:
            raise bad(at, f"not an object but {describe(item)}", _ROLE_HINT)
        role = _role(entry, at)
        if role == _CALL:
            _add_calls(talk, entry, at)
            continue
        talk.calling = False
        if role is _ASSISTANT:
            _add_assistant(talk, entry, at, _calls_follow(items, index))
        elif role is _TOOL:
            _add_result(talk, entry, at)
        else:
            _add_given(talk, _USER if role is _USER else _SYSTEM, entry, at)


def _calls_follow(items: Sequence[Any], index: int) -> bool:
    """Whether the next message is a ``tool_call``: it completes an assistant's empty one."""
    entry = as_object(items[index + 1]) if index + 1 < len(items) else None
    given = (entry or {}).get("role", (entry or {}).get("from"))
    return isinstance(given, str) and _ROLES.get(given.replace("-", "_").lower()) == _CALL


_ROLE_HINT = 'a message is {"role": "user", "content": "..."}'


def _role(entry: JSON, path: str) -> str:
    key = "role" if entry.get("role") is not None else "from"
    given = entry.get(key)
    if given is None:
        raise bad(path, "a message without a role", _ROLE_HINT)
    role = _ROLES.get(given.replace("-", "_").lower()) if isinstance(given, str) else None
    if role is None:
        near = did_you_mean(given, _COMMON_ROLES) if isinstance(given, str) else None
        known = "the roles are system, user, assistant, tool_call, tool_response (or tool)"
        raise bad(
            f"{path}.{key}", f'unknown role "{show(given)}"', f"{near} {known}" if near else known
        )
    return role


def _content(entry: JSON, path: str) -> tuple[Any, str]:
    """The raw content with its path; ``value`` is ShareGPT's name for it."""
    key = "value" if "value" in entry and entry.get("content") is None else "content"
    return entry.get(key), f"{path}.{key}"


def _refuse_calls(role: Role, entry: JSON, path: str) -> None:
    """Only assistants call: a call in another message would be lost."""
    for key in ("tool_calls", "function_call"):
        if entry.get(key):
            raise bad(f"{path}.{key}", f"a {role} message with calls", "only assistants call")


def _add_given(talk: Talk, role: Role, entry: JSON, path: str) -> None:
    """A system or user message; Anthropic's tool results inside it come first."""
    _refuse_calls(role, entry, path)
    value, at = _content(entry, path)
    if not isinstance(value, str):
        parts = _parts(value, at, talk.media)
        if parts.calls or parts.thinking:
            raise bad(at, f"a {role} message with calls or thinking", "only assistants have these")
        talk.messages.extend(parts.results)
        if parts.results and not parts.texts:
            return
        value = "".join(parts.texts)
    message = Message(role, value, name=optional_text(entry, "name", path))
    talk.messages.append(_weighted(message, entry, path))


def _add_assistant(talk: Talk, entry: JSON, path: str, calls_follow: bool) -> None:
    value, at = _content(entry, path)
    parts = Parts() if value is None else _parts(value, at, talk.media)
    if parts.results:
        raise bad(at, "an assistant message with tool results", 'give them the role "tool"')
    calls = (*parts.calls, *_own_calls(entry, path))
    thinking = _thinking(entry, path)
    if parts.thinking:
        if thinking is not None:
            raise bad(path, "thinking both in the content and beside it", "keep one of them")
        thinking = "".join(parts.thinking)
    if value is None and not calls and thinking is None and not calls_follow:
        raise bad(at, "an assistant message without content and without calls", "add its text")
    has_content = "content" in entry or "value" in entry
    content = "".join(parts.texts) if parts.texts or isinstance(value, str) else None
    if value is not None and content is None:
        content = ""
    message = Message(
        Role.ASSISTANT,
        content,
        thinking=thinking,
        calls=calls,
        name=optional_text(entry, "name", path),
        has_content=has_content,
    )
    talk.messages.append(_weighted(message, entry, path))


def _own_calls(entry: JSON, path: str) -> tuple[ToolCall, ...]:
    """The calls of an OpenAI message: ``tool_calls``, or the older ``function_call``."""
    calls = read_tool_calls(entry.get("tool_calls"), f"{path}.tool_calls")
    older = entry.get("function_call")
    if older is None:
        return calls
    if calls:
        raise bad(path, 'both "tool_calls" and "function_call"', 'keep "tool_calls"')
    return (read_call(older, f"{path}.function_call"),)


def _add_calls(talk: Talk, entry: JSON, path: str) -> None:
    value, at = _content(entry, path)
    if value is None:
        raise bad(at, "a tool_call without content", 'a call is {"name": "...", "arguments": {}}')
    thinking = _thinking(entry, path)
    if isinstance(value, str) and value.lstrip().startswith(_THINK) and thinking is None:
        inside, closed, value = value.lstrip().removeprefix(_THINK).partition(_END_THINK)
        if not closed:
            raise bad(at, "thinking without an end", f"close it with {_END_THINK}")
        thinking = inside.removeprefix("\n").removesuffix("\n")
    calls = tuple(with_weights(call, entry, path) for call in read_calls(value, at))
    last = talk.messages[-1] if talk.messages else None
    if last is None or last.role is not _ASSISTANT or (last.calls and not talk.calling):
        talk.messages.append(Message(_ASSISTANT, "", thinking=thinking, calls=calls))
    else:
        if thinking is not None and last.thinking is not None:
            raise bad(path, "a second thinking in one turn", "write the turn's thinking once")
        joined = last.thinking if thinking is None else thinking
        talk.messages[-1] = replace(last, thinking=joined, calls=(*last.calls, *calls))
    talk.calling = True


def _add_result(talk: Talk, entry: JSON, path: str) -> None:
    _refuse_calls(Role.TOOL, entry, path)
    value, at = _content(entry, path)
    call_id = entry.get("tool_call_id", entry.get("call_id"))
    message = Message(
        Role.TOOL,
        result_text(value, at, talk.media),
        name=optional_text(entry, "name", path),
        call_id=call_id if call_id is None or isinstance(call_id, str) else dump(call_id),
    )
    talk.messages.append(_weighted(message, entry, path))


def _parts(value: Any, path: str, media: Media) -> Parts:
    if isinstance(value, str):
        return Parts(texts=[value])
    if as_list(value) is None:
        raise bad(path, f"expected text, found {describe(value)}", "write it as a string")
    return read_parts(value, path, media)


def _thinking(entry: JSON, path: str) -> str | None:
    if entry.keys().isdisjoint(_THINKING):
        return None
    found = {
        key: text for key in _THINKING if (text := optional_text(entry, key, path)) is not None
    }
    if len(set(found.values())) > 1:
        names = " and ".join(f'"{key}"' for key in found)
        raise bad(path, f"{names} hold different thinking", 'keep "reasoning_content"')
    return next(iter(found.values()), None)


def _weighted(message: Message, entry: JSON, path: str) -> Message:
    loss, loss_scale = read_loss(entry, path), read_loss_scale(entry, path)
    if loss is None and loss_scale is None:
        return message
    return replace(message, loss=loss, loss_scale=loss_scale)
