"""Many clients ask a server at once, for minutes: whole, streamed, wrong, and hanging up.

Without ``--url`` it starts ``toolgrove deploy`` on a script whose replies are numbered, so that one
that comes twice, or in pieces of another, is noticed. It fails when an answer is not what it has to
be, and when the server's memory grows by more than 5 % after its first quarter of the time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil

from toolgrove.cli.together import free_port

GROWTH = 0.05
PER_S = 1500
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
PATH = "/v1/chat/completions"
JSON = dict[str, Any]


def reply(number: int) -> str:
    """The raw reply of that number."""
    call = {"name": "get_weather", "arguments": {"city": f"Zürich 🙂 {number}"}}
    written = json.dumps(call, ensure_ascii=False)
    return f"Look {number}.\n<tool_call>\n{written}\n</tool_call>"


@contextmanager
def scripted(duration_s: float) -> Iterator[tuple[str, psutil.Process]]:
    """A server on a script, until the end of the block; it has to end in good order."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.json"
        replies = [reply(number) for number in range(round(duration_s * PER_S))]
        script.write_text(json.dumps(replies), encoding="utf-8")
        port = free_port()
        words = ["deploy", "--infer_backend", "scripted", "--script", str(script)]
        words += ["--template", "chatml", "--agent_template", "hermes", "--port", str(port)]
        with (Path(folder) / "log").open("w") as log:
            process = subprocess.Popen([sys.executable, "-m", "toolgrove", *words], stderr=log)
        try:
            wait_for(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
            process.send_signal(signal.SIGTERM)
            if process.wait(timeout=60) or "Traceback" in (Path(folder) / "log").read_text():
                raise SystemExit("the server did not end in good order")
        finally:
            process.kill()
            process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Returns when the server answers."""
    for _ in range(1200):
        try:
            if httpx.get(f"{url}/health").status_code == 200:
                return
        except httpx.TransportError:
            if process.poll() is not None:
                break
            time.sleep(0.1)
    raise SystemExit("the server has not started")


@dataclass
class Watch:
    """What has happened so far."""

    numbered: bool
    until: float
    dice: random.Random = field(default_factory=lambda: random.Random(0))
    asked: Counter[str] = field(default_factory=Counter[str])
    seen: set[str] = field(default_factory=set[str])
    errors: list[str] = field(default_factory=list[str])

    def check(self, text: str, call: JSON) -> None:
        """ValueError for an answer that is not one reply's, or comes again."""
        number = text.removeprefix("Look ").removesuffix(".")
        arguments = json.loads(call["function"]["arguments"])
        if not self.numbered:
            return
        if arguments != {"city": f"Zürich 🙂 {number}"} or number in self.seen:
            raise ValueError(f"an answer of two replies, or the same one again: {text!r} {call}")
        self.seen.add(number)


def body(**fields: Any) -> JSON:
    """A chat with a tool."""
    message = {"role": "user", "content": "How is the weather?"}
    return {"messages": [message], "tools": [TOOL], "max_tokens": 200, **fields}


async def whole(http: httpx.AsyncClient, watch: Watch) -> None:
    """Asks for a whole answer."""
    answer = (await http.post(PATH, json=body())).raise_for_status().json()["choices"][0]
    if watch.numbered:
        watch.check(answer["message"]["content"], answer["message"]["tool_calls"][0])


async def streamed(http: httpx.AsyncClient, watch: Watch) -> None:
    """Reads a stream to its end."""
    text, call, reason = "", {"function": {"arguments": ""}}, None
    async with http.stream("POST", PATH, json=body(stream=True)) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            choice = json.loads(line.removeprefix("data: "))["choices"][0]
            text += choice["delta"].get("content") or ""
            for part in choice["delta"].get("tool_calls", ()):
                call["function"]["arguments"] += part["function"]["arguments"]
            reason = choice["finish_reason"] or reason
    if reason is None:
        raise ValueError("a stream without an end")
    if watch.numbered:
        watch.check(text, call)


async def left(http: httpx.AsyncClient, _watch: Watch) -> None:
    """Hangs up after the first chunk of a stream."""
    async with http.stream("POST", PATH, json=body(stream=True)) as response:
        response.raise_for_status()
        async for _ in response.aiter_lines():
            return


async def wrong(http: httpx.AsyncClient, watch: Watch) -> None:
    """Asks with a field that nobody knows."""
    unknown = {f"field{watch.dice.randrange(10**9)}": 1}
    status = (await http.post(PATH, json=body(**unknown))).status_code
    if status != 400:
        raise ValueError(f"status {status} for an unknown field")


Kind = Callable[[httpx.AsyncClient, Watch], Coroutine[Any, Any, None]]
KINDS: dict[Kind, int] = {whole: 4, streamed: 4, left: 1, wrong: 1}


async def client(url: str, watch: Watch) -> None:
    """One client: a request after the other, of any kind."""
    async with httpx.AsyncClient(base_url=url, timeout=120) as http:
        while time.monotonic() < watch.until:
            kind = watch.dice.choices(list(KINDS), list(KINDS.values()))[0]
            watch.asked[kind.__name__] += 1
            try:
                await kind(http, watch)
            except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
                watch.errors.append(f"{kind.__name__}: {error!r}")


async def memory(server: psutil.Process, watch: Watch) -> list[float]:
    """The server's resident memory in MB, each second."""
    found: list[float] = []
    while time.monotonic() < watch.until:
        await asyncio.sleep(1)
        found.append(server.memory_info().rss / 2**20)
    return found


async def load(url: str, server: psutil.Process, given: argparse.Namespace) -> JSON:
    """All clients together, and what came of it."""
    watch = Watch(given.url is None, time.monotonic() + given.duration_s)
    begun, spent = time.monotonic(), sum(server.cpu_times()[:2])
    clients = [client(url, watch) for _ in range(given.clients)]
    rss, *_ = await asyncio.gather(memory(server, watch), *clients)
    before, after = rss[len(rss) // 4], rss[-1]
    return {
        "clients": given.clients,
        "seconds": round(time.monotonic() - begun),
        "asked": dict(watch.asked),
        "errors": len(watch.errors),
        "first_errors": watch.errors[:5],
        "rss_mb": [round(before, 1), round(after, 1)],
        "growth": round(after / before - 1, 4),
        "server_cpu_s": round(sum(server.cpu_times()[:2]) - spent, 1),
    }


def main() -> int:
    """Prints one line of JSON; 1 for an error or a leak."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--clients", type=int, default=24)
    flags.add_argument("--duration_s", type=float, default=300)
    flags.add_argument("--url", help="a server that runs already, as http://127.0.0.1:8000")
    flags.add_argument("--pid", type=int, help="its process")
    given = flags.parse_args()
    if given.url is not None:
        if given.pid is None:
            flags.error("--url needs --pid, whose memory is watched")
        found = asyncio.run(load(given.url, psutil.Process(given.pid), given))
    else:
        with scripted(given.duration_s) as (url, server):
            found = asyncio.run(load(url, server, given))
    print(json.dumps(found))
    return 1 if found["errors"] or found["growth"] > GROWTH else 0


if __name__ == "__main__":
    sys.exit(main())
