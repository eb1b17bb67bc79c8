"""Rows with their tokens in a terminal, one after the other or as the reader asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from toolgrove.encoding.show import by_rule, coloured, legend, token_table, visible

if TYPE_CHECKING:
    from toolgrove.encoding.show_diff import Difference
    from toolgrove.encoding.show_html import ShownRow

HELP = "enter next · b back · /text search · a code: rows with it · t tokens · d diff · q quit"


def show(row: ShownRow, *, tokens: bool = False, diff: bool = False) -> None:
    """Prints a row: its tokens in colour, the totals, what the doctor found."""
    console = Console(soft_wrap=not tokens, highlight=False)
    for number, sequence in enumerate(row.sequences, start=1):
        several = f", sequence {number} of {len(row.sequences)}" if len(row.sequences) > 1 else ""
        console.print(Text(f"{row.where}{several}", style="dim"))
        console.print(token_table(sequence.pieces) if tokens else coloured(sequence.pieces))
        console.print(legend(sequence.totals))
        for rule, count, weight in by_rule(sequence.pieces):
            console.print(Text(f"{count:>7} tokens, weight {weight:g}: {rule}", style="dim"))
    if row.problem:
        console.print(Text(f"{row.where}: {row.problem}", style="red"))
    for finding in row.findings:
        style = "red" if finding["severity"] == "error" else "yellow"
        told = f"{finding['code']} {finding['path']}: {visible(finding['message'])}"
        console.print(Text(told, style=style))
    if diff and row.difference is not None:
        console.print(_difference(row.difference))


def browse(rows: Sequence[ShownRow]) -> None:
    """Shows one row at a time and asks what to do next; the end of stdin ends it."""
    console = Console(highlight=False, soft_wrap=True)
    chosen, place = list(rows), 0
    tokens = diff = False
    while True:
        if chosen:
            show(chosen[place], tokens=tokens, diff=diff)
        console.print(f"[dim]{place + 1 if chosen else 0} of {len(chosen)} · {HELP}[/dim]")
        try:
            word = input("> ").strip()
        except EOFError:
            return
        if word == "q":
            return
        if word in ("", "n", "b"):
            place = min(max(place + (-1 if word == "b" else 1), 0), max(len(chosen) - 1, 0))
        elif word == "t":
            tokens = not tokens
        elif word == "d":
            diff = not diff
        else:
            chosen, place = [row for row in rows if _fits(row, word)], 0


def _fits(row: ShownRow, word: str) -> bool:
    if not word.startswith("/"):
        return any(finding["code"] == word for finding in row.findings)
    text = "".join(piece.text for one in row.sequences for piece in one.pieces)
    return word[1:].casefold() in f"{row.where} {text}".casefold()


def _difference(told: Difference) -> Text:
    if told.reason:
        return Text(told.reason, style="yellow")
    if told.equal:
        return Text("equal to the model's own template, character for character", style="green")
    styles = {"+": "green", "-": "red strike", " ": "dim"}
    text = Text("against the model's own template (red: only there, green: only here):\n")
    for part in told.parts:
        text.append(visible(part.text), style=styles[part.side])
    return text
