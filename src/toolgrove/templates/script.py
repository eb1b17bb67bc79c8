"""A conversation cut into turns, with its tools, calls and results written by an agent template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Conversation, Message, Role, ToolCall
from toolgrove.core.spans import Kind, Span, text_of
from toolgrove.templates.base import AgentTemplate, Part, Turn, tagged
from toolgrove.templates.readback import refuse_unless_read_back
from toolgrove.templates.repeated import tool_text
from toolgrove.templates.values import Place, Result, Step, ToolText

_SYSTEM, _USER, _ASSISTANT, _TOOL = Role  # an attribute of an enum's class is slow to look up


@dataclass
class Script:
    """The turns of a conversation's first messages; what is written once is kept.

    Without an agent template every message is a turn of its own and calls are not written.
    ``place`` is where results go.
    """

    conversation: Conversation
    agent: AgentTemplate | None
    default_system: str | None
    native: bool
    quotes_given: bool
    place: Place | None = None
    tool_text: ToolText | None = field(init=False)
    """what the agent template says about the tools; None without tools or agent template"""
    _earlier: list[int] = field(init=False)
    """for each message, how many calls the messages before it made"""
    _calls: dict[int, tuple[Span, ...]] = field(default_factory=dict[int, tuple[Span, ...]])

    def __post_init__(self) -> None:
        counts = [len(message.calls) for message in self.conversation.messages]
        self._earlier = list(accumulate(counts, initial=0))
        self.tool_text = self._written_tools()

    def _written_tools(self) -> ToolText | None:
        conv = self.conversation
        if self.agent is None or not conv.tools:
            return None
        first = conv.messages[0] if conv.messages else None
        system = first.text if first is not None and first.role is _SYSTEM else None
        return tool_text(self.agent, conv.tools, system, self.default_system)

    def turns(self, count: int, answered: bool) -> tuple[Turn, ...]:
        """The turns of the first ``count`` messages; ``answered``: a result follows them."""
        messages = self.conversation.messages[:count]
        turns: list[Turn] = []
        lead = self.tool_text.first_user if self.tool_text else []
        index = 1 if messages and messages[0].role is _SYSTEM else 0
        while index < count:
            role = messages[index].role
            if role is _TOOL:
                end = index
                while end < count and messages[end].role is _TOOL:
                    end += 1
                self._add_results(turns, range(index, end))
                index = end
                continue
            if role is _ASSISTANT:
                self._add_assistant(turns, index)
            elif role is _USER and lead:
                turns.append(Turn(role, (Part(index, lead=tuple(tagged(lead, index))),)))
                lead = []
            else:
                turns.append(Turn(role, (Part(index),)))
            index += 1
        if answered and turns and self._joins_results:
            turns[-1] = self._handed_over(turns[-1])
        return tuple(turns)

    @property
    def _joins_results(self) -> bool:
        return self.place is Place.ASSISTANT

    def _add_assistant(self, turns: list[Turn], index: int) -> None:
        part = Part(index, calls=self._written_calls(index))
        if turns and turns[-1].open:
            turns[-1] = Turn(_ASSISTANT, (*turns[-1].parts, part))
        else:
            turns.append(Turn(_ASSISTANT, (part,)))

    def _written_calls(self, index: int) -> tuple[Span, ...]:
        calls = self.conversation.messages[index].calls
        if self.agent is None or not calls:
            return ()
        if index not in self._calls:
            if self.native and self.quotes_given:
                calls = tuple(_quoted(call) for call in calls)
            spans = self.agent.write_calls(calls, self._step(index))
            if not (self.native or self.agent.exact):
                refuse_unless_read_back(self.agent, calls, spans, self.conversation.tools)
            self._calls[index] = tuple(tagged(spans, index))
        return self._calls[index]

    def _step(self, index: int) -> Step:
        conv = self.conversation
        return Step(conv.tools, conv.messages[index], self._earlier[index], self.native)

    def _add_results(self, turns: list[Turn], indices: range) -> None:
        agent = self.agent
        if agent is None or self.place is Place.TOOL:
            turns += [Turn(_TOOL, (Part(index),)) for index in indices]
        elif self.place is Place.TOOLS:
            turns.append(Turn(_TOOL, tuple(Part(index) for index in indices)))
        elif self.place is Place.USER:
            turns.append(Turn(_USER, tuple(self._result(agent, i) for i in indices)))
        elif turns and turns[-1].role is _ASSISTANT:
            turn = self._handed_over(turns[-1])
            last = turn.parts[-1]
            trail = [s for i in indices for s in self._result(agent, i).lead]
            last = last._replace(trail=(*last.trail, *trail))
            turns[-1] = Turn(_ASSISTANT, (*turn.parts[:-1], last), open=True)
        else:
            self._add_orphans(agent, turns, indices)

    def _result(self, agent: AgentTemplate, index: int) -> Part:
        spans = agent.write_result(self._result_at(index))
        return Part(index, shown=False, lead=tuple(tagged(spans, index)))

    def _result_at(self, index: int) -> Result:
        return result_at(self.conversation.messages, index, self.native, self._earlier)

    def _add_orphans(self, agent: AgentTemplate, turns: list[Turn], indices: range) -> None:
        spans = [s for i in indices for s in tagged(agent.write_orphan(self._result_at(i)), i)]
        if turns and turns[-1].role is _USER:
            last = turns[-1].parts[-1]
            joined = last._replace(trail=(*last.trail, *spans))
            turns[-1] = Turn(_USER, (*turns[-1].parts[:-1], joined))
        else:
            part = Part(indices.start, shown=False, lead=tuple(spans))
            turns.append(Turn(_USER, (part,)))

    def _handed_over(self, turn: Turn) -> Turn:
        """The turn, open, and ending in the mark that hands over to the tools."""
        last = turn.parts[-1]
        stop = self.agent.call_stop if self.agent else ""
        text = self.conversation.messages[last.message].text
        stopped = text_of(last.calls[-1:]) if last.calls else text
        bare = not last.calls and self.agent is not None and not self.agent.stops_text
        if last.trail or not stop or stopped.endswith(stop) or bare:
            return turn._replace(open=True)
        needs_newline = text and not text.endswith("\n") and not last.calls
        newline = [Span("\n", Kind.SEPARATOR)] if needs_newline else []
        mark = Span(stop, Kind.CALL_STOP, last.message)
        spans = (*last.calls, *tagged(newline, last.message), mark)
        return Turn(turn.role, (*turn.parts[:-1], last._replace(calls=spans)), open=True)


def result_at(
    messages: Sequence[Message], index: int, native: bool, earlier: Sequence[int] | None = None
) -> Result:
    """The tool result at ``index``, with its place in its step and the call that it answers.

    ``earlier``: for each message, how many calls the messages before it made, where known.
    """
    start = end = index
    while start and messages[start - 1].role is _TOOL:
        start -= 1
    while end < len(messages) and messages[end].role is _TOOL:
        end += 1
    asked = start - 1
    while asked >= 0 and messages[asked].role is not _ASSISTANT:
        asked -= 1
    calls = messages[asked].calls if asked >= 0 else ()
    position = index - start
    place = _answered(calls, messages[index], position)
    if asked < 0:
        order = place
    elif earlier is None:
        order = place + sum([len(message.calls) for message in messages[:asked]])
    else:
        order = place + earlier[asked]
    call = calls[place] if place < len(calls) else None
    return Result(messages[index], call, position, end - start, order, native)


def _answered(calls: Sequence[ToolCall], result: Message, place: int) -> int:
    """The index of the call that a result answers: by its id, else by the result's place."""
    if result.call_id is None:
        return place
    return next((i for i, call in enumerate(calls) if call.id == result.call_id), place)


def _quoted(call: ToolCall) -> ToolCall:
    return call if call.given is None else replace(call, given=dump(call.given))
