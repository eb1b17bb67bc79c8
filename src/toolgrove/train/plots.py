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
    """Writes ``loss.png`` (with the validation loss, if any) and ``learning_rate.png``; where the
    validations told them, ``loss_by_kind.png`` (or channel) and ``tools.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    loss = (_Line("loss", "training", "#2b6cb0"), _Line("eval_loss", "validation", "#c05621"))
    rate = (_Line("lr", "learning rate", "#2f855a"),)
    drawn = [
        _draw(metrics, loss, "loss", folder / "loss.png"),
        _draw(metrics, rate, "learning rate", folder / "learning_rate.png"),
    ]
    kinds, tools = _told(metrics, ("eval_loss_",)), _told(metrics, ("eval_tool_", "eval_format_"))
    if kinds:
        drawn.append(_draw(metrics, kinds, "validation loss", folder / "loss_by_kind.png"))
    if tools:
        drawn.append(_draw(metrics, tools, "share", folder / "tools.png"))
    return drawn


def _told(metrics: Sequence[dict[str, Any]], begins: tuple[str, ...]) -> list[_Line]:
    """A line for each number that begins so, in colours of matplotlib's own."""
    keys = dict.fromkeys(key for line in metrics for key in line if key.startswith(begins))
    words = [key.removeprefix("eval_").removeprefix("loss_").replace("_", " ") for key in keys]
    pairs = zip(keys, words, strict=True)
    return [_Line(key, label, f"C{number % 10}") for number, (key, label) in enumerate(pairs)]


def _draw(
    metrics: Sequence[dict[str, Any]], lines: Sequence[_Line], title: str, file: Path
) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, line in enumerate(lines):
        points = [(row["step"], row[line.key]) for row in metrics if row.get(line.key) is not None]
        if points:
            steps, values = zip(*points, strict=True)
            style = "o-" if len(points) == 1 or line.key.startswith("eval_") else "-"
            first_on_top = 3 - number / len(lines)
            axes.plot(
                steps, values, style, label=line.label, color=line.colour, zorder=first_on_top
            )
    axes.set_xlabel("step")
    axes.set_ylabel(title)
    axes.grid(alpha=0.3)
    if len(lines) > 1:
        axes.legend()
    figure.savefig(file, dpi=110)
    return file
