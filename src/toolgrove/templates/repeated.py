"""Texts that many conversations share: a tool comes with thousands of rows and is written once.

What has been written is kept by the tools' values as ``marshal`` gives them: that takes a quarter
of the time that JSON takes, and tells all that a template may print, 1 from 1.0 and True included.
"""

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
_FORMAT = 2
"""the last format of ``marshal`` whose bytes do not depend on which values are the same object"""


def written_once(
    write: Callable[Concatenate[Tool, _Options], _Text],
) -> Callable[Concatenate[Tool, _Options], _Text]:
    """Decorator for what writes a tool: the last 1024 tools' texts are kept, by the tool's value.

    The options must be hashable and the text immutable. A tool that holds more than JSON's values
    is written anew each time.
    """

    @lru_cache(maxsize=1024)
    def from_value(spec: bytes, *options: Any, **named: Any) -> _Text:
        return write(Tool(marshal.loads(spec)), *options, **named)

    @wraps(write)
    def written(tool: Tool, *options: _Options.args, **named: _Options.kwargs) -> _Text:
        try:
            spec = marshal.dumps(tool.spec, _FORMAT)
        except ValueError:
            return write(tool, *options, **named)
        return from_value(spec, *options, **named)

    return written


def tool_text(
    agent: AgentTemplate, tools: Sequence[Tool], system: str | None, default: str | None
) -> ToolText:
    """What ``agent.write_tools`` gives; the last 256 such texts are kept, by the tools' values."""
    try:
        specs = marshal.dumps([tool.spec for tool in tools], _FORMAT)
    except ValueError:
        return agent.write_tools(tools, system, default)
    spans = _tool_text(agent, specs, system, default)
    return ToolText([*spans.system], [*spans.first_user])


@lru_cache(maxsize=256)
def _tool_text(
    agent: AgentTemplate, specs: bytes, system: str | None, default: str | None
) -> ToolText:
    return agent.write_tools([Tool(spec) for spec in marshal.loads(specs)], system, default)
