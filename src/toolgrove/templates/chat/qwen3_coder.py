"""Qwen3-Coder: ChatML without thinking, with calls in tags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

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


@add_chat("qwen3_coder", native_agent="qwen3_coder")
@dataclass(frozen=True)
class Qwen3Coder(ChatTemplate):
    """Source: the chat template of Qwen3-Coder-30B-A3B-Instruct. It shows no reasoning, trims the
    text beside calls, and raises on arguments given as a JSON string; here they are written as the
    object that they hold."""

    suggested_agent: ClassVar[str] = "qwen3_coder"
    stop: ClassVar[str] = "<|im_end|>"
    other_stops: ClassVar[tuple[str, ...]] = ("<|endoftext|>",)
    think: ClassVar[ThinkMarks] = COMPOSED_THINK

    default_system: str | None = None
    """the system prompt where a row has none"""

    def head(self, scene: Scene) -> list[Span]:
        return chatml_head(scene, self.default_system)

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        return chatml_frame(turn, self.parts(scene, turn))

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        text = scene.messages[part.message].text
        if part.calls and scene.agent is not None and scene.agent.text_separator:
            text = text.strip()
        return composed_thinking(scene, part) + self.body(scene, part, text)

    def tail(self, scene: Scene) -> list[Span]:
        return [scaffold("<|im_start|>assistant\n")]
