"""The two contracts that make a dialect: how turns are framed and how tools are called."""

from __future__ import annotations

import dataclasses
import re
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache, partial
from typing import Any, ClassVar, NamedTuple, TypeVar

from toolgrove.core.errors import TemplateError, did_you_mean
from toolgrove.core.messages import Conversation, Message, Role, Tool, ToolCall
from toolgrove.core.registry import Registry
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.grammar import Grammar
from toolgrove.templates.values import (
    THINK_CLOSE,
    THINK_OPEN,
    NextTurn,
    Place,
    Result,
    Scan,
    Step,
    ThinkMarks,
    ToolText,
    Window,
)


class AgentTemplate(ABC):
    """How tools are described, calls written and read, and results given back.

    Laws: ``scan`` over ``write_calls(calls)`` finds exactly ``calls``; what ``scan`` has decided
    does not change with more text; it never raises.
    """

    exact: ClassVar[bool] = True
    """whether every call that is written reads back, whatever its values; where not, a composed
    dialect reads each call back while it writes and refuses what would come back changed"""

    results: ClassVar[Place]
    """where results go"""
    elsewhere: ClassVar[Place | None] = None
    """where results go under a chat template that is not the family's own (None: the same place)"""
    text_separator: ClassVar[str] = ""
    """what stands between the text of a turn and its first call"""
    call_stop: ClassVar[str] = ""
    """a mark that the model writes after its calls to hand over to the tools; where ``write_calls``
    leaves it out it is written when results follow inside the assistant's turn"""
    stops_text: ClassVar[bool] = True
    """whether ``call_stop`` also ends a turn without calls that results follow"""
    marks: ClassVar[tuple[str, ...]]
    """strings that open a call: text that holds one is read back before it is written"""
    call_opening: ClassVar[re.Pattern[str] | None] = None
    """what ``scan`` takes for the possible beginning of a call (None: ``marks``); a reader gives up
    on a reply in which too many of them begin none"""

    @abstractmethod
    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        """The system text with the tools. ``system`` is the row's own system prompt (None: not
        given), ``default`` the chat template's; the row's own is never dropped."""

    @abstractmethod
    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        """All calls of one turn; the spans of the i-th call carry ``call=i``. TemplateError for a
        value that would not read back."""

    def write_result(self, result: Result) -> list[Span]:
        """One result of a step: its text as it is, unless the format has marks around it."""
        return [Span(result.content, Kind.RESULT)]

    def write_orphan(self, result: Result) -> list[Span]:
        """A result that follows a user message instead of a call, asked for only where results go
        inside the assistant's turn: it then closes the user's message."""
        return [scaffold("\n"), *self.write_result(result)]

    @abstractmethod
    def scan(self, window: Window) -> Scan:
        """The next call in a reply."""

    def call_grammar(
        self,
        tools: Sequence[Tool],  # noqa: ARG002
        parallel: bool,  # noqa: ARG002
    ) -> Grammar | None:
        """The calls of one turn as a grammar: one of these tools or, where ``parallel``, several.
        None: this template has none. Law: ``scan`` reads what it admits as valid calls, and it
        admits what ``write_calls`` writes of valid calls."""
        return None


_Found = TypeVar("_Found")


class Part(NamedTuple):
    """One message inside a turn: ``lead`` + content (when ``shown``) + ``calls`` + ``trail``."""

    message: int
    shown: bool = True
    lead: tuple[Span, ...] = ()
    calls: tuple[Span, ...] = ()
    trail: tuple[Span, ...] = ()


class Turn(NamedTuple):
    """What a chat template frames: one message, or several that an agent template joins.

    ``open`` turns have no end yet: the model goes on inside them.
    """

    role: Role
    parts: tuple[Part, ...]
    open: bool = False


