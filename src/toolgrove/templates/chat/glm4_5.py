"""GLM-4.5 to GLM-5.1: role tokens, and no token at the end of a turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from toolgrove.core.messages import Message, Role
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.base import (
    ChatTemplate,
    Part,
    Scene,
    Turn,
    add_chat,
    said,
    scaffold,
)
from toolgrove.templates.values import NextTurn, ThinkMarks

_START = "[gMASK]<sop>"
_OBSERVATION = "<|observation|>"
_USER = "<|user|>"
_OPEN, _CLOSE = "<think>", "</think>"
_NOTHINK = "/nothink"


@add_chat("glm4_5", native_agent="glm4_5")
@add_chat("glm4_6", native_agent="glm4_5")
@dataclass(frozen=True)
class Glm45(ChatTemplate):
    """GLM-4.5 and GLM-4.6. Thinking is shown after the last user message only; other turns have an
    empty block. Texts are trimmed.

    Source: the chat templates of GLM-4.5 and GLM-4.6, which show the tools before the system
    prompt, and write no token at the end of an assistant turn: the model stops by opening the next
    turn (``next_turn``). ``text`` and ``turns`` show none there, as the makers do; encoding trains
    it. Arguments that a row gives as a JSON string, which the makers' templates refuse, are written
    as the object. A composed dialect writes the system prompt before the tools, in one turn.
    ``preserve_thinking`` is not the maker's: it keeps the thinking of history.
    """

    suggested_agent: ClassVar[str] = "glm4_5"
    stop: ClassVar[str] = _USER
    other_stops: ClassVar[tuple[str, ...]] = (_OBSERVATION, "<|endoftext|>")
    next_turn: ClassVar[NextTurn | None] = NextTurn(_USER, _OBSERVATION)

    enable_thinking: bool | None = None
    """False closes the thinking block in the generation prompt; user messages end in /nothink"""
    preserve_thinking: bool | None = None
    """True keeps the thinking of earlier turns in history; False drops it in every case"""
    default_system: str | None = None
    """the system prompt where a row has none"""

    def head(self, scene: Scene) -> list[Span]:
        return _head(scene, self.default_system, "\n")

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        return _framed(scene, turn, "\n", self.parts(scene, turn))

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        index = part.message
        message = scene.messages[index]
        if message.role is Role.USER:
            adds = self.enable_thinking is False and not message.text.endswith(_NOTHINK)
            suffix = [scaffold(_NOTHINK)] if adds else []
            return [*self.body(scene, part, message.text), *suffix]
        if message.role is not Role.ASSISTANT:
            return self.body(scene, part, message.text)
        thinking, text = _thinking_and_text(scene, message)
        shown = index > scene.last_user or _keeps(scene, self.preserve_thinking)
        inner = [Span(thinking, Kind.THINKING, index)] if thinking and shown else []
        newline = [Span("\n", Kind.SEPARATOR, index)] if text or part.calls else []
        return [
            Span(f"\n{_OPEN}", Kind.THINK_OPEN, index),
            *inner,
            Span(_CLOSE, Kind.THINK_CLOSE, index),
            *newline,
            *self.body(scene, part, text),
        ]

    def tail(self, scene: Scene) -> list[Span]:
        header = scaffold("<|assistant|>")
        if self.enable_thinking is not False:
            return [header]
        return [header, Span(f"\n{_OPEN}", Kind.THINK_OPEN), Span(_CLOSE, Kind.THINK_CLOSE)]


@add_chat("glm4_7", native_agent="glm4_7")
@add_chat("glm4_7_flash", native_agent="glm4_7")
@add_chat("glm5_1", native_agent="glm4_7")
@dataclass(frozen=True)
class Glm47(ChatTemplate):
    """GLM-4.7: as GLM-4.5, without newlines. The generation prompt opens the thinking block, and a
    turn without thinking begins with the closing tag.

    Source: the chat template of GLM-4.7-Flash. ``glm5_1`` is the same template under the name that
    ms-swift gives to GLM-5.1. What ``Glm45`` says about stops, tools and strings holds here too.
    """

    suggested_agent: ClassVar[str] = "glm4_7"
    stop: ClassVar[str] = _USER
    other_stops: ClassVar[tuple[str, ...]] = (_OBSERVATION, "<|endoftext|>")
    next_turn: ClassVar[NextTurn | None] = NextTurn(_USER, _OBSERVATION)
    think: ClassVar[ThinkMarks] = ThinkMarks(bare=True)

    enable_thinking: bool | None = None
    """False closes the thinking block in the generation prompt"""
    clear_thinking: bool | None = None
    """False keeps the thinking of earlier turns in history"""
    preserve_thinking: bool | None = None
    """True keeps the thinking of earlier turns in history; False drops it in every case"""
    default_system: str | None = None
    """the system prompt where a row has none"""

    def head(self, scene: Scene) -> list[Span]:
        return _head(scene, self.default_system, "")

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        return _framed(scene, turn, "", self.parts(scene, turn))

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        index = part.message
        message = scene.messages[index]
        if message.role is not Role.ASSISTANT:
            return self.body(scene, part, message.text)
        thinking, text = _thinking_and_text(scene, message)
        preserve = self.preserve_thinking
        if self.clear_thinking is False and preserve is None:
            preserve = True
        block: list[Span] = []
        if thinking is not None and (index > scene.last_user or _keeps(scene, preserve)):
            given = self.enable_thinking is not False and part is turn.parts[0]
            inner = [Span(thinking, Kind.THINKING, index)] if thinking else []
            block = [Span(_OPEN, Kind.THINK_OPEN, None if given else index), *inner]
        close = Span(_CLOSE, Kind.THINK_CLOSE, index)
        return [*block, close, *self.body(scene, part, text)]

    def tail(self, scene: Scene) -> list[Span]:
        header = scaffold("<|assistant|>")
        if self.enable_thinking is False:
            return [header, Span(_CLOSE, Kind.THINK_CLOSE)]
        return [header, Span(_OPEN, Kind.THINK_OPEN)]


def _keeps(scene: Scene, preserve: bool | None) -> bool:
    return bool(preserve or (scene.keep and preserve is None))


def _head(scene: Scene, default_system: str | None, newline: str) -> list[Span]:
    header = scaffold(f"<|system|>{newline}")
    text = default_system if scene.system is None else scene.system
    given = None if scene.system is None else 0
    system = [] if text is None else [header, Span(text, Kind.SYSTEM, given)]
    start = scaffold(_START)
    if scene.tool_text is None or scene.agent is None:
        return [start, *system]
    own_line = scaffold("<|system|>\n")
    if not scene.native:
        spans = scene.tool_text.system
        leads = bool(spans) and spans[0].kind is Kind.SYSTEM
        return [start, header if leads else own_line, *spans]
    tools = [span for span in scene.tool_text.system if span.kind is not Kind.SYSTEM]
    return [start, own_line, *tools[bool(text) :], *system]


def _framed(scene: Scene, turn: Turn, newline: str, body: Sequence[Span]) -> list[Span]:
    """A turn's role token and body. Where the role token is what the model stopped with, it is
    that turn's stop; a conversation that keeps all thinking also ends in one."""
    if turn.role is Role.ASSISTANT:
        ends = scene.keep and not turn.open and turn is scene.turns[-1]
        last = turn.parts[-1]
        stop = _OBSERVATION if last.calls else _USER
        return [
            scaffold("<|assistant|>"),
            *body,
            *([Span(stop, Kind.STOP, last.message)] if ends else []),
        ]
    holds_results = turn.role is Role.USER and not any(part.shown for part in turn.parts)
    role = "observation" if turn.role is Role.TOOL or holds_results else str(turn.role)
    before = scene.before(turn)
    token = f"<|{role}|>"
    header = [scaffold(f"{token}{newline}")]
    if before is not None and before.role is Role.ASSISTANT and not before.open:
        last = before.parts[-1]
        if token == (_OBSERVATION if last.calls else _USER):
            header = [Span(token, Kind.STOP, last.message), scaffold(newline)]
    return [span for span in (*header, *body) if span.text]


def _thinking_and_text(scene: Scene, message: Message) -> tuple[str | None, str]:
    """The thinking (None: none), its own or from think tags in the content, and the trimmed text.

    The makers trim thinking too; a composed dialect only takes the newlines at its ends.
    """
    thinking, text = said(message)
    if scene.native:
        return thinking.strip() if thinking else None, text.strip()
    return (thinking or "").strip("\n") or None, text.strip()
