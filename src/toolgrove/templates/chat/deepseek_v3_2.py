"""DeepSeek V3.2: results in a block after the calls, thinking after the last user message."""

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
    next_turn,
    prompt_end,
    system_spans,
    thinking_mode,
    thinking_of,
    with_tools,
)
from toolgrove.templates.values import THINK_CLOSE, THINK_OPEN, ThinkMarks

_OPEN = "\n\n<function_results>"
_CLOSE = "\n</function_results>"


@add_chat("deepseek_v3_2", native_agent="deepseek_v3_2")
@dataclass(frozen=True)
class DeepSeekV32(ChatTemplate):
    """A reply without thinking begins with ``</think>``; a reply to results begins with a blank
    line instead of the assistant's token.

    Source: the chat template of DeepSeek-V3.2. It closes thinking with ``<think></think>`` in the
    generation prompt and with ``</think>`` in the text, and ends the block of results only when
    their number is that of the calls. A composed dialect writes ``</think>`` in both places and
    ends the block in every case; there ``thinking`` unset leaves the choice to the model, as in
    V3.1 (``test_deepseek.py``).
    """

    suggested_agent: ClassVar[str] = "deepseek_v3_2"
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
        return [scaffold(BOS), *with_tools(scene, system_spans(scene, self.default_system))]

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        if turn.role is Role.SYSTEM:
            return []
        if turn.role is Role.TOOL:
            return self._results(scene, turn)
        if turn.role is Role.USER:
            return [scaffold(USER), *self.parts(scene, turn)]
        header = _header(scene, scene.place(turn))
        stop = [] if turn.open else [Span(EOS, Kind.STOP, turn.parts[-1].message)]
        return [*([scaffold(header)] if header else []), *self.parts(scene, turn), *stop]

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        index, message = part.message, scene.messages[part.message]
        if message.role is not Role.ASSISTANT:
            return self.body(scene, part, message.text)
        if scene.native:
            thinking, text = message.thinking or "", message.text
        else:
            thinking, text = thinking_of(message)
        mode = thinking_mode(scene, self.thinking, self.enable_thinking)
        heads = part is turn.parts[0] and bool(_header(scene, scene.place(turn)))
        keep = scene.keeps(self.preserve_thinking)
        shown = mode is not False and (keep or index > scene.last_user)
        if shown and (heads if scene.native else thinking or (mode and heads)):
            block = thinking_spans(thinking, index, THINK_OPEN, THINK_CLOSE)
        else:
            block = bare_close(index, mode) if heads else []
        return block + self.body(scene, part, text)

    def tail(self, scene: Scene) -> list[Span]:
        header = _header(scene, len(scene.turns))
        if not header:
            return []
        mode = thinking_mode(scene, self.thinking, self.enable_thinking)
        spans = prompt_end(header, mode)
        if scene.native and not mode:
            spans.insert(1, Span(THINK_OPEN, Kind.THINK_OPEN))
        return spans

    def _results(self, scene: Scene, turn: Turn) -> list[Span]:
        """One tool turn, with the tags of the block where they belong."""
        before, after = scene.turns[: scene.place(turn)], next_turn(scene, turn)
        spans: list[Span] = []
        for number, part in enumerate(turn.parts):
            if scene.native:
                opens, closes = _edges(scene, part.message)
            else:
                opens = number == 0 and last_role(before) is not Role.TOOL
                closes = part is turn.parts[-1] and (after is None or after.role is not Role.TOOL)
            text = scene.messages[part.message].text
            spans.append(scaffold((_OPEN if opens else "") + "\n<result>"))
            spans += [Span(text, Kind.RESULT, part.message)] if text else []
            spans.append(scaffold("</result>" + (_CLOSE if closes else "")))
        return spans


def _edges(scene: Scene, index: int) -> tuple[bool, bool]:
    """Whether the maker's template opens and closes the block at the result at ``index``: it counts
    the messages since the last calls."""
    messages = scene.messages
    asked = next((i for i in reversed(range(index)) if messages[i].calls), -1)
    return index - asked == 1, index - asked == len(messages[asked].calls)


def _header(scene: Scene, place: int) -> str:
    """What opens an assistant turn that stands at ``place`` among the turns."""
    if scene.native:
        return scene.once(_headers)[place]
    return "\n\n" if last_role(scene.turns[:place]) is Role.TOOL else ASSISTANT


def _headers(scene: Scene) -> list[str]:
    """What opens an assistant turn at each place of the maker's text."""
    headers = [""]
    for turn in scene.turns:
        header = headers[-1]
        if turn.role is Role.USER:
            header = ASSISTANT
        elif turn.role is Role.ASSISTANT:
            header = ""
        elif turn.role is Role.TOOL and any(_edges(scene, p.message)[1] for p in turn.parts):
            header = "\n\n"
        headers.append(header)
    return headers