class Scene(NamedTuple):
    """All that a chat template may look at while it writes.

    ``native`` means: exactly the maker's own template, with its omissions. ``keep`` asks for the
    thinking of every turn, also where the maker drops it from history. ``generate``: the generation
    prompt follows. ``reply``: the assistant message that is written as a model must emit it, last
    in the scene, with the thinking that its prompt asks for.
    """

    conversation: Conversation
    messages: tuple[Message, ...]
    """the conversation's messages"""
    turns: tuple[Turn, ...]
    tool_text: ToolText | None
    agent: AgentTemplate | None
    system: str | None
    """the leading system message's text; None when the first message is no system message"""
    last_user: int
    """the index of the last user message; -1 when there is none"""
    native: bool
    keep: bool
    today: date
    found: dict[Callable[..., Any], Any]
    """what ``once`` has found"""
    generate: bool = False
    reply: int | None = None

    def keeps(self, preserve_thinking: bool | None) -> bool:
        """Whether history keeps its thinking: as a template's option says, else as asked for."""
        return self.keep if preserve_thinking is None else preserve_thinking

    def place(self, turn: Turn) -> int:
        """The index of a turn among the scene's turns."""
        return bisect_left(self.turns, turn.parts[0].message, key=_first_message)

    def before(self, turn: Turn) -> Turn | None:
        """The turn that stands before this one."""
        index = self.place(turn)
        return self.turns[index - 1] if index else None

    def once(self, find: Callable[[Scene], _Found]) -> _Found:
        """What ``find`` finds in this scene, looked for once and not for each message."""
        if find not in self.found:
            self.found[find] = find(self)
        return self.found[find]


def _first_message(turn: Turn) -> int:
    return turn.parts[0].message


@dataclass(frozen=True)
class ChatTemplate(ABC):
    """How a model family frames turns. Its fields are its options, named as the maker names them.

    ``suggested_agent`` is the agent template to compose where the maker leaves something out.
    """

    suggested_agent: ClassVar[str] = "hermes"
    stop: ClassVar[str]
    """the token that ends an assistant turn"""
    other_stops: ClassVar[tuple[str, ...]] = ()
    """further tokens that end generation"""
    think: ClassVar[ThinkMarks] = ThinkMarks()
    """what opens and closes thinking in a reply"""
    next_turn: ClassVar[NextTurn | None] = None
    """how the model stops where the maker's text shows no stop; encoding trains it"""
    no_thinking: ClassVar[str] = ""
    """what the model writes first in a turn without thinking where the prompt has opened the
    thinking block and the maker's text shows no block"""
    text_lead: ClassVar[str] = ""
    """white space that the model writes before the text of a reply: a reader drops it"""
    wrappers: ClassVar[tuple[str, ...]] = ()
    """marks that frame the text of a reply: a reader drops them; the mark that opens thinking may
    be one of them, it then opens thinking anywhere"""
    always_prompts: ClassVar[bool] = False
    """whether the maker writes the generation prompt even when it was not asked for"""

    @abstractmethod
    def head(self, scene: Scene) -> list[Span]:
        """All that stands before the first turn, the leading system message included."""

    @abstractmethod
    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        """One framed turn."""

    @abstractmethod
    def tail(self, scene: Scene) -> list[Span]:
        """The generation prompt."""

    def body(self, scene: Scene, part: Part, text: str) -> list[Span]:
        """The text of a message, then its calls, with the agent template's separator between."""
        kind = _KIND_OF_ROLE[scene.messages[part.message].role]
        spans = [Span(text, kind, part.message)] if text else []
        if not part.calls:
            return spans
        separator = scene.agent.text_separator if scene.agent and text else ""
        if separator:
            spans.append(Span(separator, Kind.SEPARATOR, part.message))
        return [*spans, *part.calls]

    def parts(self, scene: Scene, turn: Turn) -> list[Span]:
        """What stands inside a turn's frame."""
        spans: list[Span] = []
        for part in turn.parts:
            spans += part.lead
            if part.shown:
                spans += self.content(scene, turn, part)
            spans += part.trail
        return spans

    @abstractmethod
    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        """One message's thinking, text and calls."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A chat template's class with the defaults of one model.

    ``native_agent`` names the agent template that the maker's own template writes; None where it
    shows neither tools nor calls. ``quotes_given`` marks makers' templates that print arguments
    which a row gives as a JSON string as a quoted string.
    """

    template: type[ChatTemplate]
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    native_agent: str | None = None
    quotes_given: bool = False

    def build(self, name: str, options: Mapping[str, Any] | None) -> ChatTemplate:
        """The template with these options; an unknown option is an error."""
        fields = {field.name: field for field in dataclasses.fields(self.template)}
        given = {key: value for key, value in (options or {}).items() if value is not None}
        for key in given:
            if key not in fields:
                raise TemplateError(
                    f'chat template "{name}" has no option "{key}"',
                    hint=did_you_mean(key, fields) or f"its options: {', '.join(fields) or 'none'}",
                )
        return self.template(**{**self.defaults, **given})


