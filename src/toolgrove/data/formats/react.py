"""ReAct rows in text: tools listed in the system prompt, steps inside the replies (ms_agent)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from toolgrove.core.messages import Conversation, Message, Role
from toolgrove.data.format import Format, formats
from toolgrove.data.prompted import Dialect, asks_for_actions, structured
from toolgrove.data.react_prompt import Recovered, joined, tool_section
from toolgrove.data.react_text import OBSERVATION, REACT, open_calls, read_transcript

_OPENING = re.compile(
    r"Answer the following questions as best (?:as )?(?:you )?can\. "
    r"You have access to the following (?:APIs|tools):[ \t]*\n+"
    r"|尽可能地回答以下问题。你可以使用以下工具[:：][ \t]*\n+"
)
_FORMS = (
    ("Use the following format:", "Action Input:", "Observation:", "\nBegin!"),
    ("请按照以下格式进行", "Action Input:", "Observation:", "\n现在开始！"),
)


@formats.add("react")
class ReAct(Format):
    """ms_agent, MSAgent-Pro, and the prompts of Qwen's first agents, in English and Chinese.

    Thoughts become thinking, final answers content. The prompt's words around the tools are those
    of the dialect and left out; what stands before and after them is the system message.
    """

    rank: ClassVar[int] = 45

    def fits(self, row: Mapping[str, Any]) -> str:
        """Whether the system prompt lists tools and asks for ReAct's lines."""
        if not asks_for_actions(row, _OPENING):
            return ""
        return "a system prompt that lists tools and asks for Thought, Action and Action Input"

    def convert(self, row: Mapping[str, Any]) -> Conversation:
        """The steps as messages, the tools out of the prompt."""
        return structured(row, Dialect(_prompt, _reply, _ask))


def _prompt(text: str, path: str) -> Recovered:
    found = tool_section(text, path, _OPENING, _FORMS, "ReAct's")
    before, after = found.before.removesuffix("\n\n"), found.after.lstrip("\n")
    return Recovered(found.tools, joined([before, after]))


def _reply(text: str, path: str) -> list[Message]:
    return read_transcript(text, REACT, path)


def _ask(message: Message, conv: Conversation, before: list[Message]) -> list[Message]:
    """A user's message; one that begins with ``Observation:`` behind a call is its result."""
    del conv
    if open_calls(before) and message.text.startswith(OBSERVATION):
        text = message.text.removeprefix(OBSERVATION).removeprefix(" ").removesuffix("\n")
        return [Message(Role.TOOL, text)]
    return [message]
