"""Fine-tuning: row tokens per second and peak memory, beside ms-swift, TRL and LLaMA-Factory.

All train SmolLM2-135M with LoRA (rank 8, all linear layers, weights in bfloat16) on the same rows:
ours as ``toolgrove sft`` reads them, the peers as the very tokens and labels that come of it. Row
tokens count every row in full, shared or not, padding left out: that is the work that was asked
for. The first step of each run is not counted.

- real: 2,111 rows of BFCL, one request each, with the tool lists that they happen to share
- agent: conversations made here, 8 of which share a prompt with 8 tools: a request, a call, its
  result, an answer
- turns: the same with two to four calls, of which more is their own
- memory: peak memory on the same real rows, as many of them in a step
- curve: the loss on fixed rows against rows seen, ours and the fastest peer's
- head: the memory that logits of trained positions save, without any sharing
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from parts.training_rows import agent_rows, bfcl_rows
from parts.trainings import MODEL, PARTNERS, Place, Rows, Run, read, usage
from peers.environments import set_up
from toolgrove.models.threads import prepare_torch, usable_cores

PEERS = Path(__file__).parents[1] / ".bench"
FOREST = ["--forest", "auto", "--tokens_per_batch", "5200"]
SETS = ["real", "agent", "turns", "memory", "curve", "head"]
SHORT = 500
"""Tokens of the longest row that the loss is validated on."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: runs of so many counted steps, a peer's rows in a step of each set."""

    runs: int
    steps: int
    rows: dict[str, int]


FULL = Size(3, 3, {"real": 4, "agent": 2, "turns": 2})
QUICK = Size(1, 3, {"real": 2, "agent": 1, "turns": 1})
"""One run of each, whose three steps count as three runs."""


def by_turns(name: str, ways: dict[str, Callable[[int], Run]], runs: int) -> dict[str, list[Run]]:
    """Each way by turns, so that other programs slow down all of them alike."""
    found: dict[str, list[Run]] = {way: [] for way in ways}
    for number in range(runs):
        for way, train in ways.items():
            found[way].append(train(number))
            print(f"{name} {way}: {found[way][-1]}", file=sys.stderr)
    if runs == 1:
        return {way: made.apart() for way, (made,) in found.items()}
    return found


def race(rows: Rows, place: Place, size: Size, partners: list[str]) -> dict[str, list[Run]]:
    """Runs of ours and of each partner, under its name."""
    steps, many = size.steps + 1, size.rows[rows.name]

    def with_peer(name: str) -> Callable[[int], Run]:
        def train(number: int) -> Run:
            wanted = steps * (many if not PARTNERS[name].packs else 16)
            return place.peer(name, rows.some(wanted, number), steps, rows=many)

        return train

    ways: dict[str, Callable[[int], Run]] = {"ours": lambda _: place.ours(rows, steps, FOREST)}
    return by_turns(rows.name, ways | {n: with_peer(n) for n in partners}, size.runs)


def compare(name: str, found: dict[str, list[Run]], size: Size) -> list[dict[str, Any]]:
    """Row tokens per second of ours and each partner, the best one's first."""
    partners = [way for way in found if way != "ours"]
    speed = {way: median(run.per_second() for run in made) for way, made in found.items()}
    best = max(partners, key=lambda name: speed[name])
    made: list[dict[str, Any]] = []
    named = {f"train/{name}": best, **{f"train/{name}/{one}": one for one in partners}}
    for line, partner in named.items():
        told = {
            "trained tokens/s": pair(found, partner, lambda run: run.per_second("trained")),
            "row tokens/CPU-s": pair(found, partner, lambda run: run.per_second(by="cpu_s")),
            "peer's rows in a step": "packed" if PARTNERS[partner].packs else size.rows[name],
            "peer's versions": found[partner][0].versions,
            **counts(size),
        }
        both = speed["ours"], speed[partner]
        made.append(entry(line, both, "row tokens/s", partner, told))
    return made


def memory(
    rows: Rows, place: Place, size: Size, found: dict[str, list[Run]]
) -> list[dict[str, Any]]:
    """Peak memory of ours on the very rows that the peers had, as many of them in a step."""
    steps, many = size.steps + 1, size.rows[rows.name]
    flags = ["--forest", "auto", "--per_device_train_batch_size", str(many)]
    flags += ["--gradient_accumulation_steps", "1"]
    own = [place.ours(rows.some(steps * many, n), steps, flags) for n in range(size.runs)]
    ours = median(run.peak_mb for run in own)
    peaks = {
        way: round(median(run.peak_mb for run in made), 1)
        for way, made in found.items()
        if way != "ours" and not PARTNERS[way].packs
    }
    best = min(peaks, key=peaks.__getitem__)
    told = {"rows in a step": many, "peers, MB": peaks, **counts(size)}
    return [entry("train/memory", (ours, peaks[best]), "MB", best, told)]


