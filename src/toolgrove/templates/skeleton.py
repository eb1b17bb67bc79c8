"""The fixed texts of a dialect, found by rendering: what a plain chat template is made of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from toolgrove.core.errors import TemplateError
from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Conversation, Message, Role, Tool, ToolCall
from toolgrove.templates.dialect import Dialect

_SYSTEM = "Sentinel-System"
_USERS = (Message(Role.USER, "Sentinel-First"), Message(Role.USER, "Sentinel-Second"))
_SAID = "Sentinel-Said"
_THOUGHT = "Sentinel-Thought"
_RESULTS = ("Sentinel-Result-One", "Sentinel-Result-Two")


class Around(NamedTuple):
    """What stands before and after a text."""

    before: str
    after: str


class ToolList(NamedTuple):
    """How a list of tools stands in a head: before it, between two tools, after it.

    ``whole``: a tool is written with its ``type`` and ``function``, else the function alone.
    ``indent``: how many spaces its JSON is indented by; None: on one line.
    """

    before: str
    between: str
    after: str
    whole: bool
    indent: int | None


class Heads(NamedTuple):
    """All that stands before the first turn: without tools, and with them. What is in front of a
    system prompt and the tools behind it is ``opening``."""

    bare: str
    system: Around
    tools: ToolList
    opening: str
    system_tools: ToolList


class Calls(NamedTuple):
    """The calls of a turn: ``before`` all of them and ``after``; each is ``opening`` name
    ``middle`` arguments ``closing``, with ``between`` two of them. ``after_text`` stands between a
    text and the calls."""

    before: str
    opening: str
    middle: str
    closing: str
    between: str
    after: str
    after_text: str


class Results(NamedTuple):
    """The results of a step: before the first, between two, after the last."""

    before: str
    between: str
    after: str


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A dialect as fixed texts around contents. ``thinking`` is None where history shows none,
    ``system`` (a system message behind the first turn) where there is no place for one."""

    heads: Heads
    user: Around
    assistant: Around
    system: Around | None
    thinking: Around | None
    calls: Calls
    results: Results
    generation: str


def skeleton_of(dialect: Dialect) -> Skeleton:
    """The dialect's fixed texts. TemplateError where it is not made of such: its tools or arguments
    are no JSON, its results stand inside the assistant's turn, or its turns depend on others."""
    first = dialect.text(Conversation(_USERS[:1]))
    second = _cut(dialect.text(Conversation(_USERS)), first, "two user turns")
    user = _around(second, _USERS[1].text)
    finder = _Finder(dialect, second, first)
    assistant = _around(finder.turn(Message(Role.ASSISTANT, _SAID)), _SAID)
    calls, results = finder.step(assistant)
    prompt = dialect.prompt(Conversation(_USERS[:1]))
    return Skeleton(
        heads=finder.heads(user),
        user=user,
        assistant=assistant,
        system=finder.system(),
        thinking=finder.thinking(assistant),
        calls=calls,
        results=results,
        generation=_cut(prompt, first, "the generation prompt"),
    )


