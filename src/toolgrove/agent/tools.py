"""Tools that can be run: what the model is told of each, what runs it, and a box of many."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

from toolgrove.core.errors import ToolError, did_you_mean
from toolgrove.core.messages import JSON, Tool


class CallError(Exception):
    """A call that failed. Its text is the call's result: the model reads it and may do better."""


@dataclass(frozen=True, slots=True)
class RunnableTool:
    """A tool and what runs it.

    ``call`` takes the arguments and how many seconds it may take, and returns any value; it raises
    CallError where the call fails. ``reads_only``: it changes nothing, so that nobody has to be
    asked before. ``by_hand``: a person answers, who has all the time. ``source`` says where the
    tool comes from.
    """

    tool: Tool
    call: Callable[[JSON, float], Any]
    reads_only: bool = False
    source: str = "python"
    by_hand: bool = False

    @property
    def name(self) -> str:
        """The tool's name."""
        return self.tool.name


class Source(Protocol):
    """Where tools come from: a file, a server, a description."""

    @property
    def name(self) -> str:
        """What the source is called; its tools are dropped under this name."""
        ...

    @property
    def tools(self) -> list[RunnableTool]:
        """Its tools."""
        ...

    def stop(self) -> None:
        """Ends the calls that are running; called from any thread."""
        ...

    def close(self) -> None:
        """Gives back what the source holds: processes, connections."""
        ...


class ToolList:
    """Tools with nothing behind them that would have to be ended or given back."""

    def __init__(self, name: str, tools: Iterable[RunnableTool]) -> None:
        self.name = name
        self.tools = list(tools)

    def stop(self) -> None:
        """Nothing that could be ended."""

    def close(self) -> None:
        """Nothing is held."""


class Toolbox:
    """The tools that an agent has, by their names. Closing it closes the sources.

    ``otherwise`` makes a tool of a name that is not among them, where it should.
    """

    def __init__(
        self,
        sources: Iterable[Source] = (),
        otherwise: Callable[[str], RunnableTool | None] | None = None,
    ) -> None:
        self._otherwise = otherwise
        self._sources: list[Source] = []
        self._tools: dict[str, RunnableTool] = {}
        for source in sources:
            self.add(source)

    def __enter__(self) -> Toolbox:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def offered(self) -> tuple[Tool, ...]:
        """What the model is told."""
        return tuple(tool.tool for tool in self._tools.values())

    @property
    def tools(self) -> tuple[RunnableTool, ...]:
        """All tools, in the order in which they were added."""
        return tuple(self._tools.values())

    def add(self, source: Source) -> list[RunnableTool]:
        """Takes a source's tools in; ToolError, and nothing is taken, where a name is there
        already."""
        found = source.tools
        names: set[str] = set()
        for tool in found:
            other = self._tools.get(tool.name)
            if other is not None or tool.name in names:
                place = other.source if other else tool.source
                raise ToolError(
                    f'two tools are named "{tool.name}": one of {place}, one of {tool.source}',
                    hint="leave one of the two out",
                )
            names.add(tool.name)
        self._sources.append(source)
        self._tools.update({tool.name: tool for tool in found})
        return found

    def drop(self, name: str) -> list[str]:
        """Takes out a tool, or all tools of a source; returns the names of the tools."""
        found = [tool.name for tool in self._tools.values() if name in (tool.name, tool.source)]
        if not found:
            known = {tool.name for tool in self.tools} | {tool.source for tool in self.tools}
            raise ToolError(
                f'no tool or source "{name}"',
                hint=did_you_mean(name, known)
                or f"there are: {', '.join(sorted(known)) or 'none'}",
            )
        for gone in found:
            del self._tools[gone]
        used = {tool.source for tool in self._tools.values()}
        for source in [source for source in self._sources if source.name not in used]:
            self._sources.remove(source)
            source.close()
        return found

    def find(self, name: str) -> RunnableTool | None:
        """The tool of that name."""
        found = self._tools.get(name)
        return self._otherwise(name) if found is None and self._otherwise else found

    def stop(self) -> None:
        """Ends the calls that are running."""
        for source in self._sources:
            source.stop()

    def close(self) -> None:
        """Closes all sources."""
        while self._sources:
            self._sources.pop().close()
        self._tools.clear()
