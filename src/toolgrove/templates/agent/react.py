"""ReAct: Action, Action Input and Observation lines inside the assistant's turn."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from toolgrove.core.messages import Tool, tool_names
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.lines import LineCalls, labelled_orphan, labelled_result, tool_line
from toolgrove.templates.base import agent_registry, scaffold, system_span
from toolgrove.templates.values import Result, ToolText

_OBSERVATION = "Observation:"

_FORMAT_EN = (
    "Use the following format:\n\n"
    "Question: the input question you must answer\n"
    "Thought: you should always think about what to do\n"
    "Action: the action to take, should be one of [{names}]\n"
    "Action Input: the input to the action\n"
    "Observation: the result of the action\n"
    "... (this Thought/Action/Action Input/Observation can be repeated zero or more times)\n"
    "Thought: I now know the final answer\n"
    "Final Answer: the final answer to the original input question\n\n"
    "Begin!\n"
)
_FORMAT_ZH = (
    "请按照以下格式进行:\n\n"
    "Question: 需要你回答的输入问题\n"
    "Thought: 你应该总是思考该做什么\n"
    "Action: 需要使用的工具，应该是[{names}]中的一个\n"
    "Action Input: 传入工具的内容\n"
    "Observation: 行动的结果\n"
    "... (这个Thought/Action/Action Input/Observation可以重复N次)\n"
    "Thought: 我现在知道最后的答案\n"
    "Final Answer: 对原始输入问题的最终答案\n\n"
    "现在开始！\n"
)
_ASK_GRPO = (
    "A conversation for tool calling between User and Assistant. The user asks a question which "
    "may be solved by calling tools, and the Assistant solves it. The assistant first thinks about "
    "the reasoning process in the mind and then provides the user with the answer. The reasoning "
    "process should be enclosed within <think> </think>tags and answer should follow the ReACT "
    "format(Action:xxx\nAction Input:xxx), i.e., <think> reasoning process here </think> "
    "Action: action here\nAction Input: parameters here\n\n"
    "Answer the following questions as best as you can. "
    "You have access to the following tools:\n\n"
)
_FORMAT_GRPO = (
    "Use the following format:\n\n"
    "<think>you should always think about what to do</think>\n"
    "Action: the action to take, should be one of [{names}]\n"
    "Action Input: the input to the action\n"
    "Observation: the result of the action, given by the actual calling\n"
    "... (this Thought/Action/Action Input/Observation can be repeated zero or more times)\n"
    "Final Answer: the final answer to the original input question\n\n"
    "Begin!\n"
)


class ReActLines(LineCalls):
    """The lines of ReAct (Yao et al. 2022, arXiv 2210.03629); arguments are JSON.

    Generation stops at ``Observation:``, which the model writes.
    """

    name_label: ClassVar[str] = "Action:"
    args_label: ClassVar[str] = "Action Input:"
    call_stop: ClassVar[str] = _OBSERVATION
    marks: ClassVar[tuple[str, ...]] = ("Action:",)

    def write_result(self, result: Result) -> list[Span]:
        return labelled_result(_OBSERVATION, result)

    def write_orphan(self, result: Result) -> list[Span]:
        return labelled_orphan(_OBSERVATION, result)


class ReAct(ReActLines):
    """ReAct with the prompt of Qwen's first agents. The row's own system prompt stands before the
    tools."""

    opening: ClassVar[str]
    form: ClassVar[str]

    @abstractmethod
    def describe(self, tool: Tool) -> tuple[str, str]:
        """The words before and after a tool's JSON parameters."""

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        spans = [system_span(system, system), scaffold("\n\n")] if system else []
        spans.append(scaffold(self.opening))
        for tool in tools:
            before, after = self.describe(tool)
            parameters = tool_line(tool).parameters
            spans += (
                Span(before, Kind.TOOLS),
                Span(parameters, Kind.TOOLS),
                scaffold(f"{after}\n\n"),
            )
        lead, _, rest = self.form.partition("{names}")
        spans += (scaffold(lead), Span(",".join(tool_names(tools)), Kind.TOOLS), scaffold(rest))
        return ToolText(spans, [])


@agent_registry.add("react_en")
class ReActEnglish(ReAct):
    """The English prompt."""

    opening: ClassVar[str] = (
        "Answer the following questions as best you can. "
        "You have access to the following tools:\n\n"
    )
    form: ClassVar[str] = _FORMAT_EN

    def describe(self, tool: Tool) -> tuple[str, str]:
        return _describe_en(tool)


@agent_registry.add("react_zh")
class ReActChinese(ReAct):
    """The Chinese prompt."""

    opening: ClassVar[str] = "尽可能地回答以下问题。你可以使用以下工具:\n\n"
    form: ClassVar[str] = _FORMAT_ZH

    def describe(self, tool: Tool) -> tuple[str, str]:
        human, about, _ = tool_line(tool)
        return (
            f"{tool.name}: 调用此工具与 {human} API 进行交互。{human} 有什么用？{about} 输入参数：",
            " 此工具的输入应为JSON对象。",
        )


@agent_registry.add("react_grpo")
class ReActThinking(ReAct):
    """The English prompt for reinforcement learning: it asks for the reasoning in think tags."""

    opening: ClassVar[str] = _ASK_GRPO
    form: ClassVar[str] = _FORMAT_GRPO

    def describe(self, tool: Tool) -> tuple[str, str]:
        return _describe_en(tool)


def _describe_en(tool: Tool) -> tuple[str, str]:
    human, about, _ = tool_line(tool)
    return (
        f"{tool.name}: Call this tool to interact with the {human} API. "
        f"What is the {human} API useful for? {about} Parameters: ",
        " Format the arguments as a JSON object.",
    )