chat_registry: Registry[Preset] = Registry(
    "chat template", "toolgrove.templates.chat", "toolgrove.chat_templates"
)
agent_registry: Registry[type[AgentTemplate]] = Registry(
    "agent template", "toolgrove.templates.agent", "toolgrove.agent_templates"
)


def add_chat(
    name: str,
    *,
    native_agent: str | None = None,
    quotes_given: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Callable[[type[ChatTemplate]], type[ChatTemplate]]:
    """Decorator that registers a chat template under a name, with defaults for its options."""

    def register(template: type[ChatTemplate]) -> type[ChatTemplate]:
        preset = Preset(template, dict(options or {}), native_agent, quotes_given)
        chat_registry.put(name, preset, template.__module__)
        return template

    return register


_KIND_OF_ROLE = {
    Role.SYSTEM: Kind.SYSTEM,
    Role.USER: Kind.USER,
    Role.ASSISTANT: Kind.TEXT,
    Role.TOOL: Kind.RESULT,
}


_span = partial(tuple[Any, ...].__new__, Span)  # takes half as long as Span itself


@lru_cache(maxsize=4096)
def system_span(text: str, given: str | None) -> Span:
    """The system prompt's text: of message 0 when the row gave it, else the template's own."""
    return Span(text, Kind.SYSTEM, None if given is None else 0)


@lru_cache(maxsize=4096)
def scaffold(text: str) -> Span:
    """Text that the template itself writes."""
    return Span(text, Kind.SCAFFOLD)


def tagged(spans: Iterable[Span], message: int) -> list[Span]:
    """The same spans, all belonging to one message."""
    return [_span((text, kind, message, call)) for text, kind, _, call in spans]


def said(message: Message) -> tuple[str | None, str]:
    """A message's thinking, given beside the text or in think tags inside it, and its text."""
    if message.thinking is None:
        return split_thinking(message.text)
    return message.thinking, message.text


def split_thinking(content: str) -> tuple[str | None, str]:
    """Reasoning that stands in the content in think tags, and the rest, cut as Qwen3 cuts it.

    (None, content) when there is no closing tag.
    """
    if THINK_CLOSE not in content:
        return None, content
    before, _, _ = content.partition(THINK_CLOSE)
    rest = content.rpartition(THINK_CLOSE)[2].lstrip("\n")
    return before.rstrip("\n").rpartition(THINK_OPEN)[2].lstrip("\n"), rest


def thinking_spans(
    thinking: str,
    message: int | None,
    opening: str = f"{THINK_OPEN}\n",
    closing: str = f"\n{THINK_CLOSE}\n\n",
) -> list[Span]:
    """A thinking block, as the ChatML families write it unless other marks are given; empty
    thinking gives an empty block."""
    inner = [Span(thinking, Kind.THINKING, message)] if thinking else []
    return [
        Span(opening, Kind.THINK_OPEN, message),
        *inner,
        Span(closing, Kind.THINK_CLOSE, message),
    ]


def composed_thinking(scene: Scene, part: Part) -> list[Span]:
    """The thinking block that a composed dialect writes where the family has no place for one."""
    thinking = None if scene.native else scene.messages[part.message].thinking
    return thinking_spans(thinking, part.message) if thinking else []
