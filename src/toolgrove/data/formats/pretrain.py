"""Pre-training rows: nothing but text, in the column ``text`` or ``content``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from toolgrove.core.messages import Conversation, Message, Role
from toolgrove.data.assemble import assemble
from toolgrove.data.fields import filled, pick
from toolgrove.data.format import Format, formats
from toolgrove.data.pairs import QUERY, RESPONSE
from toolgrove.data.talk import Talk

_TEXT = ("text", "content")
_OTHERS = tuple(name for name in (*QUERY, *RESPONSE, "history") if name not in _TEXT)


@formats.add("pretrain")
class Pretrain(Format):
    """The text, all of it to learn; the other columns stay beside it."""

    rank: ClassVar[int] = 15

    def fits(self, row: Mapping[str, Any]) -> str:
        """Whether the row has a text and neither a question nor an answer."""
        column = next((name for name in _TEXT if isinstance(row.get(name), str)), None)
        if column is None or any(filled(row, name) for name in _OTHERS):
            return ""
        return f'a text in the column "{column}", and no question or answer'

    def convert(self, row: Mapping[str, Any]) -> Conversation:
        """The text as what an assistant says."""
        column = pick(row, _TEXT)
        talk = Talk()
        used: list[str] = []
        if column is not None:
            talk.messages.append(Message(Role.ASSISTANT, str(column.value)))
            used.append(column.name)
        return assemble(row, talk, used)
