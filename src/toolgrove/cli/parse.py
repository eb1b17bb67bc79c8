"""``toolgrove parse``: a model's reply read into thinking, text and calls."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from toolgrove.cli.inputs import DialectSettings, dialect_of
from toolgrove.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from toolgrove.core.messages import Reply, Tool


class ParseSettings(DialectSettings):
    """Which reply, and what its reader has to know."""

    reply: list[str] = []
    """A file with the reply, the reply itself, or - for stdin (the default)."""

    tools: str | None = None
    """The tools on offer: a JSON file with a list of tools or a row with "tools", or the list."""

    prompt: str = ""
    """The end of the prompt that the reply continues, if it opened thinking."""

    as_json: bool = Field(default=True, alias="json")
    """Print JSON; this command always does."""


def run(settings: ParseSettings) -> int:
    """Prints the reply as a message in JSON."""
    dialect = dialect_of(settings)
    tools = tools_from(settings.tools) if settings.tools else None
    reply = dialect.read(_reply_text(settings.reply), tools=tools, prompt=settings.prompt)
    print(json.dumps(message_of(reply), ensure_ascii=False, indent=2))
    return 0


def message_of(reply: Reply) -> dict[str, Any]:
    """The reply as an assistant message; ``complete`` false: it was cut off inside something."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.content}
    if reply.thinking is not None:
        message["reasoning_content"] = reply.thinking
    if reply.calls:
        message["tool_calls"] = [
            {"type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in reply.calls
        ]
    return {**message, "complete": reply.complete}


def tools_from(given: str) -> tuple[Tool, ...]:
    """Tools from a JSON file or from JSON itself: a list of tools, or an object with "tools"."""
    from toolgrove.data.tools import read_tools

    inline = given.lstrip().startswith(("[", "{"))
    source = given if inline else _text_of(Path(given), "a JSON list of tools")
    try:
        value = json.loads(source)
    except ValueError as error:
        where = "--tools" if inline else given
        raise DataError(f"tools are not JSON: {error}", where=where) from error
    return read_tools(value["tools"] if isinstance(value, dict) and "tools" in value else value)


def _reply_text(words: list[str]) -> str:
    if len(words) > 1:
        raise ConfigError("more than one reply", hint="put the reply in quotes")
    if not words or words[0] == "-":
        return sys.stdin.read()
    word = words[0]
    looks_like_path = re.fullmatch(r"[\w./~\\-]+\.\w+|[\w.~-]*/[\w./~-]+", word)
    if looks_like_path or (len(word) < 256 and Path(word).is_file()):
        return _text_of(Path(word), "a reply, a file with one, or - for stdin")
    return word


def _text_of(file: Path, wanted: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ConfigError(f"no such file: {file}", hint=f"give {wanted}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8: {error.reason}", where=str(file)) from error
