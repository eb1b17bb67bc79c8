"""Gemma 2 and 3: <start_of_turn>, user and model, no place for a system prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from toolgrove.core.errors import TemplateError
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
from toolgrove.templates.chat.chatml import system_message
from toolgrove.templates.values import COMPOSED_THINK, ThinkMarks

_END = "<end_of_turn>"


@add_chat("gemma2", options={"takes_system": False})
@add_chat("gemma3")
@add_chat("gemma3_text")
@dataclass(frozen=True)
class Gemma3(ChatTemplate):
    """Contents are trimmed; the system prompt opens the first user turn. The makers' templates show
    neither tools nor calls, refuse messages that do not alternate, and Gemma 2's a system prompt.

    Sources: the chat templates of gemma-2-2b-it and gemma-3-1b-it. A composed dialect refuses
    nothing of this: what is no assistant's message stands in a user turn, a system prompt in the
    first one (in one of its own where the conversation does not begin with a user's message).
    """

    suggested_agent: ClassVar[str] = "gemma3"
    stop: ClassVar[str] = _END
    other_stops: ClassVar[tuple[str, ...]] = ("<eos>",)
    think: ClassVar[ThinkMarks] = COMPOSED_THINK

    takes_system: bool = True
    """False: the maker's own template refuses a system prompt, as Gemma 2's does"""
    default_system: str | None = None
    """the system prompt where a row has none"""

    def head(self, scene: Scene) -> list[Span]:
        if scene.native:
            self._refuse(scene)
        start = [scaffold("<bos>")]
        if scene.turns and scene.turns[0].role is Role.USER:
            return start
        system = self._system(scene)
        if not system or scene.native:
            return start
        body = [span for span in system if span.text.strip()]
        return [*start, *_framed("user", body)]

    def turn(self, scene: Scene, turn: Turn) -> list[Span]:
        body = self.parts(scene, turn)
        if turn.role is Role.USER and turn is scene.turns[0]:
            body = [*self._system(scene), *body]
        if turn.role is not Role.ASSISTANT:
            return _framed(str(turn.role) if scene.native else "user", body)
        body = [scaffold("<start_of_turn>model\n"), *body]
        if turn.open:
            return body
        return [*body, Span(_END, Kind.STOP, turn.parts[-1].message), scaffold("\n")]

    def content(self, scene: Scene, turn: Turn, part: Part) -> list[Span]:
        text = scene.messages[part.message].text.strip()
        return composed_thinking(scene, part) + self.body(scene, part, text)

    def tail(self, scene: Scene) -> list[Span]:
        return [scaffold("<start_of_turn>model\n")]

    def _system(self, scene: Scene) -> list[Span]:
        if scene.tool_text is not None:
            body = scene.tool_text.system
            return [*body, scaffold("\n\n")] if body else []
        text = self.default_system if scene.system is None else scene.system
        if text is None or not (text.strip() or scene.native):
            return []
        inner = [Span(text, Kind.SYSTEM, system_message(scene))] if text else []
        return [*inner, scaffold("\n\n")]

    def _refuse(self, scene: Scene) -> None:
        """What the makers' templates refuse. A text of no message at all is written."""
        given = scene.system is not None
        hint = f'name an agent template, which writes it: agent="{self.suggested_agent}"'
        if given and not self.takes_system:
            raise TemplateError(
                "the maker's template of Gemma 2 takes no system prompt",
                where="messages[0]",
                hint=hint,
            )
        for place, message in enumerate(scene.messages[1 if given else 0 :]):
            if (message.role is Role.USER) != (place % 2 == 0):
                raise TemplateError(
                    "the maker's template of Gemma takes user and assistant in turn",
                    where=f"messages[{place + given}]",
                    hint=hint,
                )


def _framed(role: str, body: list[Span]) -> list[Span]:
    return [scaffold(f"<start_of_turn>{role}\n"), *body, scaffold(f"{_END}\n")]
