"""Keys of a row's messages that are no part of a conversation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from toolgrove.core.messages import JSON
from toolgrove.data.fields import as_list, as_object

_COLUMNS = ("messages", "conversations", "conversation", "chosen", "rejected", "rejected_messages")
_MESSAGE = frozenset(
    {
        "role",
        "from",
        "content",
        "value",
        "name",
        "tool_call_id",
        "call_id",
        "tool_calls",
        "function_call",
        "reasoning_content",
        "thinking",
        "reasoning",
        "loss",
        "loss_scale",
        "user",
        "human",
        "assistant",
        "gpt",
        "bot",
    }
)
_CALL = frozenset(
    {"id", "type", "index", "function", "name", "arguments", "parameters", "loss", "loss_scale"}
)
_EMPTY: tuple[Any, ...] = (None, "", [], {})


def unread_keys(row: Mapping[str, Any]) -> list[str]:
    """The keys with a value that no conversation keeps, as ``messages[].weight``, each once."""
    return list(dict.fromkeys(_general(keys) for keys in unread_places(row)))


def unread_places(row: Mapping[str, Any]) -> Iterator[tuple[str | int, ...]]:
    """Where in the row the keys with a value stand that no conversation keeps."""
    for column in _COLUMNS:
        for number, message in _objects(row.get(column)):
            yield from _others(message, _MESSAGE, (column, number))
            for index, call in _objects(message.get("tool_calls")):
                yield from _others(call, _CALL, (column, number, "tool_calls", index))


def _general(keys: Iterable[str | int]) -> str:
    words = ["[]" if isinstance(key, int) else f".{key}" for key in keys]
    return "".join(words).removeprefix(".")


def _others(
    item: JSON, known: Iterable[str], path: tuple[str | int, ...]
) -> Iterator[tuple[str | int, ...]]:
    for key, value in item.items():
        if key not in known and value not in _EMPTY:
            yield (*path, key)


def _objects(value: Any) -> list[tuple[int, JSON]]:
    found = ((number, as_object(item)) for number, item in enumerate(as_list(value) or ()))
    return [(number, item) for number, item in found if item is not None]
