"""Rows with their tokens and weights as one standalone page to browse."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import Any, NamedTuple

from toolgrove.core.messages import JSON
from toolgrove.core.spans import Kind
from toolgrove.encoding.show import COLOURS, COLUMNS, Piece, Total, by_rule, rows_of, visible
from toolgrove.encoding.show_diff import Difference


class Shown(NamedTuple):
    """One sequence of a row: its pieces and its totals by kind."""

    pieces: Sequence[Piece]
    totals: Sequence[Total]


class ShownRow(NamedTuple):
    """A row on the page: its place, its sequences, what the doctor found, how its text differs.

    ``problem`` says why the row has no sequences.
    """

    where: str
    sequences: Sequence[Shown]
    findings: Sequence[JSON] = ()
    difference: Difference | None = None
    problem: str = ""


def page(rows: Iterable[ShownRow], title: str = "Tokens and weights") -> str:
    """A whole page that needs no other file.

    Law: what rows say is data in it, never markup. ``#row=3&code=secret&search=text`` behind its
    address opens it there.
    """
    data = {
        "kinds": [kind.value for kind in Kind],
        "columns": COLUMNS,
        "rows": [_row(row) for row in rows],
    }
    text = json.dumps(data, ensure_ascii=False).replace("&", "\\u0026").replace("<", "\\u003c")
    text = text.replace(">", "\\u003e").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    page_files = files("toolgrove.encoding").joinpath("page")
    style = page_files.joinpath("show.css").read_text(encoding="utf-8")
    script = page_files.joinpath("show.js").read_text(encoding="utf-8")
    body = page_files.joinpath("show.html").read_text(encoding="utf-8")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{style}{_kind_style()}</style></head>
<body><h1>{escape(title)}</h1>
{body}
<script type="application/json" id="data">{text}</script>
<script>{script}</script>
</body></html>
"""


def _kind_style() -> str:
    """The style rules that give each kind its colour."""
    return "\n".join(f".k-{kind.value} {{ color: {COLOURS[kind][1]}; }}" for kind in Kind)


def _row(row: ShownRow) -> JSON:
    told: JSON = {
        "where": row.where,
        "problem": row.problem,
        "findings": list(row.findings),
        "sequences": [_sequence(sequence) for sequence in row.sequences],
    }
    if row.difference is not None:
        told["difference"] = {
            "reason": row.difference.reason,
            "equal": row.difference.equal,
            "parts": [[part.side, visible(part.text)] for part in row.difference.parts],
        }
    return told


def _sequence(shown: Shown) -> JSON:
    """Pieces as short lists, rules by their number: pages of many rows stay small."""
    kinds = {kind: number for number, kind in enumerate(Kind)}
    rules = by_rule(shown.pieces)
    numbers = {rule: number for number, (rule, _, _) in enumerate(rules)}
    pieces: list[list[Any]] = [
        [
            visible(piece.text),
            list(piece.ids),
            piece.weight,
            kinds[piece.kind],
            numbers[piece.rule],
        ]
        for piece in shown.pieces
    ]
    return {
        "pieces": pieces,
        "totals": [
            [f"k-{name}", *cells]
            for name, cells in zip(
                [*(total.kind.value for total in shown.totals), "all"],
                rows_of(shown.totals),
                strict=True,
            )
        ],
        "rules": [[rule, count, round(weight, 6)] for rule, count, weight in rules],
    }
