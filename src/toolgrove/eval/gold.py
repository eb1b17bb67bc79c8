"""Right answers through the whole path: written in a dialect, read back, judged by the checker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from toolgrove.core.messages import Conversation, Message, Role, ToolCall
from toolgrove.core.spans import text_of
from toolgrove.eval.bfcl_turns import TurnsCase, calls_of
from toolgrove.eval.cases import Case
from toolgrove.eval.labels import label
from toolgrove.eval.speakers import Said
from toolgrove.templates.dialect import Dialect

NO_TOOL = "None of these tools can do that."
DONE = "Done."


class GoldSpeaker:
    """Answers with the messages that it is given, one a conversation, in their order.

    Each is written as the dialect writes it after that conversation, its stop included, and what
    the dialect reads in that text is the answer: the way of a model's reply, without the model.
    """

    def __init__(self, dialect: Dialect, messages: Iterator[Message]) -> None:
        self._dialect = dialect
        self._messages = messages

    def answer(self, asked: Sequence[Conversation]) -> list[Said]:
        """The messages, written and read back."""
        return [self._one(conversation, next(self._messages)) for conversation in asked]

    def _one(self, asked: Conversation, message: Message) -> Said:
        whole = replace(asked, messages=(*asked.messages, message))
        turn = self._dialect.turns(whole, stopped=True)[-1]
        text = text_of(turn.completion)
        reply = self._dialect.read(text, tools=asked.tools, prompt=text_of(turn.prompt))
        return Said(reply, text, ended=True)


def gold_of_case(case: Case) -> Iterator[Message]:
    """The right answer to a case of one turn."""
    calls = label(case).calls
    yield _calling(calls, 0) if calls else Message(Role.ASSISTANT, NO_TOOL)


def gold_of_turns(case: TurnsCase) -> Iterator[Message]:
    """The right answers to a conversation: in each turn one call after the other, then a text."""
    for turn in range(len(case.turns)):
        for number, call in enumerate(calls_of(case, turn)):
            yield _calling((call,), 100 * turn + number)
        yield Message(Role.ASSISTANT, DONE)


def _calling(calls: Sequence[ToolCall], first: int) -> Message:
    """A message of calls, with ids of nine characters, since some templates want just these."""
    named = (replace(call, id=f"call{first + n:05}") for n, call in enumerate(calls))
    return Message(Role.ASSISTANT, "", calls=tuple(named))
