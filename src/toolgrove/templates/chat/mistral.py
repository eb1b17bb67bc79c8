"""Mistral Nemo: [INST] around what users say, </s> after what the model says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from toolgrove.core.errors import TemplateError
from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Message, Role, Tool
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.mistral import TOOLS, Mistral, marked_tools
from toolgrove.templates.agent.mistral_v11 import MistralV11
from toolgrove.templates.base import (
    ChatTemplate,
    Part,
    Scene,
    Turn,
    add_chat,
    composed_thinking,
    scaffold,
    tagged,
)
from toolgrove.templates.chat.chatml import system_message
from toolgrove.templates.repeated import written_once
from toolgrove.templates.script import result_at
from toolgrove.templates.values import COMPOSED_THINK, ThinkMarks


@add_chat("mistral_nemo", native_agent="mistral", quotes_given=True)
@add_chat("mistral_v3_tekken", native_agent="mistral", quotes_given=True)
@dataclass(frozen=True)
class MistralNemo(ChatTemplate):
    """Mistral Nemo Instruct (tokenizer v3, tekken).

    Source: the chat template of Mistral-Nemo-Instruct-2407. It writes the tools before the last
    user message and the system prompt into it, and only while that message stands last, so history
    is rewritten with each turn; it refuses roles that do not alternate, further system messages and
    call ids that have not nine characters; it drops text beside calls. A composed dialect writes
    the system prompt and the tools at the first user message, where they stay, and takes all roles.
    There is no generation prompt.
    """

    suggested_agent: ClassVar[str] = "mistral"
    stop: ClassVar[str] = "</s>"
    think: ClassVar[ThinkMarks] = COMPOSED_THINK

    default_system: str | None = None
    """the system prompt where a row has none"""

    def head(self, scene: Scene) -> list[Span]:
        start = [scaffold("<s>")]
        if scene.native:
            check_alternation(scene.messages)
            self._check_roles(scene.messages)
            return start
        body = self._system(scene)
        first_is_user = bool(scene.turns) and scene.turns[0].role is Role.USER
        return start if first_is_user or not body else [*start, *_instruction(body)]

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        if turn.role is Role.ASSISTANT:
            return answer(turn, self.parts(scene, turn))
        if turn.role is Role.TOOL:
            return results(scene, turn)
        if scene.native:
            return self._native_user(scene, turn)
        tools, body = without_tools(turn, self.parts(scene, turn))
        lead = self._system(scene) if turn is scene.turns[0] else []
        joint = [scaffold("\n\n")] if lead else []
        return [*tools, *_instruction([*lead, *joint, *body])]

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        return said(self, scene, part)

    def tail(self, scene: Scene) -> list[Span]:
        return []

    def _native_user(self, scene: Scene, turn: Turn) -> list[Span]:
        message = scene.messages[turn.parts[0].message]
        offered = scene.conversation.tools
        shows_tools = offered and is_last_user(scene, message)
        tools = marked_tools(_maker_tools(offered)) if shows_tools else []
        is_last = turn is scene.turns[-1]
        lead = (
            [*self._system(scene), scaffold("\n\n")] if is_last and self._has_system(scene) else []
        )
        text = [Span(message.text, Kind.USER, turn.parts[0].message)] if message.text else []
        return [*tools, *_instruction([*lead, *text])]

    def _has_system(self, scene: Scene) -> bool:
        own = scene.system is not None and scene.messages[0].content is not None
        return own or (scene.system is None and self.default_system is not None)

    def _system(self, scene: Scene) -> list[Span]:
        if scene.tool_text is not None and not scene.native:
            return scene.tool_text.system
        text = self.default_system if scene.system is None else scene.system
        return [Span(text, Kind.SYSTEM, system_message(scene))] if text else []

    def _check_roles(self, messages: Sequence[Message]) -> None:
        for index, message in enumerate(messages[1:], 1):
            if message.role is Role.SYSTEM:
                raise TemplateError(
                    "the maker's template takes a system message only as the first one",
                    where=f"messages[{index}]",
                    hint='move it to the front, or name an agent template: agent="mistral"',
                )


def check_alternation(messages: Sequence[Message]) -> None:
    """TemplateError where users and assistants do not take turns, calls and results left out."""
    expected = 0
    for index, message in enumerate(messages):
        if message.role is Role.TOOL or message.calls:
            continue
        if index == 0 and message.role is Role.SYSTEM:
            continue
        if (message.role is Role.USER) != (expected % 2 == 0):
            raise TemplateError(
                "the maker's template wants user and assistant to alternate after the system "
                f"message; here stands {message.role}",
                where=f"messages[{index}]",
                hint='join the messages, or name an agent template: agent="mistral"',
            )
        expected += 1


def is_last_user(scene: Scene, message: Message) -> bool:
    """Whether a message equals the last user message: the makers compare texts, not places."""
    return scene.last_user >= 0 and message == scene.messages[scene.last_user]


def answer(turn: Turn, body: list[Span]) -> list[Span]:
    """What the model says, and its end where it has one."""
    return body if turn.open else [*body, Span("</s>", Kind.STOP, turn.parts[-1].message)]


def results(scene: Scene, turn: Turn) -> list[Span]:
    """Tool results in their marks, with the call's id where the agent template writes one."""
    spans: list[Span] = []
    for part in turn.parts:
        index = part.message
        body = [Span(scene.messages[index].text, Kind.RESULT, index)]
        if isinstance(scene.agent, Mistral | MistralV11):
            result = result_at(scene.messages, index, scene.native)
            body = tagged(scene.agent.write_result(result), index)
        spans += [scaffold("[TOOL_RESULTS]"), *body, scaffold("[/TOOL_RESULTS]")]
    return spans


def without_tools(turn: Turn, body: list[Span]) -> tuple[list[Span], list[Span]]:
    """Tools in Mistral's own marks, which stand before [INST], and the rest of a user's turn."""
    lead = turn.parts[0].lead
    if lead and lead[0].text == TOOLS:
        return body[: len(lead)], body[len(lead) :]
    return [], body


def said(template: ChatTemplate, scene: Scene, part: Part) -> list[Span]:
    """The text and calls of a message; the maker drops the text beside calls."""
    message = scene.messages[part.message]
    if scene.native and message.calls:
        return list(part.calls)
    return composed_thinking(scene, part) + template.body(scene, part, message.text)


def _instruction(body: Sequence[Span]) -> list[Span]:
    return [scaffold("[INST]"), *body, scaffold("[/INST]")]


def _maker_tools(tools: Sequence[Tool]) -> list[Span]:
    """The tools as the maker's template prints them: strings between quotes, without escapes."""
    return [Span(f"[{', '.join([_maker_tool(tool) for tool in tools])}]", Kind.TOOLS)]


@written_once
def _maker_tool(tool: Tool) -> str:
    entries = [
        f'"{key}": "{value}"' if isinstance(value, str) else f'"{key}": {dump(value)}'
        for key, value in tool.function.items()
        if key != "return"
    ]
    return f'{{"type": "function", "function": {{{", ".join(entries)}}}}}'
