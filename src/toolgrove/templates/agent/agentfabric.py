"""AgentFabric: ReAct lines whose results stand in <result> tags (ModelScope's AgentFabric)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from toolgrove.core.messages import Tool, tool_names
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.lines import LineCalls, tool_line
from toolgrove.templates.base import agent_registry, scaffold, system_span
from toolgrove.templates.values import Result, ToolText

_OBSERVATION = "Observation:"
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_TOOLS = "\n# 工具\n\n## 你拥有如下工具：\n\n"
_FORM = (
    "\n\n## 当你需要调用工具时，请在你的回复中穿插如下的工具调用命令，"
    "可以根据需求调用零次或多次：\n\n"
    "工具调用\n"
    "Action: 工具的名称，必须是[{names}]之一\n"
    "Action Input: 工具的输入\n"
    "Observation: <result>工具返回的结果</result>\n"
    "Answer: 根据Observation总结本次工具调用返回的结果，如果结果中出现url，"
    "请使用如下格式展示出来：![图片](url)\n\n"
)
_ROLE = "\n# 指令\n\n"
_NOTE = "\n\n请注意：你具有图像和视频的展示能力，也具有运行代码的能力，不要在回复中说你做不到。\n"


@agent_registry.add("agentfabric")
class AgentFabric(LineCalls):
    """The prompt of modelscope-agent's ``RolePlay`` (0.7), which AgentFabric runs on.

    The row's system prompt is the instruction: as there, it stands after the tools. A result ends
    in ``Answer:``, after which the model goes on in the same turn, as ``RolePlay`` prompts models
    that take raw text. ``RolePlay`` repeats the tools' names before the newest user message only
    and rewrites history so; here they stand before the first one, for history to stay as it was.
    Several calls and their results follow one another, ``Answer:`` the last result.
    """

    name_label: ClassVar[str] = "Action:"
    args_label: ClassVar[str] = "Action Input:"
    text_separator: ClassVar[str] = "\n"
    call_stop: ClassVar[str] = _OBSERVATION
    marks: ClassVar[tuple[str, ...]] = ("Action:",)

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = default if system is None else system
        names = Span(",".join(tool_names(tools)), Kind.TOOLS)
        described = Span("\n\n".join(map(_describe, tools)), Kind.TOOLS)
        lead, _, rest = _FORM.partition("{names}")
        return ToolText(
            [
                scaffold(_TOOLS),
                described,
                scaffold(lead),
                names,
                scaffold(rest + _ROLE),
                *([system_span(text, system)] if text else []),
                scaffold(_NOTE),
            ],
            [scaffold("(。你可以使用工具：["), names, scaffold("])")],
        )

    def write_result(self, result: Result) -> list[Span]:
        label = f"\n{_OBSERVATION}" if result.index else ""
        last = result.index == result.count - 1
        return [
            scaffold(f"{label} <result>"),
            *([Span(result.content, Kind.RESULT)] if result.content else []),
            scaffold("</result>\nAnswer:" if last else "</result>"),
        ]

    def write_orphan(self, result: Result) -> list[Span]:
        return [
            scaffold(f"\n{_OBSERVATION} <result>"),
            Span(result.content, Kind.RESULT),
            scaffold("</result>"),
        ]


def _describe(tool: Tool) -> str:
    _, about, parameters = tool_line(tool)
    chinese = _CHINESE.search(about)
    middle = f"API。{about} 输入参数" if chinese else f"API. {about} Parameters"
    return f"{tool.name}: {tool.name} {middle}: {parameters} Format the arguments as a JSON object."
