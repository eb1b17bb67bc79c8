"""Pictures of a run's metrics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple


class _Line(NamedTuple):
    key: str
    label: str
    colour: str


def draw_plots(metrics: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Writes ``loss.png`` (with the validation loss, if any) and ``learning_rate.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    loss = (_Line("loss", "training", "#2b6cb0"), _Line("eval_loss", "validation", "#c05621"))
    rate = (_Line("lr", "learning rate", "#2f855a"),)
    return [
        _draw(metrics, loss, "loss", folder / "loss.png"),
        _draw(metrics, rate, "learning rate", folder / "learning_rate.png"),
    ]


def _draw(
    metrics: Sequence[dict[str, Any]], lines: Sequence[_Line], title: str, file: Path
) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for line in lines:
        points = [(row["step"], row[line.key]) for row in metrics if row.get(line.key) is not None]
        if points:
            steps, values = zip(*points, strict=True)
            style = "o-" if len(points) == 1 or line.key == "eval_loss" else "-"
            axes.plot(steps, values, style, label=line.label, color=line.colour)
    axes.set_xlabel("step")
    axes.set_ylabel(title)
    axes.grid(alpha=0.3)
    if len(lines) > 1:
        axes.legend()
    figure.savefig(file, dpi=110)
    return file
