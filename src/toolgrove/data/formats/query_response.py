"""Query-response rows: a question and an answer, with earlier rounds in ``history``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from toolgrove.core.messages import Conversation, Role
from toolgrove.data.assemble import assemble
from toolgrove.data.fields import filled, pick
from toolgrove.data.format import Format, formats
from toolgrove.data.pairs import QUERY, RESPONSE, add_history, add_side, refuse_rivals
from toolgrove.data.talk import Talk


@formats.add("query_response")
class QueryResponse(Format):
    """The columns ``query`` and ``response``, or one alias of each.

    A row without a question is text to learn; one without an answer is a prompt. Of several
    answers in a list the first is taken, and the list stays in ``extra``. ``solution`` is no
    alias of the answer: rewards read it.
    """

    rank: ClassVar[int] = 10

    def fits(self, row: Mapping[str, Any]) -> str:
        """Whether the row has a question or an answer."""
        asked = next((name for name in QUERY if filled(row, name)), None)
        answer = next((name for name in RESPONSE if filled(row, name)), None)
        found = [
            f'{what} in the column "{name}"'
            for what, name in (("a question", asked), ("an answer", answer))
            if name
        ]
        return " and ".join(found)

    def convert(self, row: Mapping[str, Any]) -> Conversation:
        """History, question and answer as messages."""
        refuse_rivals(row)
        talk = Talk()
        add_history(talk, row)
        used = ["history"]
        query = pick(row, QUERY)
        if query is not None:
            add_side(talk, Role.USER, query.value, query.name)
            used.append(query.name)
        response = pick(row, RESPONSE)
        if response is not None:
            others_left = add_side(talk, Role.ASSISTANT, response.value, response.name)
            if not others_left:
                used.append(response.name)
        return assemble(row, talk, used)
