"""How fast rows become weighted token ids on disk, beside ms-swift, LLaMA-Factory and bare
tokenization; how much memory a million rows take.

Ours reads, checks, converts, renders, tokenizes, weighs and writes Arrow; each peer does its own
stage before training, loading of libraries and tokenizers left out for all. The rows are 2,111 of
the Berkeley Function Calling Leaderboard, with the first accepted value of each argument. The
measure is rows per second of CPU time, all threads and processes counted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from peers.clock import cpu_s, settled_cpu_s
from peers.environments import set_up

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".bench"
CATEGORIES = ("live_multiple", "simple_python", "live_simple", "multiple", "parallel")
GOAL_MB = 1500
ROUNDS = 3
"""How often all take turns; the medians count."""
SHARED = 20_000
FEW, MANY = 100_000, 1_000_000


def bfcl_rows() -> list[dict[str, Any]]:
    from toolgrove.eval.bfcl import load_cases, wheel

    rows: list[dict[str, Any]] = []
    for case in (case for name in CATEGORIES for case in load_cases(wheel(), name)):
        messages = [{"role": str(m.role), "content": m.content} for m in case.conversation.messages]
        for call in case.gold:
            given = {k: first(v) for k, v in call.arguments.items() if v and v[0] != ""}
            content = json.dumps({"name": call.name, "arguments": given}, ensure_ascii=False)
            messages.append({"role": "tool_call", "content": content})
        specs = [tool.spec for tool in case.conversation.tools]
        rows.append({"messages": messages, "tools": json.dumps(specs, ensure_ascii=False)})
    return rows


def first(values: list[Any]) -> Any:
    value = values[0]
    if isinstance(value, dict):
        lists = {k: v if isinstance(v, list) else [v] for k, v in value.items()}
        return {k: first(v) for k, v in lists.items() if v and v[0] != ""}
    if isinstance(value, list):
        return [first([item]) if isinstance(item, dict) else item for item in value]
    return value


def shared_rows(rows: list[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    """Further rows out of these: a question with a number of its own, its tools shared."""
    dice = random.Random(0)
    for number in range(count):
        row = dice.choice(rows)
        *before, question = [m for m in row["messages"] if m["role"] != "tool_call"]
        asked = {**question, "content": f"{question['content']} (order {number})"}
        calls = [m for m in row["messages"] if m["role"] == "tool_call"]
        yield {"messages": [*before, asked, *calls], "tools": row["tools"]}


def for_llamafactory(row: dict[str, Any]) -> dict[str, Any]:
    said = {role: [] for role in ("system", "user", "tool_call")}
    for message in row["messages"]:
        said[message["role"]].append(message["content"])
    calls = [json.loads(call) for call in said["tool_call"]]
    called = json.dumps(calls if len(calls) > 1 else calls[0], ensure_ascii=False)
    turns = [
        {"from": "human", "value": "\n".join(said["user"])},
        {"from": "function_call", "value": called},
    ]
    return {"conversations": turns, "system": "\n".join(said["system"]), "tools": row["tools"]}


def write(file: Path, rows: Any) -> str:
    with file.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    return str(file)


def job(folder: Path) -> Any:
    from toolgrove.encoding.job import Job

    return Job(folder, date(2026, 1, 15), template="qwen3")


def ours(folder: Path, data: str) -> dict[str, Any]:
    from toolgrove.data.rows import Row
    from toolgrove.data.stream import Mixture, stream_rows
    from toolgrove.encoding.job import RowEncoder
    from toolgrove.encoding.parallel import ROWS_PER_SHARD, rare_collections
    from toolgrove.encoding.shards import Shard, Totals, write_shard

    encoder = RowEncoder(job(folder))
    with tempfile.TemporaryDirectory() as scratch, rare_collections():
        warm = encoder.work([Row({"query": "Hello", "response": "Hi"}, "warm-up:1")])
        write_shard(Path(scratch) / "warm-up.arrow", warm)  # loads the libraries, as the peers did
        begun = settled_cpu_s()
        totals, held, files = Totals(), [], []

        def flush() -> None:
            nonlocal totals
            files.append(Path(scratch) / f"{len(files)}.arrow")
            totals = totals.plus(write_shard(files[-1], encoder.work(held)))
            held.clear()

        for row in stream_rows(Mixture((data,))):
            held.append(row)
            if len(held) == ROWS_PER_SHARD:
                flush()
        if held:
            flush()
        spent = cpu_s() - begun
        begun = cpu_s()
        for file in files:
            shard = Shard(file)
            for index in range(len(shard)):
                shard.get(index)
        again = cpu_s() - begun
    return {"rows": totals.rows, "cpu_s": spent, "tokens": totals.tokens, "again_s": again}


def plain(folder: Path, data: str) -> dict[str, Any]:
    import tokenizers

    from toolgrove.data.formats import conversation
    from toolgrove.data.rows import read_rows
    from toolgrove.templates.dialect import dialect

    spoken = dialect("qwen3")
    texts = [spoken.text(conversation(row.value)) for row in read_rows(data)]
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    begun = settled_cpu_s()
    found = backend.encode_batch_fast(texts)
    spent = cpu_s() - begun
    tokens = sum(len(one.ids) for one in found)
    return {"rows": len(texts), "cpu_s": spent, "tokens": tokens, "version": tokenizers.__version__}


def run(words: list[str], **more: str) -> dict[str, Any]:
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "true", **more}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words[:2])} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def myself(what: str, *words: str) -> dict[str, Any]:
    return run([sys.executable, __file__, "--part", what, *words])


def peer(peers: Path, name: str, folder: Path, data: str) -> dict[str, Any]:
    python = peers / name / "bin" / "python"
    if not python.is_file():
        raise SystemExit(f"{name} is missing: make bench-setup")
    script = ROOT / "benchmarks" / "peers" / f"with_{name.replace('-', '_')}.py"
    return run([str(python), str(script), str(folder), data], DISABLE_VERSION_CHECK="1")


def stream(folder: Path, data: str, workers: int) -> dict[str, Any]:
    """Encodes into a cache, then asks for it again; the largest memory of all processes together,
    the times, and the CPU time of the process that was busiest."""
    from toolgrove.data.stream import Mixture
    from toolgrove.encoding.cache import Recipe, write_cache
    from toolgrove.encoding.parallel import executor

    watch = Watch()
    watcher = threading.Thread(target=watch.run, daemon=True)
    watcher.start()
    with tempfile.TemporaryDirectory() as scratch:
        begun, clock = cpu_s(), time.monotonic()
        recipe = Recipe(Mixture((data,)), job(folder))
        cache = write_cache(Path(scratch) / "cache", recipe, executor("local", workers))
        spent, wall = cpu_s() - begun, time.monotonic() - clock
        size = sum(file.stat().st_size for file in cache.folder.iterdir()) / 2**20
        clock = time.monotonic()
        write_cache(Path(scratch) / "cache", recipe, executor("local", workers))
        again = time.monotonic() - clock
    watch.over.set()
    watcher.join()
    found = {"rows": cache.totals.rows, "tokens": cache.totals.tokens, "cache_mb": size}
    busiest = max(watch.busy_s.values())
    times = {"cpu_s": spent, "busiest_s": busiest, "wall_s": wall, "again_s": again}
    return {**found, **times, "peak_mb": watch.peak_mb}


class Watch:
    """Looks at this process and its children while they run."""

    def __init__(self) -> None:
        self.peak_mb = 0.0
        self.busy_s: dict[int, float] = {}
        self.over = threading.Event()

    def run(self) -> None:
        """Looks until it is over."""
        while not self.over.wait(0.25):
            self.peak_mb = max(self.peak_mb, sum(map(self._used_mb, family())))

    def _used_mb(self, process: Path) -> float:
        """What the process holds in memory, pages that it shares with others in equal parts."""
        try:
            user, system = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
            self.busy_s[int(process.name)] = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
            lines = (process / "smaps_rollup").read_text().splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
        except (OSError, StopIteration):
            return 0.0


def family() -> list[Path]:
    """This process and its children."""
    own = os.getpid()
    found: list[Path] = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if own in (parent, int(entry.name)):
            found.append(entry)
    return found


def result(
    name: str, our: float, their: float, unit: str, conditions: dict[str, Any]
) -> dict[str, Any]:
    smaller = unit in ("MB", "s")
    ratio = their / our if smaller else our / their
    found = {"name": name, "ours": round(our, 1), "peer": round(their, 1)}
    return {**found, "ratio": round(ratio, 2), "unit": unit, "conditions": conditions}


def conditions(runs: int) -> dict[str, Any]:
    return {
        "runs": runs,
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "tokenizers": version("tokenizers"),
    }


def compare(given: argparse.Namespace, folder: Path, scratch: Path) -> list[dict[str, Any]]:
    rows = {"encode": bfcl_rows()}
    if not given.quick:
        rows["encode-shared"] = list(shared_rows(rows["encode"], SHARED))
    return [one for title in rows for one in sides(given, folder, rows[title], scratch / title)]


def sides(
    given: argparse.Namespace, folder: Path, rows: list[dict[str, Any]], place: Path
) -> list[dict[str, Any]]:
    """All of them on the same rows, by turns."""
    title = place.name
    data = write(place.with_suffix(".jsonl"), rows)
    theirs = write(place.with_suffix(".llamafactory.jsonl"), map(for_llamafactory, rows))
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "ours": lambda: myself("ours", str(folder), data),
        "tokenizers": lambda: myself("plain", str(folder), data),
        "llamafactory": lambda: peer(given.peers, "llamafactory", folder, theirs),
        "ms-swift": lambda: peer(given.peers, "ms-swift", folder, data),
    }
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in measures}
    for _ in range(ROUNDS):
        for name, measure in measures.items():
            found[name].append(measure())
            say(f"{title}/{name}", found[name][-1])
    ours = found.pop("ours")
    speed = median_speed(ours)
    about = {**conditions(ROUNDS), "rows": len(rows), "tokens": ours[0]["tokens"]}
    results: list[dict[str, Any]] = []
    for name, every in found.items():
        there = {"peer_rows": every[0]["rows"], "peer_tokens": every[0]["tokens"]}
        which = {"peer": f"{name} {every[0]['version']}"}
        numbers = (speed, median_speed(every))
        results.append(
            result(f"{title}/{name}", *numbers, "rows/CPU-s", {**about, **there, **which})
        )
    again = statistics.median(one["rows"] / one["again_s"] for one in ours)
    about["peer"] = "encoding them"
    return [*results, result(f"{title}/cache", again, speed, "rows/CPU-s", about)]


def median_speed(runs: list[dict[str, Any]]) -> float:
    return statistics.median(one["rows"] / one["cpu_s"] for one in runs)


def scale(given: argparse.Namespace, folder: Path, scratch: Path) -> list[dict[str, Any]]:
    rows = bfcl_rows()
    data = write(scratch / "shared.jsonl", shared_rows(rows, FEW))
    runs: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for _ in range(given.runs):
        one, two = (myself("stream", str(folder), data, str(n)) for n in (1, 2))
        say("1 process", one)
        say("2 processes", two)
        runs.append((one, two))
    one, two = (min(side, key=lambda found: found["wall_s"]) for side in zip(*runs, strict=True))
    about = {**conditions(given.runs), "rows": one["rows"], "of runs": "the best"}
    about["unit of time"] = "s of the clock, starting processes included"
    about["busiest_s"] = [round(found["busiest_s"], 1) for found in (one, two)]
    speeds = [found["rows"] / found["wall_s"] for found in (two, one)]
    large = two
    if not given.quick:
        many = write(scratch / "many.jsonl", shared_rows(rows, MANY))
        large = myself("stream", str(folder), many, "2")
        say("stream", large)
    memory = {**conditions(1), "rows": large["rows"], "processes": 2, "peer": "the goal"}
    memory["rows/CPU-s"] = round(large["rows"] / large["cpu_s"])
    memory["wall_s"] = round(large["wall_s"])
    times = [large["again_s"], large["wall_s"]]
    return [
        result("encode/two-processes", *speeds, "rows/s", about),
        result("stream/rss", large["peak_mb"], GOAL_MB, "MB", memory),
        result("stream/again", *times, "s", {**memory, "peer": "encoding them"}),
    ]


def say(name: str, found: dict[str, Any]) -> None:
    print(name, {k: round(v, 2) for k, v in found.items() if k != "version"}, file=sys.stderr)


def model_folder(given: str, scratch: Path) -> Path:
    """The tokenizer's folder with a config that the peers can read."""
    from toolgrove.encoding.folder import text_folder

    folder = scratch / "model"
    shutil.copytree(text_folder(given), folder)
    config = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "vocab_size": 151936}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def main() -> None:
    shared = ROOT.parent / "shared" / "tokenizers" / "qwen3"
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument(
        "--quick", action="store_true", help="fewer rows, 100,000 of them streamed once"
    )
    flags.add_argument("--json", action="store_true", help="print JSON")
    flags.add_argument("--setup", action="store_true", help="make the peers' environments only")
    flags.add_argument("--peers", type=Path, default=PEERS, help="folder of these environments")
    flags.add_argument("--only", choices=["compare", "scale"], help="one half of it")
    flags.add_argument("--model", default=str(shared) if shared.is_dir() else "hf:Qwen/Qwen3-0.6B")
    flags.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    given = flags.parse_args()
    if given.part:
        what, folder, data, *more = given.part
        parts = {"ours": ours, "plain": plain, "stream": stream}
        print(json.dumps(parts[what](Path(folder), data, *map(int, more))))
        return
    if given.setup:
        set_up(given.peers)
        return
    given.runs = 1 if given.quick else 3
    halves = {"compare": compare, "scale": scale}
    with tempfile.TemporaryDirectory() as place:
        folder = model_folder(given.model, Path(place))
        chosen = [given.only] if given.only else list(halves)
        results = [one for half in chosen for one in halves[half](given, folder, Path(place))]
    if given.json:
        print(json.dumps(results, indent=1))
        return
    for one in results:
        shown = f"{one['ours']:>10,.1f} {one['unit']:<10} peer {one['peer']:>10,.1f}"
        print(f"{one['name']:>22}: {shown}   ratio {one['ratio']:.2f}")


if __name__ == "__main__":
    main()
