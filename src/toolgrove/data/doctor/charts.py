"""Bar charts as SVG text, without a library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH = 520
ROW = 20
LABELS = 170


class Bar(NamedTuple):
    """One bar: its label and its length."""

    label: str
    value: float


def bar_chart(title: str, bars: Sequence[Bar], unit: str = "") -> str:
    """A figure with horizontal bars, each with its value; "" where there is nothing to show."""
    most = max((bar.value for bar in bars), default=0)
    if most <= 0:
        return ""
    room = WIDTH - LABELS - 70
    height = ROW * len(bars) + 6
    parts = [
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {WIDTH} {height}" '
        f'role="img" aria-label="{escape(title, quote=True)}">'
    ]
    for number, bar in enumerate(bars):
        y = ROW * number + 3
        long = max(room * bar.value / most, 1 if bar.value else 0)
        label = escape(bar.label if len(bar.label) <= 23 else bar.label[:22] + "…")
        value = escape(f"{bar.value:,.10g}{unit}")
        parts.append(
            f'<text x="{LABELS - 8}" y="{y + 14}" text-anchor="end">{label}'
            f"<title>{escape(bar.label)}</title></text>"
            f'<rect x="{LABELS}" y="{y + 2}" width="{long:.1f}" height="{ROW - 4}" rx="2"/>'
            f'<text x="{LABELS + long + 6:.1f}" y="{y + 14}" class="n">{value}</text>'
        )
    return "".join([*parts, "</svg></figure>"])
