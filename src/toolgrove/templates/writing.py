"""Conversations written by a chat template and an agent template: whole, and turn by turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, Protocol

from toolgrove.core.errors import TemplateError
from toolgrove.core.messages import Conversation, Message, Role, Tool
from toolgrove.core.spans import WRITTEN_BY_MODEL, Kind, Span, cut, text_of
from toolgrove.templates.base import AgentTemplate, ChatTemplate, Scene, chat_registry
from toolgrove.templates.readback import same_calls
from toolgrove.templates.reading import Reader, Rules, one_of
from toolgrove.templates.script import Script
from toolgrove.templates.values import Place, Step, ThinkMarks

_USER = Role.USER  # an attribute of an enum's class is slow to look up


class Turn(NamedTuple):
    """One assistant message as its own training sample.

    The model is given ``prompt`` and must emit ``completion``, its stop included; ``rest`` is what
    the template writes after it.
    """

    message: int
    prompt: list[Span]
    completion: list[Span]
    rest: list[Span]


class Traits(NamedTuple):
    """What reading and encoding must know of a chat template; see ``ChatTemplate``."""

    stop: str
    other_stops: tuple[str, ...] = ()
    think: ThinkMarks = ThinkMarks()
    wrappers: tuple[str, ...] = ()
    text_lead: str = ""
    suggested_agent: str = "hermes"


class Writer(Protocol):
    """What a dialect writes with."""

    def text(self, conv: Conversation, *, generate: bool) -> str:
        """The text of ``spans``."""
        ...

    def spans(self, conv: Conversation, *, keep: bool, generate: bool) -> list[Span]:
        """The whole conversation, as ``Dialect.spans`` says."""
        ...

    def turns(self, conv: Conversation, *, stopped: bool) -> list[Turn]:
        """Every assistant message in its context, as ``Dialect.turns`` says."""
        ...


def traits_of(chat: ChatTemplate) -> Traits:
    """What reading must know of this chat template."""
    return Traits(
        chat.stop,
        chat.other_stops,
        chat.think,
        chat.wrappers,
        chat.text_lead,
        chat.suggested_agent,
    )


def rules_of(chat: Traits, agent: AgentTemplate | None) -> Rules:
    """What a reader must know of a chat template and an agent template."""
    foreign = agent is not None and agent.elsewhere is Place.ASSISTANT
    own_stop = agent.call_stop if agent and foreign else ""  # of the family's own chat template
    stops = tuple(stop for stop in (chat.stop, *chat.other_stops, own_stop) if stop)
    opening = None if agent is None else agent.call_opening or one_of(agent.marks)
    return Rules(
        agent,
        stops,
        chat.think,
        chat.wrappers,
        chat.text_lead,
        opening,
        one_of(chat.wrappers),
    )


@dataclass(frozen=True)
class ScriptWriter:
    """Writes with templates of this package."""

    chat_name: str
    agent_name: str | None
    chat: ChatTemplate
    agent: AgentTemplate | None
    native: bool
    today: date
    quotes_given: bool = False

    def text(self, conv: Conversation, *, generate: bool) -> str:
        """The whole conversation's text."""
        return text_of(self.spans(conv, keep=False, generate=generate))

    def spans(self, conv: Conversation, *, keep: bool, generate: bool) -> list[Span]:
        """The whole conversation."""
        script = self._script(conv)
        return self._render(script, len(conv.messages), keep=keep, generate=generate)

    def turns(self, conv: Conversation, *, stopped: bool) -> list[Turn]:
        """Every assistant message in its context; ``stopped`` as ``Dialect.turns`` says."""
        script = self._script(conv)
        return [
            self._turn(script, index, stopped)
            for index, message in enumerate(conv.messages)
            if message.role is Role.ASSISTANT
        ]

    def _script(self, conv: Conversation) -> Script:
        if not self.native:
            conv = conv.without_given()
            self._check(conv)
        default = self._default_system()
        return Script(conv, self.agent, default, self.native, self.quotes_given, self._place())

    def _place(self) -> Place | None:
        """Where results go: a foreign chat template may not frame the agent template's own way."""
        agent = self.agent
        if agent is None or agent.elsewhere is None or self.native:
            return agent.results if agent else None
        own = chat_registry.get(self.chat_name).native_agent == self.agent_name
        return agent.results if own else agent.elsewhere

    def _default_system(self) -> str | None:
        return getattr(self.chat, "default_system", None)

    def _render(
        self,
        script: Script,
        count: int,
        *,
        keep: bool = False,
        generate: bool = False,
        answered: bool | None = None,
    ) -> list[Span]:
        """The first ``count`` messages. ``answered`` (not None): the last one is written as a model
        must emit it; whether a result follows it."""
        conv = script.conversation.until(count)
        scene = Scene(
            conversation=conv,
            messages=conv.messages,
            turns=script.turns(count, bool(answered)),
            tool_text=script.tool_text,
            agent=self.agent,
            system=_leading_system(conv.messages),
            last_user=_last_user(conv.messages),
            native=self.native,
            keep=keep,
            today=self.today,
            found={},
            generate=generate,
            reply=None if answered is None else count - 1,
        )
        spans = self.chat.head(scene)
        for turn in scene.turns:
            spans += self.chat.turn(scene, turn)
        goes_on = bool(scene.turns) and scene.turns[-1].open
        always = self.native and self.chat.always_prompts
        if always or (generate and not goes_on):
            spans += self.chat.tail(scene)
        return spans

    def _turn(self, script: Script, index: int, stopped: bool) -> Turn:
        messages = script.conversation.messages
        answered = index + 1 < len(messages) and messages[index + 1].role is Role.TOOL
        prompt = self._render(script, index, generate=True)
        whole = self._render(script, index + 1, answered=answered)
        after = _behind(prompt, whole)
        completion = _emitted(prompt, whole, index) if after is None else after
        end = len(completion)
        while end and not _writes(completion[end - 1], index):
            end -= 1
        written, rest = _all_emitted(completion[:end], index), completion[end:]
        no_thinking = self.chat.no_thinking
        if no_thinking and _opens_thinking(prompt) and not _thinks(written):
            written = [Span(no_thinking, Kind.THINK_CLOSE, index), *written]
        if stopped:
            written += self._unwritten_stop(script, index, written)
        return Turn(index, prompt, written, rest)

    def _unwritten_stop(self, script: Script, index: int, written: list[Span]) -> list[Span]:
        """What the model stops with where the maker's text shows no stop."""
        tokens = self.chat.next_turn
        if tokens is None or (written and written[-1].kind in (Kind.STOP, Kind.CALL_STOP)):
            return []
        calls = script.conversation.messages[index].calls if self.agent else ()
        return [Span(tokens.results if calls else tokens.user, Kind.STOP, index)]

    def _check(self, conv: Conversation) -> None:
        if self.agent is None:
            return
        think = self.chat.think
        for index, message in enumerate(conv.messages):
            if message.thinking and think.close in message.thinking:
                raise TemplateError(
                    f"the thinking holds {think.close}, which would end it when it is read back",
                    where=f"messages[{index}]",
                    hint="take the tag out of the thinking",
                )
            if message.calls and message.text:
                self._check_reads_back(self.agent, index, message, conv.tools)

    def _check_reads_back(
        self, agent: AgentTemplate, index: int, message: Message, tools: tuple[Tool, ...]
    ) -> None:
        marks = (*agent.marks, self.chat.think.open, *self.chat.wrappers)
        if not any(mark in message.text for mark in marks):
            return
        step = Step(tools, message)
        written = (
            message.text + agent.text_separator + text_of(agent.write_calls(message.calls, step))
        )
        back = Reader(rules_of(traits_of(self.chat), agent), tools or None, "").read(written)
        if not same_calls(back.calls, message.calls):
            raise TemplateError(
                "the text beside the calls holds call markup and would not read back as text",
                where=f"messages[{index}]",
                hint="take the markup out of the text, or use another agent template",
            )


