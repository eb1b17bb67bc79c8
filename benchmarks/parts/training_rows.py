"""The rows that train.py trains on: the Berkeley leaderboard's, and conversations made here."""

from __future__ import annotations

import json
import random
from typing import Any

from toolgrove.core.messages import Conversation, Message, Role
from toolgrove.data.canonical import to_row
from toolgrove.eval.bfcl import load_cases, tool, wheel
from toolgrove.eval.labels import label

BFCL = ("simple_python", "multiple", "parallel", "live_simple", "live_multiple")
"""Their cases make 2,111 rows, which share tool lists as the benchmark's do."""

_VERBS = ("get", "find", "book", "cancel", "list", "update", "send", "check", "rate", "plan")
_THINGS = ("flight", "hotel", "weather", "invoice", "meeting", "recipe", "song", "parcel", "route")
_PLACES = ("Ulm", "Kyoto", "Lagos", "Lima", "Oslo", "Pune", "Quito", "Perth", "Austin", "Sapporo")
_KEYS = ("city", "date", "count", "note", "limit", "unit")


def bfcl_rows() -> list[dict[str, Any]]:
    """Each case as a row: its tools, its question, the calls that answer it."""
    folder = wheel()
    rows: list[dict[str, Any]] = []
    for category in BFCL:
        for case in load_cases(folder, category):
            answer = Message(Role.ASSISTANT, None, calls=label(case).calls, has_content=False)
            tools = tuple(tool(function) for function in case.functions)
            rows.append(to_row(Conversation((*case.conversation.messages, answer), tools)))
    return rows


def agent_rows(calls: tuple[int, int] = (1, 1)) -> list[dict[str, Any]]:
    """Conversations with so many calls: a request, each call with its result, an answer.

    Eight of them share one prompt of eight tools; there are 64 prompts.
    """
    dice = random.Random(0)
    rows: list[dict[str, Any]] = []
    for _ in range(64):
        tools = [_tool(dice) for _ in range(8)]
        rows += [_talk(tools, calls, dice) for _ in range(8)]
    dice.shuffle(rows)
    return rows


def _tool(dice: random.Random) -> dict[str, Any]:
    words = " ".join(dice.choices(_VERBS + _THINGS, k=12))
    keys = dice.sample(_KEYS, 4)
    properties = {
        key: {"type": dice.choice(["string", "integer"]), "description": f"The {key} to {words}."}
        for key in keys
    }
    function = {
        "name": f"{dice.choice(_VERBS)}_{dice.choice(_THINGS)}_{dice.randrange(100)}",
        "description": f"Use this to {words}.",
        "parameters": {"type": "object", "properties": properties, "required": keys[:2]},
    }
    return {"type": "function", "function": function}


def _talk(
    tools: list[dict[str, Any]], calls: tuple[int, int], dice: random.Random
) -> dict[str, Any]:
    asked = f"Please {dice.choice(_VERBS)} the {dice.choice(_THINGS)} in {_place(dice)}."
    messages: list[dict[str, Any]] = [{"role": "user", "content": asked}]
    for _ in range(dice.randint(*calls)):
        chosen = dice.choice(tools)["function"]
        arguments = {key: _place(dice) for key in chosen["parameters"]["required"]}
        result = {"status": "ok", "items": [_place(dice) for _ in range(dice.randint(1, 6))]}
        call = {"name": chosen["name"], "arguments": arguments}
        messages += [
            {"role": "tool_call", "content": json.dumps(call)},
            {"role": "tool_response", "content": json.dumps(result)},
        ]
    messages.append({"role": "assistant", "content": f"It is done in {_place(dice)}, as asked."})
    return {"messages": messages, "tools": tools}


def _place(dice: random.Random) -> str:
    return f"{dice.choice(_PLACES)} {dice.randrange(1000)}"
