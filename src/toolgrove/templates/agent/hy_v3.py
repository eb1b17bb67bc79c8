"""Hunyuan 3 (Hy3): names, keys and values in tags of their own inside <tool_calls>."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Tool
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.tagged import CallForm, TaggedCalls
from toolgrove.templates.base import agent_registry, scaffold, system_span
from toolgrove.templates.values import Place, Result, ToolText

_BEFORE = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n"
)
_AFTER = (
    "\n</tools>\n\n"
    "For function call returns, you should first print <tool_calls@>\n"
    "For each function call, you should return object like:\n"
    "<tool_call@>{function-name}<tool_sep@>\n"
    "<arg_key@>{arg-key-1}</arg_key@>\n"
    "<arg_value@>{arg-value-1}</arg_value@>\n"
    "<arg_key@>{arg-key-2}</arg_key@>\n"
    "<arg_value@>{arg-value-2}</arg_value@>\n"
    "...\n"
    "</tool_call@>\n"
    "At the end of function call returns, you should print </tool_calls@>"
)


def _form(suffix: str, bare: str) -> CallForm:
    return CallForm(
        open=f"<tool_call{suffix}>",
        named=f"<tool_sep{suffix}>\n",
        key=f"<arg_key{suffix}>",
        value=f"</arg_key{suffix}>\n<arg_value{suffix}>",
        ended=f"</arg_value{suffix}>\n",
        close=f"</tool_call{suffix}>\n",
        wrap=(f"<tool_calls{suffix}>\n", f"</tool_calls{suffix}>"),
        bare=bare,
    )


class HyCalls(TaggedCalls):
    """Under another family's chat template results stand inside the assistant's turn, between
    Hy3's own marks, as ms-swift writes them."""

    results: ClassVar[Place] = Place.TOOLS
    elsewhere: ClassVar[Place | None] = Place.ASSISTANT
    suffix: ClassVar[str]

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = default if system is None else system
        lead = [system_span(text, system), scaffold("\n\n")] if text else []
        lines = [
            span
            for index, tool in enumerate(tools)
            for span in (scaffold("\n" if index else ""), Span(dump(tool.spec), Kind.TOOLS))
        ]
        after = scaffold(_AFTER.replace("@", self.suffix))
        return ToolText([*lead, scaffold(_BEFORE), *lines, after], [])

    def write_result(self, result: Result) -> list[Span]:
        last = result.index == result.count - 1
        end = f"</tool_responses{self.suffix}><｜hy_Assistant{self.suffix}｜>" if last else ""
        return [*self._response(result), scaffold(end)]

    def write_orphan(self, result: Result) -> list[Span]:
        last = result.index == result.count - 1
        end = f"</tool_responses{self.suffix}>" if last else ""
        return [*self._response(result), scaffold(end)]

    def _response(self, result: Result) -> list[Span]:
        start = "" if result.index else f"<tool_responses{self.suffix}>\n"
        return [scaffold(start), *hy_response(result.content, self.suffix)]


@agent_registry.add("hy_v3")
class HyV3(HyCalls):
    """Source: the chat template of Hy3."""

    suffix: ClassVar[str] = ":opensource"
    marks: ClassVar[tuple[str, ...]] = ("<tool_calls:opensource>", "<tool_call:opensource>")
    call_stop: ClassVar[str] = "<｜hy_eos:opensource｜>"
    form: ClassVar[CallForm] = _form(":opensource", "")


@agent_registry.add("hy_v3_preview")
class HyV3Preview(HyCalls):
    """Hy3's preview: the same tags without the suffix, and a blank line for a call without
    arguments. Source: what ms-swift writes for it."""

    suffix: ClassVar[str] = ""
    marks: ClassVar[tuple[str, ...]] = ("<tool_calls>", "<tool_call>")
    call_stop: ClassVar[str] = "<｜hy_eos｜>"
    form: ClassVar[CallForm] = _form("", "\n")


def hy_response(content: str, suffix: str, message: int | None = None) -> list[Span]:
    """One tool result in its tags."""
    return [
        scaffold(f"<tool_response{suffix}>\n"),
        Span(content, Kind.RESULT, message),
        scaffold(f"\n</tool_response{suffix}>\n"),
    ]
