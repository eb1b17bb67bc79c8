"""A training's loss over its steps as a drawing (SVG) for a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 760, 260
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 34


class Point(NamedTuple):
    """The loss at an optimizer step."""

    step: int
    loss: float


def curve(points: Sequence[Point]) -> str:
    """The loss as it was (thin) and its running mean (thick); at least one point."""
    top = _ceiling(max(point.loss for point in points))
    last = max(point.step for point in points)
    mean = smooth(points, max(1, len(points) // 20))
    grid = "".join(_gridline(top * part / 4, top) for part in range(5))
    steps = "".join(_step_mark(round(last * part / 4), last) for part in range(5))
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="training loss" width="100%">'
        f"{grid}{steps}"
        f'<path d="{_path(points, last, top)}" fill="none" stroke="var(--line)" '
        f'stroke-width="1" opacity=".35"/>'
        f'<path d="{_path(mean, last, top)}" fill="none" stroke="var(--line)" stroke-width="2.2"/>'
        "</svg>"
    )


def smooth(points: Sequence[Point], reach: int) -> list[Point]:
    """Each loss as the mean of those up to ``reach`` points before and behind it."""
    losses = [point.loss for point in points]
    means: list[Point] = []
    for index, point in enumerate(points):
        near = losses[max(0, index - reach) : index + reach + 1]
        means.append(Point(point.step, sum(near) / len(near)))
    return means


def _ceiling(loss: float) -> float:
    """The next number of one digit above the loss."""
    if loss <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(loss))
    return math.ceil(loss / unit) * unit


def _x(step: float, last: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * step / max(1, last)


def _y(loss: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * loss / top


def _path(points: Sequence[Point], last: int, top: float) -> str:
    return "M" + "L".join(f"{_x(p.step, last):.1f},{_y(p.loss, top):.1f}" for p in points)


def _gridline(loss: float, top: float) -> str:
    y = _y(loss, top)
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--edge)"/>'
        f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{loss:.3g}</text>'
    )


def _step_mark(step: int, last: int) -> str:
    anchor = "end" if step == last else "middle"
    return f'<text x="{_x(step, last):.1f}" y="{HEIGHT - 12}" text-anchor="{anchor}">{step}</text>'
