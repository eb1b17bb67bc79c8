"""Mistral Small 3.2: a system prompt in marks of its own, always; the rest as Mistral Nemo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from toolgrove.core.messages import Role
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.mistral import marked_tools
from toolgrove.templates.base import ChatTemplate, Part, Scene, Turn, add_chat, scaffold
from toolgrove.templates.chat.chatml import system_message
from toolgrove.templates.chat.mistral import (
    answer,
    check_alternation,
    is_last_user,
    results,
    said,
    without_tools,
)
from toolgrove.templates.tool_json import tools_json
from toolgrove.templates.values import COMPOSED_THINK, ThinkMarks

_SYSTEM = (
    "You are Mistral Small 3, a Large Language Model (LLM) created by Mistral AI, a "
    "French startup headquartered in Paris.\n"
    "Your knowledge base was last updated on 2023-10-01. The current date is {today}.\n"
    "\n"
    "When you're not sure about some information or when the user's request requires "
    "up-to-date or specific data, you must use the available tools to fetch the "
    "information. Do not hesitate to use tools whenever they can provide a more accurate "
    "or complete response. If no relevant tools are available, then clearly state that "
    "you don't have the information and avoid making up anything.\n"
    "\n"
    "If the user's question is not clear, ambiguous, or does not provide enough context "
    "for you to accurately answer the question, you do not try to answer it right away "
    'and you rather ask the user to clarify their request (e.g. "What are some good '
    'restaurants around me?" => "Where are you?" or "When is the next flight to Tokyo" '
    '=> "Where do you travel from?").\n'
    "You are always very attentive to dates, and when asked about information at "
    "specific dates, you discard information that is at another date.\n"
    "You follow these instructions in all languages, and always respond to the user in "
    "the language they use or request.\n"
    "Next sections describe the capabilities that you have.\n"
    "\n"
    "# WEB BROWSING INSTRUCTIONS\n"
    "\n"
    "You cannot perform any web search or access internet to open URLs, links etc. If it "
    "seems like the user is expecting you to do so, you clarify the situation and ask "
    "the user to copy paste the text directly in the chat.\n"
    "\n"
    "# MULTI-MODAL INSTRUCTIONS\n"
    "\n"
    "You have the ability to read images, but you cannot generate images. You also "
    "cannot transcribe audio files or videos.\n"
    "You cannot read nor transcribe audio files or videos.\n"
    "\n"
    "# TOOL CALLING INSTRUCTIONS\n"
    "\n"
    "You may have access to tools that you can use to fetch information or perform "
    "actions. You must use these tools in the following situations:\n"
    "\n"
    "1. When the request requires up-to-date information.\n"
    "2. When the request requires specific data that you do not have in your knowledge "
    "base.\n"
    "3. When the request involves actions that you cannot perform without tools.\n"
    "\n"
    "Always prioritize using tools to provide the most accurate and helpful response. If "
    "tools are not available, inform the user that you cannot perform the requested "
    "action at the moment."
)


@add_chat("mistral_small_3_2", native_agent="mistral_v11", quotes_given=True)
@dataclass(frozen=True)
class MistralSmall(ChatTemplate):
    """Mistral Small 3.2 Instruct.

    Source: the chat template of Mistral-Small-3.2-24B-Instruct-2506. It writes the tools before the
    last user message, so history is rewritten with each user turn; it refuses roles that do not
    alternate and call ids that have not nine characters; it drops text beside calls. A composed
    dialect writes the tools before the first user message, where they stay, and takes all roles.
    There is no generation prompt.
    """

    suggested_agent: ClassVar[str] = "mistral_v11"
    stop: ClassVar[str] = "</s>"
    think: ClassVar[ThinkMarks] = COMPOSED_THINK

    default_system: str | None = None
    """the system prompt where a row has none; None: the maker's own, with today's date"""

    def head(self, scene: Scene) -> list[Span]:
        if scene.native:
            check_alternation(scene.messages)
        default = self.default_system
        if default is None:
            default = _SYSTEM.replace("{today}", scene.today.isoformat())
        text = default if scene.system is None else scene.system
        body = [Span(text, Kind.SYSTEM, system_message(scene))] if text else []
        if scene.tool_text is not None and not scene.native:
            own = scene.tool_text.system
            shown = any(span.kind is Kind.SYSTEM for span in own)
            joint = [scaffold("\n\n")] if own and body else []
            body = own if shown else [*body, *joint, *own]
        return [scaffold("<s>"), *_system(body)]

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        if turn.role is Role.ASSISTANT:
            return answer(turn, self.parts(scene, turn))
        if turn.role is Role.TOOL:
            return results(scene, turn)
        if turn.role is Role.SYSTEM:
            return _system(self.parts(scene, turn))
        if scene.native:
            return self._native_user(scene, turn)
        tools, body = without_tools(turn, self.parts(scene, turn))
        return [*tools, scaffold("[INST]"), *body, scaffold("[/INST]")]

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        return said(self, scene, part)

    def tail(self, scene: Scene) -> list[Span]:
        return []

    def _native_user(self, scene: Scene, turn: Turn) -> list[Span]:
        index = turn.parts[0].message
        message = scene.messages[index]
        offered = scene.conversation.tools
        tools: list[Span] = []
        if offered and is_last_user(scene, message):
            tools = marked_tools([Span(tools_json(offered), Kind.TOOLS)])
        text = [Span(message.text, Kind.USER, index)] if message.text else []
        return [*tools, scaffold("[INST]"), *text, scaffold("[/INST]")]


def _system(body: list[Span]) -> list[Span]:
    return [scaffold("[SYSTEM_PROMPT]"), *body, scaffold("[/SYSTEM_PROMPT]")]
