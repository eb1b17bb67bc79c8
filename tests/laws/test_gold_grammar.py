"""Law: the calls of gold data are admitted, their arguments in any order, by every agent template
that can write them. They need xgrammar and are skipped without it."""

import gzip
import json
import random
import re
from functools import lru_cache
from pathlib import Path

import pytest

from tests.laws.test_grammar import AGENTS, admits, home, parsed
from toolgrove.core.errors import TemplateError
from toolgrove.core.messages import ToolCall
from toolgrove.core.spans import text_of
from toolgrove.data.doctor.schemas import Schemas
from toolgrove.data.formats import conversation
from toolgrove.eval.bfcl import load_cases, wheel
from toolgrove.eval.labels import label
from toolgrove.templates.readback import same_calls
from toolgrove.templates.values import Step

SCENARIOS = Path("../shared/goldens/vendor/scenarios.jsonl.gz")
CATEGORIES = ("simple_python", "multiple", "parallel_multiple", "live_simple", "live_multiple")
EACH = 40
DATES = re.compile(r"\d{4}-\d\d-\d\d|\d\d:\d\d")
"""what may break a format: JSON Schema calls formats remarks, a grammar holds them"""


def shuffled(calls, chance):
    found = []
    for call in calls:
        items = list(call.arguments.items())
        chance.shuffle(items)
        found.append(ToolCall(call.name, dict(items)))
    return found


def is_valid(tools, calls):
    """Whether the calls' arguments fit their tools' schemas."""
    by_name = {tool.name: Schemas().of(tool) for tool in tools}
    return all(
        call.name in by_name and not by_name[call.name].problems(call.arguments) for call in calls
    )


def is_admitted(d, tools, calls):
    """None: this dialect cannot write the calls."""
    try:
        written = text_of(d.agent.write_calls(calls, Step(tools)))
    except TemplateError:
        return None
    if not same_calls(d.read(written, tools).calls, calls):
        return None
    return admits(parsed(d.grammar(tools)), written)


@lru_cache
def vendor_calls():
    if not SCENARIOS.is_file():
        pytest.skip(f"needs {SCENARIOS}")
    lines = gzip.decompress(SCENARIOS.read_bytes()).decode().split("\n")
    rows = [row for row in map(json.loads, filter(None, lines)) if row.get("tools")]
    convs = [(row["id"], conversation(row)) for row in rows]
    return [(name, c.tools, m.calls) for name, c in convs for m in c.messages if m.calls]


@pytest.mark.parametrize("agent", AGENTS)
def test_calls_of_the_makers_scenarios(agent):
    d, chance = home(agent), random.Random(agent)
    found = {
        name: is_admitted(d, tools, shuffled(calls, chance))
        for name, tools, calls in vendor_calls()
    }
    assert [name for name, admitted in found.items() if admitted is False] == []
    assert any(found.values())


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["hermes", "qwen3_coder", "kimi_k3", "lfm2", "gemma4", "glm4"])
def test_calls_of_the_leaderboard(agent):
    d, chance, told = home(agent), random.Random(0), 0
    for category in CATEGORIES:
        for case in chance.sample(load_cases(wheel(), category), EACH):
            tools, calls = case.conversation.tools, shuffled(label(case).calls, chance)
            if is_valid(tools, calls) and is_admitted(d, tools, calls) is False:
                if DATES.search(str(calls)) and '"format"' in json.dumps([t.spec for t in tools]):
                    continue
                assert any("too many for any order" in note for note in d.grammar_notes(tools))
                told += 1
    assert told <= len(CATEGORIES) * EACH // 50
