"""Loggers that a run reports to beside its folder: TensorBoard, and services on the network."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from toolgrove.core.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from transformers import TrainerCallback

FOLDER = "runs"
"""The folder of a run with TensorBoard's event files."""

TENSORBOARD = "tensorboard"

PACKAGES = {
    TENSORBOARD: "toolgrove[train]",
    "wandb": "wandb",
    "swanlab": "swanlab",
    "mlflow": "mlflow",
    "trackio": "trackio",
    "clearml": "clearml",
    "codecarbon": "codecarbon",
    "comet_ml": "comet-ml",
    "dagshub": "dagshub",
    "dvclive": "dvclive",
    "neptune": "neptune",
}
"""The loggers by transformers' names, with what to install for each."""


def refuse_missing(names: Sequence[str]) -> None:
    """ConfigError for a logger that is not known or not installed."""
    if "none" in names and set(names) != {"none"}:
        raise ConfigError("none goes with no other logger", where="report_to")
    chosen = [name for name in names if name != "none"]
    for name in chosen:
        if name not in PACKAGES:
            near = did_you_mean(name, PACKAGES)
            known = f"known: none, {', '.join(PACKAGES)}"
            raise ConfigError(
                f'unknown logger "{name}"',
                where="report_to",
                hint=f"{near} {known}" if near else known,
            )
    for name in chosen:
        if not _is_here(name):
            raise ConfigError(
                f'the logger "{name}" is not installed',
                where="report_to",
                hint=f"pip install '{PACKAGES[name]}', or --report_to none",
            )


def through_transformers(names: Sequence[str]) -> list[str] | str:
    """The loggers that transformers sets up by itself, in its words."""
    return [name for name in dict.fromkeys(names) if name not in (TENSORBOARD, "none")] or "none"


def tensorboard(run: Path, resumed_at: int | None, *, writes: bool) -> TrainerCallback:
    """Writes event files into the run's folder; a run that goes on takes back what was logged after
    the step that it goes on from."""
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations.integration_utils import TensorBoardCallback

    if not writes:
        return TensorBoardCallback()
    first = None if resumed_at is None else resumed_at + 1
    return TensorBoardCallback(SummaryWriter(str(run / FOLDER), purge_step=first))


def _is_here(name: str) -> bool:
    if name == TENSORBOARD:
        return find_spec(name) is not None
    from transformers.integrations.integration_utils import get_available_reporting_integrations

    return name in get_available_reporting_integrations()
