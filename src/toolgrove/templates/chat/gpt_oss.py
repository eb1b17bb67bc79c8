"""gpt-oss: harmony messages in channels, analysis, commentary and final."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from toolgrove.core.errors import TemplateError
from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Message, Role
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.gpt_oss import ASSISTANT, CALL, END, GptOss
from toolgrove.templates.base import ChatTemplate, Part, Scene, Turn, add_chat, scaffold
from toolgrove.templates.chat.chatml import system_message
from toolgrove.templates.script import result_at
from toolgrove.templates.values import ThinkMarks

_ANALYSIS = "<|channel|>analysis<|message|>"
_COMMENTARY = "<|channel|>commentary<|message|>"
_FINAL = "<|channel|>final<|message|>"
_RETURN = "<|return|>"
_IDENTITY = "You are ChatGPT, a large language model trained by OpenAI."
_CHANNELS = (
    "# Valid channels: analysis, commentary, final. Channel must be included for every message."
)
_CALLS_GO = "\nCalls to these tools must go to the commentary channel: 'functions'."


@add_chat("gpt_oss", native_agent="gpt_oss", quotes_given=True)
@dataclass(frozen=True)
class GptOssChat(ChatTemplate):
    """Harmony. The last final message ends in ``<|return|>``, those of history in ``<|end|>``;
    thinking is dropped from history, but for that of calls that no final message follows.

    Source: the chat template of gpt-oss-20b. It writes a message's first call only, text beside a
    call into the analysis channel (it refuses text and thinking together), and drops later system
    messages. A composed dialect writes text beside a call into the commentary channel, every call,
    and later system messages as developer messages. The maker's ``builtin_tools`` are left out.
    """

    suggested_agent: ClassVar[str] = "gpt_oss"
    stop: ClassVar[str] = _RETURN
    other_stops: ClassVar[tuple[str, ...]] = (CALL, "<|endoftext|>")
    think: ClassVar[ThinkMarks] = ThinkMarks(_ANALYSIS, END)
    wrappers: ClassVar[tuple[str, ...]] = (ASSISTANT, END, _ANALYSIS, _COMMENTARY, _FINAL)

    model_identity: str = _IDENTITY
    """the first line of the maker's system message"""
    reasoning_effort: str = "medium"
    """low, medium or high"""
    preserve_thinking: bool | None = None
    """True keeps the thinking of earlier turns in history; False drops it in every case"""
    default_system: str | None = None
    """the instructions where a row has no system prompt"""

    def head(self, scene: Scene) -> list[Span]:
        own = isinstance(scene.agent, GptOss)
        tools = scene.tool_text.system if scene.tool_text else []
        opening = (
            f"<|start|>system<|message|>{self.model_identity}\nKnowledge cutoff: 2024-06\n"
            f"Current date: {scene.today.isoformat()}\n\nReasoning: {self.reasoning_effort}\n\n"
        )
        calls = _CALLS_GO if own and tools else ""
        spans = [scaffold(f"{opening}{_CHANNELS}{calls}{END}")]
        text = self.default_system if scene.system is None else scene.system
        if own and tools:
            lead = [scaffold("# Instructions\n\n")] if text else []
            return [*spans, *_developer([*lead, *tools])]
        body = tools or ([Span(text, Kind.SYSTEM, system_message(scene))] if text else [])
        return [*spans, *_instructions(body)] if body else spans

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        body = self.parts(scene, turn)
        index = turn.parts[-1].message
        if turn.role is Role.SYSTEM:
            return _instructions(body) if body and not scene.native else []
        if turn.role is Role.USER:
            return [scaffold("<|start|>user<|message|>"), *body, scaffold(END)]
        if turn.role is Role.TOOL:
            name = Span(_tool_name(scene, index), Kind.RESULT, index)
            header = scaffold(" to=assistant<|channel|>commentary<|message|>")
            return [scaffold("<|start|>functions."), name, header, *body, scaffold(END)]
        body = [scaffold(ASSISTANT), *body]
        if turn.open or (turn.parts[-1].calls and isinstance(scene.agent, GptOss)):
            return body
        stop = _RETURN if _ends(scene, index) else END
        return [*body, Span(stop, Kind.STOP, index)]

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        index = part.message
        message = scene.messages[index]
        if message.role is Role.TOOL:
            return [Span(dump(message.text), Kind.RESULT, index)]
        if message.role is not Role.ASSISTANT:
            return self.body(scene, part, message.text)
        _refuse_channels(message, index)
        addressed = bool(part.calls) and isinstance(scene.agent, GptOss)
        thinking, text = self._thinking(scene, message, index, addressed)
        spans: list[Span] = []
        if thinking is not None:
            inner = [Span(thinking, Kind.THINKING, index)] if thinking else []
            close = Span(END, Kind.THINK_CLOSE, index)
            spans += [Span(_ANALYSIS, Kind.THINK_OPEN, index), *inner, close]
        if not addressed:
            goes_on = part is not turn.parts[0] and not spans
            mark = _FINAL if not spans else f"{ASSISTANT}{_FINAL}"
            spans += [] if goes_on else [Span(mark, Kind.TEXT_MARK, index)]
            return spans + self.body(scene, part, text)
        if text:
            mark = _COMMENTARY if not spans else f"{ASSISTANT}{_COMMENTARY}"
            spans += [Span(mark, Kind.TEXT_MARK, index), Span(text, Kind.TEXT, index)]
            spans.append(Span(END, Kind.TEXT_MARK, index))
        again = [Span(ASSISTANT, Kind.TEXT_MARK, index)] if spans else []
        return [*spans, *again, *part.calls]

    def tail(self, scene: Scene) -> list[Span]:
        return [scaffold(ASSISTANT)]

    def _thinking(
        self, scene: Scene, message: Message, index: int, addressed: bool
    ) -> tuple[str | None, str]:
        """The text of the analysis channel (None: no such message) and that of the other one."""
        thinking, text = message.thinking, message.text
        if addressed and scene.native and text:
            if thinking:
                raise TemplateError(
                    "the maker's template of gpt-oss takes text or thinking beside a call",
                    where=f"messages[{index}]",
                    hint='name the agent template, which writes both: agent="gpt_oss"',
                )
            thinking, text = text, ""
        last = _ends(scene, index)
        shown = index > scene.once(_last_final) if message.calls else last
        keep = scene.keeps(self.preserve_thinking)
        if not (shown or keep):
            return None, text
        empty = scene.native and last and not message.calls
        return thinking if thinking or empty else None, text


