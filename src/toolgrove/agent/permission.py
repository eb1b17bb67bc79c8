"""Who may run what: calls that may change something need a word from the user before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase

from toolgrove.agent.tools import RunnableTool
from toolgrove.core.messages import ToolCall

EVERYTHING = "*"


class Answer(StrEnum):
    """What the user says to a call: this once, from now on, or not."""

    ONCE = "once"
    ALWAYS = "always"
    NO = "no"


class Permission:
    """Lets calls pass, or refuses them in words that the model reads.

    Tools that only read pass. Others pass where a pattern of ``allow`` fits their name (``*`` all,
    ``file_*``), or the name with its source before it (``weather/*``), or ``ask`` says so; without
    ``ask`` they are refused.
    """

    def __init__(
        self,
        allow: Sequence[str] = (),
        ask: Callable[[RunnableTool, ToolCall], Answer] | None = None,
    ) -> None:
        self._allow = list(allow)
        self._ask = ask

    def refusal(self, tool: RunnableTool, call: ToolCall) -> str | None:
        """Why the call may not run; None: it may."""
        if tool.reads_only or self._allows(tool):
            return None
        if self._ask is None:
            return f'permission denied: "{tool.name}" may change things, and nobody has allowed it'
        answer = self._ask(tool, call)
        if answer is Answer.ALWAYS:
            self._allow.append(_literal(tool.name))
        if answer is Answer.NO:
            return f'permission denied: the user does not want "{tool.name}" to run now'
        return None

    def _allows(self, tool: RunnableTool) -> bool:
        names = (tool.name, f"{tool.source}/{tool.name}")
        return any(fnmatchcase(name, pattern) for pattern in self._allow for name in names)


def _literal(name: str) -> str:
    """A pattern that fits this name alone."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)
