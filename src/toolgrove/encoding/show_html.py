"""Tokens and weights as one standalone page: hover a token for its id, kind and weight."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from typing import NamedTuple

from toolgrove.core.spans import Kind
from toolgrove.encoding.show import COLOURS, COLUMNS, Piece, Total, rows_of, visible


class Shown(NamedTuple):
    """One sequence on the page: a heading, its pieces, its totals."""

    title: str
    pieces: Sequence[Piece]
    totals: Sequence[Total]


STYLE = """
:root { color-scheme: light dark; --edge: #d5d8dd; --back: #fff; --ink: #1d2127; }
@media (prefers-color-scheme: dark) { :root { --edge: #3a3f47; --back: #16181c; --ink: #e4e6ea; } }
body { margin: 2rem auto; max-width: 62rem; padding: 0 1rem; background: var(--back);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h2 { font-size: 1rem; margin: 2rem 0 .5rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid var(--edge);
  border-radius: 6px; padding: 1rem; font: 13px/1.7 ui-monospace, monospace; }
pre span { opacity: .55; }
pre span.on { opacity: 1; font-weight: 600; border-bottom: 2px solid currentColor; }
pre span:hover { outline: 1px solid currentColor; opacity: 1; }
pre sup { font-size: .7em; padding: 0 .15em; opacity: .9; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .1rem .8rem .1rem 0; text-align: right; }
th { font-weight: 400; }
td:first-child, th:first-child { text-align: left; }
thead th { opacity: .6; }
.sum { font-weight: 600; }
td { font-weight: inherit; }
"""


def coloured_html(shown: Iterable[Piece]) -> str:
    """The pieces as marked-up text; the page's style gives the colours."""
    parts: list[str] = []
    for weight, run in groupby(shown, key=lambda piece: piece.weight):
        for piece in run:
            ids = " ".join(str(number) for number in piece.ids)
            told = f"{piece.kind.value} · weight {weight:g} · id {ids}"
            classes = f"k-{piece.kind.value}" + (" on" if weight > 0 else "")
            text = escape(visible(piece.text))
            parts.append(f'<span class="{classes}" title="{told}">{text}</span>')
        if weight not in (0.0, 1.0):
            parts.append(f"<sup>×{weight:g}</sup>")
    return "".join(parts)


def kind_style() -> str:
    """The style rules that give each kind its colour."""
    return "\n".join(f".k-{kind.value} {{ color: {COLOURS[kind][1]}; }}" for kind in Kind)


def page(sequences: Iterable[Shown], title: str = "Tokens and weights") -> str:
    """A whole page that needs no other file."""
    blocks = "\n".join(_block(sequence) for sequence in sequences)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{STYLE}{kind_style()}</style></head>
<body><h1>{escape(title)}</h1>
<p>Bold and underlined tokens are learnt, the others are given to the model.
A weight that is not 1 stands raised after its tokens.</p>
{blocks}
</body></html>
"""


def _block(sequence: Shown) -> str:
    counted = sequence.totals
    names = [f"k-{total.kind.value}" for total in counted]
    rows = "".join(
        f'<tr class="{name}">' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
        for name, cells in zip([*names, "sum"], rows_of(counted), strict=True)
    )
    head = "".join(f"<th>{column}</th>" for column in COLUMNS)
    return (
        f"<h2>{escape(sequence.title)}</h2>\n<pre>{coloured_html(sequence.pieces)}</pre>\n"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )
