"""The tools on offer themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator

from toolgrove.core.messages import Role
from toolgrove.data.doctor.examined import Examined
from toolgrove.data.doctor.findings import At, Spot, check, error, warning
from toolgrove.data.fields import as_list, as_object

_NAME = re.compile(r'"name"\s*:\s*"([^"\n]{1,200})"')


@check(
    error(
        "tool-schema",
        "parameters that are no JSON Schema: nothing can be held against them",
        "write them in JSON Schema: object, number, integer, string, boolean, array, null",
    )
)
def tool_schema(row: Examined) -> Iterator[Spot]:
    """Tools whose schema cannot be used as it stands."""
    for number, tool in enumerate(row.conversation.tools):
        if tool.parameters:
            fault = row.schemas.of(tool).fault
            if fault:
                yield Spot(At(keys=("tools", number)), f"{tool.name}: {fault}")


@check(
    error(
        "duplicate-tool",
        "two tools of one name: a call cannot say which it means",
        "keep one of them, or rename the other",
    )
)
def duplicate_tool(row: Examined) -> Iterator[Spot]:
    """Names that more than one tool has."""
    seen: dict[str, int] = {}
    for number, tool in enumerate(row.conversation.tools):
        if tool.name in seen:
            what = f'tools {seen[tool.name]} and {number} are both named "{tool.name}"'
            yield Spot(At(keys=("tools", number)), what)
        seen.setdefault(tool.name, number)


@check(
    warning(
        "required-undeclared",
        "a tool that requires an argument which it does not describe",
        "describe the argument in the tool's properties",
    )
)
def required_undeclared(row: Examined) -> Iterator[Spot]:
    """Names among ``required`` that ``properties`` lacks."""
    for number, tool in enumerate(row.conversation.tools):
        properties = as_object(tool.parameters.get("properties"))
        required = as_list(tool.parameters.get("required"))
        for name in required or () if properties is not None else ():
            if isinstance(name, str) and name not in (properties or {}):
                what = f'{tool.name}: "{name}" is required and not described'
                yield Spot(At(keys=("tools", number)), what)


@check(
    warning(
        "tools-twice",
        "tools that stand in the system prompt, too: the template writes them a second time",
        "take them out of the system prompt, or leave the column tools out",
    )
)
def tools_twice(row: Examined) -> Iterator[Spot]:
    """System messages with the JSON of a tool on offer."""
    for index, message in enumerate(row.messages):
        if message.role is not Role.SYSTEM or not row.tools or '"name"' not in message.text:
            continue
        named = set(_NAME.findall(message.text))
        both = next((name for name in row.tools if name in named), None)
        if both is not None and '"parameters"' in message.text:
            yield Spot(At(index, None, ("content",)), f'"{both}" is described here, too')
