"""ChatML: <|im_start|>role ... <|im_end|>, without a thinking policy (SmolLM2, Qwen2.5)."""

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
from toolgrove.templates.values import COMPOSED_THINK, ThinkMarks

_SMOLLM2 = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
_ASSISTANT = "You are a helpful assistant."
_QWEN2_5 = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."


@add_chat("chatml")
@add_chat("smollm2", options={"default_system": _SMOLLM2})
@add_chat("qwen2_5", native_agent="hermes", quotes_given=True, options={"default_system": _QWEN2_5})
@add_chat("qwen3_instruct_2507", native_agent="hermes")
@add_chat("qwen3_nothinking", native_agent="hermes")
@add_chat("qwen2_5_vl", options={"default_system": _ASSISTANT})
@dataclass(frozen=True)
class ChatML(ChatTemplate):
    """Plain ChatML. The makers' templates show no reasoning; a composed dialect writes it in think
    tags before the text, in every turn.

    Sources: the chat templates of SmolLM2-Instruct, Qwen2.5-Instruct, Qwen2.5-VL-Instruct and
    Qwen3-Instruct-2507 (``qwen3_nothinking`` in ms-swift).
    """

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
        return composed_thinking(scene, part) + self.body(scene, part, text)

    def tail(self, scene: Scene) -> list[Span]:
        return [scaffold("<|im_start|>assistant\n")]


def chatml_head(scene: Scene, default_system: str | None) -> list[Span]:
    """The system turn, where there is a system prompt or a tool text."""
    if scene.tool_text is not None:
        body = scene.tool_text.system
    else:
        text = default_system if scene.system is None else scene.system
        body = None if text is None else [Span(text, Kind.SYSTEM, system_message(scene))]
    if not body:
        return []
    return [scaffold("<|im_start|>system\n"), *body, scaffold("<|im_end|>\n")]


def chatml_frame(turn: Turn, body: list[Span]) -> list[Span]:
    """A turn's header, its body, and its end where it has one."""
    header = scaffold(f"<|im_start|>{turn.role}\n")
    if turn.open:
        return [header, *body]
    if turn.role is not Role.ASSISTANT:
        return [header, *body, scaffold("<|im_end|>\n")]
    stop = Span("<|im_end|>", Kind.STOP, turn.parts[-1].message)
    return [header, *body, stop, scaffold("\n")]


def system_message(scene: Scene) -> int | None:
    """The index of the leading system message, None where the text is the template's own."""
    return None if scene.system is None else 0
