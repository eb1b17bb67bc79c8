"""MiniCPM 5: ChatML with a token at the beginning, whose history drops earlier thinking."""

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
    said,
    scaffold,
    thinking_spans,
)
from toolgrove.templates.chat.chatml import chatml_frame, chatml_head
from toolgrove.templates.chat.qwen3 import last_query

_CALLS_FROM_HERE = "<tool_sep>"


@add_chat("minicpm5", native_agent="minicpm5")
@dataclass(frozen=True)
class MiniCPM5(ChatTemplate):
    """Thinking is shown after the last user message only, and nothing where there is none.

    Source: the chat template of MiniCPM5-1B, which drops the text of a turn with calls from
    ``<tool_sep>`` on; a composed dialect writes it. ``preserve_thinking`` is not the maker's: it
    keeps the thinking of history.
    """

    suggested_agent: ClassVar[str] = "minicpm5"
    stop: ClassVar[str] = "<|im_end|>"
    other_stops: ClassVar[tuple[str, ...]] = ("</s>",)

    enable_thinking: bool | None = None
    """True opens the thinking block in the generation prompt, False closes it"""
    preserve_thinking: bool | None = None
    """True keeps the thinking of earlier turns in history; False drops it in every case"""
    default_system: str | None = None
    """the system prompt where a row has none"""

    def head(self, scene: Scene) -> list[Span]:
        return [scaffold("<s>"), *chatml_head(scene, self.default_system)]

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        return chatml_frame(turn, self.parts(scene, turn))

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        index = part.message
        message = scene.messages[index]
        if message.role is not Role.ASSISTANT:
            return self.body(scene, part, message.text)
        thinking, text = said(message)
        if scene.native and message.calls:
            text = text.partition(_CALLS_FROM_HERE)[0]
        keep = scene.keeps(self.preserve_thinking)
        if not thinking or not (keep or index > scene.once(last_query)):
            return self.body(scene, part, text)
        block = thinking_spans(thinking.strip("\n"), index)
        return block + unlined(self, scene, part, text)

    def tail(self, scene: Scene) -> list[Span]:
        header = scaffold("<|im_start|>assistant\n")
        if self.enable_thinking is None:
            return [header]
        opening, *closing = thinking_spans("", None)
        return [header, opening] if self.enable_thinking else [header, opening, *closing]


def unlined(template: ChatTemplate, scene: Scene, part: Part, text: str) -> list[Span]:
    """The text without line breaks before it, then its calls; the maker's template separates them
    also when the text was line breaks only."""
    body = template.body(scene, part, text.lstrip("\n"))
    blank = scene.native and bool(part.calls) and bool(text) and not text.strip("\n")
    return [Span("\n", Kind.SEPARATOR, part.message), *body] if blank else body
