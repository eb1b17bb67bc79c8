"""The benchmark's conversations of several turns: their data, and the right calls as calls."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolgrove.core.errors import DataError
from toolgrove.core.messages import JSON, Message, Role, Tool, ToolCall
from toolgrove.eval.bfcl import PREFIX, read_rows, tool

MULTI_TURN = (
    "multi_turn_base",
    "multi_turn_miss_func",
    "multi_turn_miss_param",
    "multi_turn_long_context",
)

DOCUMENTS = {
    "GorillaFileSystem": "gorilla_file_system",
    "MathAPI": "math_api",
    "MessageAPI": "message_api",
    "TwitterAPI": "posting_api",
    "TicketAPI": "ticket_api",
    "TradingBot": "trading_bot",
    "TravelAPI": "travel_booking",
    "VehicleControlAPI": "vehicle_control",
}
"""The eight worlds, each with the file that describes its functions."""

NEW_FUNCTIONS = "I have updated some more functions you can choose from. What about now?"
"""What the user says where a function that was kept back is given (the benchmark's own words)."""

MOST_STEPS = 20
"""After more steps than this within one turn the benchmark gives up on the conversation."""


@dataclass(frozen=True, slots=True)
class TurnsCase:
    """A conversation of several turns.

    ``turns`` are what the user says in each; ``added`` the tools that come with a turn; ``entry``
    is what the simulated worlds are made from, ``wanted`` the right calls of each turn in Python.
    """

    name: str
    category: str
    turns: tuple[tuple[Message, ...], ...]
    tools: tuple[Tool, ...]
    added: Mapping[int, tuple[Tool, ...]]
    entry: JSON
    wanted: tuple[tuple[str, ...], ...]


def load_turns(folder: Path, category: str) -> list[TurnsCase]:
    """All cases of a multi-turn category out of the unpacked wheel."""
    data = folder / "bfcl_eval" / "data"
    functions = {
        world: read_rows(data / "multi_turn_func_doc" / f"{file}.json")
        for world, file in DOCUMENTS.items()
    }
    name = f"{PREFIX}{category}.json"
    answers = {r["id"]: r["ground_truth"] for r in read_rows(data / "possible_answer" / name)}
    return [_case(row, category, functions, answers[row["id"]]) for row in read_rows(data / name)]


def written(call: ToolCall) -> str:
    """A call as the benchmark executes it."""
    return f"{call.name}({','.join(f'{key}={value!r}' for key, value in call.arguments.items())})"


def calls_of(case: TurnsCase, turn: int) -> list[ToolCall]:
    """The right calls of a turn, their arguments by name."""
    tools = [*case.tools, *(tool for added in case.added.values() for tool in added)]
    names = {tool.name: list(tool.parameters.get("properties", {})) for tool in tools}
    return [_call(source, names, case.name) for source in case.wanted[turn]]


def _call(source: str, names: Mapping[str, Sequence[str]], where: str) -> ToolCall:
    tree = ast.parse(source.strip(), mode="eval").body
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
        raise DataError(f"not a call: {source}", where=where)
    places = names.get(tree.func.id, [])
    values = {key: ast.literal_eval(value) for key, value in zip(places, tree.args, strict=False)}
    values |= {str(word.arg): ast.literal_eval(word.value) for word in tree.keywords}
    return ToolCall(tree.func.id, json.loads(json.dumps(values)))


def _case(
    row: Mapping[str, Any],
    category: str,
    functions: Mapping[str, Sequence[JSON]],
    wanted: Sequence[Sequence[str]],
) -> TurnsCase:
    offered = [function for world in row["involved_classes"] for function in functions[world]]
    added: dict[int, tuple[Tool, ...]] = {}
    for turn, names in row.get("missed_function", {}).items():
        late: list[Tool] = []
        for name in names:
            found = next(function for function in offered if function["name"] == name)
            offered.remove(found)
            late.append(tool(found))
        added[int(turn)] = tuple(late)
    turns = tuple(
        tuple(Message(Role(m["role"]), m["content"]) for m in said)
        or ((Message(Role.USER, NEW_FUNCTIONS),) if number in added else ())
        for number, said in enumerate(row["question"])
    )
    entry = {key: row[key] for key in ("id", "initial_config", "involved_classes")}
    tools = tuple(tool(function) for function in offered)
    right = tuple(tuple(calls) for calls in wanted)
    return TurnsCase(row["id"], category, turns, tools, added, entry, right)
