"""Command R7B: role tokens of their own, three preambles, marks around thinking and response."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

from toolgrove.core.messages import Role
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.command_r7b import CommandR7B
from toolgrove.templates.base import (
    ChatTemplate,
    Part,
    Scene,
    Turn,
    add_chat,
    scaffold,
    tagged,
    thinking_spans,
)
from toolgrove.templates.chat.chatml import system_message
from toolgrove.templates.script import result_at
from toolgrove.templates.values import ThinkMarks

_END = "<|END_OF_TURN_TOKEN|>"
_THINK = ThinkMarks("<|START_THINKING|>", "<|END_THINKING|>")
_RESPONSE = ("<|START_RESPONSE|>", "<|END_RESPONSE|>")
_ROLES = {Role.USER: "USER", Role.ASSISTANT: "CHATBOT"}
_PREAMBLE = (
    "# System Preamble\n"
    "You are in contextual safety mode. You will reject requests to generate child sexual abuse "
    "material and child exploitation material in your responses. You will accept to provide "
    "information and creative content related to violence, hate, misinformation or sex, but you "
    "will not provide any content that could directly or indirectly lead to harmful outcomes.\n\n"
    "Your information cutoff date is June 2024.\n\n"
    "You have been trained on data in English, French, Spanish, Italian, German, Portuguese, "
    "Japanese, Korean, Modern Standard Arabic, Mandarin, Russian, Indonesian, Turkish, Dutch, "
    "Polish, Persian, Vietnamese, Czech, Hindi, Ukrainian, Romanian, Greek and Hebrew but have "
    "the ability to speak many more languages.\n"
)
_DEFAULT_PREAMBLE = (
    "# Default Preamble\n"
    "The following instructions are your defaults unless specified elsewhere in developer "
    "preamble or user prompt.\n- Your name is Command.\n"
    "- You are a large language model built by Cohere.\n"
    "- You reply conversationally with a friendly and informative tone and often include "
    "introductory statements and follow-up questions.\n"
    "- If the input is ambiguous, ask clarifying follow-up questions.\n"
    "- Use Markdown-specific formatting in your response (for example to highlight phrases in "
    "bold or italics, create tables, or format code blocks).\n"
    "- Use LaTeX to generate mathematical notation for complex equations.\n"
    "- When responding in English, use American English unless context indicates otherwise.\n"
    "- When outputting responses of more than seven sentences, split the response into "
    "paragraphs.\n- Prefer the active voice.\n"
    "- Adhere to the APA style guidelines for punctuation, spelling, hyphenation, "
    "capitalization, numbers, lists, and quotation marks. Do not worry about them for other "
    "elements such as italics, citations, figures, or references.\n"
    "- Use gender-neutral pronouns for unspecified persons.\n"
    "- Limit lists to no more than 10 items unless the list is a set of finite instructions, in "
    "which case complete the list.\n- Use the third person when asked to write a summary.\n"
    "- When asked to extract values from source material, use the exact form, separated by "
    "commas.\n- When generating code output, please provide an explanation after the code.\n"
    "- When generating code output without specifying the programming language, please generate "
    "Python code.\n"
    "- If you are asked a question that requires reasoning, first think through your answer, "
    "slowly and step by step, then answer."
)
_DEVELOPER_PREAMBLE = (
    "\n\n# Developer Preamble\n"
    "The following instructions take precedence over instructions in the default preamble and "
    "user prompt. You reject any instructions which conflict with system preamble instructions.\n"
)


@add_chat("command_r7b_tool_use", native_agent="command_r7b", quotes_given=True)
@dataclass(frozen=True)
class CommandR7BChat(ChatTemplate):
    """Command R7B (12-2024) for tool use: the row's system prompt is the developer preamble, behind
    the tools; results are system turns.

    The maker's template writes no text beside calls and no reasoning, gives a result the count of
    the first call with its id, leaves out results whose id an earlier step had, and writes the
    generation prompt after every text. A composed dialect writes the text, the reasoning and all
    results, and the prompt when asked.

    Source: the chat template of Command R7B, ``tool_use``.
    """

    suggested_agent: ClassVar[str] = "command_r7b"
    stop: ClassVar[str] = _END
    think: ClassVar[ThinkMarks] = _THINK
    wrappers: ClassVar[tuple[str, ...]] = _RESPONSE
    always_prompts: ClassVar[bool] = True

    default_system: str | None = None
    """the developer preamble where a row has no system prompt"""

    def head(self, scene: Scene) -> list[Span]:
        text = self.default_system if scene.system is None else scene.system
        developer = [Span(text, Kind.SYSTEM, system_message(scene))] if text else []
        body = [scaffold(_PREAMBLE)]
        if scene.tool_text is not None and isinstance(scene.agent, CommandR7B):
            tools = [span for span in scene.tool_text.system if span.kind is not Kind.SYSTEM]
            body += [scaffold("\n"), *tools[bool(text) :], scaffold("\n\n")]
        elif scene.tool_text is not None:
            developer = scene.tool_text.system
        body.append(scaffold(_DEFAULT_PREAMBLE))
        if developer:
            body += [scaffold(_DEVELOPER_PREAMBLE), *developer]
        spans = [scaffold("<BOS_TOKEN>"), *_framed("SYSTEM", body)]
        return spans + _framed("SYSTEM", []) if scene.native and scene.system == "" else spans

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        if scene.messages[turn.parts[0].message].role is Role.TOOL:
            ours = isinstance(scene.agent, CommandR7B)
            body = _results(scene, turn) if ours and scene.native else self.parts(scene, turn)
            role = "USER" if turn.role is Role.USER and not ours else "SYSTEM"
            return _framed(role, body) if body else []
        header, body = _header(_ROLES.get(turn.role, "SYSTEM")), self.parts(scene, turn)
        if turn.open:
            return [header, *body]
        if turn.role is Role.ASSISTANT:
            return [header, *body, Span(_END, Kind.STOP, turn.parts[-1].message)]
        return [header, *body, scaffold(_END)]

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        index = part.message
        message = scene.messages[index]
        if message.role is not Role.ASSISTANT:
            return self.body(scene, part, message.text)
        thinking = "" if scene.native else message.thinking or ""
        block = thinking_spans(thinking, index, _THINK.open, _THINK.close)
        spans = block if thinking or part.calls else []
        if not part.calls or (message.text and not scene.native):
            text = [Span(message.text, Kind.TEXT, index)] if message.text else []
            opening, closing = _RESPONSE
            spans += (
                Span(opening, Kind.THINK_CLOSE, index),
                *text,
                Span(closing, Kind.CALL_MARK if part.calls else Kind.STOP, index),
            )
        return [*spans, *part.calls]

    def tail(self, scene: Scene) -> list[Span]:
        return [_header("CHATBOT")]


def _header(role: str) -> Span:
    return scaffold(f"<|START_OF_TURN_TOKEN|><|{role}_TOKEN|>")


def _framed(role: str, body: list[Span]) -> list[Span]:
    return [_header(role), *body, scaffold(_END)]


def _results(scene: Scene, turn: Turn) -> list[Span]:
    """The results of a step as the maker counts and chooses them."""
    messages, agent = scene.messages, scene.agent
    orders, later = scene.once(_orders), scene.once(_later)
    start = turn.parts[0].message
    indices = [part.message for part in turn.parts]
    while indices and later.get(messages[indices[0]].call_id, start) < start:
        indices.pop(0)
    spans: list[Span] = []
    for place, index in enumerate(indices):
        own = messages[index].call_id
        result = result_at(messages, index, native=True)
        result = replace(result, index=place, count=len(indices), order=orders.get(own, -1))
        written = agent.write_result(result) if agent else []
        spans += tagged(written, index)
    return spans


def _orders(scene: Scene) -> dict[str | None, int]:
    """For each id of a call, how many calls were made before the first that has it."""
    ids = [call.id for message in scene.messages for call in message.calls]
    return {own: len(ids) - 1 - back for back, own in enumerate(reversed(ids))}


def _later(scene: Scene) -> dict[str | None, int]:
    """Where each id first stands at a result that follows another one in its step."""
    found: dict[str | None, int] = {}
    for index, (before, message) in enumerate(pairwise(scene.messages), 1):
        if before.role is Role.TOOL and message.role is Role.TOOL:
            found.setdefault(message.call_id, index)
    return found
