"""Alpaca rows: ``instruction``, ``input`` and ``output``, with earlier rounds in ``history``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from toolgrove.core.messages import Conversation, Message, Role
from toolgrove.data.assemble import assemble
from toolgrove.data.fields import bad, filled, pick, text
from toolgrove.data.format import Format, formats
from toolgrove.data.pairs import RESPONSE, add_history, refuse_rivals
from toolgrove.data.talk import Talk

_OUTPUT = ("output", *(name for name in RESPONSE if name != "output"))


@formats.add("alpaca")
class Alpaca(Format):
    """The question is the instruction, a newline and the input; either may be empty."""

    rank: ClassVar[int] = 20

    def fits(self, row: Mapping[str, Any]) -> str:
        """Whether the row has both an instruction and an input column."""
        if "instruction" not in row or "input" not in row:
            return ""
        either = filled(row, "instruction") or filled(row, "input")
        return 'the columns "instruction" and "input"' if either else ""

    def convert(self, row: Mapping[str, Any]) -> Conversation:
        """History, question and answer as messages."""
        refuse_rivals(row, ("instruction", "input"))
        talk = Talk()
        add_history(talk, row)
        asked = [_asked(row, "instruction"), _asked(row, "input")]
        query = "\n".join(part for part in asked if part)
        if not query:
            raise bad("instruction", "neither an instruction nor an input")
        talk.messages.append(Message(Role.USER, query))
        used = ["history", "instruction", "input"]
        output = pick(row, _OUTPUT)
        if output is not None:
            answer = text(output.value, output.name)
            talk.messages.append(Message(Role.ASSISTANT, answer))
            used.append(output.name)
        return assemble(row, talk, used)


def _asked(row: Mapping[str, Any], name: str) -> str:
    return "" if row.get(name) is None else text(row[name], name)
