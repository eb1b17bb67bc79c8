"""QwQ: ChatML whose prompt opens a thinking block that history never shows."""

from __future__ import annotations

import re
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
    thinking_spans,
)
from toolgrove.templates.chat.chatml import chatml_frame, chatml_head
from toolgrove.templates.chat.qwen3 import last_query
from toolgrove.templates.chat.qwen3_5 import thinking_tail
from toolgrove.templates.values import THINK_CLOSE

_INLINE = re.compile(r"(<think>\n*)?(.*?)(\n*</think>\n*)", re.DOTALL)
_BLOCK = (Kind.THINK_OPEN, Kind.THINKING, Kind.THINK_CLOSE)


@add_chat("qwq_32b", native_agent="hermes", quotes_given=True, options={"default_system": ""})
@dataclass(frozen=True)
class QwQ(ChatTemplate):
    """Source: the chat template of QwQ-32B. It knows no reasoning beside the content; what stands
    in the content up to ``</think>`` is cut off in all messages but the last. It raises on calls
    without content, here written as calls alone.

    A composed dialect writes the thinking after the last user message, in a block that is empty
    where there was none, since every prompt opens one.
    """

    stop: ClassVar[str] = "<|im_end|>"
    other_stops: ClassVar[tuple[str, ...]] = ("<|endoftext|>",)
    no_thinking: ClassVar[str] = "\n</think>\n\n"

    preserve_thinking: bool | None = None
    """True writes the thinking block of every turn in history; False drops it in every case; not
    the maker's"""
    default_system: str | None = None
    """the system prompt where a row has none; the maker writes an empty one before tools"""

    def head(self, scene: Scene) -> list[Span]:
        return chatml_head(scene, self.default_system or None)

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        return chatml_frame(turn, self.parts(scene, turn))

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        message = scene.messages[part.message]
        if message.role is not Role.ASSISTANT:
            return self.body(scene, part, message.text)
        return self._native(scene, part) if scene.native else self._composed(scene, turn, part)

    def tail(self, scene: Scene) -> list[Span]:
        return thinking_tail(opens=True)

    def _native(self, scene: Scene, part: Part) -> list[Span]:
        given = scene.messages[part.message].text
        is_last = part.message == len(scene.messages) - 1
        text = given if is_last else given.rpartition(THINK_CLOSE)[2].lstrip("\n")
        block: list[Span] = []
        inline = _INLINE.match(text)
        if inline is not None:
            pieces = zip(inline.groups(""), _BLOCK, strict=True)
            block = [Span(piece, kind, part.message) for piece, kind in pieces if piece]
            text = text[inline.end() :]
        if part.calls and given and not text:
            block.append(Span("\n", Kind.SEPARATOR, part.message))
        return block + self.body(scene, part, text)

    def _composed(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        message = scene.messages[part.message]
        thinking, text = said(message)
        thinking, text = thinking or "", text.lstrip("\n")
        keep = scene.keeps(self.preserve_thinking)
        shown = keep or part.message > scene.once(last_query)
        if not shown or not (part is turn.parts[0] or thinking):
            return self.body(scene, part, text)
        block = thinking_spans(thinking.strip("\n"), part.message)
        return block + self.body(scene, part, text)
