"""Tools with nothing behind them: their results are scripted, or a person types them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from toolgrove.agent.tools import CallError, RunnableTool, ToolList
from toolgrove.core.errors import ToolError
from toolgrove.core.messages import JSON, Tool, ToolCall

_HINT = 'results is a list: [{"name": "weather", "arguments": {"city": "Ulm"}, "result": "12 °C"}]'


class Scripted(NamedTuple):
    """A scripted result: for calls of this tool with these arguments (None: whatever they are)."""

    name: str
    arguments: JSON | None
    result: Any
    error: bool = False


class Simulated(ToolList):
    """Tools whose results were written beforehand.

    A call gets the result that stands for its arguments; else the next of those that stand for no
    particular ones, the last of which is repeated. CallError where there is none.
    """

    def __init__(
        self, tools: Sequence[Tool], results: Sequence[Scripted], name: str = "simulated"
    ) -> None:
        self._results = list(results)
        self._played: dict[str, int] = {}
        self._lock = threading.Lock()
        super().__init__(
            name,
            [
                RunnableTool(tool, self._caller(tool.name), reads_only=True, source=name)
                for tool in tools
            ],
        )

    def _caller(self, name: str) -> Callable[[JSON, float], Any]:
        def call(arguments: JSON, timeout_s: float) -> Any:
            del timeout_s
            found = self._next(name, arguments)
            if found.error:
                raise CallError(str(found.result))
            return found.result

        return call

    def _next(self, name: str, arguments: JSON) -> Scripted:
        mine = [result for result in self._results if result.name == name]
        for result in mine:
            if result.arguments is not None and result.arguments == arguments:
                return result
        in_order = [result for result in mine if result.arguments is None]
        if not in_order:
            raise CallError(f'no result is scripted for "{name}" with these arguments')
        with self._lock:
            played = self._played.get(name, 0)
            self._played[name] = played + 1
        return in_order[min(played, len(in_order) - 1)]


class Typed(ToolList):
    """Tools whose results a person types."""

    def __init__(
        self, tools: Sequence[Tool], ask: Callable[[ToolCall], str], name: str = "typed"
    ) -> None:
        super().__init__(name, [typed(tool, ask, name) for tool in tools])


def typed(tool: Tool, ask: Callable[[ToolCall], str], source: str = "typed") -> RunnableTool:
    """The tool, its results from ``ask``."""

    def call(arguments: JSON, timeout_s: float) -> str:
        del timeout_s
        return ask(ToolCall(tool.name, arguments))

    return RunnableTool(tool, call, reads_only=True, source=source, by_hand=True)


def scripted(value: Any, where: str) -> list[Scripted]:
    """Scripted results out of a document's ``results``; ToolError says what does not fit."""
    if not isinstance(value, list):
        raise ToolError("results are not a list", where=where, hint=_HINT)
    found: list[Scripted] = []
    for index, item in enumerate(cast("list[Any]", value)):
        entry = cast("Mapping[str, Any]", item) if isinstance(item, dict) else {}
        arguments = entry.get("arguments")
        if not isinstance(entry.get("name"), str) or not {"result", "error"} & set(entry):
            raise ToolError(
                f"results[{index}] needs a name and a result or an error", where=where, hint=_HINT
            )
        if arguments is not None and not isinstance(arguments, dict):
            raise ToolError(f"results[{index}].arguments is no object", where=where, hint=_HINT)
        failed = "error" in entry
        found.append(
            Scripted(
                entry["name"],
                cast("JSON | None", arguments),
                entry["error" if failed else "result"],
                failed,
            )
        )
    return found
