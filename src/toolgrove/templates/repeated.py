"""Texts that many conversations share: a tool comes with thousands of rows and is written once."""

from __future__ import annotations

import marshal
from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from toolgrove.core.messages import Tool
from toolgrove.templates.base import AgentTemplate
from toolgrove.templates.values import ToolText

_Options = ParamSpec("_Options")
_Text = TypeVar("_Text")
_WITHOUT_REFERENCES = 2
"""the version of ``marshal`` whose bytes depend on the values alone, and on all that is in them:
their types and the order of their keys"""


class _Specs(bytes):
    """The values of tools, to look a text up by."""

    tools: tuple[Tool, ...]
    """the tools that the text is to be written of; none once it is"""


def tool_text(
    agent: AgentTemplate, tools: Sequence[Tool], system: str | None, default: str | None
) -> ToolText:
    """What ``agent.write_tools`` says; the last 1024 texts are kept, by the values of the tools.
    The lists are the caller's own."""
    specs = _specs(tools)
    if specs is None:
        return agent.write_tools(tools, system, default)
    text = _kept_text(agent, specs, system, default)
    return ToolText(list(text.system), list(text.first_user))


def written_once(
    write: Callable[Concatenate[Tool, _Options], _Text],
) -> Callable[Concatenate[Tool, _Options], _Text]:
    """Decorator for what writes a tool: the last 1024 tools' texts are kept, by the tool's values.

    The options must be hashable and the text immutable. A tool that is not plain JSON is written
    anew each time.
    """

    @lru_cache(maxsize=1024)
    def kept(specs: _Specs, *options: Any, **named: Any) -> _Text:
        return write(_taken(specs)[0], *options, **named)

    @wraps(write)
    def written(tool: Tool, *options: _Options.args, **named: _Options.kwargs) -> _Text:
        specs = _specs((tool,))
        if specs is None:
            return write(tool, *options, **named)
        return kept(specs, *options, **named)

    return written


@lru_cache(maxsize=1024)
def _kept_text(
    agent: AgentTemplate, specs: _Specs, system: str | None, default: str | None
) -> ToolText:
    return agent.write_tools(_taken(specs), system, default)


def _specs(tools: Sequence[Tool]) -> _Specs | None:
    """The values of the tools; None where they are not plain JSON."""
    try:
        specs = _Specs(marshal.dumps([tool.spec for tool in tools], _WITHOUT_REFERENCES))
    except ValueError:
        return None
    specs.tools = tuple(tools)
    return specs


def _taken(specs: _Specs) -> tuple[Tool, ...]:
    """The tools themselves, of which a key that is kept holds on to none."""
    tools, specs.tools = specs.tools, ()
    return tools
