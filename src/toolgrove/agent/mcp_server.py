"""Tools of an MCP server, through the official SDK: over stdio or streamable HTTP."""

from __future__ import annotations

import asyncio
import base64
import binascii
import concurrent.futures
import tempfile
import threading
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from toolgrove.agent.results import binary
from toolgrove.agent.tools import CallError, RunnableTool
from toolgrove.core.errors import ToolError
from toolgrove.core.messages import JSON, Tool

if TYPE_CHECKING:
    from mcp import Client

START_TIMEOUT_S = 30.0
"""How long a server may take to start and to tell its tools."""

_GRACE_S = 2.0
_READ_S = 3600.0
_CLOSE_S = 8.0
_CLOSED = -32000
_TIMED_OUT = -32001
_LOG_CHARS = 500


@dataclass(frozen=True, slots=True)
class Target:
    """Where a server is: a command to run, or the address of one that runs."""

    name: str
    command: tuple[str, ...] = ()
    url: str = ""
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: str | None = None


class McpServer:
    """An MCP server's tools.

    A thread of its own talks to the server. When the server ends or its connection breaks, the
    call fails, and the next one connects anew. ToolError when it cannot be reached at first.
    """

    def __init__(self, target: Target, start_timeout_s: float = START_TIMEOUT_S) -> None:
        self.name = target.name
        self._target = target
        self._start_timeout_s = start_timeout_s
        self._starting = threading.Lock()
        self._link: _Link | None = None
        self.tools = [self._runnable(tool) for tool in self._connected().listed]

    def stop(self) -> None:
        """Cancels the calls that are running."""
        if self._link is not None:
            self._link.cancel()

    def close(self) -> None:
        """Leaves the server; one that was started for us ends."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _connected(self) -> _Link:
        with self._starting:
            if self._link is None or not self._link.alive:
                self._link = _Link(self._target)
                self._link.open(self._start_timeout_s)
            return self._link

    def _runnable(self, tool: Any) -> RunnableTool:
        spec: JSON = {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description or "",
                "parameters": tool.input_schema,
            },
        }
        reads = bool(tool.annotations and tool.annotations.read_only_hint)

        def call(arguments: JSON, timeout_s: float) -> str:
            try:
                link = self._connected()
            except ToolError as error:
                raise CallError(f"the server cannot be reached: {error.what}") from error
            return link.call(tool.name, arguments, timeout_s)

        return RunnableTool(Tool(spec), call, reads_only=reads, source=self.name)


class _Link:
    """One connection, kept by a thread with an event loop."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.listed: list[Any] = []
        self._client: Client | None = None
        self._failed: BaseException | None = None
        self._ready = threading.Event()
        self._closing: asyncio.Event | None = None
        self._loop = asyncio.new_event_loop()
        self._running: set[concurrent.futures.Future[Any]] = set()
        self._log: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 -- closed with the link
        self._thread = threading.Thread(target=self._run, name=f"mcp {target.name}", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether calls can be made."""
        return self._client is not None and self._thread.is_alive()

    def open(self, timeout_s: float) -> None:
        """Connects; ToolError says why that cannot be, with what the server wrote to stderr."""
        self._thread.start()
        ready = self._ready.wait(timeout_s)
        if ready and self._failed is None:
            return
        what = _reason(self._failed) if self._failed else f"no answer within {timeout_s:g} s"
        said = self._said()
        self.close()
        raise ToolError(
            f'the MCP server "{self._target.name}" cannot be used: {what}',
            where=self._target.url or " ".join(self._target.command),
            hint=f"it wrote: {said}" if said else None,
        )

    def call(self, name: str, arguments: JSON, timeout_s: float) -> str:
        """The result as text; CallError where the tool, the server or the connection fails."""
        client = self._client
        if client is None:
            raise CallError("the connection to the server is closed")
        asked = client.call_tool(name, arguments, read_timeout_seconds=timeout_s)
        future = asyncio.run_coroutine_threadsafe(asked, self._loop)
        self._running.add(future)
        try:
            return self._text(future, timeout_s)
        finally:
            self._running.discard(future)

    def _text(self, future: concurrent.futures.Future[Any], timeout_s: float) -> str:
        from mcp import MCPError

        try:
            result = future.result(timeout_s + _GRACE_S)
        except concurrent.futures.CancelledError:
            raise CallError("the call was stopped") from None
        except TimeoutError:
            future.cancel()
            raise CallError(f"no result within {timeout_s:g} s") from None
        except MCPError as error:
            if error.code == _TIMED_OUT:
                raise CallError(f"no result within {timeout_s:g} s") from error
            if error.code == _CLOSED:
                self._client = None
                raise CallError("the server ended in the middle of the call") from error
            raise CallError(error.message) from error
        except Exception as error:
            self._client = None
            raise CallError(f"the call failed: {_reason(error)}") from error
        text = _content(result)
        if result.is_error:
            raise CallError(text)
        return text

    def cancel(self) -> None:
        """Cancels what is running."""
        for future in list(self._running):
            future.cancel()

    def close(self) -> None:
        """Ends the connection and waits until the server is gone, some seconds at most."""
        self._client = None
        if self._thread.is_alive() and self._closing is not None:
            with suppress(RuntimeError):  # the thread has just closed its loop by itself
                self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join(_CLOSE_S)
        self._log.close()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:  # noqa: BLE001 -- handed to the thread that waits
            self._failed = error
        finally:
            self._client = None
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        from mcp import Client

        self._closing = asyncio.Event()
        async with AsyncExitStack() as held:
            transport = await self._transport(held)
            client = await held.enter_async_context(Client(transport))
            cursor: str | None = None
            while True:
                page = await client.list_tools(cursor=cursor)
                self.listed += page.tools
                cursor = page.next_cursor
                if not cursor:
                    break
            self._client = client
            self._ready.set()
            await self._closing.wait()

    async def _transport(self, held: AsyncExitStack) -> Any:
        from httpx2 import AsyncClient, Timeout
        from mcp.client.stdio import StdioServerParameters, stdio_client
        from mcp.client.streamable_http import streamable_http_client

        target = self._target
        if target.url:
            timeout = Timeout(START_TIMEOUT_S, read=_READ_S)
            client = AsyncClient(headers=dict(target.headers), timeout=timeout)
            await held.enter_async_context(client)
            return streamable_http_client(target.url, http_client=client)
        command, *args = target.command
        started = StdioServerParameters(
            command=command, args=args, env=dict(target.env), cwd=target.cwd
        )
        return stdio_client(started, errlog=self._log)  # type: ignore[arg-type]

    def _said(self) -> str:
        """The end of what the server wrote to stderr."""
        self._log.seek(0)
        return " ".join(self._log.read()[-_LOG_CHARS:].split())


def _content(result: Any) -> str:
    """The parts of a result: texts as they are, all else by its kind and size."""
    from toolgrove.core.jsonish import dump

    parts = [_part(part) for part in result.content]
    if not parts and result.structured_content is not None:
        return dump(result.structured_content)
    return "\n".join(parts)


def _part(part: Any) -> str:
    if part.type == "text":
        return part.text
    if part.type in ("image", "audio"):
        return binary(_size(part.data), part.mime_type)
    if part.type == "resource":
        inner = part.resource
        if hasattr(inner, "text"):
            return inner.text
        return f"{inner.uri}: {binary(_size(inner.blob), inner.mime_type or '')}"
    return f"[{part.name}: {part.uri}]"


def _size(encoded: str) -> int:
    try:
        return len(base64.b64decode(encoded))
    except (binascii.Error, ValueError):
        return len(encoded)


def _reason(error: BaseException) -> str:
    """The innermost error of a group, in words."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, FileNotFoundError):
        return f"no such command: {error.filename}"
    return str(error) or type(error).__name__
