"""How fast a model's own Jinja writes all turns of a long conversation, in milliseconds.

For each folder of ``--makers``, conversations of 20, 60 and 120 messages, a round being a question,
a call with thinking, its result and an answer with thinking. ``turns``: what training asks for,
every turn with its prompt and spans. ``anew``: only the texts that this needs, each prefix followed
by itself. ``native``: the turns of the native dialect. CPU time, best of several.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import toolgrove as tg
from toolgrove.core.errors import TemplateError
from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Conversation, Message, Role, Tool, ToolCall
from toolgrove.templates.own_folder import own_template

TODAY = date(2026, 1, 15)
LENGTHS = (20, 60, 120)
FIND = Tool(
    {
        "type": "function",
        "function": {
            "name": "find",
            "description": "Finds things.",
            "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}},
        },
    }
)


def conversation(length: int, given: bool) -> Conversation:
    """So many messages; ``given``: arguments as JSON text, which some templates ask for."""
    messages: list[Message] = []
    for n in range(length // 4):
        arguments = {"n": n}
        call = ToolCall("find", arguments, f"call{n:05}", dump(arguments) if given else None)
        messages += [
            Message(Role.USER, f"Where is {n}? " + "some more words " * 10),
            Message(Role.ASSISTANT, "", thinking="Hm. " * 5, calls=(call,)),
            Message(Role.TOOL, f"result {n} " + "data " * 20, name="find", call_id=call.id),
            Message(Role.ASSISTANT, "It is there. " * 5, thinking="So it is."),
        ]
    return Conversation(tuple(messages), (FIND,))


def milliseconds(run: Callable[[], object], times: int) -> float:
    """The CPU time of the fastest of several runs."""
    best = float("inf")
    for _ in range(times):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return round(1000 * best, 1)


def measured(folder: Path, given: bool, times: int) -> dict[str, list[float]]:
    """The times for a folder's template; TemplateError when it refuses the conversations."""
    template = own_template(folder).compiled({}, TODAY)
    own = tg.dialect_for(folder, native=False, today=TODAY)
    native = tg.dialect_for(folder, today=TODAY)
    found: dict[str, list[float]] = {"turns": [], "anew": [], "native": []}

    def anew(conv: Conversation) -> None:
        for index, message in enumerate(conv.messages):
            if message.role is Role.ASSISTANT:
                template.tracked(conv.until(index), True)
                template.tracked(conv.until(index + 1), False)

    ways = {"turns": own.turns, "anew": anew, "native": native.turns}
    for length in LENGTHS:
        for name, way in ways.items():
            found[name].append(
                milliseconds(lambda w=way, n=length: w(conversation(n, given)), times)
            )
    return found


def main() -> None:
    """Prints a line for each template, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--makers", type=Path, default=Path("../shared/tokenizers"))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="one run of each instead of five")
    flags = parser.parse_args()
    logging.disable(logging.WARNING)
    results: dict[str, dict[str, list[float]]] = {}
    for folder in sorted(flags.makers.glob("*")) if flags.makers.is_dir() else ():
        for given in (False, True):
            try:
                results[folder.name] = measured(folder, given, 1 if flags.quick else 5)
            except TemplateError as error:
                print(f"{folder.name}: {error.what}", file=sys.stderr)
                continue
            break
        if folder.name in results and not flags.json:
            print(folder.name, results[folder.name], flush=True)
    if flags.json:
        print(json.dumps({"messages": LENGTHS, "milliseconds": results}))


if __name__ == "__main__":
    main()
