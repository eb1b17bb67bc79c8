"""Hermes 2 Pro on Llama 3: ChatML after <|begin_of_text|>, with results in tool turns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from toolgrove.core.messages import Role
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.hermes2_pro import tool_prompt
from toolgrove.templates.base import (
    ChatTemplate,
    Part,
    Scene,
    Turn,
    add_chat,
    composed_thinking,
    scaffold,
)
from toolgrove.templates.chat.chatml import chatml_frame, chatml_head
from toolgrove.templates.values import COMPOSED_THINK, ThinkMarks


@add_chat("hermes2_pro", native_agent="hermes2_pro")
@dataclass(frozen=True)
class Hermes2Pro(ChatTemplate):
    """Source: the chat template ``tool_use`` of Hermes-2-Pro-Llama-3-8B. It fails without tools, in
    which case none are written here; it drops the text beside calls and shows no reasoning. The
    row's system prompt is a turn of its own after the tools; a composed dialect makes one turn of
    both. After the last result of history it writes a line break that no prompt has."""

    suggested_agent: ClassVar[str] = "hermes2_pro"
    stop: ClassVar[str] = "<|im_end|>"
    other_stops: ClassVar[tuple[str, ...]] = ("<|end_of_text|>", "<|eot_id|>")
    think: ClassVar[ThinkMarks] = COMPOSED_THINK

    default_system: str | None = None
    """the system prompt where a row has none"""

    def head(self, scene: Scene) -> list[Span]:
        start = [scaffold("<|begin_of_text|>")]
        if not scene.native or scene.tool_text is None:
            return start + chatml_head(scene, self.default_system)
        tools = [
            scaffold("<|im_start|>system\n"),
            *tool_prompt(scene.conversation.tools),
            scaffold("<|im_end|>\n"),
        ]
        text, message = self.default_system, None
        if scene.system is not None:
            text, message = scene.system, 0
        if text is None:
            return start + tools
        own = Span(text, Kind.SYSTEM, message)
        return [*start, *tools, scaffold("<|im_start|>system\n"), own, scaffold("<|im_end|>\n")]

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        body = self.parts(scene, turn)
        last = turn.parts[-1].message
        if scene.messages[last].role is not Role.TOOL or turn.open:
            return chatml_frame(turn, body)
        goes_on = scene.native and last < len(scene.messages) - 1
        ending = scaffold("\n<|im_end|>" if goes_on else "<|im_end|>")
        return [scaffold("<|im_start|>tool\n"), *body, ending]

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        text = scene.messages[part.message].text
        if scene.native and part.calls:
            return list(part.calls)
        return composed_thinking(scene, part) + self.body(scene, part, text)

    def tail(self, scene: Scene) -> list[Span]:
        return [scaffold("<|im_start|>assistant\n")]