def _leading_system(messages: Sequence[Message]) -> str | None:
    return messages[0].text if messages and messages[0].role is Role.SYSTEM else None


def _last_user(messages: Sequence[Message]) -> int:
    index = len(messages) - 1
    while index >= 0 and messages[index].role is not _USER:
        index -= 1
    return index


def _behind(prompt: list[Span], whole: list[Span]) -> list[Span] | None:
    """What stands in the whole behind the prompt's text; None where it does not begin with it."""
    count = len(prompt)
    if len(whole) > count and whole[count].text and whole[:count] == prompt:
        return whole[count:]  # the usual case, without looking at the text
    given = text_of(prompt)
    before, after = cut(whole, len(given))
    return after if text_of(before) == given else None


def _writes(span: Span, message: int) -> bool:
    return span.message == message and span.kind in WRITTEN_BY_MODEL


def _all_emitted(completion: list[Span], message: int) -> list[Span]:
    """The completion where its prompt does not ask for a reply, as Hy3's after an assistant
    message: the frame that the prompt leaves out is then the model's to write."""
    if completion and _writes(completion[0], message):
        return completion
    first = next((n for n, s in enumerate(completion) if _writes(s, message)), 0)
    frame = [Span(span.text, Kind.TEXT_MARK, message) for span in completion[:first]]
    return [*frame, *completion[first:]]


_THINKING = (Kind.THINK_OPEN, Kind.THINKING, Kind.THINK_CLOSE)


def _opens_thinking(prompt: list[Span]) -> bool:
    """Whether a prompt ends inside a thinking block that it opens."""
    return bool(prompt) and prompt[-1].kind is Kind.THINK_OPEN


def _thinks(written: list[Span]) -> bool:
    return any(span.kind in _THINKING for span in written)


def _emitted(prompt: list[Span], whole: list[Span], message: int) -> list[Span]:
    """What the model must emit after a prompt with which the rewritten text does not begin."""
    first = next((n for n, s in enumerate(whole) if _writes(s, message)), len(whole))
    if _opens_thinking(prompt) and whole[first:] and whole[first].kind is Kind.THINK_OPEN:
        first += 1
    closed = any(span.kind is Kind.THINK_CLOSE and span.message is None for span in prompt[-3:])
    return [
        span
        for span in whole[first:]
        if not (closed and span.message == message and span.kind in _THINKING)
    ]
