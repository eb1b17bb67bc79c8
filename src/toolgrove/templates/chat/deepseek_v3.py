"""DeepSeek V3, R1 and the R1 distillations: a reply goes on right after tool outputs."""

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
    thinking_spans,
)
from toolgrove.templates.values import THINK_CLOSE, THINK_OPEN

BOS = "<｜begin▁of▁sentence｜>"
EOS = "<｜end▁of▁sentence｜>"
USER = "<｜User｜>"
ASSISTANT = "<｜Assistant｜>"
OUTPUT_OPEN = "<｜tool▁output▁begin｜>"
OUTPUT_CLOSE = "<｜tool▁output▁end｜>"
_OUTPUTS_OPEN = "<｜tool▁outputs▁begin｜>"
_OUTPUTS_CLOSE = "<｜tool▁outputs▁end｜>"


@add_chat("deepseek_v3", native_agent="deepseek_v3")
@add_chat("deepseek_r1", native_agent="deepseek_v3")
@add_chat(
    "deepseek_v3_lenml",
    options={"opens_thinking": False, "breaks_results": True, "cuts_thinking": False},
)
@add_chat(
    "deepseek_r1_distill_llama_8b",
    options={"opens_thinking": False, "breaks_results": True, "last_system": True},
)
@add_chat(
    "deepseek_r1_distill_qwen_32b",
    options={
        "opens_thinking": False,
        "breaks_results": True,
        "last_system": True,
        "broken_lines": True,
    },
)
@dataclass(frozen=True)
class DeepSeekV3(ChatTemplate):
    """System prompts from anywhere open the text. After tool outputs the reply goes on without a
    header. No tools are shown; the first release shows no calls either.

    Sources: the chat templates of DeepSeek-R1 and DeepSeek-V3 (``deepseek_v3``), their first
    release (``_lenml``), DeepSeek-R1-Distill-Llama-8B and a copy of
    DeepSeek-R1-Distill-Qwen-32B's that breaks lines. What the makers' templates forget is kept in
    native dialects only, where ``losses`` names it: they open tool outputs once a conversation and
    calls once, and drop the text of later calls. The thinking of a reply is in no maker's text;
    where the generation prompt opens it, a turn's completion holds it.
    A composed dialect opens all calls and outputs, keeps all system prompts, breaks no lines and
    shows thinking after the last user message (``test_deepseek.py``).
    """

    suggested_agent: ClassVar[str] = "deepseek_v3"
    stop: ClassVar[str] = EOS

    opens_thinking: bool = True
    """whether the generation prompt opens the thinking block"""
    enable_thinking: bool | None = None
    """set: instead of ``opens_thinking``"""
    preserve_thinking: bool | None = None
    """True keeps the thinking of earlier turns in history; False drops it in every case"""
    cuts_thinking: bool = True
    """whether thinking that stands in the content is cut from history"""
    last_system: bool = False
    """whether the last system prompt replaces those before it"""
    breaks_results: bool = False
    """whether a line break stands between tool outputs"""
    broken_lines: bool = False
    """whether the maker's text is that of a copy without an opening token, with line breaks at the
    start, after the last outputs and after the generation prompt"""
    default_system: str | None = None
    """the system prompt where a row has none"""

    def head(self, scene: Scene) -> list[Span]:
        start = [scaffold("\n" if scene.native and self.broken_lines else BOS)]
        system = system_spans(scene, self.default_system, scene.native and self.last_system)
        return start + (system if scene.native else with_tools(scene, system))

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        if turn.role is Role.SYSTEM:
            return []
        if turn.role is Role.TOOL:
            return self._outputs(scene, turn)
        if turn.role is Role.USER:
            return [scaffold(USER), *self.parts(scene, turn)]
        header = [scaffold(ASSISTANT)] if self._heads(scene, turn) else []
        stop = [] if turn.open else [Span(EOS, Kind.STOP, turn.parts[-1].message)]
        return [*header, *self.parts(scene, turn), *stop]

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        index, message = part.message, scene.messages[part.message]
        if message.role is not Role.ASSISTANT:
            return self.body(scene, part, message.text)
        heads = part is turn.parts[0] and self._heads(scene, turn)
        if scene.native and part.calls and not heads:
            return list(part.calls)
        opens = heads and self._opens
        if scene.native and not (opens and (scene.reply == index or self._keeps(scene))):
            cuts = self.cuts_thinking and heads and not part.calls
            text = message.text.rpartition(THINK_CLOSE)[2] if cuts else message.text
            return self.body(scene, part, text)
        thinking, text = thinking_of(message)
        shown = scene.native or self._keeps(scene) or index > scene.last_user
        if not shown or not (thinking or opens):
            return self.body(scene, part, text)
        return thinking_spans(thinking, index) + self.body(scene, part, text)

    def tail(self, scene: Scene) -> list[Span]:
        if last_role(scene.turns) is Role.TOOL:
            return []
        opening = [Span(f"{THINK_OPEN}\n", Kind.THINK_OPEN)] if self._opens else []
        break_ = [scaffold("\n")] if scene.native and self.broken_lines else []
        return [scaffold(ASSISTANT), *opening, *break_]

    @property
    def _opens(self) -> bool:
        return self.opens_thinking if self.enable_thinking is None else self.enable_thinking

    def _keeps(self, scene: Scene) -> bool:
        return scene.keeps(self.preserve_thinking)

    def _heads(self, scene: Scene, turn: Turn) -> bool:
        """Whether the assistant's token opens the turn."""
        first = turn.parts[0]
        if scene.native and first.calls:
            return not any(message.calls for message in scene.messages[: first.message])
        return last_role(scene.turns[: scene.place(turn)]) is not Role.TOOL

    def _outputs(self, scene: Scene, turn: Turn) -> list[Span]:
        """One tool turn, with the tokens around all outputs of a step where they belong."""
        before, after = scene.turns[: scene.place(turn)], next_turn(scene, turn)
        spans: list[Span] = []
        for number, part in enumerate(turn.parts):
            if scene.native:
                earlier = scene.messages[: part.message]
                first = not any(message.role is Role.TOOL for message in earlier)
            else:
                first = number == 0 and last_role(before) is not Role.TOOL
            between = "\n" if self.breaks_results else ""
            spans.append(scaffold((_OUTPUTS_OPEN if first else between) + OUTPUT_OPEN))
            text = scene.messages[part.message].text
            spans += [Span(text, Kind.RESULT, part.message)] if text else []
            spans.append(scaffold(OUTPUT_CLOSE))
        goes_on = after is None or (after.role is Role.ASSISTANT and not after.parts[0].calls)
        ends = goes_on if scene.native else after is None or after.role is not Role.TOOL
        break_ = "\n" if scene.native and self.broken_lines and after is None else ""
        return [*spans, scaffold(_OUTPUTS_CLOSE + break_)] if ends else spans


