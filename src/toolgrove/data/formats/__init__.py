"""Formats of rows: one file each, found by a scan of this folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from toolgrove.core.errors import DataError, did_you_mean
from toolgrove.core.messages import Conversation
from toolgrove.data.format import Format, ranked_formats

_COLUMNS = ("messages", "conversations", "instruction", "query", "prompt", "response", "text")
_LAYOUTS = "a row has messages, conversations, instruction/input/output or query/response"


class Fit(NamedTuple):
    """A format that could read a row, and why it thinks so."""

    format: str
    why: str


def conversation(row: Mapping[str, Any], where: str = "") -> Conversation:
    """The conversation that a row of any known format holds.

    Raises DataError with the row's place ``where`` and the path inside the row. What a row says
    twice in different ways is an error, never a guess; columns that no format reads stay in
    ``extra``. A message keeps its role, text, thinking, calls, name, call id and weights; other
    keys of a message are no part of a conversation (``unread_keys`` tells them).
    """
    try:
        known = _columns(row)
        return _reader(known).convert(known)
    except DataError as error:
        if not where:
            raise
        raise error.at(where) from None


def explain(row: Mapping[str, Any]) -> list[Fit]:
    """Every format that fits the row, with the reason; the first of them reads it."""
    known = _columns(row)
    asked = ((name, reader.fits(known)) for name, reader in ranked_formats())
    return [Fit(name, why if isinstance(why, str) else "") for name, why in asked if why]


def format_of(row: Mapping[str, Any]) -> str:
    """The name of the format that reads the row; DataError where none does."""
    known = _columns(row)
    for name, reader in ranked_formats():
        if reader.fits(known):
            return name
    raise _no_format(known)


def _columns(row: Any) -> Mapping[str, Any]:
    if not isinstance(row, Mapping):
        raise DataError("a row is an object with columns", hint='write {"messages": [...]}')
    return cast(Mapping[str, Any], row)


def _reader(row: Mapping[str, Any]) -> Format:
    for _, reader in ranked_formats():
        if reader.fits(row):
            return reader
    raise _no_format(row)


def _no_format(row: Mapping[str, Any]) -> DataError:
    names = [str(name) for name in row]
    if not names:
        return DataError("an empty row", hint=_LAYOUTS)
    null = [name for name in names if name in _COLUMNS and row[name] is None]
    if null:
        return DataError(f"{null[0]}: null, and no other column holds a conversation")
    near = next((hint for name in names if (hint := did_you_mean(name, _COLUMNS))), None)
    return DataError(f"no conversation in the columns {', '.join(names)}", hint=near or _LAYOUTS)
