"""Tools recovered from a system prompt that describes them in words."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from toolgrove.core.messages import JSON, Tool
from toolgrove.data.fields import as_list, as_object, bad, parse_loose, past_blanks, show
from toolgrove.data.schemas import from_named
from toolgrove.data.tools import read_tools

_DECODER = json.JSONDecoder(strict=False)
_NAME = re.compile(r"\s*(?:\d+\. )?(?P<name>[^\n:：]+): ?")
_PARAMETERS = re.compile(r" ?(?:Parameters|输入参数)[:：] ?")
_AFTER_ENTRY = re.compile(
    r"[ \t]*(?:Format the arguments as a JSON object\.|此工具的输入应为JSON对象。)?"
)
_ABOUT = (
    re.compile(
        r"Call this tool to interact with the (?P<human>.+?) API\. "
        r"What is the (?P=human) API useful for\? ?(?P<about>.*)",
        re.DOTALL,
    ),
    re.compile(
        r"调用此工具与 (?P<human>.+?) API 进行交互。(?P=human) 有什么用？ ?(?P<about>.*)", re.DOTALL
    ),
    re.compile(r"(?P<human>\S+) API[。.] ?(?P<about>.*)", re.DOTALL),
)


class Recovered(NamedTuple):
    """The tools of a prompt, and what else the prompt says (None: nothing)."""

    tools: tuple[Tool, ...]
    system: str | None


def described_tools(text: str, path: str) -> tuple[Tool, ...]:
    """Tools described one after the other, each ``name: words Parameters: JSON``.

    Parameters are a JSON Schema, or a list of names with descriptions. DataError where a part of
    the text is no such description.
    """
    found: list[JSON] = []
    position = 0
    while past_blanks(text, position) < len(text):
        entry = _NAME.match(text, position)
        if entry is None:
            raise bad(path, f"no description of a tool: {show(text[position:].strip())}")
        name = entry["name"].strip()
        about, parameters, end = _described(text, entry.end(), f"{path} ({name})")
        found.append(_function(name, about, parameters, path))
        after = _AFTER_ENTRY.match(text, end)
        position = after.end() if after else end
    return read_tools(found, path)


def listed_tools(text: str, path: str) -> tuple[Tool, ...]:
    """Tools as values: a list, or objects one after the other; JSON or Python literals."""
    source = text.strip()
    try:
        value = parse_loose(source)
    except ValueError:
        value = _objects(source, path)
    return read_tools(value if as_list(value) is not None else [value], path)


class Section(NamedTuple):
    """The tools that a prompt lists, what stands before them, and what behind their format."""

    before: str
    tools: tuple[Tool, ...]
    after: str


def tool_section(
    text: str, path: str, opening: re.Pattern[str], forms: Sequence[Sequence[str]], whose: str
) -> Section:
    """The section of tools that ``opening`` begins and one of ``forms`` (see ``passage``) ends.

    DataError where it has no such end; ``whose`` format that is, is told.
    """
    begin = opening.search(text)
    found = (passage(text, begin.end(), marks) for marks in forms) if begin else ()
    form = next((place for place in found if place is not None), None)
    if begin is None or form is None:
        raise bad(path, f"the prompt lists tools, but does not say {whose} format behind them")
    tools = described_tools(text[begin.end() : form[0]], path)
    return Section(text[: begin.start()], tools, text[form[1] :])


def passage(text: str, start: int, marks: Sequence[str]) -> tuple[int, int] | None:
    """Where the first mark begins and the last one ends, each looked for behind the one before.

    In time that grows with the text alone, unlike a pattern with several gaps.
    """
    begin, end = -1, start
    for mark in marks:
        found = text.find(mark, end)
        if found < 0:
            return None
        begin = found if begin < 0 else begin
        end = found + len(mark)
    return begin, end


def joined(parts: Sequence[str]) -> str | None:
    """What is left of a prompt as one text; None where nothing is."""
    texts = [part for part in parts if part]
    return "\n\n".join(texts) if texts else None


def _described(text: str, start: int, path: str) -> tuple[str, Any, int]:
    """A tool's words, its parameters, and where these end."""
    for label in _PARAMETERS.finditer(text, start):
        try:
            parameters, end = _DECODER.raw_decode(text, label.end())
        except (ValueError, RecursionError):
            continue
        if as_object(parameters) is not None or as_list(parameters) is not None:
            return text[start : label.start()], parameters, end
    hint = "behind Parameters: stands a JSON Schema, or a list of names with descriptions"
    raise bad(path, f"no parameters that are JSON: {show(text[start:])}", hint)


def _function(name: str, words: str, parameters: Any, path: str) -> JSON:
    human, about = "", words
    for pattern in _ABOUT:
        match = pattern.fullmatch(words)
        if match is not None:
            human, about = match["human"], match["about"]
            break
    function: JSON = {"name": name, "description": "" if about == "." else about}
    if as_list(parameters) is not None:
        function["parameters"] = from_named(parameters, f"{path} ({name}).parameters")
    elif parameters or as_object(parameters) is None:
        function["parameters"] = parameters
    if human and human != name and human.replace("_", "") != name.replace("_", ""):
        function["name_for_human"] = human
    return function


def _objects(source: str, path: str) -> list[Any]:
    """JSON objects one after the other, or lines with a Python literal each."""
    found: list[Any] = []
    position = 0
    while position < len(source):
        try:
            value, position = _DECODER.raw_decode(source, position)
        except (ValueError, RecursionError):
            line, _, _ = source[position:].partition("\n")
            try:
                value = parse_loose(line)
            except ValueError as error:
                raise bad(path, f"no tools ({error}): {show(line)}") from None
            position += len(line)
        found.append(value)
        while position < len(source) and source[position] in " \t\r\n,":
            position += 1
    return found
