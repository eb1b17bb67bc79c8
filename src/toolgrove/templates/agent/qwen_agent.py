"""Qwen-Agent: calls, arguments and results after ✿FUNCTION✿, ✿ARGS✿ and ✿RESULT✿."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from toolgrove.core.messages import Tool, tool_names
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.lines import LineCalls, labelled_orphan, labelled_result, tool_line
from toolgrove.templates.base import agent_registry, scaffold, system_span
from toolgrove.templates.values import Result, ToolText

_RESULT = "✿RESULT✿:"
_TOOLS_EN = "\n\n# Tools\n\n## You have access to the following tools:\n\n"
_TOOLS_ZH = "\n\n# 工具\n\n## 你拥有如下工具：\n\n"
_ONE_EN = (
    "## When you need to call a tool, please insert the following command in your reply, which can "
    "be called zero or multiple times according to your needs:\n\n"
    "✿FUNCTION✿: The tool to use, should be one of [{names}]\n"
    "✿ARGS✿: The input of the tool\n"
    "✿RESULT✿: Tool results\n"
    "✿RETURN✿: Reply based on tool results. Images need to be rendered as ![](url)"
)
_ONE_ZH = (
    "## 你可以在回复中插入零次、一次或多次以下命令以调用工具：\n\n"
    "✿FUNCTION✿: 工具名称，必须是[{names}]之一。\n"
    "✿ARGS✿: 工具输入\n"
    "✿RESULT✿: 工具结果\n"
    "✿RETURN✿: 根据工具结果进行回复，需将图片用![](url)渲染出来"
)
_MANY_EN = (
    "## Insert the following command in your reply when you need to call N tools in parallel:\n\n"
    "✿FUNCTION✿: The name of tool 1, should be one of [{names}]\n"
    "✿ARGS✿: The input of tool 1\n"
    "✿FUNCTION✿: The name of tool 2\n"
    "✿ARGS✿: The input of tool 2\n"
    "...\n"
    "✿FUNCTION✿: The name of tool N\n"
    "✿ARGS✿: The input of tool N\n"
    "✿RESULT✿: The result of tool 1\n"
    "✿RESULT✿: The result of tool 2\n"
    "...\n"
    "✿RESULT✿: he result of tool N\n"
    "✿RETURN✿: Reply based on tool results. Images need to be rendered as ![](url)"
)
_MANY_ZH = (
    "## 你可以在回复中插入以下命令以并行调用N个工具：\n\n"
    "✿FUNCTION✿: 工具1的名称，必须是[{names}]之一\n"
    "✿ARGS✿: 工具1的输入\n"
    "✿FUNCTION✿: 工具2的名称\n"
    "✿ARGS✿: 工具2的输入\n"
    "...\n"
    "✿FUNCTION✿: 工具N的名称\n"
    "✿ARGS✿: 工具N的输入\n"
    "✿RESULT✿: 工具1的结果\n"
    "✿RESULT✿: 工具2的结果\n"
    "...\n"
    "✿RESULT✿: 工具N的结果\n"
    "✿RETURN✿: 根据工具结果进行回复，需将图片用![](url)渲染出来"
)


class QwenMarkers(LineCalls):
    """The function-calling prompt of Qwen-Agent (``nous`` came later), for Qwen1.5 and Qwen2.

    The row's own system prompt, or the chat template's, stands before the tools; without one the
    system text opens with the blank line that would follow it. ``he result of tool N`` in the
    English prompt for parallel calls is Qwen-Agent's own spelling.
    """

    name_label: ClassVar[str] = "✿FUNCTION✿:"
    args_label: ClassVar[str] = "✿ARGS✿:"
    call_stop: ClassVar[str] = _RESULT
    marks: ClassVar[tuple[str, ...]] = ("✿FUNCTION✿:",)
    opening: ClassVar[str]
    form: ClassVar[str]

    @abstractmethod
    def describe(self, tool: Tool) -> str:
        """The paragraph about a tool."""

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = default if system is None else system
        spans = [system_span(text, system)] if text else []
        spans.append(scaffold(self.opening))
        for tool in tools:
            spans += (Span(self.describe(tool), Kind.TOOLS), scaffold("\n\n"))
        lead, _, rest = self.form.partition("{names}")
        spans += (scaffold(lead), Span(",".join(tool_names(tools)), Kind.TOOLS), scaffold(rest))
        return ToolText(spans, [])

    def write_result(self, result: Result) -> list[Span]:
        return labelled_result(_RESULT, result)

    def write_orphan(self, result: Result) -> list[Span]:
        return labelled_orphan(_RESULT, result)


@agent_registry.add("qwen_en")
class QwenEnglish(QwenMarkers):
    """The English prompt."""

    opening: ClassVar[str] = _TOOLS_EN
    form: ClassVar[str] = _ONE_EN

    def describe(self, tool: Tool) -> str:
        human, about, parameters = tool_line(tool)
        return (
            f"### {human}\n\n{tool.name}: {about} Parameters: {parameters} "
            "Format the arguments as a JSON object."
        )


@agent_registry.add("qwen_zh")
class QwenChinese(QwenMarkers):
    """The Chinese prompt."""

    opening: ClassVar[str] = _TOOLS_ZH
    form: ClassVar[str] = _ONE_ZH

    def describe(self, tool: Tool) -> str:
        human, about, parameters = tool_line(tool)
        return (
            f"### {human}\n\n{tool.name}: {about} 输入参数：{parameters} 此工具的输入应为JSON对象。"
        )


@agent_registry.add("qwen_en_parallel")
class QwenEnglishParallel(QwenEnglish):
    """The English prompt that asks for parallel calls."""

    form: ClassVar[str] = _MANY_EN


@agent_registry.add("qwen_zh_parallel")
class QwenChineseParallel(QwenChinese):
    """The Chinese prompt that asks for parallel calls."""

    form: ClassVar[str] = _MANY_ZH