def system_spans(scene: Scene, default: str | None, last: bool = False) -> list[Span]:
    """The system prompts of the whole conversation with blank lines between; ``last``: only the
    last of them; the default where there is none."""
    messages = scene.messages
    given = [index for index, message in enumerate(messages) if message.role is Role.SYSTEM]
    if not given:
        return [Span(default, Kind.SYSTEM)] if default else []
    spans: list[Span] = []
    for number, index in enumerate(given[-1:] if last else given):
        spans += [scaffold("\n\n")] if number else []
        spans.append(Span(messages[index].text, Kind.SYSTEM, index))
    return [span for span in spans if span.text]


def with_tools(scene: Scene, system: list[Span]) -> list[Span]:
    """The system prompts and the agent template's tool text, which has its own place for them."""
    if scene.tool_text is None:
        return system
    written = scene.tool_text.system
    place = next((n for n, span in enumerate(written) if span.kind is Kind.SYSTEM), None)
    if place is not None:
        return [*written[:place], *system, *written[place + 1 :]]
    return [*system, scaffold("\n\n"), *written] if system and written else [*system, *written]


def thinking_of(message: Message) -> tuple[str, str]:
    """The thinking of an assistant message, given beside its text or in it, and its text."""
    thinking, text = said(message)
    return (thinking or "").strip("\n"), text


def thinking_mode(scene: Scene, thinking: bool | None, enable_thinking: bool | None) -> bool | None:
    """Whether the prompt opens thinking (True) or closes it (False); None, in composed dialects
    only: neither, the model chooses."""
    mode = enable_thinking if thinking is None else thinking
    return False if mode is None and scene.native else mode


def prompt_end(header: str, mode: bool | None) -> list[Span]:
    """A generation prompt: what opens the assistant's turn, and the mark that the mode asks for."""
    if mode is None:
        return [scaffold(header)]
    mark = Span(THINK_OPEN, Kind.THINK_OPEN) if mode else Span(THINK_CLOSE, Kind.THINK_CLOSE)
    return [scaffold(header), mark]


def bare_close(message: int, mode: bool | None) -> list[Span]:
    """The mark that opens a reply without thinking: the model's own, unless the prompt writes it
    (``mode`` False)."""
    return [Span(THINK_CLOSE, Kind.THINK_CLOSE, None if mode is False else message)]


def last_role(turns: Sequence[Turn]) -> Role | None:
    """Who spoke last, system prompts left out."""
    return next((turn.role for turn in reversed(turns) if turn.role is not Role.SYSTEM), None)


def next_turn(scene: Scene, turn: Turn) -> Turn | None:
    """The turn after this one, system prompts left out."""
    later = scene.turns[scene.place(turn) + 1 :]
    return next((other for other in later if other.role is not Role.SYSTEM), None)
