"""Nemotron 3: ChatML with a thinking block in every turn, which history empties."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from toolgrove.core.messages import Message, Role
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.nemotron3 import Nemotron3Agent
from toolgrove.templates.base import (
    ChatTemplate,
    Part,
    Scene,
    Turn,
    add_chat,
    scaffold,
    thinking_spans,
)
from toolgrove.templates.chat.chatml import chatml_frame, system_message
from toolgrove.templates.values import THINK_CLOSE, THINK_OPEN


@add_chat("nemotron3_nano", native_agent="nemotron3")
@dataclass(frozen=True)
class Nemotron3(ChatTemplate):
    """Nemotron 3 Nano. There is always a system turn. A turn without reasoning has an empty block,
    unless its content brings think tags; before the last user message every block is empty.

    Source: the chat template of Nemotron-3-Nano-30B-A3B. It raises on arguments given as a JSON
    string, which are written as the object that they hold. A turn without reasoning trains as the
    closing mark and its text, since the prompt has opened the block. Where several messages make
    one turn of a composed dialect, the later ones have a block only when they have reasoning.
    """

    suggested_agent: ClassVar[str] = "nemotron3"
    stop: ClassVar[str] = "<|im_end|>"
    other_stops: ClassVar[tuple[str, ...]] = ("</s>",)

    enable_thinking: bool | None = None
    """False closes the thinking block in the generation prompt"""
    truncate_history_thinking: bool | None = None
    """False keeps the thinking of earlier turns in history; the maker's name for it"""
    preserve_thinking: bool | None = None
    """True keeps the thinking of earlier turns in history; False drops it in every case"""
    default_system: str | None = None
    """the system prompt where a row has none"""

    def head(self, scene: Scene) -> list[Span]:
        if scene.tool_text is not None:
            body = scene.tool_text.system
        else:
            text = self.default_system if scene.system is None else scene.system
            body = [Span(text, Kind.SYSTEM, system_message(scene))] if text else []
        return [scaffold("<|im_start|>system\n"), *body, scaffold("<|im_end|>\n")]

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        return chatml_frame(turn, self.parts(scene, turn))

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        index = part.message
        message = scene.messages[index]
        if message.role is not Role.ASSISTANT:
            return self.body(scene, part, message.text)
        truncated = not self._keeps(scene) and index < scene.last_user
        block, text = _truncated(message, index) if truncated else _shown(message, index)
        if part is not turn.parts[0] and not (message.thinking or "").strip():
            block = []
        if not (part.calls and isinstance(scene.agent, Nemotron3Agent)):
            return block + self.body(scene, part, text)
        written = [Span(text, Kind.TEXT, index)] if text else []
        newline = Span("\n", Kind.SEPARATOR, index)
        return [*block, *written, newline, *part.calls, newline]

    def tail(self, scene: Scene) -> list[Span]:
        header = scaffold("<|im_start|>assistant\n")
        if self.enable_thinking is False:
            return [header, *thinking_spans("", None, THINK_OPEN, THINK_CLOSE)]
        return [header, Span(f"{THINK_OPEN}\n", Kind.THINK_OPEN)]

    def _keeps(self, scene: Scene) -> bool:
        if self.preserve_thinking is not None:
            return self.preserve_thinking
        if self.truncate_history_thinking is not None:
            return not self.truncate_history_thinking
        return scene.keep


def _shown(message: Message, index: int) -> tuple[list[Span], str]:
    """The thinking block of a turn as it was said, if any, and its text."""
    text, thinking = message.text, message.thinking or ""
    if thinking.strip():
        closing = f"\n{THINK_CLOSE}\n" if text.strip() else f"\n{THINK_CLOSE}"
        return thinking_spans(thinking, index, f"{THINK_OPEN}\n", closing), text.rstrip()
    if _tags(text):
        return [], text.strip()
    return thinking_spans("", index, THINK_OPEN, THINK_CLOSE), text.rstrip()


def _truncated(message: Message, index: int) -> tuple[list[Span], str]:
    """The thinking block of a turn in history, emptied, and the text behind all thinking."""
    text, thinks = message.text, bool((message.thinking or "").strip())
    tags = _tags(text)
    if not (message.calls or thinks) and len(tags) == 1:
        return [], text.strip()
    if THINK_CLOSE in tags:
        rest = text.rpartition(THINK_CLOSE)[2]
    elif tags and not thinks:
        rest = text.partition(THINK_OPEN)[0]
    else:
        rest = f"\n{text}" if thinks else text
    rest = rest.strip() if message.calls else rest.rstrip()
    return thinking_spans("", index, THINK_OPEN, THINK_CLOSE), rest


def _tags(text: str) -> list[str]:
    return [tag for tag in (THINK_OPEN, THINK_CLOSE) if tag in text]
