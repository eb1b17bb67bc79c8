"""Kimi K2: <|im_user|>, <|im_assistant|> and <|im_system|> turns, tools in a turn before them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from toolgrove.core.messages import Role
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.kimi_k2 import KimiAgent, numbered_by_turn, returned
from toolgrove.templates.base import (
    ChatTemplate,
    Part,
    Scene,
    Turn,
    add_chat,
    composed_thinking,
    scaffold,
    tagged,
)
from toolgrove.templates.chat.chatml import system_message
from toolgrove.templates.script import result_at
from toolgrove.templates.values import COMPOSED_THINK, ThinkMarks

END = "<|im_end|>"
KIMI = "You are Kimi, an AI assistant created by Moonshot AI."
_OPENS = {Role.USER: "<|im_user|>", Role.ASSISTANT: "<|im_assistant|>"}
_KINDS = {Role.USER: Kind.USER, Role.TOOL: Kind.RESULT}


@add_chat(
    "kimi_k2_0711",
    native_agent="kimi_k2",
    quotes_given=True,
    options={"default_system": "You are a helpful assistant"},
)
@dataclass(frozen=True)
class KimiK20711(ChatTemplate):
    """Kimi K2 Instruct as first published.

    Source: the chat template of Kimi-K2-Instruct of July 2025. It numbers the calls of each turn
    from 0, names a result by the row's own id and writes a backslash and an n where a newline was
    meant; a composed dialect does all three as the later revision does.
    """

    suggested_agent: ClassVar[str] = "kimi_k2"
    stop: ClassVar[str] = END
    think: ClassVar[ThinkMarks] = COMPOSED_THINK

    default_system: str | None = None
    """the system prompt where a row has none"""

    def head(self, scene: Scene) -> list[Span]:
        return kimi_head(scene, self.default_system, named=False)

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        if turn.role is Role.TOOL:
            return [s for part in turn.parts for s in framed("tool", self._result(scene, part))]
        return kimi_frame(turn, [scaffold(str(turn.role))], self.parts(scene, turn))

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        body = self.body(scene, part, scene.messages[part.message].text)
        if scene.native:
            return numbered_by_turn(body)
        return composed_thinking(scene, part) + body

    def tail(self, scene: Scene) -> list[Span]:
        return [scaffold("<|im_assistant|>assistant<|im_middle|>")]

    def _result(self, scene: Scene, part: Part) -> list[Span]:
        message = scene.messages[part.message]
        if scene.native:
            spans = returned(message.call_id or "", message.text, "\\n")
            return tagged(spans, part.message)
        return kimi_result(scene, part.message)


@add_chat("kimi_k2", native_agent="kimi_k2", options={"default_system": KIMI})
@dataclass(frozen=True)
class KimiK2(ChatTemplate):
    """Kimi K2 Instruct, with messages' names in their headers.

    Source: the chat template of Kimi-K2-Instruct-0905. A newline follows its own system prompt; it
    hands the calls' ids out to results in the order in which they come.
    """

    suggested_agent: ClassVar[str] = "kimi_k2"
    stop: ClassVar[str] = END
    think: ClassVar[ThinkMarks] = COMPOSED_THINK

    default_system: str | None = None
    """the system prompt where a row has none"""

    def head(self, scene: Scene) -> list[Span]:
        spans = kimi_head(scene, self.default_system)
        is_default = scene.system is None and self.default_system is not None
        return [*spans, scaffold("\n")] if is_default and shows_own_system(scene) else spans

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        return named_turn(self, scene, turn)

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        text = scene.messages[part.message].text
        return composed_thinking(scene, part) + self.body(scene, part, text)

    def tail(self, scene: Scene) -> list[Span]:
        return [scaffold("<|im_assistant|>assistant<|im_middle|>")]


def kimi_head(scene: Scene, default_system: str | None, named: bool = True) -> list[Span]:
    """The turn that declares the tools, then the system prompt: the row's own or the default.

    ``named``: a system message's name stands in place of its role.
    """
    spans: list[Span] = []
    if isinstance(scene.agent, KimiAgent) and scene.conversation.tools:
        spans += framed("tool_declare", scene.agent.declare(scene.conversation.tools))
    if not shows_own_system(scene):
        return framed("system", scene.tool_text.system) if scene.tool_text else []
    text = default_system if scene.system is None else scene.system
    if text is None:
        return spans
    body = [Span(text, Kind.SYSTEM, system_message(scene))] if text else []
    name = scene.messages[0].name if named and scene.system is not None else None
    header = Span(name, Kind.SYSTEM, 0) if name else scaffold("system")
    return [
        *spans,
        scaffold("<|im_system|>"),
        header,
        scaffold("<|im_middle|>"),
        *body,
        scaffold(END),
    ]


def shows_own_system(scene: Scene) -> bool:
    """Whether the system turn holds the system prompt alone, and no tools."""
    return scene.tool_text is None or isinstance(scene.agent, KimiAgent)


def framed(role: str, body: Sequence[Span]) -> list[Span]:
    """A turn that is neither the user's nor the assistant's."""
    return [scaffold(f"<|im_system|>{role}<|im_middle|>"), *body, scaffold(END)]


def kimi_frame(turn: Turn, name: list[Span], body: list[Span]) -> list[Span]:
    """A turn's header with this name, its body, and its end where it has one."""
    opening = scaffold(_OPENS.get(turn.role, "<|im_system|>"))
    spans = [opening, *name, scaffold("<|im_middle|>"), *body]
    if turn.open:
        return spans
    if turn.role is Role.ASSISTANT:
        return [*spans, Span(END, Kind.STOP, turn.parts[-1].message)]
    return [*spans, scaffold(END)]


def named_turn(template: ChatTemplate, scene: Scene, turn: Turn) -> list[Span]:
    """A turn whose header holds the message's name in place of the role, where it has one."""
    if turn.role is not Role.TOOL:
        header = _header(scene, turn, turn.parts[0])
        return kimi_frame(turn, header, template.parts(scene, turn))
    return [
        span
        for part in turn.parts
        for span in kimi_frame(turn, _header(scene, turn, part), kimi_result(scene, part.message))
    ]


def kimi_result(scene: Scene, index: int) -> list[Span]:
    """What stands in the tool turn of the message at ``index``."""
    message = scene.messages[index]
    if not isinstance(scene.agent, KimiAgent):
        spans = [Span(message.text, Kind.RESULT)]
    elif scene.native:
        spans = returned(scene.once(_ids)[index], message.text)
    else:
        spans = scene.agent.write_result(result_at(scene.messages, index, native=False))
    return tagged(spans, index)


def _header(scene: Scene, turn: Turn, part: Part) -> list[Span]:
    name = scene.messages[part.message].name if part.shown else None
    kind = _KINDS.get(turn.role, Kind.SYSTEM)
    return [Span(name, kind, part.message)] if name else [scaffold(str(turn.role))]


def _ids(scene: Scene) -> dict[int, str]:
    """For each result, the id of the first call that no result before it has taken."""
    ids: deque[str] = deque()
    taken: dict[int, str] = {}
    count = 0
    for index, message in enumerate(scene.messages):
        for call in message.calls:
            ids.append(f"functions.{call.name}:{count}")
            count += 1
        if message.role is Role.TOOL:
            unknown = f"functions.{message.name or 'unknown'}:{count}"
            taken[index] = ids.popleft() if ids else unknown
    return taken
