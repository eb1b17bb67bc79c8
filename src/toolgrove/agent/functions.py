"""Python functions as tools: the schema comes from the signature, the words from the docstring."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

from toolgrove.agent.tools import CallError, RunnableTool, ToolList
from toolgrove.core.errors import ToolError
from toolgrove.core.messages import JSON, Tool

_READS_ONLY = "__toolgrove_reads_only__"
_MOST_ITEMS = 1000

F = TypeVar("F", bound=Callable[..., Any])


def reads_only(function: F) -> F:
    """Decorator that says: this tool changes nothing, it may run without asking anybody."""
    setattr(function, _READS_ONLY, True)
    return function


class Functions(ToolList):
    """Functions of this program as tools. They run in it, each call in a thread of its own: a call
    that takes too long is given up, but not ended. ``PythonFile`` ends such calls."""

    def __init__(self, functions: Sequence[Callable[..., Any]], name: str = "python") -> None:
        super().__init__(name, [_runnable(function, name) for function in functions])


def _runnable(function: Callable[..., Any], source: str) -> RunnableTool:
    def run(arguments: JSON, timeout_s: float) -> Any:
        del timeout_s
        return call(function, arguments)

    return RunnableTool(tool_of(function), run, is_reads_only(function), source)


def is_reads_only(function: Callable[..., Any]) -> bool:
    """Whether the function was marked with ``reads_only``."""
    return bool(getattr(function, _READS_ONLY, False))


def tool_of(function: Callable[..., Any]) -> Tool:
    """What a model is told of the function.

    Types and defaults come from the signature, descriptions from the docstring (reST, Google,
    NumPy and Epydoc style). ToolError for a signature that no JSON object of arguments can fill.
    """
    from docstring_parser import parse
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError

    name = getattr(function, "__name__", type(function).__name__)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
            raise ToolError(
                f'"{name}" has the parameter "{parameter.name}", which has no name in a call',
                hint="give every parameter a name: no *args, no / in the signature",
            )
    try:
        adapter = TypeAdapter(cast(Any, function))
        schema = cast(JSON, _untitled(adapter.json_schema()))
    except (PydanticInvalidForJsonSchema, PydanticUserError, NameError) as error:
        what = str(error).splitlines()[0]
        raise ToolError(
            f'no JSON Schema for the parameters of "{name}": {what}',
            hint="use types that JSON has: str, int, float, bool, list, dict, Literal, dataclasses",
        ) from error
    told = parse(inspect.getdoc(function) or "")
    for parameter in told.params:
        if parameter.description and parameter.arg_name in schema.get("properties", {}):
            schema["properties"][parameter.arg_name].setdefault(
                "description", parameter.description.strip()
            )
    about = "\n".join(filter(None, (told.short_description, told.long_description)))
    return Tool(
        {
            "type": "function",
            "function": {"name": name, "description": about, "parameters": schema},
        }
    )


def call(function: Callable[..., Any], arguments: JSON) -> Any:
    """What the function returns, its arguments converted to the types of its signature.

    Whatever it raises becomes a CallError. A coroutine is run, a generator made a list.
    """
    from pydantic import ValidationError, validate_call

    try:
        value = validate_call(function)(**arguments)
        if inspect.iscoroutine(value):
            value = asyncio.run(value)
        return _listed(value) if isinstance(value, Iterator) else value
    except CallError:
        raise
    except ValidationError as error:
        raise CallError(f"the arguments do not fit: {_problems(error)}") from error
    except (Exception, SystemExit) as error:
        raise CallError(f"{type(error).__name__}: {error}") from error


def _listed(values: Iterator[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        found.append(value)
        if len(found) == _MOST_ITEMS:
            found.append(f"[only the first {_MOST_ITEMS} items]")
            break
    return found


def _problems(error: Any) -> str:
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'arguments'}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_input=False)
    )


def _untitled(value: Any) -> Any:
    """The schema without the titles that pydantic makes out of names."""
    if isinstance(value, list):
        return [_untitled(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    schema = cast(JSON, value)
    return {
        key: _untitled(inner)
        for key, inner in schema.items()
        if not (key == "title" and isinstance(inner, str))
    }
