"""The tools on offer as JSON text."""

from __future__ import annotations

from collections.abc import Sequence

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Tool
from toolgrove.templates.repeated import written_once


def tools_json(tools: Sequence[Tool]) -> str:
    """The tools as one JSON list."""
    return f"[{', '.join([_tool_json(tool) for tool in tools])}]"


@written_once
def _tool_json(tool: Tool) -> str:
    return dump(tool.spec)
