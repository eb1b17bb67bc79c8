"""Calls held against the tools on offer and against their results."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from toolgrove.core.errors import did_you_mean
from toolgrove.core.messages import Message, Role
from toolgrove.data.doctor.examined import Called, Examined
from toolgrove.data.doctor.findings import At, Repair, Spot, check, error, warning
from toolgrove.data.doctor.places import literal_in, places_of
from toolgrove.data.doctor.schemas import Problem
from toolgrove.data.fields import dump, show

_BROKEN = frozenset({"required", "type", "additionalProperties"})


@check(
    error(
        "unknown-tool",
        "a call of a tool that is not on offer: the model learns to make tools up",
        "add the tool to the row's tools, or correct the name",
    )
)
def unknown_tool(row: Examined) -> Iterator[Spot]:
    """Calls whose name no tool has, where there are tools."""
    for index, number, made, tool, _ in row.calls:
        if tool is not None or not row.tools:
            continue
        at = At(index, number, ("name",))
        same = [name for name in row.tools if _plain(name) == _plain(made.name)]
        repair = Repair(at, made.name, same[0]) if len(same) == 1 else None
        near = f'did you mean "{same[0]}"?' if repair else did_you_mean(made.name, row.tools)
        yield Spot(at, f'"{made.name}" is not among the {len(row.tools)} tools', near or "", repair)


@check(
    warning(
        "no-tools",
        "calls in a row that offers no tools: the model learns to call what it cannot see",
        "give the row its tools",
    )
)
def no_tools(row: Examined) -> Iterator[Spot]:
    """Calls where the row has no tools at all."""
    if row.calls and not row.tools:
        first = row.calls[0]
        yield Spot(
            At(first.message, first.call, ("name",)),
            f'{len(row.calls)} calls ("{first.made.name}" first), and no tools',
        )


@check(
    error(
        "missing-argument",
        "a call without an argument that its tool requires",
        "add the argument, or take it out of the tool's required ones",
    )
)
def missing_argument(row: Examined) -> Iterator[Spot]:
    """Required arguments that a call leaves out."""
    for called, problem in _problems(row, "required"):
        at = _at(called, problem)
        yield Spot(at, f'{called.made.name}: "{problem.name}" is required and missing')


@check(
    error(
        "argument-type",
        "an argument of another type than its tool declares",
        "write the value in the type that the tool's schema names",
    )
)
def argument_type(row: Examined) -> Iterator[Spot]:
    """Arguments of a wrong type; a value that can be written in the right one is repaired."""
    for called, problem in _problems(row, "type"):
        at = _at(called, problem)
        value = _value(called, problem)
        wanted = " or ".join(problem.types)
        told = "null" if value is None else f"{show(dump(value))} is {_type_of(value)}"
        what = f"{called.made.name}: {told}, not {wanted}"
        repair = _repaired_type(at, value, problem, called)
        fix = ""
        if repair is not None:
            fix = "leave it out" if repair.remove else f"write {dump(repair.new)}"
        yield Spot(at, what, fix, repair)


@check(
    error(
        "extra-argument",
        "an argument that its tool does not declare",
        "take it out, or add it to the tool's properties",
    )
)
def extra_argument(row: Examined) -> Iterator[Spot]:
    """Arguments that the schema does not name; those that are null can be taken out safely."""
    for called, problem in _problems(row, "additionalProperties"):
        keys = (*problem.keys, problem.name)
        at = At(called.message, called.call, ("arguments", *keys))
        value = _value(called, problem._replace(keys=keys))
        repair = Repair(at, None, remove=True) if value is None else None
        near = did_you_mean(problem.name, _declared(called, problem))
        what = f'{called.made.name}: no argument "{problem.name}" is declared'
        yield Spot(at, what, near or "", repair)


@check(
    error(
        "argument-value",
        "an argument whose value its tool does not allow (enum, range, pattern, length …)",
        "give a value that the tool's schema allows",
    )
)
def argument_value(row: Examined) -> Iterator[Spot]:
    """Arguments of the right type with a value that the schema rules out."""
    for called in row.calls:
        for problem in called.problems:
            if problem.keyword not in _BROKEN:
                told = f"{called.made.name}: {show(problem.message, 160)} ({problem.keyword})"
                yield Spot(_at(called, problem), told)


@check(
    error(
        "duplicate-call-id",
        "two calls of one turn with the same id: their results cannot be told apart",
        "give each call an id of its own",
    )
)
def duplicate_call_id(row: Examined) -> Iterator[Spot]:
    """Ids that two calls of a turn share."""
    for index, message in enumerate(row.messages):
        seen: dict[str, int] = {}
        for number, call in enumerate(message.calls):
            if call.id is None:
                continue
            if call.id in seen:
                what = f'calls {seen[call.id]} and {number} both have the id "{call.id}"'
                yield Spot(At(index, number, ("id",)), what)
            seen.setdefault(call.id, number)


@check(
    warning(
        "python-arguments",
        "a call written as a Python literal: it is read, but no JSON parser would",
        "write JSON; toolgrove convert does",
    )
)
def python_arguments(row: Examined) -> Iterator[Spot]:
    """Calls, or their arguments, in a string that is Python's ``str(dict)`` and no JSON."""
    loose = [called for called in row.calls if called.made.given is None]
    places = places_of(row.row, row.conversation).calls if loose else {}
    for index, number, made, _, _ in loose:
        keys = (*places.get((index, number), ()), "arguments")
        source = literal_in(row.row, keys) if len(keys) > 1 else None
        if source is not None:
            yield Spot(At(index, number), f"{made.name}: {show(source)}")


