"""Llama 4: header tokens around the role, <|eot|> at the end of a turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from toolgrove.core.errors import TemplateError
from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Role
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.llama3 import Llama3Agent, tool_list
from toolgrove.templates.base import (
    ChatTemplate,
    Part,
    Scene,
    Turn,
    add_chat,
    composed_thinking,
    scaffold,
)
from toolgrove.templates.chat.chatml import system_message
from toolgrove.templates.chat.llama3 import CALL_IN_SYSTEM
from toolgrove.templates.values import COMPOSED_THINK, ThinkMarks

_EOT = "<|eot|>"
_TEXT_OPEN = "<|python_start|>"
_TEXT_CLOSE = "<|python_end|>"


@add_chat("llama4", native_agent="llama4", quotes_given=True)
@dataclass(frozen=True)
class Llama4(ChatTemplate):
    """Llama 4 Instruct: text beside calls stands between <|python_start|> and <|python_end|>.

    Source: the chat template of Llama-4-Scout-17B-16E-Instruct. Where there are tools the first
    message is trimmed and written as the user's, whoever it is from; without a system message
    ``tools_in_user_message=False`` leaves the tools out. A composed dialect writes them.
    """

    suggested_agent: ClassVar[str] = "llama4"
    stop: ClassVar[str] = _EOT
    other_stops: ClassVar[tuple[str, ...]] = ("<|eom|>", "<|end_of_text|>")
    think: ClassVar[ThinkMarks] = COMPOSED_THINK
    wrappers: ClassVar[tuple[str, ...]] = (_TEXT_OPEN, _TEXT_CLOSE)

    tools_in_user_message: bool = True
    """False puts the tool list into the system turn"""
    date_string: str | None = None
    """taken as the maker takes it; the template prints no date"""
    default_system: str | None = None
    """the system prompt where a row has none"""

    def head(self, scene: Scene) -> list[Span]:
        start = scaffold("<|begin_of_text|>")
        own_way = self._own_way(scene)
        if scene.native and own_way and self.tools_in_user_message and not scene.turns:
            raise TemplateError(
                "the maker's template writes the tools into the first user message, and there is "
                "none",
                hint="add a user message, or leave the tools out",
            )
        if scene.tool_text is not None and not own_way:
            return [start, *_framed("system", scene.tool_text.system)]
        text = self.default_system if scene.system is None else scene.system
        body = self._tools_in_system(scene) if own_way else []
        if text is None and (scene.native or not body):
            return [start]
        opening = [scaffold("Environment: ipython\n")] if own_way else []
        if text and text.strip():
            body = [*body, Span(text.strip(), Kind.SYSTEM, system_message(scene))]
        return [start, *_framed("system", [*opening, *body])]

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        in_user = self._own_way(scene) and self.tools_in_user_message
        if scene.native and in_user:
            is_first = turn is scene.turns[0]
            if is_first:
                return _framed("user", self._first(scene, turn))
        if scene.native or not in_user:
            turn = _without_own_tools(scene, turn)
        body = self.parts(scene, turn)
        role = "ipython" if turn.role is Role.TOOL else str(turn.role)
        if turn.open:
            return [_header(role), *body]
        if turn.role is not Role.ASSISTANT:
            return _framed(role, body)
        return [_header(role), *body, Span(_EOT, Kind.STOP, turn.parts[-1].message)]

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        index = part.message
        message = scene.messages[index]
        if message.role is Role.TOOL:
            return [Span(dump(message.text), Kind.RESULT, index)]
        thinking = composed_thinking(scene, part)
        if not (message.calls and part.calls and isinstance(scene.agent, Llama3Agent)):
            return thinking + self.body(scene, part, message.text)
        text = [Span(message.text, Kind.TEXT, index)] if message.text else []
        opening, closing = (Span(m, Kind.CALL_MARK, index) for m in (_TEXT_OPEN, _TEXT_CLOSE))
        return [*thinking, opening, *text, closing, *part.calls]

    def tail(self, scene: Scene) -> list[Span]:
        return [_header("assistant")]

    def _own_way(self, scene: Scene) -> bool:
        """Whether the tools are shown as the maker shows them."""
        return scene.tool_text is not None and isinstance(scene.agent, Llama3Agent)

    def _tools_in_system(self, scene: Scene) -> list[Span]:
        if self.tools_in_user_message:
            return []
        return [scaffold(CALL_IN_SYSTEM), *tool_list(scene.conversation.tools)]

    def _first(self, scene: Scene, turn: Turn) -> list[Span]:
        """The first message as the maker writes it after the tools."""
        index = turn.parts[0].message
        text = scene.messages[index].text.strip()
        kind = Kind.USER if turn.role is Role.USER else Kind.RESULT
        own = [Span(text, kind, index)] if text else []
        return [*(scene.tool_text.first_user if scene.tool_text else []), *own]


def _header(role: str) -> Span:
    return scaffold(f"<|header_start|>{role}<|header_end|>\n\n")


def _framed(role: str, body: list[Span]) -> list[Span]:
    return [_header(role), *body, scaffold(_EOT)]


def _without_own_tools(scene: Scene, turn: Turn) -> Turn:
    """The turn without the tools before the first user message's text."""
    if not isinstance(scene.agent, Llama3Agent) or not turn.parts[0].lead:
        return turn
    return turn._replace(parts=tuple(part._replace(lead=()) for part in turn.parts))
