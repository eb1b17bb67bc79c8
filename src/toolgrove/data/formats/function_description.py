"""Rows of function-calling-chatml: turns, with the functions as text in a column of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from toolgrove.core.messages import Conversation
from toolgrove.data.fields import bad, filled
from toolgrove.data.format import Format, formats
from toolgrove.data.prompted import has_tools
from toolgrove.data.react_prompt import listed_tools

_COLUMN = "function_description"
_BASES = ("messages", "sharegpt")


@formats.add("function_description")
class FunctionDescription(Format):
    """The column holds JSON objects one after the other, or nothing."""

    rank: ClassVar[int] = 43

    def fits(self, row: Mapping[str, Any]) -> str:
        """Whether the row has turns beside a description of functions."""
        turns = any(filled(row, name) for name in ("messages", "conversations", "conversation"))
        named = turns and isinstance(row.get(_COLUMN), str)
        return f'functions as text in the column "{_COLUMN}"' if named else ""

    def convert(self, row: Mapping[str, Any]) -> Conversation:
        """The turns with the functions as tools."""
        if has_tools(row):
            raise bad(_COLUMN, "the row has tools too", "keep one of the two columns")
        rest = {name: value for name, value in row.items() if name != _COLUMN}
        reader = next(r for name in _BASES if (r := formats.get(name)()).fits(rest))
        source = str(row[_COLUMN])
        tools = listed_tools(source, _COLUMN) if source.strip() else ()
        return replace(reader.convert(rest), tools=tools)
