"""The benchmark's own right answers through our whole path, for each dialect and category.

An answer is written as a dialect writes it, read back as the dialect reads a reply, and judged by
the checker of the unpacked wheel of bfcl-eval: a share below 1 is an answer that a dialect loses,
or that the checker itself refuses (``gold/none``: the answers as they are, through no dialect).
Conversations of several turns are played in the simulated worlds by the suite's own loop.
``live_relevance`` has no right answer to write. ``--quick`` takes a sample of the conversations; a
case that a dialect cannot write counts as wrong.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from toolgrove.core.errors import TemplateError
from toolgrove.core.messages import Conversation, Message, Reply
from toolgrove.eval.bfcl import CATEGORIES, VERSION, load_cases, load_checker, wheel
from toolgrove.eval.bfcl_turns import load_turns
from toolgrove.eval.cases import sample, verdict
from toolgrove.eval.gold import GoldSpeaker, gold_of_case, gold_of_turns
from toolgrove.eval.labels import label
from toolgrove.eval.play import Play, play_alone
from toolgrove.eval.speakers import Said, Speaker
from toolgrove.eval.suites.bfcl import GROUPS, play_case, play_turns
from toolgrove.eval.worlds import Worlds
from toolgrove.templates.dialect import Dialect, dialect

TODAY = date(2026, 1, 15)
NONE = "none"
DIALECTS: dict[str, tuple[str, str | None]] = {
    "hermes": ("chatml", "hermes"),
    "qwen3": ("qwen3", None),
    "qwen3_5": ("qwen3_5", None),
    "qwen3_coder": ("qwen3_coder", None),
    "llama3": ("llama3_2", "llama3"),
    "llama4": ("llama4", "llama4"),
    "mistral": ("mistral_nemo", None),
    "deepseek_v3_1": ("deepseek_v3_1", "deepseek_v3_1"),
    "deepseek_v4": ("deepseek_v4", None),
    "glm4_5": ("glm4_5", None),
    "kimi_k2": ("kimi_k2", None),
    "minimax_m2": ("minimax_m2", None),
    "gpt_oss": ("gpt_oss", "gpt_oss"),
    "gemma4": ("gemma4", None),
    "granite": ("granite3_3", "granite"),
    "lfm2": ("lfm2", "lfm2"),
    "seed_oss": ("seed_oss", None),
    "command_r7b": ("command_r7b_tool_use", "command_r7b"),
    "react_en": ("chatml", "react_en"),
    "toolbench": ("chatml", "toolbench"),
}
"""Dialects by the name of what writes calls: chat template and agent template (None: its own)."""

SKIPPED = {"live_relevance"}
TURNS = ("multi_turn_base", "multi_turn_miss_func", "multi_turn_long_context")
QUICK = 20
"""Conversations of each category in a quick run; cases of one turn are always all there."""
SEED = 42


class Work(NamedTuple):
    """A dialect and a category, and how many of its cases (None: all)."""

    name: str
    category: str
    count: int | None


class Found(NamedTuple):
    """How many answers went through, and why the others did not."""

    hits: int
    cases: int
    reasons: list[str]


def gold_categories() -> list[str]:
    single = [name for name in GROUPS["ast"] if name not in SKIPPED]
    return [*single, *TURNS]


@cache
def benchmark() -> tuple[Path, Any, Worlds]:
    folder = wheel()
    return folder, load_checker(folder), Worlds(folder)


def found(work: Work) -> Found:
    spoken = None if work.name == NONE else dialect(*DIALECTS[work.name], today=TODAY)
    reasons: list[str] = []
    cases = 0
    for name, wrong in verdicts(work, spoken):
        cases += 1
        reasons += [f"{name}: {wrong}"] if wrong else []
    return Found(cases - len(reasons), cases, reasons)


def verdicts(work: Work, spoken: Dialect | None) -> Iterator[tuple[str, str]]:
    folder, checker, worlds = benchmark()
    if work.category in CATEGORIES:
        cases = load_cases(folder, work.category)
        for case in sample(cases, min(work.count or len(cases), len(cases)), SEED):
            if spoken is None:
                said = verdict(case, label(case).calls, checker)
                yield case.name, "" if said.right else said.reason
            else:
                yield case.name, told(play_case(case, checker), spoken, gold_of_case(case))
        return
    turns = load_turns(folder, work.category)
    for case in sample(turns, work.count, SEED):
        answers = gold_of_turns(case)
        yield case.name, told(play_turns(case, worlds), spoken, answers)


class AsTheyAre:
    """Answers with the messages as they are: through no dialect."""

    def __init__(self, messages: Iterator[Message]) -> None:
        self._messages = messages

    def answer(self, asked: Sequence[Conversation]) -> list[Said]:
        """The messages as replies."""
        told = [next(self._messages) for _ in asked]
        return [Said(Reply(None, m.text, m.calls), "", ended=True) for m in told]


def told(play: Play, spoken: Dialect | None, answers: Iterator[Message]) -> str:
    """Why the case went wrong; "" when it went right."""
    speaker: Speaker = GoldSpeaker(spoken, answers) if spoken else AsTheyAre(answers)
    try:
        found = play_alone(play, speaker)
    except TemplateError as error:
        return f"not to be written: {error.what}"
    return "" if found.right else found.reason or "wrong"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a sample of the conversations")
    parser.add_argument("--dialects", nargs="+", choices=list(DIALECTS), default=list(DIALECTS))
    parser.add_argument("--categories", nargs="+", choices=gold_categories())
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    work = [
        Work(name, category, QUICK if given.quick and category in TURNS else None)
        for category in given.categories or gold_categories()
        for name in (NONE, *given.dialects)
    ]
    benchmark()[2].close()
    entries: list[dict[str, Any]] = []
    with ProcessPoolExecutor(given.workers) as pool:
        for one, result in zip(work, pool.map(found, work), strict=True):
            entries.append(entry(one, result))
            line = f"gold/{one.name}/{one.category}: {result.hits} of {result.cases}"
            print(line, *result.reasons[:3], sep="\n  ", file=sys.stderr)
    print(json.dumps(entries, indent=2) if given.json else summary(entries))


def entry(work: Work, result: Found) -> dict[str, Any]:
    return {
        "name": f"gold/{work.name}/{work.category}",
        "share": round(result.hits / result.cases, 4),
        "unit": "share of right answers that are right after writing and reading",
        "conditions": f"{result.hits} of {result.cases} cases, bfcl-eval {VERSION}, "
        f"Python {platform.python_version()}",
    }


def summary(entries: Sequence[dict[str, Any]]) -> str:
    return "\n".join(f"{100 * e['share']:6.2f} %  {e['name']}" for e in entries)


if __name__ == "__main__":
    main()
