"""DeepSeek V3.1: thinking that the prompt opens or closes right after the assistant's token."""

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
    scaffold,
    thinking_spans,
)
from toolgrove.templates.chat.deepseek_v3 import (
    ASSISTANT,
    BOS,
    EOS,
    OUTPUT_CLOSE,
    OUTPUT_OPEN,
    USER,
    bare_close,
    last_role,
    prompt_end,
    system_spans,
    thinking_mode,
    thinking_of,
    with_tools,
)
from toolgrove.templates.values import THINK_CLOSE, THINK_OPEN, ThinkMarks


@add_chat("deepseek_v3_1", native_agent="deepseek_v3_1")
@dataclass(frozen=True)
class DeepSeekV31(ChatTemplate):
    """A reply without thinking begins with ``</think>``, which the prompt holds unless ``thinking``
    is on. After tool outputs the reply goes on without a header. The maker's template shows neither
    tools nor thinking; where the prompt opens thinking, a turn's completion holds it.

    Source: the chat template of DeepSeek-V3.1. In a composed dialect ``thinking`` unset leaves the
    choice to the model: the prompt ends with the assistant's token, and the reply opens thinking or
    begins with ``</think>``, as the text of both modes has it (``test_deepseek.py``).
    """

    suggested_agent: ClassVar[str] = "deepseek_v3_1"
    stop: ClassVar[str] = EOS
    think: ClassVar[ThinkMarks] = ThinkMarks(bare=True)

    thinking: bool | None = None
    """True opens thinking in the generation prompt, False closes it"""
    enable_thinking: bool | None = None
    """another name of ``thinking``"""
    preserve_thinking: bool | None = None
    """True keeps the thinking of earlier turns in history; False drops it in every case"""
    default_system: str | None = None
    """the system prompt where a row has none"""

    def head(self, scene: Scene) -> list[Span]:
        system = system_spans(scene, self.default_system)
        return [scaffold(BOS), *(system if scene.native else with_tools(scene, system))]

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        if turn.role is Role.SYSTEM:
            return []
        if turn.role is Role.TOOL:
            return [span for part in turn.parts for span in _output(scene, part)]
        if turn.role is Role.USER:
            return [scaffold(USER), *self.parts(scene, turn)]
        header = [scaffold(ASSISTANT)] if self._heads(scene, turn) else []
        stop = [] if turn.open else [Span(EOS, Kind.STOP, turn.parts[-1].message)]
        return [*header, *self.parts(scene, turn), *stop]

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        message = scene.messages[part.message]
        if message.role is not Role.ASSISTANT:
            return self.body(scene, part, message.text)
        heads = part is turn.parts[0] and self._heads(scene, turn)
        thinking, text = thinking_of(message)
        block = self._block(scene, part, thinking, heads)
        if scene.native:
            goes_on = last_role(scene.turns[: scene.place(turn)]) is Role.TOOL
            cuts = THINK_CLOSE in message.text and not (part.calls or goes_on)
            text = message.text.partition(THINK_CLOSE)[2] if cuts else message.text
        return block + self.body(scene, part, text)

    def tail(self, scene: Scene) -> list[Span]:
        if not self._follows(scene, last_role(scene.turns)):
            return []
        return prompt_end(ASSISTANT, thinking_mode(scene, self.thinking, self.enable_thinking))

    def _heads(self, scene: Scene, turn: Turn) -> bool:
        return self._follows(scene, last_role(scene.turns[: scene.place(turn)]))

    def _follows(self, scene: Scene, role: Role | None) -> bool:
        """Whether a reply after this role has a header."""
        return role is Role.USER if scene.native else role is not Role.TOOL

    def _block(self, scene: Scene, part: Part, thinking: str, heads: bool) -> list[Span]:
        """The thinking of a reply; the closing mark alone where a header asks for one."""
        index, mode = part.message, thinking_mode(scene, self.thinking, self.enable_thinking)
        keep = scene.keeps(self.preserve_thinking)
        if scene.native:
            shown = heads and (keep or scene.reply == index)
        else:
            shown = keep or index > scene.last_user
        if mode is not False and shown and (thinking or (mode and heads)):
            return thinking_spans(thinking, index, THINK_OPEN, THINK_CLOSE)
        return bare_close(index, mode) if heads else []


def _output(scene: Scene, part: Part) -> list[Span]:
    text = scene.messages[part.message].text
    body = [Span(text, Kind.RESULT, part.message)] if text else []
    return [scaffold(OUTPUT_OPEN), *body, scaffold(OUTPUT_CLOSE)]
