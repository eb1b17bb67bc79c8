"""What ``toolgrove check`` shows in a terminal: progress, changes, the summary."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from toolgrove.core.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from rich.console import Console

    from toolgrove.data.doctor.counts import Counts
    from toolgrove.data.doctor.examine import Verdict
    from toolgrove.data.doctor.findings import Kind
    from toolgrove.data.doctor.mend import Outcome
    from toolgrove.data.doctor.tally import Tally
    from toolgrove.data.rows import BadLine

EXAMPLES = 3
"""How many findings of a kind the summary shows."""

EXPLAINED = 1000
"""How many rows of a file are asked which format they are."""


def progress(verdicts: Iterator[Verdict], counts: Counts) -> Iterator[Verdict]:
    """The verdicts, with a line on stderr that counts the rows where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    quiet = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
        task = bar.add_task("examining")
        for verdict in verdicts:
            if counts.rows % 64 == 0:
                bar.update(task, description=f"{counts.rows:,} rows examined")
            yield verdict


def changes(lines: list[str]) -> None:
    """A change as a diff on stderr, in colours where that is a terminal."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    styles = {"-": "red", "+": "green", "@": "cyan"}
    for line in lines:
        style = "bold" if line.startswith("---") else styles.get(line[:1], "")
        console.print(line, style=style, markup=False)


def summary(tally: Tally, counts: Counts, done: Outcome | None) -> None:
    """What was found, what the data is made of, what was written."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    for kind, count, kept in tally.by_weight():
        colour = "red" if kind.severity == "error" else "yellow"
        console.print(f"[bold {colour}]{kind.severity}[/] [bold]{kind.code}[/] × {count:,}")
        console.print(f"  {kind.cause}", style="dim", markup=False)
        for finding in kept[:EXAMPLES]:
            path = f" {finding.path}" if finding.path else ""
            console.print(f"  {finding.file}:{finding.line}{path}", style="cyan", markup=False)
            console.print(f"    {_printable(finding.message)}", markup=False)
            console.print(f"    → {_printable(finding.fix)}", style="green", markup=False)
        if count > EXAMPLES:
            console.print(f"  and {count - EXAMPLES:,} more", style="dim")
    _made_of(console, counts)
    clean = counts.rows - tally.rows_with_errors - tally.rows_with_warnings
    console.print(
        f"{counts.rows:,} rows: {tally.rows_with_errors:,} with errors, "
        f"{tally.rows_with_warnings:,} with warnings only, {max(clean, 0):,} clean",
        style="bold",
    )
    if done is not None:
        _told(console, done)


def all_kinds() -> list[Kind]:
    """Every kind of finding, those of all modules."""
    from toolgrove.data.doctor import across, against, unread
    from toolgrove.data.doctor.findings import kinds
    from toolgrove.encoding import checkup

    del across, against, unread, checkup
    return kinds()


def check_codes(given: list[str]) -> None:
    """ConfigError where one of the codes is none."""
    known = [kind.code for kind in all_kinds()]
    for code in given:
        if code not in known:
            near = did_you_mean(code, known)
            hint = "toolgrove check --codes lists them"
            what = f'no finding has the code "{code}"'
            raise ConfigError(what, hint=f"{near} {hint}" if near else hint)


def codes(as_json: bool) -> None:
    """Lists all kinds of finding."""
    found = all_kinds()
    if as_json:
        listed = [
            {"code": k.code, "severity": k.severity, "cause": k.cause, "fix": k.fix} for k in found
        ]
        print(json.dumps(listed, ensure_ascii=False))
        return
    for kind in found:
        print(f"{kind.code:<22}{kind.severity:<9}{kind.cause}")


def explained(file: Path, columns: Mapping[str, str]) -> Iterator[str]:
    """How the rows of a file are read: by which formats, why, and what else would fit."""
    from toolgrove.core.errors import DataError
    from toolgrove.data.formats import explain
    from toolgrove.data.load import rename_columns
    from toolgrove.data.rows import read_rows

    ways: Counter[str] = Counter()
    try:
        for row in islice(read_rows(file, _pass_over), EXPLAINED):
            try:
                fits = explain(rename_columns(row.value, columns))
            except DataError as error:
                ways[f"no format ({error.what})"] += 1
                continue
            others = ", ".join(f"{fit.format} ({fit.why})" for fit in fits[1:])
            rest = f"; would fit, too: {others}" if others else ""
            first = f"{fits[0].format}: {fits[0].why}" if fits else "no format fits"
            ways[f"{first}{rest}"] += 1
    except DataError as error:
        ways[f"not read on ({error.what})"] += 1
    for way, count in ways.most_common():
        yield f"{count:,} of the first {ways.total():,} rows: {way}"


def _pass_over(_: BadLine) -> None:
    """A line that holds no row is told when the file is examined."""


def _made_of(console: Console, counts: Counts) -> None:
    if not counts.read:
        return
    calls = sum(number * count for number, count in counts.calls_per_turn.items())
    turns = counts.calls_per_turn.total()
    called = ", ".join(f"{name} {count:,}" for name, count in counts.tools_called.most_common(5))
    scripts = ", ".join(f"{name} {count:,}" for name, count in counts.languages.most_common(4))
    lines = [f"{counts.messages.total():,} messages, {turns:,} of the assistant, {calls:,} calls"]
    if called:
        lines.append(f"{len(counts.tools_called):,} tools called, most often: {called}")
    if scripts:
        lines.append(f"rows by script: {scripts}")
    if counts.sequences:
        share = counts.trained / max(counts.tokens, 1)
        lines.append(
            f"{counts.sequences:,} sequences, {counts.tokens:,} tokens, {share:.1%} of them learnt"
        )
    for line in lines:
        console.print(_printable(line), style="dim", markup=False)


def _told(console: Console, done: Outcome) -> None:
    console.print(
        f"{done.changes:,} changes in {done.repaired:,} rows; {done.written:,} rows written, "
        f"{done.apart:,} set apart"
    )
    if done.left_out:
        console.print(
            f"{done.left_out:,} lines hold no row and were left out: --quarantine keeps them",
            style="yellow",
        )


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "�" for char in text)
