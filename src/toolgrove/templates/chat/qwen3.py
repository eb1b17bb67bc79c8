"""Qwen3: ChatML whose history drops earlier thinking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from toolgrove.core.messages import Message, Role
from toolgrove.core.spans import Span
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


@add_chat("qwen3", native_agent="hermes")
@add_chat("qwen3_trl", native_agent="hermes")
@add_chat("qwen3_thinking", native_agent="hermes", options={"opens_thinking": True})
@dataclass(frozen=True)
class Qwen3(ChatTemplate):
    """Qwen3's hybrid thinking. Thinking is shown after the last user message only; the last message
    gets an empty block where it has none.

    Source: the chat template of Qwen3-8B. It raises on assistant messages without content; here
    they are written as empty text, as the template's later revision (``qwen3_trl``) does.
    ``preserve_thinking`` and ``add_non_thinking_prefix`` are not the maker's: they keep the
    thinking of history, and leave out the empty block. ``qwen3_thinking`` is Qwen3-Thinking-2507,
    whose prompt opens the block (its own template knows no ``enable_thinking``); with the thinking
    of all turns kept it writes no empty block.
    """

    stop: ClassVar[str] = "<|im_end|>"
    other_stops: ClassVar[tuple[str, ...]] = ("<|endoftext|>",)
    no_thinking: ClassVar[str] = "\n</think>\n\n"

    enable_thinking: bool | None = None
    """False closes the thinking block in the generation prompt"""
    preserve_thinking: bool | None = None
    """True keeps the thinking of earlier turns in history; False drops it in every case"""
    opens_thinking: bool = False
    """True opens the block in the generation prompt, unless ``enable_thinking`` is False"""
    add_non_thinking_prefix: bool = True
    """False leaves the empty thinking block out of turns without thinking"""
    default_system: str | None = None
    """the system prompt where a row has none"""

    def head(self, scene: Scene) -> list[Span]:
        return chatml_head(scene, self.default_system)

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        return chatml_frame(turn, self.parts(scene, turn))

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        index = part.message
        message = scene.messages[index]
        if message.role is not Role.ASSISTANT:
            return self.body(scene, part, message.text)
        thinking, text = said(message)
        thinking = thinking or ""
        if not self._shows_block(scene, turn, part, bool(thinking)):
            return self.body(scene, part, text)
        block = thinking_spans(thinking.strip("\n"), index)
        return block + self.body(scene, part, text.lstrip("\n"))

    def tail(self, scene: Scene) -> list[Span]:
        header = scaffold("<|im_start|>assistant\n")
        block = thinking_spans("", None)
        if self.opens_thinking:
            return [header] if self.enable_thinking is False else [header, block[0]]
        return [header, *block] if self.enable_thinking is False else [header]

    def _shows_block(self, scene: Scene, turn: Turn, part: Part, thinks: bool) -> bool:
        index = part.message
        keep = scene.keeps(self.preserve_thinking)
        if thinks and keep:
            return True
        if index <= scene.once(last_query):
            return False
        ends = index == len(scene.messages) - 1 and part is turn.parts[0]
        empty = self.add_non_thinking_prefix and not (self.opens_thinking and scene.keep)
        return thinks or (ends and empty)


def last_query(scene: Scene) -> int:
    """The index of the last user message that is no wrapped tool result; else the last index."""
    return _last_query(scene.messages, trim=False)


def last_trimmed_query(scene: Scene) -> int:
    """As ``last_query``; white space around a wrapped result does not count."""
    return _last_query(scene.messages, trim=True)


def _last_query(messages: tuple[Message, ...], trim: bool) -> int:
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].role is not Role.USER:
            continue
        text = messages[index].text.strip() if trim else messages[index].text
        if not (text.startswith("<tool_response>") and text.endswith("</tool_response>")):
            return index
    return len(messages) - 1
