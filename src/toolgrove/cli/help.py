"""The help of the commands: plain text, written fast."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolgrove.cli.flags import Flag

WIDEST = 100
TAKES = {"one": "VALUE", "many": "VALUE ...", "pairs": "KEY=VALUE ..."}


def root_help(about: str, commands: Mapping[str, str]) -> str:
    """What ``toolgrove --help`` prints."""
    flags = {
        "-h, --help": "Say this, or with a command, what its flags are.",
        "--version": "Say the version.",
    }
    return "\n".join(
        [
            "Usage: toolgrove COMMAND [FLAGS]",
            f"\n{about}\n",
            "Commands:",
            *_entries(commands.items()),
            "\nFlags:",
            *_entries(flags.items()),
        ]
    )


def command_help(name: str, about: str, positional: str | None, flags: Mapping[str, Flag]) -> str:
    """What ``toolgrove NAME --help`` prints: every flag with its sentence and its default."""
    words = f" [{positional.upper()} ...]" if positional else ""
    entries = [(_left(flag, flags[flag]), _right(flags[flag])) for flag in flags]
    lines = [f"Usage: toolgrove {name}{words} [FLAGS]", f"\n{about}\n", "Flags:"]
    return "\n".join([*lines, *_entries(entries)])


def _left(name: str, flag: Flag) -> str:
    short = "-c, " if name == "config" else ""
    if flag.shape == "switch":
        return f"--[no_]{name}"
    return f"{short}--{name} {TAKES[flag.shape]}"


def _right(flag: Flag) -> str:
    return f"{flag.help} [default: {flag.default}]" if flag.default else flag.help


def _entries(entries: Iterable[tuple[str, str]]) -> list[str]:
    """Two columns; a left side that is too long gets a line of its own."""
    pairs = list(entries)
    column = min(34, max(len(left) for left, _ in pairs) + 4)
    width = min(WIDEST, shutil.get_terminal_size().columns)
    lines: list[str] = []
    for left, right in pairs:
        indent = " " * column
        text = textwrap.fill(
            right, max(width, column + 30), initial_indent=indent, subsequent_indent=indent
        )
        fits = len(left) + 4 <= column
        lines.append(f"  {left}".ljust(column) + text[column:] if fits else f"  {left}\n{text}")
    return lines
