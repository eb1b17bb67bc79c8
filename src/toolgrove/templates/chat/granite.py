"""Granite 3.3 and 4.0: role tokens around the role, <|end_of_text|> at the end of a turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from toolgrove.core.messages import Role
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.granite import TOOLS_NOTE, Granite
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
from toolgrove.templates.values import COMPOSED_THINK, ThinkMarks

_END = "<|end_of_text|>"
_SAFE = "You are a helpful assistant. Please ensure responses are professional, accurate, and safe."
_HELPFUL = "You are a helpful AI assistant."
_THINK = (
    "You are a helpful AI assistant.\nRespond to every user query in a comprehensive and detailed "
    "way. You can write down your thoughts and reasoning process before responding. In the thought "
    "process, engage in a comprehensive cycle of analysis, summarization, exploration, "
    "reassessment, reflection, backtracing, and iteration to develop well-considered thinking "
    "process. In the response section, based on various attempts, explorations, and reflections "
    "from the thoughts section, systematically present the final solution that you deem correct. "
    "The response should summarize the thought process. Write your thoughts between "
    "<think></think> and write your response between <response></response> for each user query."
)


@add_chat("granite3_3", native_agent="granite")
@dataclass(frozen=True)
class Granite33(ChatTemplate):
    """Granite 3.3 Instruct: a dated system turn, the tools in a turn of their own.

    Source: the chat template of Granite-3.3-2B-Instruct, which drops calls and reasoning, and tells
    nothing about tools where a row has a system prompt; a composed dialect writes all of these, the
    note about tools behind the row's own system prompt.
    """

    suggested_agent: ClassVar[str] = "granite"
    stop: ClassVar[str] = _END
    wrappers: ClassVar[tuple[str, ...]] = ("<response>", "</response>")

    thinking: bool | None = None
    """True asks for thoughts and a response in the maker's own system prompt"""
    default_system: str | None = None
    """the system prompt where a row has none; None prints the maker's, with the date"""

    def head(self, scene: Scene) -> list[Span]:
        spans = _framed("system", self._system(scene))
        if scene.tool_text is not None and isinstance(scene.agent, Granite):
            spans += _framed("available_tools", scene.tool_text.system[-1:])
        return spans

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        return _turn(turn, self.parts(scene, turn))

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        message = scene.messages[part.message]
        if scene.native and message.role is Role.ASSISTANT:
            return [Span(message.text, Kind.TEXT, part.message)] if message.text else []
        return composed_thinking(scene, part) + self.body(scene, part, message.text)

    def tail(self, scene: Scene) -> list[Span]:
        return [] if scene.native and not scene.turns else [_header("assistant")]

    def _system(self, scene: Scene) -> list[Span]:
        own = self.default_system if scene.system is None else scene.system
        given = Span(own or "", Kind.SYSTEM, system_message(scene))
        day = f"{scene.today:%B} {scene.today.day:02}, {scene.today.year}"
        dated = f"Knowledge Cutoff Date: April 2024. Today's Date: {day}. "
        dated += "You are Granite, developed by IBM."
        if scene.tool_text is not None and not isinstance(scene.agent, Granite):
            default = [] if own is not None else [Span(dated, Kind.SYSTEM), scaffold("\n\n")]
            return [*default, *scene.tool_text.system]
        if own is not None:
            note = scene.tool_text is not None and not scene.native
            return [given, scaffold(f"\n\n{TOOLS_NOTE}")] if note else [given]
        if scene.tool_text is not None:
            return [Span(f"{dated} ", Kind.SYSTEM), scaffold(TOOLS_NOTE)]
        return [Span(f"{dated} {_THINK if self.thinking else _HELPFUL}", Kind.SYSTEM)]


@add_chat("granite4_0", native_agent="granite4")
@add_chat("granite4_1", native_agent="granite4", options={"safe_default": False})
@dataclass(frozen=True)
class Granite40(ChatTemplate):
    """Granite 4.0 and 4.1: tools behind the system prompt, calls as Hermes has them.

    Source: the chat templates of Granite-4.0 and Granite-4.1, which show no reasoning; a composed
    dialect writes it in think tags before the text, in every turn.
    """

    suggested_agent: ClassVar[str] = "granite4"
    stop: ClassVar[str] = _END
    think: ClassVar[ThinkMarks] = COMPOSED_THINK

    default_system: str | None = None
    """the system prompt where a row has none"""
    safe_default: bool = True
    """whether an empty system turn gets IBM's sentence; False leaves the turn out, as 4.1 does"""

    def head(self, scene: Scene) -> list[Span]:
        if scene.tool_text is not None:
            return _framed("system", scene.tool_text.system)
        text = self.default_system if scene.system is None else scene.system
        if text:
            return _framed("system", [Span(text, Kind.SYSTEM, system_message(scene))])
        return _framed("system", [Span(_SAFE, Kind.SYSTEM)]) if self.safe_default else []

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        return _turn(turn, self.parts(scene, turn))

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        text = scene.messages[part.message].text
        return composed_thinking(scene, part) + self.body(scene, part, text)

    def tail(self, scene: Scene) -> list[Span]:
        return [_header("assistant")]


def _header(role: str) -> Span:
    return scaffold(f"<|start_of_role|>{role}<|end_of_role|>")


def _framed(role: str, body: list[Span]) -> list[Span]:
    return [_header(role), *body, scaffold(f"{_END}\n")]


def _turn(turn: Turn, body: list[Span]) -> list[Span]:
    if turn.open:
        return [_header(turn.role), *body]
    if turn.role is not Role.ASSISTANT:
        return _framed(turn.role, body)
    stop = Span(_END, Kind.STOP, turn.parts[-1].message)
    return [_header(turn.role), *body, stop, scaffold("\n")]
