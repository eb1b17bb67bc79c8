"""Canonical and OpenAI rows: a list of messages in the column ``messages``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from toolgrove.core.messages import Conversation
from toolgrove.data.assemble import assemble
from toolgrove.data.fields import bad, filled
from toolgrove.data.format import Format, formats
from toolgrove.data.talk import read_talk


@formats.add("messages")
class Messages(Format):
    """Roles system, user, assistant, tool_call, tool_response (or tool), or OpenAI's messages."""

    rank: ClassVar[int] = 40

    def fits(self, row: Mapping[str, Any]) -> str:
        """Whether the row has messages."""
        return 'a list of messages in the column "messages"' if filled(row, "messages") else ""

    def convert(self, row: Mapping[str, Any]) -> Conversation:
        """The messages with the row's tools and system prompt."""
        for other in ("conversations", "conversation"):
            if filled(row, other):
                raise bad("messages", f'the row has "{other}" too', "keep one of the two columns")
        return assemble(row, read_talk(row["messages"], "messages"), ["messages"])
