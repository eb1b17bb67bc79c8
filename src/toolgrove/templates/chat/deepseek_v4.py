"""DeepSeek V4: results in the user's turn, thinking kept where tools are in use."""

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

_ABSOLUTE = (
    "Reasoning Effort: Absolute maximum with no shortcuts permitted.\n"
    "You MUST be very thorough in your thinking and comprehensively decompose the problem to "
    "resolve the root cause, rigorously stress-testing your logic against all potential paths, "
    "edge cases, and adversarial scenarios.\n"
    "Explicitly write out your entire deliberation process, documenting every intermediate step, "
    "considered alternative, and rejected hypothesis to ensure absolutely no assumption is left "
    "unchecked.\n\n"
)
_BEYOND = (
    "Reasoning Effort: Beyond maximum — exhaustive, relentless, and uncompromising.\n"
    "You MUST reason with the utmost depth and rigor, leaving absolutely nothing to chance: "
    "exhaustively decompose the problem into its most fundamental components, trace every causal "
    "chain to its root, and resolve the underlying cause rather than any surface symptom.\n"
    "Do not stop reasoning until you have independently verified the solution from multiple angles "
    "and are certain that no assumption remains unchecked and no error remains undiscovered.\n\n"
)
_FLASH = {"high_effort": _ABSOLUTE, "max_effort": _BEYOND}


@add_chat("deepseek_v4", native_agent="deepseek_v4")
@add_chat("deepseek_v4_flash_0731", native_agent="deepseek_v4", options=_FLASH)
@add_chat("deepseek_v41", native_agent="deepseek_v41", options=_FLASH)
@dataclass(frozen=True)
class DeepSeekV4(ChatTemplate):
    """User messages and tool results that follow one another share a turn. Thinking is shown where
    ``thinking`` is on: in every turn of a conversation with tools, else after the last user message
    only; the other turns begin with ``</think>``.

    Sources: the chat templates of DeepSeek-V4 and DeepSeek-V4-Flash-0731; ``deepseek_v41`` frames
    turns in the same way. In a composed dialect ``thinking`` unset leaves the choice to the model,
    as in V3.1, and thinking in the content is written as thinking (``test_deepseek.py``).
    """

    suggested_agent: ClassVar[str] = "deepseek_v4"
    stop: ClassVar[str] = EOS
    think: ClassVar[ThinkMarks] = ThinkMarks(bare=True)

    thinking: bool | None = None
    """True opens thinking in the generation prompt, False closes it"""
    enable_thinking: bool | None = None
    """another name of ``thinking``"""
    reasoning_effort: str | None = None
    """how hard to think; what it says opens the text where ``thinking`` is on"""
    drop_thinking: bool = True
    """False keeps the thinking of earlier turns without tools, too"""
    preserve_thinking: bool | None = None
    """the opposite of ``drop_thinking``, as other families name it"""
    high_effort: str = ""
    """what the ``reasoning_effort`` "high" says"""
    max_effort: str = _ABSOLUTE
    """what the ``reasoning_effort`` "max" says"""
    default_system: str | None = None
    """the system prompt where a row has none"""

    def head(self, scene: Scene) -> list[Span]:
        asked = (
            self.reasoning_effort
            if thinking_mode(scene, self.thinking, self.enable_thinking) and scene.messages
            else None
        )
        effort = {"high": self.high_effort, "max": self.max_effort}.get(asked or "", "")
        return [
            scaffold(BOS + effort),
            *with_tools(scene, system_spans(scene, self.default_system)),
        ]

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        if turn.role is Role.SYSTEM:
            return []
        if turn.role is Role.ASSISTANT:
            stop = [] if turn.open else [Span(EOS, Kind.STOP, turn.parts[-1].message)]
            return [scaffold(ASSISTANT), *self.parts(scene, turn), *stop]
        goes_on = last_role(scene.turns[: scene.place(turn)]) in (Role.USER, Role.TOOL)
        return [scaffold("\n\n" if goes_on else USER), *self.parts(scene, turn)]

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        index, message = part.message, scene.messages[part.message]
        if message.role is Role.TOOL:
            between = "" if part is turn.parts[0] else "\n\n"
            body = self.body(scene, part, message.text)
            return [scaffold(f"{between}<tool_result>"), *body, scaffold("</tool_result>")]
        if message.role is not Role.ASSISTANT:
            return self.body(scene, part, message.text)
        if scene.native:
            thinking, text = message.thinking or "", message.text
        else:
            thinking, text = thinking_of(message)
        mode, heads = (
            thinking_mode(scene, self.thinking, self.enable_thinking),
            part is turn.parts[0],
        )
        if mode is not False and self._shows(scene, index) and (thinking or (mode and heads)):
            block = thinking_spans(thinking, index, THINK_OPEN, THINK_CLOSE)
        else:
            block = bare_close(index, mode) if heads else []
        return block + self.body(scene, part, text)

    def tail(self, scene: Scene) -> list[Span]:
        return prompt_end(ASSISTANT, thinking_mode(scene, self.thinking, self.enable_thinking))

    def _shows(self, scene: Scene, index: int) -> bool:
        """Whether the thinking of the message at ``index`` is shown, if it may be."""
        if self.preserve_thinking is not None:
            keep = self.preserve_thinking
        else:
            results = any(message.role is Role.TOOL for message in scene.messages)
            tools = bool(scene.conversation.tools)
            keep = not self.drop_thinking or scene.keep or tools or results
        asked = (message.role for message in scene.messages[index:])
        return keep or not any(role in (Role.USER, Role.TOOL) for role in asked)
