"""Llama 3, 3.1 and 3.2: header tokens around the role, <|eot_id|> at the end of a turn."""

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
from toolgrove.templates.values import COMPOSED_THINK, ThinkMarks

_EOT = "<|eot_id|>"
CALL_IN_SYSTEM = (
    "You have access to the following functions. To call a function, please respond with JSON for "
    "a function call."
    'Respond in the format {"name": function name, "parameters": dictionary of argument name and '
    "its value}.Do not use variables.\n\n"
)


@add_chat("llama3")
@dataclass(frozen=True)
class Llama3(ChatTemplate):
    """Llama 3 (8B and 70B Instruct). Contents are trimmed; tools and calls are not shown.

    Source: the chat template of Meta-Llama-3-8B-Instruct, which writes the generation prompt after
    every text; a composed dialect writes it only when asked.
    """

    suggested_agent: ClassVar[str] = "llama3"
    stop: ClassVar[str] = _EOT
    other_stops: ClassVar[tuple[str, ...]] = ("<|end_of_text|>",)
    think: ClassVar[ThinkMarks] = COMPOSED_THINK
    always_prompts: ClassVar[bool] = True

    default_system: str | None = None
    """the system prompt where a row has none"""

    def head(self, scene: Scene) -> list[Span]:
        start = scaffold("<|begin_of_text|>")
        if scene.tool_text is not None:
            body = scene.tool_text.system
        else:
            text = self.default_system if scene.system is None else scene.system
            body = (
                None if text is None else [Span(text.strip(), Kind.SYSTEM, system_message(scene))]
            )
        return [start] if body is None or not body else [start, *_framed("system", body)]

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        return _turn(turn, "tool", self.parts(scene, turn))

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        return _content(self, scene, part)

    def tail(self, scene: Scene) -> list[Span]:
        return [_header("assistant")]


@add_chat(
    "llama3_1",
    native_agent="llama3",
    quotes_given=True,
    options={"date_string": "26 Jul 2024"},
)
@add_chat("llama3_2", native_agent="llama3", quotes_given=True)
@dataclass(frozen=True)
class Llama31(ChatTemplate):
    """Llama 3.1 and 3.2 Instruct: a date in the system turn, tools in the first user message.

    Source: the chat templates of Llama-3.1-8B-Instruct and Llama-3.2-1B-Instruct. The maker's own
    template refuses parallel calls, drops text beside a call and prints tool results as JSON
    strings; a composed dialect writes all calls and the text.
    """

    suggested_agent: ClassVar[str] = "llama3"
    stop: ClassVar[str] = _EOT
    other_stops: ClassVar[tuple[str, ...]] = ("<|eom_id|>", "<|end_of_text|>")
    think: ClassVar[ThinkMarks] = COMPOSED_THINK

    date_string: str | None = None
    """the date in the system turn; None prints today's (3.1 prints 26 Jul 2024)"""
    tools_in_user_message: bool = True
    """False puts the maker's tool list into the system turn"""
    default_system: str | None = None
    """the system prompt where a row has none"""

    def head(self, scene: Scene) -> list[Span]:
        tools = scene.conversation.tools if scene.agent is not None else ()
        own_way = scene.tool_text is not None and isinstance(scene.agent, Llama3Agent)
        date_text = self.date_string or scene.today.strftime("%d %b %Y")
        opening = "Environment: ipython\n" if own_way else ""
        opening += f"Cutting Knowledge Date: December 2023\nToday Date: {date_text}\n\n"
        body = [scaffold(opening)]
        if own_way and not self.tools_in_user_message:
            body += [scaffold(CALL_IN_SYSTEM), *tool_list(tools)]
        if scene.tool_text is not None and not own_way:
            body += scene.tool_text.system
        else:
            text = (self.default_system or "") if scene.system is None else scene.system
            body += [Span(text.strip(), Kind.SYSTEM, system_message(scene))] if text.strip() else []
        return [scaffold("<|begin_of_text|>"), *_framed("system", body)]

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        if not self.tools_in_user_message and isinstance(scene.agent, Llama3Agent):
            turn = turn._replace(parts=tuple(part._replace(lead=()) for part in turn.parts))
        return _turn(turn, "ipython", self.parts(scene, turn))

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        message = scene.messages[part.message]
        if message.role is Role.TOOL:
            return [Span(dump(message.text), Kind.RESULT, part.message)]
        if not (scene.native and message.calls):
            return _content(self, scene, part)
        if len(message.calls) > 1:
            raise TemplateError(
                "the maker's template of Llama 3.1 takes one call a turn",
                where=f"messages[{part.message}]",
                hint='name an agent template for parallel calls: agent="llama3" or "hermes"',
            )
        return list(part.calls)

    def tail(self, scene: Scene) -> list[Span]:
        return [_header("assistant")]


def _header(role: str) -> Span:
    return scaffold(f"<|start_header_id|>{role}<|end_header_id|>\n\n")


def _framed(role: str, body: list[Span]) -> list[Span]:
    return [_header(role), *body, scaffold(_EOT)]


def _turn(turn: Turn, tool_role: str, body: list[Span]) -> list[Span]:
    role = tool_role if turn.role is Role.TOOL else str(turn.role)
    if turn.open:
        return [_header(role), *body]
    if turn.role is not Role.ASSISTANT:
        return _framed(role, body)
    return [_header(role), *body, Span(_EOT, Kind.STOP, turn.parts[-1].message)]


def _content(template: ChatTemplate, scene: Scene, part: Part) -> list[Span]:
    text = scene.messages[part.message].text.strip()
    return composed_thinking(scene, part) + template.body(scene, part, text)
