"""Shares with their intervals as a drawing (SVG) for a page: a line a category, a dot a run."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from toolgrove.eval.measures import Measure

WIDTH, ROW, LABELS, RIGHT_EDGE, TOP = 760, 16, 210, 20, 22


class Line(NamedTuple):
    """A category and what each run has measured in it (None: nothing)."""

    label: str
    measures: Sequence[Measure | None]


def intervals(lines: Sequence[Line], runs: Sequence[str]) -> str:
    """The drawing; "" without lines. Runs have the colours ``--run0``, ``--run1`` and so on."""
    if not lines:
        return ""
    step = ROW * len(runs) + 8
    height = TOP + step * len(lines) + 24
    grid = "".join(_gridline(part / 4, height) for part in range(5))
    marks = "".join(_line(line, TOP + step * at, step) for at, line in enumerate(lines))
    return (
        f'<figure>{_legend(runs)}<svg viewBox="0 0 {WIDTH} {height}" role="img" width="100%" '
        f'aria-label="shares of cases that went right">{grid}{marks}</svg></figure>'
    )


def _legend(runs: Sequence[str]) -> str:
    entries = "".join(
        f'<span class="run"><i style="background:var(--run{at})"></i>{escape(name)}</span>'
        for at, name in enumerate(runs)
    )
    return f"<figcaption>{entries}</figcaption>" if len(runs) > 1 else ""


def _line(line: Line, top: float, step: float) -> str:
    middle = top + step / 2
    parts = [
        f'<text x="{LABELS - 10}" y="{middle:.1f}" text-anchor="end">{escape(line.label)}</text>'
    ]
    for at, found in enumerate(line.measures):
        if found is None:
            continue
        y = top + ROW * (at + 0.5)
        title = f"{100 * found.value:.1f} % of {found.cases}"
        parts.append(
            f'<g stroke="var(--run{at})" fill="var(--run{at})"><title>{title}</title>'
            f'<line x1="{_x(found.low):.1f}" x2="{_x(found.high):.1f}" y1="{y}" y2="{y}" '
            f'stroke-width="2"></line><circle cx="{_x(found.value):.1f}" cy="{y}" r="4"></circle>'
            "</g>"
        )
    return "".join(parts)


def _x(share: float) -> float:
    return LABELS + (WIDTH - LABELS - RIGHT_EDGE) * share


def _gridline(share: float, height: float) -> str:
    x = _x(share)
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{height - 20}" stroke="var(--edge)">'
        f'</line><text x="{x:.1f}" y="{height - 4}" text-anchor="middle">{share:.0%}</text>'
    )
