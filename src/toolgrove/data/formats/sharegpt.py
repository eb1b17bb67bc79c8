"""ShareGPT rows: turns with ``from`` and ``value`` in the column ``conversations``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from toolgrove.core.messages import JSON, Conversation
from toolgrove.data.assemble import assemble
from toolgrove.data.fields import as_list, as_object, bad, filled, pick
from toolgrove.data.format import Format, formats
from toolgrove.data.talk import Talk, add_messages, read_talk

_COLUMNS = ("conversations", "conversation")
_ASKS = ("user", "human")
_ANSWERS = ("assistant", "gpt", "bot")


@formats.add("sharegpt")
class ShareGPT(Format):
    """Turns from human, gpt, function_call, observation, system; or pairs of human and gpt."""

    rank: ClassVar[int] = 30

    def fits(self, row: Mapping[str, Any]) -> str:
        """Whether the row has turns."""
        found = next((name for name in _COLUMNS if filled(row, name)), None)
        return f'turns in the column "{found}"' if found else ""

    def convert(self, row: Mapping[str, Any]) -> Conversation:
        """The turns with the row's tools and system prompt."""
        column = pick(row, _COLUMNS)
        if column is None:
            raise bad(_COLUMNS[0], "no turns")
        items = as_list(column.value)
        head = as_object(items[0]) if items else None
        if items is None or head is None or "role" in head or "from" in head:
            return assemble(row, read_talk(column.value, column.name), _COLUMNS)
        talk = Talk()
        for index, item in enumerate(items):
            add_messages(talk, _pair(item, f"{column.name}[{index}]"), f"{column.name}[{index}]")
        return assemble(row, talk, _COLUMNS)


def _pair(item: Any, path: str) -> list[JSON]:
    """A question and its answer as two messages."""
    pair = as_object(item)
    ask = next((key for key in _ASKS if pair and key in pair), None)
    answer = next((key for key in _ANSWERS if pair and key in pair), None)
    if pair is None or ask is None or answer is None:
        raise bad(path, "neither a turn nor a pair", 'a turn is {"from": "human", "value": "..."}')
    return [
        {"role": "user", "content": pair[ask]},
        {"role": "assistant", "content": pair[answer]},
    ]
