"""Calls held against the tools on offer before anything runs."""

from __future__ import annotations

from toolgrove.agent.tools import RunnableTool, Toolbox
from toolgrove.core.errors import did_you_mean
from toolgrove.core.jsonish import dump, loads_object
from toolgrove.core.messages import JSON, ToolCall
from toolgrove.data.doctor.schemas import Problem, Schemas

_SHOWN = 5
_SCHEMA_CHARS = 2000


def arguments_of(call: ToolCall) -> JSON | None:
    """The call's arguments, read from its own text where it has one; None: that is no object."""
    if call.given is None:
        return call.arguments
    try:
        return loads_object(call.given or "{}")
    except ValueError:
        return None


def problem_with(call: ToolCall, toolbox: Toolbox, schemas: Schemas) -> str | None:
    """What is wrong with a call, told so that a model can mend it; None: nothing."""
    tool = toolbox.find(call.name)
    if tool is None:
        names = [offered.name for offered in toolbox.offered]
        near = did_you_mean(call.name, names)
        known = f"the tools are: {', '.join(names)}" if names else "there are no tools"
        return f'there is no tool "{call.name}"; {near + " " if near else ""}{known}'
    arguments = arguments_of(call)
    if arguments is None:
        return f"the arguments are no JSON object: {call.given}"
    return _against_schema(tool, arguments, schemas)


def _against_schema(tool: RunnableTool, arguments: JSON, schemas: Schemas) -> str | None:
    problems = schemas.of(tool.tool).problems(arguments)
    if not problems:
        return None
    told = "; ".join(dict.fromkeys(map(_told, problems[:_SHOWN])))
    more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    schema = dump(tool.tool.parameters)
    shown = f"\nthe schema: {schema}" if len(schema) <= _SCHEMA_CHARS else ""
    return f"the arguments do not fit the schema: {told}{more}{shown}"


def _told(problem: Problem) -> str:
    where = ".".join(map(str, problem.keys))
    return f"{where}: {problem.message}" if where else problem.message