@check(
    warning(
        "repeated-call",
        "the same call again, right after its result: the model learns to call in circles",
        "take the second call and its result out",
    )
)
def repeated_call(row: Examined) -> Iterator[Spot]:
    """A call that the turn of calls right before made already; twice in one turn may be meant."""
    before: set[str] = set()
    for index, message in enumerate(row.messages):
        if message.role is Role.USER:
            before = set()
        if not message.calls:
            continue
        made: set[str] = set()
        for number, call in enumerate(message.calls):
            key = dump([call.name, json.dumps(call.arguments, sort_keys=True)])
            if key in before:
                yield Spot(
                    At(index, number), f'the turn before made the same call of "{call.name}"'
                )
            made.add(key)
        before = made


@check(
    warning(
        "orphan-result",
        "a result that answers no call",
        "add the call that it answers, or take the result out",
    )
)
def orphan_result(row: Examined) -> Iterator[Spot]:
    """Results without a call that waits for one."""
    for index, message, waiting in _results(row):
        if not waiting:
            yield Spot(At(index), "a result, and no call before it waits for one")
        elif message.call_id is not None and all(waiting) and message.call_id not in waiting:
            yield Spot(At(index), f'no call that waits has the id "{message.call_id}"')


@check(
    warning(
        "result-name",
        "a result under the name of another tool than the one called",
        "name the tool that was called",
    )
)
def result_name(row: Examined) -> Iterator[Spot]:
    """Results whose name is none of the tools that the turn called."""
    called: set[str] = set()
    for index, message in enumerate(row.messages):
        if message.role is Role.ASSISTANT:
            called = {call.name for call in message.calls}
        elif message.role is Role.TOOL and message.name and called and message.name not in called:
            yield Spot(
                At(index), f'a result of "{message.name}", but {", ".join(sorted(called))} called'
            )


@check(
    error(
        "unanswered-call",
        "a call without a result, though the conversation goes on",
        "add the result, or end the row with the call",
    )
)
def unanswered_call(row: Examined) -> Iterator[Spot]:
    """Calls that later messages pass over; those that end a row are what it teaches."""
    for index, message in enumerate(row.messages):
        if not message.calls:
            continue
        later = row.messages[index + 1 :]
        results: list[Message] = []
        for other in later:
            if other.role is not Role.TOOL:
                break
            results.append(other)
        if not later or (len(results) == len(later) and len(results) == 0):
            continue
        answered = {result.call_id for result in results}
        open_ids = [n for n, call in enumerate(message.calls) if call.id not in answered]
        by_id = all(call.id for call in message.calls) and None not in answered
        missing = open_ids if by_id else range(len(results), len(message.calls))
        for number in missing:
            name = message.calls[number].name
            yield Spot(At(index, number), f'the call of "{name}" has no result')


def _results(row: Examined) -> Iterator[tuple[int, Message, list[str | None]]]:
    """Each result with the ids of the calls that still wait for one."""
    waiting: list[str | None] = []
    for index, message in enumerate(row.messages):
        if message.role is Role.ASSISTANT:
            waiting = [call.id for call in message.calls]
        elif message.role is Role.TOOL:
            yield index, message, list(waiting)
            if message.call_id in waiting:
                waiting.remove(message.call_id)
            elif waiting and not (message.call_id is not None and all(waiting)):
                waiting.pop(0)
        else:
            waiting = []


def _problems(row: Examined, keyword: str) -> Iterator[tuple[Called, Problem]]:
    for called in row.calls:
        for problem in called.problems:
            if problem.keyword == keyword:
                yield called, problem


def _at(called: Called, problem: Problem) -> At:
    return At(called.message, called.call, ("arguments", *problem.keys))


def _value(called: Called, problem: Problem) -> Any:
    value: Any = called.made.arguments
    for key in problem.keys:
        value = value[key]
    return value


def _declared(called: Called, problem: Problem) -> list[str]:
    if called.tool is None or problem.keys:
        return []
    return [str(name) for name in called.tool.parameters.get("properties", {})]


def _plain(name: str) -> str:
    """The name as far as spelling counts: case, hyphens and underscores make no difference."""
    return re.sub(r"[-_\s]", "", name.casefold())


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number" if isinstance(value, float) else "an integer"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list) else "an object"


def _repaired_type(at: At, value: Any, problem: Problem, called: Called) -> Repair | None:
    """The same value in the right type, where exactly one writing of it is possible."""
    if value is None and len(problem.keys) == 1 and not _is_required(called, problem):
        return Repair(at, None, remove=True)
    if len(problem.types) != 1:
        return None
    wanted = problem.types[0]
    if wanted == "string" and isinstance(value, int) and not isinstance(value, bool):
        return Repair(at, value, str(value))
    if not isinstance(value, str):
        return None
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return None
    fits = {
        "integer": type(parsed) is int,
        "number": type(parsed) in (int, float) and abs(parsed) < float("inf"),
        "boolean": type(parsed) is bool,
        "array": isinstance(parsed, list),
        "object": isinstance(parsed, dict),
    }
    exact = dump(parsed) == value or wanted in ("array", "object")
    return Repair(at, value, parsed) if fits.get(wanted) and exact else None


def _is_required(called: Called, problem: Problem) -> bool:
    required = called.tool.parameters.get("required", ()) if called.tool else ()
    return problem.keys[-1] in required
