"""Kimi K3: messages in tags of control tokens, with a think, a response and a tools block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from toolgrove.core.errors import TemplateError
from toolgrove.core.messages import Message, Role, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.kimi_k3 import (
    DECLARED,
    OPEN,
    SEP,
    KimiK3Agent,
    escaped,
    result_spans,
)
from toolgrove.templates.base import (
    ChatTemplate,
    Part,
    Scene,
    Turn,
    add_chat,
    scaffold,
    thinking_spans,
)
from toolgrove.templates.values import ThinkMarks

_END = "<|end_of_msg|>"
_CLOSE = f"<|close|>message{SEP}"
_THINK = ThinkMarks(f"{OPEN}think{SEP}", f"<|close|>think{SEP}")
_RESPONSE = f"{OPEN}response{SEP}"
_RESPONSE_END = f"<|close|>response{SEP}"
_EFFORTS = ("low", "high", "max")
_EFFORT = (
    "`thinking_effort` guides on how much to think in your thinking channel (not including the "
    "response channel), supported values include `low`, `medium`, `high`, and `max`.\n"
    "Now the system is invoked with `thinking_effort={effort}`."
)
_KINDS = {Role.USER: Kind.USER, Role.TOOL: Kind.RESULT}


@add_chat("kimi_k3", native_agent="kimi_k3")
@dataclass(frozen=True)
class KimiK3(ChatTemplate):
    """Kimi K3. All thinking stays in history; results stand in the order of the calls when all of
    them name one.

    Source: the chat template of Kimi-K3. It wants a name for each result and refuses where neither
    the row nor a call has one; a composed dialect then writes "unknown".
    """

    suggested_agent: ClassVar[str] = "kimi_k3"
    stop: ClassVar[str] = _END
    think: ClassVar[ThinkMarks] = _THINK
    wrappers: ClassVar[tuple[str, ...]] = (_RESPONSE, _RESPONSE_END, _CLOSE)

    thinking: bool | None = None
    """False leaves out the thinking blocks and the line about the effort"""
    enable_thinking: bool | None = None
    """the same under the name that other families use; ``thinking`` goes before it"""
    thinking_effort: str = "max"
    """how much the model shall think: low, high or max"""
    default_system: str | None = None
    """the system prompt where a row has none"""

    def head(self, scene: Scene) -> list[Span]:
        own_tools = isinstance(scene.agent, KimiK3Agent)
        spans: list[Span] = []
        if own_tools and scene.tool_text is not None:
            tools = scene.tool_text.system[-DECLARED:]
            spans += _framed(_header('role="system" type="tool-declare"'), tools)
        spans += self._effort()
        if scene.tool_text is not None and not own_tools:
            return [*spans, *_framed(_header('role="system"'), scene.tool_text.system)]
        text = self.default_system if scene.system is None else scene.system
        if text is None:
            return spans
        index = None if scene.system is None else 0
        body = [Span(text, Kind.SYSTEM, index)] if text else []
        name = scene.messages[0].name if index == 0 else None
        return [*spans, *_framed(_named_header(Role.SYSTEM, name, index), body)]

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        if turn.role is Role.TOOL:
            return _results(scene, turn)
        first = turn.parts[0]
        name = scene.messages[first.message].name if first.shown else None
        header = _named_header(turn.role, name, first.message)
        body = self.parts(scene, turn)
        if turn.role is not Role.ASSISTANT:
            return _framed(header, body)
        last = turn.parts[-1].message
        stop = (
            [] if turn.open else [Span(_CLOSE, Kind.TEXT_MARK, last), Span(_END, Kind.STOP, last)]
        )
        return [*header, *body, *stop]

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        index = part.message
        message = scene.messages[index]
        if message.role is not Role.ASSISTANT:
            return self.body(scene, part, message.text)
        is_first, is_last = part is turn.parts[0], part is turn.parts[-1]
        opening = [Span(_RESPONSE, Kind.TEXT_MARK, index)] if is_first else []
        ends = is_last and not turn.open
        closing = [Span(_RESPONSE_END, Kind.TEXT_MARK, index)] if ends else []
        lead = [*self._thinking(scene, message, index, is_first), *opening]
        if not isinstance(scene.agent, KimiK3Agent):
            return [*lead, *self.body(scene, part, message.text), *closing]
        text = [Span(message.text, Kind.TEXT, index)] if message.text else []
        return [*lead, *text, *closing, *part.calls]

    def tail(self, scene: Scene) -> list[Span]:
        header = _header('role="assistant"')
        opens = Span(_THINK.open, Kind.THINK_OPEN) if self._thinks() else scaffold(_RESPONSE)
        return [*header, opens]

    def _thinks(self) -> bool:
        return (self.enable_thinking if self.thinking is None else self.thinking) is not False

    def _effort(self) -> list[Span]:
        if not self._thinks():
            return []
        if self.thinking_effort not in _EFFORTS:
            raise TemplateError(
                f'the maker\'s template has no thinking_effort "{self.thinking_effort}"',
                hint=f"choose one of {', '.join(_EFFORTS)}",
            )
        text = scaffold(_EFFORT.replace("{effort}", self.thinking_effort))
        return _framed(_header('role="system" type="thinking-effort"'), [text])

    def _thinking(self, scene: Scene, message: Message, index: int, is_first: bool) -> list[Span]:
        thinking = message.thinking or ""
        if scene.native and not thinking.strip():
            thinking = ""
        if not self._thinks() or not (is_first or thinking):
            return []
        return thinking_spans(thinking, index, *_THINK[:2])


def _header(attributes: str) -> list[Span]:
    return [scaffold(f"{OPEN}message {attributes}{SEP}")]


def _named_header(role: Role, name: str | None, index: int | None) -> list[Span]:
    if not name:
        return _header(f'role="{role}"')
    own = Span(escaped(name), _KINDS.get(role, Kind.SYSTEM), index)
    return [scaffold(f'{OPEN}message role="{role}" name="'), own, scaffold(f'"{SEP}')]


def _framed(header: Sequence[Span], body: Sequence[Span]) -> list[Span]:
    return [*header, *body, scaffold(f"{_CLOSE}{_END}")]


def _results(scene: Scene, turn: Turn) -> list[Span]:
    """The messages of a step's results, in the order of their calls when all of them have one."""
    messages = scene.messages
    start = turn.parts[0].message
    asked = next((i for i in reversed(range(start)) if messages[i].role is Role.ASSISTANT), None)
    calls = () if asked is None else messages[asked].calls
    earlier = sum(m.role is Role.TOOL for m in messages[(asked or 0) : start])
    indices = [part.message for part in turn.parts]
    places = [_place(calls, messages[index].call_id) for index in indices]
    resolved = [place for place in places if place is not None]
    sorts = len(resolved) == len(places)
    pairs = (
        [(i, p) for p, i in sorted(zip(resolved, indices, strict=True))]
        if sorts
        else [(i, None) for i in indices]
    )
    spans: list[Span] = []
    for number, (index, place) in enumerate(pairs, earlier + 1):
        name = messages[index].name if place is None else calls[place].name
        if not name:
            name = _name_by_order(scene, calls, number, index)
        body = result_spans(name, number, messages[index].text, index)
        spans += [*body, scaffold(_END)]
    return spans


def _place(calls: Sequence[ToolCall], call_id: str | None) -> int | None:
    """The place of the call with this id."""
    if call_id is None:
        return None
    return next((i for i, call in enumerate(calls) if call.id == call_id), None)


def _name_by_order(scene: Scene, calls: Sequence[ToolCall], number: int, index: int) -> str:
    if number <= len(calls):
        return calls[number - 1].name
    if not scene.native:
        return "unknown"
    raise TemplateError(
        "the maker's template wants the name of the tool that a result is from",
        where=f"messages[{index}]",
        hint='give the result a "name", or the id of a call',
    )
