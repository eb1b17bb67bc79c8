"""Gemma 4: declarations, calls and results in its own notation, inside the model's turn."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, NamedTuple

from toolgrove.core.jsonish import INCOMPLETE, dump
from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.gemma_notation import Keys, Notation, joined
from toolgrove.templates.base import AgentTemplate, agent_registry, scaffold, system_span
from toolgrove.templates.grammar import Grammar, Opening
from toolgrove.templates.repeated import written_once
from toolgrove.templates.rules import Rules, literal
from toolgrove.templates.scanning import find_call, past_space
from toolgrove.templates.value_rules import Values
from toolgrove.templates.values import Place, Result, Scan, Step, ToolText, Window

_NAME = re.compile(r"\s*call:([^\s{}<]{1,256})\s*(?=\{)")
_NAME_SO_FAR = re.compile(r"\s*(?:c(?:a(?:l(?:l(?::(?:[^\s{}<]{1,256}\s*)?)?)?)?)?)?\Z")


class Marks(NamedTuple):
    """The control tokens: the quote, and what opens and closes each block."""

    quote: str
    declaration: tuple[str, str]
    call: tuple[str, str]
    response: tuple[str, str]


GEMMA4 = Marks(
    '<|"|>',
    ("<|tool>", "<tool|>"),
    ("<|tool_call>", "<tool_call|>"),
    ("<|tool_response>", "<tool_response|>"),
)


class GemmaCalls(AgentTemplate):
    """Calls ``call:NAME{key:value,...}`` with sorted keys; results stand in the model's turn.

    The quote mark cannot be escaped: a string that holds one is refused. Keys stand bare, and
    quoted where they would not read back.
    """

    exact: ClassVar[bool] = False
    results: ClassVar[Place] = Place.ASSISTANT
    tokens: ClassVar[Marks]

    @abstractmethod
    def lead(self, system: str | None, text: str | None) -> list[Span]:
        """What stands before the declarations: ``text``, which is the row's own where it has a
        ``system`` prompt."""

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        lead = self.lead(system, default if system is None else system)
        return ToolText([*lead, *declared(tools, self.tokens)], [])

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        spans: list[Span] = []
        opens, closes = self.tokens.call
        for index, call in enumerate(calls):
            dump(call.arguments)  # refuses what is no JSON
            spans += (
                Span(f"{opens}call:", Kind.CALL_MARK, None, index),
                Span(call.name, Kind.CALL_NAME, None, index),
                Span("{", Kind.CALL_MARK, None, index),
            )
            if step.native and call.given is not None:
                spans.append(Span(call.given, Kind.CALL_ARGS, None, index))
            else:
                keys = Keys.BARE if step.native else Keys.SAFE
                pieces = joined(Notation(self.tokens.quote).members(call.arguments, keys))
                spans += (
                    Span(text, Kind.CALL_MARK if mark else Kind.CALL_ARGS, None, index)
                    for text, mark in pieces
                )
            spans.append(Span(f"}}{closes}", Kind.CALL_MARK, None, index))
        return [*spans, Span(self.tokens.response[0], Kind.CALL_STOP, call=len(calls) - 1)]

    def write_result(self, result: Result) -> list[Span]:
        opens, closes = self.tokens.response
        quote = self.tokens.quote
        spans = [scaffold(f"{opens}response:" if result.index else "response:")]
        spans.append(Span(_result_name(result), Kind.RESULT))
        if result.native and result.message.content is None:
            return [*spans, scaffold(f"{{value:None}}{closes}")]
        body = [Span(result.content, Kind.RESULT)] if result.content else []
        return [*spans, scaffold(f"{{value:{quote}"), *body, scaffold(f"{quote}}}{closes}")]

    def write_orphan(self, result: Result) -> list[Span]:
        opens = scaffold(self.tokens.response[0])
        return [opens, *self.write_result(replace(result, index=0, count=1))]

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar:
        opens, closes = self.tokens.call
        notation = Notation(self.tokens.quote).for_grammar()
        rules, notes, one = Rules(), list[str](), list[str]()
        for tool in tools:
            schema = {**tool.parameters, "type": "object"}
            schema.setdefault("properties", {})
            values = Values(rules, notation, tool.parameters, notes=notes)
            arguments = values.value(schema, tool.name)
            one.append(f"{literal(f'call:{tool.name}')} {arguments} {literal(closes)}")
        call = rules.rule(" | ".join(one))
        more = f"({literal(opens)} {call})*" if parallel else ""
        text = rules.text(f"{call} {more} {literal(self.tokens.response[0])}?")
        return Grammar((Opening(opens, {"type": "grammar", "grammar": text}),), notes=tuple(notes))

    def scan(self, window: Window) -> Scan:
        return find_call(window, self.tokens.call[0], self._call_at)

    def _call_at(self, window: Window, begin: int) -> Scan | None:
        """The call that opens at ``begin``; None when it is none."""
        text, waiting = window.text, None if window.final else Scan(begin, len(window.text))
        opens, closes = self.tokens.call
        name = _NAME.match(text, begin + len(opens))
        if name is None:
            return waiting if waiting and _NAME_SO_FAR.match(text, begin + len(opens)) else None
        end, arguments = Notation(self.tokens.quote).read(text, name.end())
        if arguments is None:
            return waiting if end == INCOMPLETE else None
        for mark in (closes, self.tokens.response[0]):
            after = past_space(text, end)
            rest = text[after : after + len(mark)]
            if waiting and rest != mark and mark.startswith(rest):
                return waiting
            end = after + len(mark) if rest == mark else end
        return Scan(begin, end, (ToolCall(name.group(1), arguments),))


@agent_registry.add("gemma4")
class Gemma4(GemmaCalls):
    """Source: the chat template of gemma-4-31B-it. The maker's own declarations leave out
    parameters that are named like words of JSON Schema (``type``, ``description`` ...); those of a
    composed dialect show them."""

    call_stop: ClassVar[str] = "<|tool_response>"
    marks: ClassVar[tuple[str, ...]] = ("<|tool_call>",)
    tokens: ClassVar[Marks] = GEMMA4

    def lead(self, system: str | None, text: str | None) -> list[Span]:
        return [system_span(text.strip(), system)] if text and text.strip() else []


def declared(tools: Sequence[Tool], marks: Marks, native: bool = False) -> list[Span]:
    """The declarations of all tools; ``native``: with the maker's omissions."""
    return [span for tool in tools for span in _declared(tool, marks, native)]


@written_once
def _declared(tool: Tool, marks: Marks, native: bool) -> tuple[Span, ...]:
    opens, closes = marks.declaration
    spans = [
        scaffold(text) if mark else Span(text, Kind.TOOLS)
        for text, mark in joined(Notation(marks.quote).declaration(tool, native))
    ]
    return (scaffold(f"{opens}declaration:"), *spans, scaffold(closes))


def _result_name(result: Result) -> str:
    """The name of the call with the result's id, else the result's own; "unknown" without both.

    The maker's own template knows a call by its id alone, two missing ids included.
    """
    call, message = result.call, result.message
    if not result.native:
        return result.name or "unknown"
    known = call is not None and call.id == message.call_id
    return call.name if call is not None and known else message.name or "unknown"
