"""A training run as a Ray Train job: Ray starts the processes, wherever it has room for them."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from toolgrove.core.errors import ConfigError, ToolgroveError
from toolgrove.core.messages import JSON
from toolgrove.train.parallel import processes_here
from toolgrove.train.pt import run_pt
from toolgrove.train.pt_recipe import PtSettings
from toolgrove.train.recipe import SftSettings
from toolgrove.train.settings import TrainSettings
from toolgrove.train.sft import SftResult, run_sft
from toolgrove.train.watchers import Watch


def train_on_ray(settings: TrainSettings, command: str, watches: Sequence[Watch] = ()) -> SftResult:
    """Runs the recipe on workers of Ray.

    The workers use gloo on CPUs and NCCL on GPUs. A running cluster is joined where RAY_ADDRESS
    names one, else one is started on this machine for the run. On several machines the run's
    folder and the data must lie where all see them. Errors: ConfigError where Ray is missing or
    has too little room; else the error of the worker that failed.
    """
    if find_spec("ray") is None:
        raise ConfigError(
            "executor ray needs Ray, which is not installed", hint="pip install toolgrove[ray]"
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere unasked
    import ray  # pyright: ignore

    count = processes_here(settings) * settings.nnodes
    began = not ray.is_initialized()
    if began:
        ray.init(include_dashboard=False, logging_level=logging.WARNING)
    try:
        there = ray.cluster_resources()
        gpus = there.get("GPU", 0) > 0
        _refuse_too_many(count, "GPU" if gpus else "CPU", there)
        job = {"settings": told(settings), "command": command, "watches": list(watches)}
        return _fit(job, count, gpus=gpus)
    finally:
        if began:
            ray.shutdown()


def _refuse_too_many(count: int, kind: str, there: Mapping[str, float]) -> None:
    room = int(there.get(kind, 0))
    if count > room:
        raise ConfigError(
            f"{count} workers, but Ray has {room} {kind}s",
            where="--nproc_per_node",
            hint=f"--nproc_per_node {room}, or a larger cluster (RAY_ADDRESS)",
        )


def told(settings: TrainSettings) -> JSON:
    """The recipe as the workers are told it."""
    return settings.model_dump(mode="json", by_alias=True, exclude={"as_json"})


def _fit(job: JSON, count: int, *, gpus: bool) -> SftResult:
    from ray.train import RunConfig, ScalingConfig  # pyright: ignore
    from ray.train.torch import TorchTrainer  # pyright: ignore
    from ray.train.v2.api.exceptions import WorkerGroupError  # pyright: ignore

    with tempfile.TemporaryDirectory() as folder:  # of Ray's own notes; the run has its folder
        trainer = TorchTrainer(
            _work,
            train_loop_config={**job, "folder": str(Path.cwd())},
            scaling_config=ScalingConfig(num_workers=count, use_gpu=gpus),
            run_config=RunConfig(storage_path=folder, name="train"),
        )
        try:
            said: Any = trainer.fit().return_value
        except WorkerGroupError as error:
            raise _told_by_workers(error.worker_failures) from error
    at, best = said["checkpoint"], said["best"]
    return SftResult(
        **{
            **said,
            "output_dir": Path(said["output_dir"]),
            "checkpoint": at and Path(at),
            "best": best and Path(best),
        }
    )


def _work(config: dict[str, Any]) -> dict[str, Any]:
    """What each worker does: the command, as one of the processes of the run."""
    os.chdir(config["folder"])
    if config["command"] == "pt":
        result = run_pt(PtSettings(**config["settings"]))
    else:
        result = run_sft(SftSettings(**config["settings"]), config["watches"])
    return json.loads(json.dumps(asdict(result), default=str))


def _told_by_workers(failures: Mapping[int, Exception]) -> Exception:
    """The error of the first worker that failed by itself, not because another was gone."""
    for _, failure in sorted(failures.items()):
        for error in (failure, getattr(failure, "cause", None), failure.__cause__):
            if isinstance(error, ToolgroveError):
                return error
    return next(iter(failures.values()))
