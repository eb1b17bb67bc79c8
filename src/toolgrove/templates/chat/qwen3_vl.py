"""Qwen3-VL: ChatML with Hermes calls, without later system messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from toolgrove.core.messages import Role
from toolgrove.core.spans import Span
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


@add_chat("qwen3_vl", native_agent="hermes")
@dataclass(frozen=True)
class Qwen3VL(ChatTemplate):
    """Source: the chat template of Qwen3-VL-Instruct. It shows no reasoning and drops every system
    message but the first; a composed dialect writes both."""

    stop: ClassVar[str] = "<|im_end|>"
    other_stops: ClassVar[tuple[str, ...]] = ("<|endoftext|>",)
    think: ClassVar[ThinkMarks] = COMPOSED_THINK

    default_system: str | None = None
    """the system prompt where a row has none"""

    def head(self, scene: Scene) -> list[Span]:
        return chatml_head(scene, self.default_system)

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        if scene.native and turn.role is Role.SYSTEM:
            return []
        return chatml_frame(turn, self.parts(scene, turn))

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        text = scene.messages[part.message].text
        return composed_thinking(scene, part) + self.body(scene, part, text)

    def tail(self, scene: Scene) -> list[Span]:
        return [scaffold("<|im_start|>assistant\n")]
