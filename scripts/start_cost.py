"""What starting costs: CPU milliseconds to import each dependency, and to answer --help."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

MODULES = [
    "pydantic",
    "yaml",
    "cyclopts",
    "rich.console",
    "tokenizers",
    "jinja2",
    "jsonschema_rs",
    "mcp",
    "prompt_toolkit",
    "pyarrow",
    "torch",
]
COMMANDS = [["--help"], ["sft", "--help"], ["render", "--help"]]
RUNS = 5


def cpu_ms(words: list[str]) -> float:
    """The median CPU time of running Python with these words, children included."""
    times: list[float] = []
    for _ in range(RUNS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return 1000 * statistics.median(times)


def main() -> None:
    """Prints a table."""
    bare = cpu_ms(["-c", "pass"])
    print(f"{'python alone':<24}{bare:>8.0f} ms")
    for module in MODULES:
        print(f"{'import ' + module:<24}{cpu_ms(['-c', f'import {module}']) - bare:>+8.0f} ms")
    for words in COMMANDS:
        shown = "toolgrove " + " ".join(words)
        print(f"{shown:<24}{cpu_ms(['-m', 'toolgrove', *words]):>8.0f} ms")


if __name__ == "__main__":
    main()
