"""Qwen3.5 and 3.6: ChatML that opens a thinking block in every prompt and trims contents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from toolgrove.core.errors import TemplateError
from toolgrove.core.messages import Role
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.base import (
    ChatTemplate,
    Part,
    Scene,
    Turn,
    add_chat,
    scaffold,
    split_thinking,
    thinking_spans,
)
from toolgrove.templates.chat.chatml import chatml_frame, chatml_head
from toolgrove.templates.chat.qwen3 import last_trimmed_query


@add_chat("qwen3_5", native_agent="qwen3_5")
@add_chat("qwen3_5_think", native_agent="qwen3_5")
@add_chat("qwen3_5_nothink", native_agent="qwen3_5", options={"opens_thinking": False})
@add_chat("qwen3_6", native_agent="qwen3_6")
@dataclass(frozen=True)
class Qwen35(ChatTemplate):
    """Every turn after the last user message has a thinking block, an empty one where there was no
    thinking; earlier turns have none.

    Sources: the chat templates of Qwen3.5-4B (``_think``), of Qwen3.5's smallest models, whose
    prompt closes the block unless told otherwise (``_nothink``), and of Qwen3.6-35B-A3B, which
    brought ``preserve_thinking``. They raise on arguments given as a JSON string, here written as
    the object that they hold, and on a system message after the first, as the native dialect does.
    A composed one writes that message, and where the block would be closed by default it leaves
    out the block, so that no turn's thinking is lost.
    """

    suggested_agent: ClassVar[str] = "qwen3_5"
    stop: ClassVar[str] = "<|im_end|>"
    other_stops: ClassVar[tuple[str, ...]] = ("<|endoftext|>",)
    no_thinking: ClassVar[str] = "\n</think>\n\n"

    enable_thinking: bool | None = None
    """False closes the thinking block in the generation prompt, True leaves it open"""
    opens_thinking: bool = True
    """what ``enable_thinking`` is where it is not given"""
    preserve_thinking: bool | None = None
    """True writes the thinking block of every turn in history; False drops it in every case"""
    default_system: str | None = None
    """the system prompt where a row has none"""

    def head(self, scene: Scene) -> list[Span]:
        return trimmed(chatml_head(scene, self.default_system))

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        refuse_later_system(scene, turn)
        return chatml_frame(turn, self.parts(scene, turn))

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        message = scene.messages[part.message]
        text = trimmed_text(scene, part)
        if message.role is not Role.ASSISTANT:
            return self.body(scene, part, text)
        thinking = message.thinking
        if thinking is None:
            thinking, text = split_thinking(text)
        keep = scene.keeps(self.preserve_thinking)
        block = thinking_block(scene, turn, part, thinking or "", keep)
        return block + self.body(scene, part, text)

    def tail(self, scene: Scene) -> list[Span]:
        opens = self.opens_thinking if self.enable_thinking is None else self.enable_thinking
        if scene.native or opens or self.enable_thinking is False:
            return thinking_tail(opens)
        return thinking_tail(opens)[:1]


def thinking_block(scene: Scene, turn: Turn, part: Part, thinking: str, keep: bool) -> list[Span]:
    """The block of a turn after the last user message, or of every turn (``keep``); where several
    messages make one turn, the later ones have a block only when they have thinking."""
    thinking = thinking.strip() if scene.native else thinking.strip("\n")
    shown = keep or part.message > scene.once(last_trimmed_query)
    if not shown or not (part is turn.parts[0] or thinking):
        return []
    return thinking_spans(thinking, part.message)


def thinking_tail(opens: bool) -> list[Span]:
    """The generation prompt with a thinking block that is open, or empty and closed."""
    block = thinking_spans("", None)
    return [scaffold("<|im_start|>assistant\n"), *(block[:1] if opens else block)]


def trimmed_text(scene: Scene, part: Part) -> str:
    """A message's text without white space around it; where an agent template writes nothing
    between text and calls, the text's own line break stays there."""
    text = scene.messages[part.message].text
    separates = scene.agent is not None and bool(scene.agent.text_separator)
    return text.strip() if separates or not part.calls else text.lstrip()


def trimmed(head: list[Span]) -> list[Span]:
    """A system turn without white space around its system prompt."""
    return [
        span._replace(text=span.text.strip()) if span.kind is Kind.SYSTEM else span for span in head
    ]


def refuse_later_system(scene: Scene, turn: Turn) -> None:
    """TemplateError for a system message after the first, where the maker's own text is asked."""
    if scene.native and turn.role is Role.SYSTEM:
        raise TemplateError(
            "the maker's template takes a system message only as the first message",
            where=f"messages[{turn.parts[0].message}]",
            hint='move it to the front, or name an agent template: agent="qwen3_5"',
        )