class _Finder(NamedTuple):
    """A dialect, its second user turn as text, and a conversation of the first one alone."""

    dialect: Dialect
    second: str
    first: str

    def turn(self, *said: Message, tools: tuple[Tool, ...] = ()) -> str:
        """What these messages add to a first user turn, in a history that another one follows."""
        asked = Conversation(_USERS[:1], tools)
        before = self.dialect.text(asked) if tools else self.first
        whole = self.dialect.text(Conversation((_USERS[0], *said, _USERS[1]), tools))
        if not whole.endswith(self.second):
            _refuse("a user turn is written otherwise where it follows other turns")
        return _cut(whole.removesuffix(self.second), before, "what follows a user turn")

    def heads(self, user: Around) -> Heads:
        """What stands before the first turn."""
        tools = (_tool("sentinel_one"), _tool("sentinel_two"))
        given = Message(Role.SYSTEM, _SYSTEM)
        bare, told = self._head((), ()), self._head((given,), ())
        system = _around(_uncover(told, user), _SYSTEM)
        opening, found, rest = _uncover(self._head((given,), tools), user).partition(_SYSTEM)
        if not found:
            _refuse("its text about tools leaves out the system prompt")
        plain = _tool_list(_uncover(self._head((), tools), user), tools)
        return Heads(_uncover(bare, user), system, plain, opening, _tool_list(rest, tools))

    def _head(self, given: tuple[Message, ...], tools: tuple[Tool, ...]) -> str:
        return self.dialect.text(Conversation((*given, _USERS[0]), tools))

    def system(self) -> Around | None:
        """A system message behind the first turn."""
        try:
            return _around(self.turn(Message(Role.SYSTEM, _SYSTEM)), _SYSTEM)
        except TemplateError:
            return None

    def thinking(self, assistant: Around) -> Around | None:
        """The thinking of an assistant's turn in history."""
        said = self.turn(Message(Role.ASSISTANT, _SAID, thinking=_THOUGHT))
        if _THOUGHT not in said:
            return None
        whole = _around(said, _SAID)
        return _around(_cut(whole.before, assistant.before, "thinking"), _THOUGHT)

    def step(self, assistant: Around) -> tuple[Calls, Results]:
        """Calls and their results, out of a step of one call and one of two."""
        tools = (_tool("sentinel_one"), _tool("sentinel_two"))
        one, two = self._step("", tools[:1], tools), self._step("", tools, tools)
        after = _SAID + self._step(_SAID, tools[:1], tools)[0].partition(_SAID)[2]
        opening, middle = one[0].removeprefix(assistant.before), one[1]
        if not assistant.after:
            _refuse("its turns have no end of their own")
        closing, ended, results = one[2].partition(assistant.after)
        if not ended or not one[0].startswith(assistant.before):
            _refuse("its turns of calls have no end of their own")
        follows = two[2]
        item_closing = _common(follows, closing)
        item_opening = _common_end(follows.removeprefix(item_closing), opening)
        calls = Calls(
            before=opening.removesuffix(item_opening),
            opening=item_opening,
            middle=middle,
            closing=item_closing,
            between=follows.removeprefix(item_closing).removesuffix(item_opening),
            after=closing.removeprefix(item_closing),
            after_text=after.removeprefix(_SAID).removesuffix(opening),
        )
        if two[3] != middle or two[4] != one[2]:
            _refuse("its calls are numbered or carry ids")
        return calls, Results(results, two[5], one[3])

    def _step(self, text: str, called: tuple[Tool, ...], tools: tuple[Tool, ...]) -> list[str]:
        """The texts around names, arguments and results of a turn that calls these tools."""
        calls = tuple(
            ToolCall(tool.name, {"key": f"value of {tool.name}"}, id=f"call0000{number}")
            for number, tool in enumerate(called)
        )
        results = tuple(
            Message(Role.TOOL, result, name=call.name, call_id=call.id)
            for result, call in zip(_RESULTS, calls, strict=False)
        )
        said = Message(Role.ASSISTANT, text, calls=calls)
        rest = self.turn(said, *results, tools=tools)
        parts: list[str] = []
        for mark in [
            *(mark for call in calls for mark in (call.name, dump(call.arguments))),
            *(result.text for result in results),
        ]:
            part, found, rest = rest.partition(mark)
            if not found:
                _refuse("its calls are not written as names and JSON arguments")
            parts.append(part)
        return [*parts, rest]


def _tool(name: str) -> Tool:
    schema = {"type": "object", "properties": {"key": {"type": "string"}}, "required": ["key"]}
    inner = {"name": name, "description": "Sentinel.", "parameters": schema}
    return Tool({"type": "function", "function": inner})


def _tool_list(text: str, tools: tuple[Tool, Tool]) -> ToolList:
    for whole in (True, False):
        for indent in (None, 4, 2):
            one, two = (_written(tool.spec if whole else tool.function, indent) for tool in tools)
            before, found, rest = text.partition(one)
            between, also, after = rest.partition(two)
            if found and also:
                return ToolList(before, between, after, whole, indent)
    return _refuse("its tools are not written as JSON behind the system prompt")


def _written(value: Any, indent: int | None) -> str:
    return dump(value) if indent is None else json.dumps(value, ensure_ascii=False, indent=indent)


def _around(text: str, inner: str) -> Around:
    before, found, after = text.partition(inner)
    if not found:
        _refuse("it leaves out what was said")
    return Around(before, after)


def _uncover(text: str, user: Around) -> str:
    """The text before a first user turn."""
    turn = user.before + _USERS[0].text + user.after
    if not text.endswith(turn):
        _refuse("its first user turn differs from further ones")
    return text.removesuffix(turn)


def _cut(text: str, before: str, what: str) -> str:
    if not text.startswith(before):
        _refuse(f"{what} change what stands before")
    return text[len(before) :]


def _common_end(text: str, other: str) -> str:
    return _common(text[::-1], other[::-1])[::-1]


def _common(text: str, other: str) -> str:
    """What both begin with."""
    pairs = zip(text, other, strict=False)
    length = next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(text), len(other)))
    return text[:length]


def _refuse(why: str) -> NoReturn:
    raise TemplateError(f"this dialect cannot be written as a plain chat template: {why}")
