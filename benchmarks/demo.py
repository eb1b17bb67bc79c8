"""The demo: what each stage takes, what it scores, beside the limits that it promises.

Runs ``toolgrove demo`` in a folder of its own (``--keep FOLDER`` uses, or goes on from, one that
is there). Times are CPU seconds over free cores, since the wall clock counts other programs too;
fetching is not counted. ``--quick`` is the same run: it takes about ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

CORES = 2
WHEN = {
    "before": "before training",
    "after": "after training",
    "free": "after training, calls not held to schemas",
}
LIMIT_S = 600.0
LIMIT_MB = 8192
UNCOUNTED = {"fetch"}


def conditions() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    load = os.getloadavg()[0]
    return (
        f"{platform.python_version()}, {versions}, {os.cpu_count()} cores, load {load:.1f}, 1 run"
    )


def entry(name: str, ours: float, limit: float, unit: str) -> dict[str, Any]:
    """One of our numbers beside the promised limit, in the place of a peer."""
    return {
        "name": name,
        "ours": round(ours, 1),
        "peer": limit,
        "ratio": round(limit / ours, 2) if ours else None,
        "unit": unit,
        "conditions": f"peer = promised limit; {conditions()}",
    }


def measured(report: dict[str, Any]) -> list[dict[str, Any]]:
    stages = {name: s for name, s in report["stages"].items() if name not in UNCOUNTED}
    total = sum(stage["cpu_seconds"] for stage in stages.values()) / CORES
    entries = [
        entry("demo, whole", total, LIMIT_S, f"s (CPU seconds / {CORES})"),
        entry("demo, peak memory", report["peak_memory_mb"], LIMIT_MB, "MB"),
    ]
    for name, stage in stages.items():
        entries.append(
            {
                "name": f"demo, {name}",
                "ours": round(stage["cpu_seconds"] / CORES, 1),
                "share": round(stage["cpu_seconds"] / CORES / LIMIT_S, 3),
                "unit": f"s (CPU seconds / {CORES}); wall {stage['seconds']:.0f} s",
                "conditions": f"share = of the promised {LIMIT_S:.0f} s; {conditions()}",
            }
        )
    for when in (name for name in WHEN if name in report):
        for score in report[when]["scores"]:
            right = score.get("arguments", score["right"])
            name = score["category"]
            if name == "total" and score["suite"] != "bfcl":
                name = f"{score['suite']} total"
            entries.append(
                {
                    "name": f"demo, {name}, {WHEN[when]}",
                    "share": round(right["share"], 4),
                    "unit": "share of right calls",
                    "conditions": f"{score['cases']} cases, 95 % interval "
                    f"{right['low']:.3f} to {right['high']:.3f}; {conditions()}",
                }
            )
    return entries


def run(folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "toolgrove", "demo", "--output_dir", str(folder)]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="no difference: one run")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--keep", type=Path, help="folder of the demo")
    given = parser.parse_args()
    if given.keep:
        entries = measured(run(given.keep))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            entries = measured(run(Path(scratch)))
    if given.json:
        print(json.dumps(entries, indent=2))
        return
    for found in entries:
        number = f"{found['ours']:>8}" if "ours" in found else f"{found['share']:>8.1%}"
        print(f"{found['name']:<44} {number}  {found['unit']}")


if __name__ == "__main__":
    main()
