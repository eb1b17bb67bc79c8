"""Command R7B: a JSON list between <|START_ACTION|> and <|END_ACTION|>, calls counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.call_list import ListForm, scan_list
from toolgrove.templates.base import AgentTemplate, agent_registry, scaffold, system_span
from toolgrove.templates.grammar import Grammar, Opening
from toolgrove.templates.json_calls import CallForm, json_calls
from toolgrove.templates.rules import literal
from toolgrove.templates.values import Place, Result, Scan, Step, ToolText, Window

_FORM = ListForm("<|START_ACTION|>", "<|END_ACTION|>")
_TOOL_USE = (
    "You have been trained to have advanced reasoning and tool-use capabilities and you should "
    "make best use of these skills to serve user's requests.\n\n## Tool Use\n"
    "Think about how you can make best use of the provided tools to help with the task and come "
    "up with a high level plan that you will execute first.\n\n"
    "0. Start by writing <|START_THINKING|> followed by a detailed step by step plan of how you "
    "will solve the problem. For each step explain your thinking fully and give details of "
    "required tool calls (if needed). Unless specified otherwise, you write your plan in natural "
    "language. When you finish, close it out with <|END_THINKING|>.\n"
    "    You can optionally choose to skip this step when the user request is so straightforward "
    "to address that only a trivial plan would be needed.\n"
    "    NOTE: You MUST skip this step when you are directly responding to the user's request "
    "without using any tools.\n\n"
    "Then carry out your plan by repeatedly executing the following steps.\n"
    "1. Action: write <|START_ACTION|> followed by a list of JSON-formatted tool calls, with "
    'each one containing "tool_name" and "parameters" fields.\n'
    "    When there are multiple tool calls which are completely independent of each other (i.e. "
    "they can be executed in parallel), you should list them out all together in one step. When "
    "you finish, close it out with <|END_ACTION|>.\n"
    "2. Observation: you will then receive results of those tool calls in JSON format in the "
    "very next turn, wrapped around by <|START_TOOL_RESULT|> and <|END_TOOL_RESULT|>. Carefully "
    "observe those results and think about what to do next. Note that these results will be "
    "provided to you in a separate turn. NEVER hallucinate results.\n"
    "    Every tool call produces a list of results (when a tool call produces no result or a "
    "single result, it'll still get wrapped inside a list). Each result is clearly linked to its "
    'originating tool call via its "tool_call_id".\n'
    "3. Reflection: start the next turn by writing <|START_THINKING|> followed by what you've "
    "figured out so far, any changes you need to make to your plan, and what you will do next. "
    "When you finish, close it out with <|END_THINKING|>.\n"
    "    You can optionally choose to skip this step when everything is going according to plan "
    "and no special pieces of information or reasoning chains need to be recorded.\n"
    "    NOTE: You MUST skip this step when you are done with tool-use actions and are ready to "
    "respond to the user.\n\n"
    "You can repeat the above 3 steps multiple times (could be 0 times too if no suitable tool "
    "calls are available or needed), until you decide it's time to finally respond to the user.\n"
    "\n"
    "4. Response: then break out of the loop and write <|START_RESPONSE|> followed by a piece of "
    "text which serves as a response to the user's last request. Use all previous tool calls and "
    "results to help you when formulating your response. When you finish, close it out with "
    "<|END_RESPONSE|>.\n"
)
_AVAILABLE = (
    "\n## Available Tools\nHere is the list of tools that you have available to you.\n"
    "You can ONLY use the tools listed here. When a tool is not listed below, it is NOT "
    "available and you should NEVER attempt to use it.\n"
    'Each tool is represented as a JSON object with fields like "name", "description", '
    '"parameters" (per JSON Schema), and optionally, "responses" (per JSON Schema).\n\n'
    "```json\n[\n"
)


@agent_registry.add("command_r7b")
class CommandR7B(AgentTemplate):
    """Each call carries the count of calls before it, and each result that of its call; a result
    that answers no call carries an empty one.

    Source: the chat template of Command R7B (12-2024) for tool use.
    """

    results: ClassVar[Place] = Place.USER
    marks: ClassVar[tuple[str, ...]] = (_FORM.open,)

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = default if system is None else system
        lead = [system_span(text, system), scaffold("\n\n")] if text else []
        return ToolText([*lead, *_tool_use(tools)], [])

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        spans: list[Span] = []
        for index, call in enumerate(calls):
            opening = ",\n    " if index else f"{_FORM.open}[\n    "
            closing = "}" if index < len(calls) - 1 else f"}}\n]{_FORM.close}"
            arguments = dump(call.arguments) if call.given is None else call.given
            lead = f'{opening}{{"tool_call_id": "{step.earlier + index}", "tool_name": "'
            spans += (
                Span(lead, Kind.CALL_MARK, None, index),
                Span(dump(call.name)[1:-1], Kind.CALL_NAME, None, index),
                Span('", "parameters": ', Kind.CALL_MARK, None, index),
                Span(arguments, Kind.CALL_ARGS, None, index),
                Span(closing, Kind.CALL_MARK, None, index),
            )
        return [span for span in spans if span.text]

    def write_result(self, result: Result) -> list[Span]:
        number = "" if result.order < 0 else str(result.order)
        opening = ",\n" if result.index else "<|START_TOOL_RESULT|>[\n"
        closing = "\n]<|END_TOOL_RESULT|>" if result.index == result.count - 1 else ""
        lead = f'{opening}    {{\n        "tool_call_id": "{number}",\n        "results": {{\n'
        trail = f'\n        }},\n        "is_error": null\n    }}{closing}'
        content = Span(dump(result.content), Kind.RESULT)
        return [scaffold(f'{lead}            "0": '), content, scaffold(trail)]

    def scan(self, window: Window) -> Scan:
        return scan_list(window, _FORM)

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar:
        def call(tool: Tool, arguments: str) -> str:
            named = literal(f'", "tool_name": {dump(tool.name)}, "parameters": ')
            return f'{opening} [0-9]{{1,6}} {named} {arguments} "}}"'

        opening, behind = literal('{"tool_call_id": "'), literal(f"\n]{_FORM.close}")
        form = CallForm(call, literal(",\n    "), literal("[\n    "), behind)
        calls, notes = json_calls(tools, parallel, form)
        return Grammar((Opening(_FORM.open, calls),), notes=notes)


def _tool_use(tools: Sequence[Tool]) -> list[Span]:
    """How to use tools, and the tools; names and descriptions stand in quotes as they are."""
    lines: list[Span] = []
    for tool in tools:
        inner = tool.function
        about = str(inner.get("description", ""))
        line = f'    {{"name": "{tool.name}", "description": "{about}", "parameters": '
        line += f'{dump(inner.get("parameters"))}, "responses": null}}'
        lines += (Span(line, Kind.TOOLS), scaffold(",\n"))
    return [scaffold(_TOOL_USE + _AVAILABLE), *lines[:-1], scaffold("\n]\n```")]