def _developer(body: list[Span]) -> list[Span]:
    return [scaffold("<|start|>developer<|message|>"), *body, scaffold(END)]


def _instructions(body: list[Span]) -> list[Span]:
    return _developer([scaffold("# Instructions\n\n"), *body, scaffold("\n\n")])


def _ends(scene: Scene, index: int) -> bool:
    """Whether this message ends the text, with no generation prompt after it."""
    return index == len(scene.messages) - 1 and not scene.generate


def _last_final(scene: Scene) -> int:
    """The index of the assistant's last message that calls no tool; -1 when there is none."""
    for index in range(len(scene.messages) - 1, -1, -1):
        if scene.messages[index].role is Role.ASSISTANT and not scene.messages[index].calls:
            return index
    return -1


def _tool_name(scene: Scene, index: int) -> str:
    """The name of the tool whose result this is; the maker's own template takes the name of the
    first call of the assistant's message before."""
    if not scene.native:
        return result_at(scene.messages, index, native=False).name or "unknown"
    asked = next((m for m in scene.messages[index::-1] if m.role is Role.ASSISTANT), None)
    if asked is None or not asked.calls:
        raise TemplateError(
            "the maker's template of gpt-oss takes a tool result only after a call",
            where=f"messages[{index}]",
            hint='take the result out, or name an agent template: agent="gpt_oss"',
        )
    return asked.calls[0].name


def _refuse_channels(message: Message, index: int) -> None:
    for text in (message.text, message.thinking or ""):
        for mark in (_ANALYSIS, _FINAL):
            if mark in text:
                raise TemplateError(
                    f"the message holds harmony's own mark {mark}",
                    where=f"messages[{index}]",
                    hint='put reasoning into "reasoning_content" and the answer into "content", '
                    "without marks",
                )
