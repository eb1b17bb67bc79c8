"""Formats of rows: one file each, found by a scan of this folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from toolgrove.core.errors import DataError, did_you_mean
from toolgrove.core.messages import Conversation
from toolgrove.data.format import formats

_COLUMNS = ("messages", "conversations", "instruction", "query", "prompt", "response", "text")
_LAYOUTS = "a row has messages, conversations, instruction/input/output or query/response"


def conversation(row: Mapping[str, Any], where: str = "") -> Conversation:
    """The conversation that a row of any known format holds.

    Raises DataError with the row's place ``where`` and the path inside the row. What a row says
    twice in different ways is an error, never a guess; columns that no format reads stay in
    ``extra``. A message keeps its role, text, thinking, calls, name, call id and weights; other
    keys of a message are no part of a conversation.
    """
    try:
        return _converted(row)
    except DataError as error:
        if not where:
            raise
        raise error.at(where) from None


def _converted(row: Any) -> Conversation:
    if not isinstance(row, Mapping):
        raise DataError("a row is an object with columns", hint='write {"messages": [...]}')
    known = cast(Mapping[str, Any], row)
    found = [formats.get(name) for name in formats.names()]
    for kind in sorted(found, key=lambda kind: -kind.rank):
        reader = kind()
        if reader.fits(known):
            return reader.convert(known)
    raise _no_format(known)


def _no_format(row: Mapping[str, Any]) -> DataError:
    names = [str(name) for name in row]
    if not names:
        return DataError("an empty row", hint=_LAYOUTS)
    null = [name for name in names if name in _COLUMNS and row[name] is None]
    if null:
        return DataError(f"{null[0]}: null, and no other column holds a conversation")
    near = next((hint for name in names if (hint := did_you_mean(name, _COLUMNS))), None)
    return DataError(f"no conversation in the columns {', '.join(names)}", hint=near or _LAYOUTS)
