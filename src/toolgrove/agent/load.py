"""Sources of tools out of what a user names: files, servers, documents."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.error import URLError
from urllib.request import urlopen

import yaml

from toolgrove.agent.mcp_server import McpServer, Target
from toolgrove.agent.openapi import OpenApi, is_openapi
from toolgrove.agent.python_file import PythonFile
from toolgrove.agent.simulated import Simulated, Typed, scripted
from toolgrove.agent.tools import Source
from toolgrove.core.errors import ToolError, ToolgroveError
from toolgrove.core.messages import JSON, ToolCall
from toolgrove.data.tools import read_tools

FORMS = (
    "FILE.py (functions), FILE.json or FILE.yaml (an OpenAPI document, MCP servers under "
    "mcpServers, or a list of tools), mcp:COMMAND, mcp:http://..., openapi:http://..."
)
_FETCH_S = 30.0
_NAMELIKE = re.compile(r"[\w@.~/][\w@./~-]*")

Ask = Callable[[ToolCall], str]


def sources(given: str | JSON | Sequence[Any], ask: Ask | None = None) -> list[Source]:
    """The sources that a word, a document or a list of tools stands for.

    Tools with nothing behind them get their results from ``ask``; without it they are a ToolError.
    """
    if not isinstance(given, str):
        return _of_document(given, "tools", "", ask)
    word = given.strip()
    kind, colon, rest = word.partition(":")
    if colon and kind == "mcp":
        return [McpServer(_target(rest.strip()))]
    if colon and kind == "openapi":
        return _of_document(_fetched(rest), rest, rest, ask)
    if word.startswith(("[", "{")):
        return _of_document(_parsed(word, "tools"), "tools", "", ask)
    if word.startswith(("http://", "https://")):
        raise ToolError(f"what is at {word}?", hint=f"write mcp:{word} or openapi:{word}")
    file = Path(word).expanduser()
    if file.suffix == ".py":
        return [PythonFile(file)]
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise ToolError(f"{what}: {word}", hint=f"tools are one of: {FORMS}") from error
    return _of_document(_parsed(text, word), file.name, "", ask)


def _of_document(value: Any, name: str, place: str, ask: Ask | None) -> list[Source]:
    if is_openapi(value):
        return [OpenApi(value, name, place=place)]
    if isinstance(value, dict) and "mcpServers" in value:
        return _servers(cast(JSON, value)["mcpServers"], name)
    listed: Any = value
    if isinstance(value, dict):
        document = cast(JSON, value)
        if "swagger" in document:
            raise ToolError("OpenAPI 2 (Swagger) is not read", where=name, hint="convert it to 3")
        listed = document.get("tools") if {"tools", "results"} & set(document) else [document]
    try:
        tools = read_tools(listed)
    except ToolgroveError as error:
        raise ToolError(error.what, where=error.where or name, hint=error.hint) from error
    if not tools:
        raise ToolError("no tools in it", where=name, hint=f"tools are one of: {FORMS}")
    results = cast(JSON, value).get("results") if isinstance(value, dict) else None
    if results is not None:
        return [Simulated(tools, scripted(results, name), name)]
    if ask is None:
        raise ToolError(
            "these tools have nothing that runs them",
            where=name,
            hint='add "results", or name a file or server that runs them',
        )
    return [Typed(tools, ask, name)]


def _servers(value: Any, name: str) -> list[Source]:
    if not isinstance(value, dict) or not value:
        raise ToolError("mcpServers names no server", where=name)
    found: list[Source] = []
    try:
        for server, given in cast("dict[str, JSON]", value).items():
            found.append(McpServer(_configured(server, given, name)))
    except ToolError:
        for source in found:
            source.close()
        raise
    return found


def _configured(server: str, given: JSON, name: str) -> Target:
    command, url = given.get("command"), given.get("url")
    if not command and not url:
        raise ToolError(f'the server "{server}" has neither a command nor a url', where=name)
    words = (str(command), *map(str, given.get("args") or ())) if command else ()
    return Target(
        server,
        words,
        str(url or ""),
        _texts(given.get("env")),
        _texts(given.get("headers")),
        given.get("cwd"),
    )


def _texts(value: Any) -> dict[str, str]:
    pairs = cast("Mapping[str, Any]", value or {})
    return {key: str(inner) for key, inner in pairs.items()}


def _target(word: str) -> Target:
    if word.startswith(("http://", "https://")):
        return Target(word.partition("//")[2].partition("/")[0], url=word)
    try:
        words = tuple(shlex.split(word))
    except ValueError as error:
        raise ToolError(f"the command cannot be read: {error}", where=word) from error
    if not words:
        raise ToolError("mcp: without a command", hint="write mcp:COMMAND or mcp:http://...")
    named = next(filter(_NAMELIKE.fullmatch, words[1:]), words[0])
    return Target(Path(named).stem, words)


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text) if text.lstrip().startswith(("[", "{")) else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        what = " ".join(str(error).split())
        raise ToolError(f"neither JSON nor YAML: {what}", where=where) from error


def _fetched(url: str) -> Any:
    if not url.startswith(("http://", "https://")):
        raise ToolError(f"not an address: {url}", hint="a file is named without openapi:")
    try:
        with urlopen(url, timeout=_FETCH_S) as reply:  # the address was checked
            return _parsed(reply.read().decode("utf-8", "replace"), url)
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise ToolError(f"the document cannot be fetched: {reason}", where=url) from error