def curve(rows: Rows, place: Place, best: str) -> list[dict[str, Any]]:
    """The loss on fixed rows after each step of 8 rows, ours and a peer's: they learn alike."""
    steps = 12
    short = rows.short(SHORT)
    drawn = short.some(8 * steps + 16, 7)
    train, val = drawn.between(0, 8 * steps), drawn.between(8 * steps, 8 * steps + 16)
    flags = ["--forest", "on", "--per_device_train_batch_size", "8", "--eval_steps", "1"]
    flags += ["--gradient_accumulation_steps", "1"]
    ours = place.ours(train, steps, flags, val).validation
    theirs = place.peer(best, train, steps, rows=8, val=val).validation[1 : steps + 1]  # 0: before
    told = {
        "rows seen": [8 * (n + 1) for n in range(steps)],
        "ours": [round(loss, 4) for loss in ours],
        "peer": [round(loss, 4) for loss in theirs],
        "largest distance": round(max(abs(a - b) for a, b in zip(ours, theirs, strict=True)), 4),
        "order of rows": "each shuffles by itself",
    }
    return [entry("train/curve", (ours[-1], theirs[-1]), "loss", best, told)]


def heads(size: Size) -> list[dict[str, Any]]:
    """What the logits of trained positions alone save in our own training."""
    found: dict[str, float] = {}
    for way in ("trained", "all"):
        words = [sys.executable, __file__, "--head", way]
        found[way] = median(float(subprocess.check_output(words)) for _ in range(size.runs))
    told = {"peer": "logits of all positions; 4 rows of 1,000 tokens, 19 % trained"}
    return [entry("train/memory/head", (found["trained"], found["all"]), "MB", "", told)]


def peak_of_head(way: str) -> float:
    """Peak megabytes of one forward and backward pass of 4 rows of 1,000 tokens, 19 % trained."""
    import torch

    from toolgrove.models.adapters import Lora, add_adapter
    from toolgrove.models.load import fetch_model, load_model
    from toolgrove.train.loss import WeightedLoss

    model = add_adapter(load_model(fetch_model(MODEL), torch.bfloat16), Lora(8, 32, 0.0))
    loss = WeightedLoss(model.train(), torch.bfloat16)
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


def median(values: Iterable[float]) -> float:
    return float(statistics.median(list(values)))


def pair(
    found: dict[str, list[Run]], partner: str, measure: Callable[[Run], float]
) -> dict[str, float]:
    return {way: round(median(map(measure, found[way])), 1) for way in ("ours", partner)}


def counts(size: Size) -> dict[str, Any]:
    return {"runs": size.runs, "counted steps of a run": size.steps}


def entry(
    name: str, values: tuple[float, float], unit: str, partner: str, told: dict[str, Any]
) -> dict[str, Any]:
    ours, peer = values
    return {
        "name": name,
        "ours": round(ours, 3 if unit == "loss" else 1),
        "peer": round(peer, 3 if unit == "loss" else 1),
        "ratio": round(ours / peer if unit.endswith("/s") else peer / ours, 2),
        "unit": unit,
        "conditions": {
            "peer": partner,
            **told,
            "model": MODEL,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "transformers", "peft")},
            "threads": usable_cores(),
            "load": round(os.getloadavg()[0], 1),
        },
    }


def measure(given: argparse.Namespace, size: Size, scratch: Path) -> list[dict[str, Any]]:
    from toolgrove.models.load import fetch_model

    model = fetch_model(MODEL)
    place = Place(scratch, model, given.peers)
    made = {"real": bfcl_rows, "agent": agent_rows, "turns": partial(agent_rows, (2, 4))}
    sets = {name: read(name, make(), model) for name, make in made.items()}
    found: list[dict[str, Any]] = []
    runs: dict[str, dict[str, list[Run]]] = {}
    for name in given.sets:
        if name in sets:
            runs[name] = race(sets[name], place, size, given.partners)
            found += compare(name, runs[name], size)
    if "memory" in given.sets:
        found += memory(sets["real"], place, size, runs["real"])
    if "curve" in given.sets:
        found += curve(sets["real"], place, found[0]["conditions"]["peer"])
    if "head" in given.sets:
        found += heads(size)
    return found


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--json", action="store_true", help="print JSON")
    flags.add_argument("--quick", action="store_true", help="fewer rows and steps, no curve, head")
    flags.add_argument("--setup", action="store_true", help="make the peers' environments only")
    flags.add_argument("--peers", type=Path, default=PEERS, help="folder of these environments")
    flags.add_argument("--runs", type=int, help="runs of each (default: 3; --quick: 1)")
    flags.add_argument("--sets", nargs="+", choices=SETS, help="what to measure")
    flags.add_argument("--partners", nargs="+", choices=PARTNERS, default=list(PARTNERS))
    flags.add_argument("--head", help=argparse.SUPPRESS)  # what a process of its own measures
    given = flags.parse_args()
    prepare_torch()  # for all trainings, ours and the peers': they inherit it
    if given.head:
        print(json.dumps(peak_of_head(given.head)))
        return
    if given.setup:
        set_up(given.peers)
        return
    size = QUICK if given.quick else FULL
    size = replace(size, runs=given.runs or size.runs)
    given.sets = given.sets or (SETS[:4] if given.quick else SETS)
    if {"memory", "curve"}.intersection(given.sets) and "real" not in given.sets:
        flags.error("memory and curve need the runs of real")
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(given, size, Path(scratch))
    if given.json:
        print(json.dumps(found, indent=2))
        return
    for line in found:
        ours, peer = (f"{line[side]:,}" for side in ("ours", "peer"))
        print(f"{line['name']:>24}: {ours} vs {peer} {line['unit']} ({line['ratio']} x)")


if __name__ == "__main__":
    main()
