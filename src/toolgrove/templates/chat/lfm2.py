"""LFM2: ChatML behind <|startoftext|>, with marks around tools and results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from toolgrove.core.messages import Role
from toolgrove.core.spans import Kind, Span
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


@add_chat("lfm2", native_agent="lfm2")
@dataclass(frozen=True)
class Lfm2(ChatTemplate):
    """LFM2. The maker's template shows tools and results, but neither calls nor reasoning; a
    composed dialect writes both. An empty system prompt without tools gives no system turn.

    Source: the chat template of LFM2-8B-A1B.
    """

    suggested_agent: ClassVar[str] = "lfm2"
    stop: ClassVar[str] = "<|im_end|>"
    other_stops: ClassVar[tuple[str, ...]] = ("<|endoftext|>",)
    think: ClassVar[ThinkMarks] = COMPOSED_THINK

    default_system: str | None = None
    """the system prompt where a row has none"""

    def head(self, scene: Scene) -> list[Span]:
        text = self.default_system if scene.system is None else scene.system
        shown = scene.tool_text is not None or text
        return [scaffold("<|startoftext|>"), *(chatml_head(scene, text) if shown else [])]

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        return chatml_frame(turn, self.parts(scene, turn))

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        message = scene.messages[part.message]
        if message.role is Role.TOOL:
            result = self.body(scene, part, message.text)
            return [scaffold("<|tool_response_start|>"), *result, scaffold("<|tool_response_end|>")]
        if scene.native and message.role is Role.ASSISTANT:
            return [Span(message.text, Kind.TEXT, part.message)] if message.text else []
        return composed_thinking(scene, part) + self.body(scene, part, message.text)

    def tail(self, scene: Scene) -> list[Span]:
        return [scaffold("<|im_start|>assistant\n")]
