"""FunctionGemma: Gemma's notation for declarations and calls, with its own control tokens."""

from __future__ import annotations

from typing import ClassVar

from toolgrove.core.spans import Span
from toolgrove.templates.agent.gemma4 import GemmaCalls, Marks
from toolgrove.templates.base import agent_registry, scaffold, system_span

_ASK = "You are a model that can do function calling with the following functions"


@agent_registry.add("functiongemma")
class FunctionGemma(GemmaCalls):
    """The words that switch function calling on stand before the declarations, after the row's own
    system prompt.

    Source: "FunctionGemma formatting and best practices" at ai.google.dev. A result is a text, so
    it stands under ``value``, as the maker's template writes a result that is no object.
    """

    call_stop: ClassVar[str] = "<start_function_response>"
    marks: ClassVar[tuple[str, ...]] = ("<start_function_call>",)
    tokens: ClassVar[Marks] = Marks(
        "<escape>",
        ("<start_function_declaration>", "<end_function_declaration>"),
        ("<start_function_call>", "<end_function_call>"),
        ("<start_function_response>", "<end_function_response>"),
    )

    def lead(self, system: str | None, text: str | None) -> list[Span]:
        trimmed = (text or "").strip()
        if not trimmed:
            return [scaffold(_ASK)]
        own = [system_span(trimmed, system)]
        return own if trimmed.endswith(_ASK) else [*own, scaffold(f"\n\n{_ASK}")]
