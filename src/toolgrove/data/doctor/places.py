"""Where in a row the parts of its conversation stand, and how to change them there."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from toolgrove.core.errors import DataError
from toolgrove.core.messages import JSON, Conversation, Message, Role
from toolgrove.data.doctor.findings import At, Repair
from toolgrove.data.fields import as_list, as_object, dump, parse_json, parse_loose
from toolgrove.data.talk import Talk, add_messages

Keys = tuple[str | int, ...]

_TURNS = ("messages", "conversations", "conversation")
_TOOLS = ("functions", "function")
_PLAIN = re.compile(r"[^\W\d][\w-]*")


@dataclass(slots=True)
class Places:
    """The keys in the row of each message and of each call."""

    messages: dict[int, Keys] = field(default_factory=dict[int, Keys])
    calls: dict[tuple[int, int], Keys] = field(default_factory=dict[tuple[int, int], Keys])


def places_of(row: JSON, conv: Conversation) -> Places:
    """Where the messages and calls of a row's conversation stand, as far as that can be said.

    Turns in a list are followed one by one; a text in a column of its own is known by its value.
    """
    for column in _TURNS:
        items = as_list(row.get(column))
        if items and all(as_object(item) is not None for item in items):
            return _in_turns(column, items, row, conv)
    return _by_text(row, conv)


def keys_at(row: JSON, places: Places, at: At) -> Keys:
    """The keys that lead from the row to the place; they may go through text that is JSON.

    Where the place cannot be found in the row, the keys are those of its conversation.
    """
    if at.message is None:
        named = at.keys[:1] == ("tools",) and "tools" not in row
        column = next((name for name in _TOOLS if name in row), "tools") if named else ""
        return (column, *at.keys[1:]) if named else at.keys
    if at.call is None:
        return _in_message(row, places, at)
    base = places.calls.get((at.message, at.call))
    if base is None:
        return ("messages", at.message, "tool_calls", at.call, *at.keys)
    if not at.keys or at.keys[0] == "id":
        return (*base, *at.keys)
    call = as_object(value_at(row, base)) or {}
    if as_object(call.get("function")) is not None and call.get("name") is None:
        base, call = (*base, "function"), as_object(call["function"]) or {}
    first = at.keys[0]
    if first == "arguments" and "arguments" not in call:
        first = next((key for key in ("parameters", "input") if key in call), first)
    return (*base, first, *at.keys[1:])


def path_of(keys: Keys) -> str:
    """The keys as a path: ``messages[1].content.arguments.days``."""
    path = ""
    for key in keys:
        if isinstance(key, int):
            path += f"[{key}]"
        elif _PLAIN.fullmatch(key):
            path += f".{key}" if path else key
        else:
            path += f"[{dump(key)}]"
    return path


def value_at(value: Any, keys: Keys) -> Any:
    """The value that the keys lead to, through JSON text where they must; None: there is none."""
    for key in keys:
        if isinstance(value, str):
            try:
                value = parse_loose(value)
            except ValueError:
                return None
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def literal_in(row: JSON, keys: Keys) -> str | None:
    """The text on the way to the keys, or at their end, that is a Python literal and no JSON."""
    value: Any = row
    for key in (*keys, None):
        if isinstance(value, str):
            source = value
            try:
                value = parse_json(source)
            except ValueError:
                return source if _is_literal(source) else None
        if key is None:
            return None
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return None
    return None


def _is_literal(source: str) -> bool:
    try:
        parse_loose(source)
    except ValueError:
        return False
    return True


def repaired(row: JSON, places: Places, repair: Repair) -> JSON | None:
    """The row with one change; None where the row does not hold what was to be changed."""
    keys = keys_at(row, places, repair.at)
    target = value_at(row, keys)
    entry = as_object(target)
    taken_out = repair.remove and repair.at.message is not None and not repair.at.keys
    if taken_out:
        held = entry.get("content", entry.get("value")) if entry is not None else target
        if held != repair.old or not isinstance(keys[-1], int):
            return None
    elif not _same(target, repair.old):
        return None
    changed: JSON = _changed(row, keys, repair)
    return changed


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def _changed(value: Any, keys: Keys, repair: Repair) -> Any:
    """A copy of the value with the change made below the keys; JSON text stays JSON text."""
    if isinstance(value, str):
        return dump(_changed(parse_loose(value), keys, repair))
    made: Any = copy.copy(value)
    key = keys[0]
    if len(keys) > 1:
        made[key] = _changed(value[key], keys[1:], repair)
    elif repair.remove:
        del made[key]
    else:
        made[key] = repair.new
    return made


def _in_message(row: JSON, places: Places, at: At) -> Keys:
    base = places.messages.get(at.message or 0)
    if base is None:
        return ("messages", at.message or 0, *at.keys)
    entry = as_object(value_at(row, base))
    if entry is None or not at.keys:
        return base
    first = at.keys[0]
    if first == "content" and entry.get("content") is None and "value" in entry:
        first = "value"
    if first == "thinking":
        names = ("reasoning_content", "thinking", "reasoning")
        first = next((name for name in names if name in entry), first)
    return (*base, first, *at.keys[1:])


def _in_turns(column: str, items: list[Any], row: JSON, conv: Conversation) -> Places:
    """Follows the reading of the turns: what each one adds stands there."""
    places = Places()
    talk = Talk()
    shift = 0
    if conv.messages and conv.messages[0].role is Role.SYSTEM:
        name = next((n for n in ("system", "system_prompt") if isinstance(row.get(n), str)), None)
        first = as_object(items[0]) or {}
        if name is not None and first.get("role", first.get("from")) not in ("system", "developer"):
            places.messages[0], shift = (name,), 1
    for number, item in enumerate(items):
        count = len(talk.messages)
        made = len(talk.messages[-1].calls) if talk.messages else 0
        try:
            add_messages(talk, [item], "")
        except DataError:
            if number + 1 == len(items):
                return places
            talk.messages.append(Message(Role.ASSISTANT))
        base = (column, number)
        for index in range(count, len(talk.messages)):
            places.messages.setdefault(index + shift, base)
        changed = count - 1 if len(talk.messages) == count else len(talk.messages) - 1
        already = made if changed == count - 1 else 0
        if changed >= 0:
            total = len(talk.messages[changed].calls) - already
            for offset, keys in enumerate(_calls_in(as_object(item) or {}, base, total)):
                places.calls[changed + shift, already + offset] = keys
    return places


def _calls_in(entry: JSON, base: Keys, count: int) -> Iterator[Keys]:
    """The keys of the calls that a turn adds, in the order in which they are read."""
    if not count:
        return
    left = count
    for key in ("content", "value"):
        parts = as_list(entry.get(key)) or []
        for number, part in enumerate(parts):
            if (as_object(part) or {}).get("type") == "tool_use":
                yield (*base, key, number)
                left -= 1
    if not left:
        return
    if entry.get("tool_calls"):
        yield from ((*base, "tool_calls", number) for number in range(left))
    elif entry.get("function_call") is not None:
        yield (*base, "function_call")
    else:
        key = "value" if "value" in entry and entry.get("content") is None else "content"
        several = as_list(_parsed(entry.get(key))) is not None
        yield from ((*base, key, number) if several else (*base, key) for number in range(left))


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse_loose(value)
    except ValueError:
        return None


def _by_text(row: JSON, conv: Conversation) -> Places:
    """The places of texts that stand in the row exactly as in the conversation."""
    free: dict[str, list[Keys]] = {}
    for keys, text in _strings(row):
        free.setdefault(text, []).append(keys)
    places = Places()
    for index, message in enumerate(conv.messages):
        found = free.get(message.text) if message.text else None
        if found:
            places.messages[index] = found.pop(0)
    return places


def _strings(value: Any, keys: Keys = ()) -> Iterator[tuple[Keys, str]]:
    if isinstance(value, str):
        yield keys, value
    elif (inside := as_object(value)) is not None:
        for key, inner in inside.items():
            yield from _strings(inner, (*keys, key))
    elif (listed := as_list(value)) is not None:
        for number, inner in enumerate(listed):
            yield from _strings(inner, (*keys, number))


def difference(row: JSON, keys: Keys, repair: Repair) -> list[str]:
    """The change as lines of a diff: the path, what stood there, what stands there now."""
    old = json.dumps(value_at(row, keys), ensure_ascii=False)
    lines = [f"@@ {path_of(keys)} @@", f"-{old}"]
    return lines if repair.remove else [*lines, f"+{dump(repair.new)}"]
