"""AgentFabric rows in text: the prompt of modelscope-agent's role play, results in tags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from toolgrove.core.messages import Conversation, Message
from toolgrove.data.format import Format, formats
from toolgrove.data.prompted import Dialect, asks_for_actions, structured
from toolgrove.data.react_prompt import Recovered, joined, tool_section
from toolgrove.data.react_text import AGENTFABRIC, OBSERVATION, REACT, read_transcript

_OPENING = re.compile(
    r"\n?# 工具\s+## 你拥有如下工具[:：]\s*"
    r"|\n?# Tools\s+## You have access to the following tools:\s*"
)
_FORMS = (
    ("## 当你需要调用工具时", "Action Input:", "Observation:", "\nAnswer: "),
    ("## When you need to call a tool", "Action Input:", "Observation:", "\nAnswer: "),
)
_INSTRUCTION = re.compile(r"# 指令\n\n|#\s?Instructions\n\n")
_NOTE = re.compile(
    r"\n\n请注意：你具有图像和视频的展示能力，也具有运行代码的能力，不要在回复中说你做不到。\n?$"
    r"|\n\nNote: you have the ability to display images and videos, as well as the ability to run "
    r"code\. Don't say you can't do it\.\n?$"
)
_REMINDER = re.compile(
    r"\((?:。你可以使用工具：|\. ?[yY]ou can use tools: )\[(?P<names>[^\]]*)\]\)"
)


@formats.add("agentfabric")
class AgentFabric(Format):
    """ms_agent_for_agentfabric, and what AgentFabric sends to a model.

    The instruction becomes the system message, together with what stands before the tools (a
    knowledge base). The reminder of the tools' names before a user message is left out.
    """

    rank: ClassVar[int] = 46

    def fits(self, row: Mapping[str, Any]) -> str:
        """Whether the system prompt has AgentFabric's section of tools."""
        if not asks_for_actions(row, _OPENING):
            return ""
        return "a system prompt with AgentFabric's section of tools"

    def convert(self, row: Mapping[str, Any]) -> Conversation:
        """The steps as messages, the tools out of the prompt."""
        return structured(row, Dialect(_prompt, _reply, _ask))


def _prompt(text: str, path: str) -> Recovered:
    found = tool_section(text, path, _OPENING, _FORMS, "AgentFabric's")
    _, _, rest = found.after.partition("\n")
    rest = rest.lstrip()
    instruction = _INSTRUCTION.match(rest)
    note = _NOTE.search(rest)
    inner = rest[instruction.end() if instruction else 0 : note.start() if note else len(rest)]
    return Recovered(found.tools, joined([found.before.strip("\n"), inner]))


def _reply(text: str, path: str) -> list[Message]:
    """The steps; replies that were taken over from ms_agent have its lines, without tags."""
    tagged = OBSERVATION not in text or "<result>" in text
    return read_transcript(text, AGENTFABRIC if tagged else REACT, path)


def _ask(message: Message, conv: Conversation, before: list[Message]) -> list[Message]:
    """A user's message without the reminder of the tools' names."""
    del before
    reminder = _REMINDER.match(message.text)
    if reminder is None or reminder["names"] != ",".join(tool.name for tool in conv.tools):
        return [message]
    return [replace(message, content=message.text[reminder.end() :])]
