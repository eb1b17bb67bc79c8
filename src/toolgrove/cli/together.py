"""Several training processes on this machine, started and watched by one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING

from toolgrove.config.settings import dump_recipe
from toolgrove.core.errors import ConfigError
from toolgrove.core.orphans import end_when
from toolgrove.models.threads import usable_cores

if TYPE_CHECKING:
    from toolgrove.train.settings import TrainSettings
    from toolgrove.train.sft import SftResult
    from toolgrove.train.watchers import Watch

LOOK_EVERY_S = 0.5
PORT = 29500
"""The port at which several machines meet where nothing else is said, as for torchrun."""

_LEASH = "TOOLGROVE_LEASH"
"""The variable that names the pipe which a process ends with."""

PATIENCE_S = 60.0
"""How long the others may take to end once one process has failed."""


def started(
    settings: TrainSettings, command: str = "sft", watches: Sequence[Watch] = ()
) -> int | None:
    """Starts the run's processes here, or through Ray; None where this process is to train.

    That is so in a run of one process, and where torchrun or the like has started this one.
    """
    from toolgrove.train.parallel import Kind, parallel_of, processes_here
    from toolgrove.train.ranks import is_started

    if is_started():
        leash = os.environ.pop(_LEASH, None)  # what this process starts does not hold the pipe
        if leash is not None:
            end_when(int(leash))
        return None
    if settings.executor == "ray":
        from toolgrove.train.ray_job import train_on_ray

        result = train_on_ray(settings, command, watches)
        return tell(result, as_json=bool(getattr(settings, "as_json", 0)))
    count = processes_here(settings)
    alone = count * settings.nnodes == 1 and parallel_of(settings).kind is Kind.DDP
    return None if alone else train_together(settings, command)


def tell(result: SftResult, *, as_json: bool) -> int:
    """Prints where the run's result lies, or all that came out; returns the exit code."""
    if as_json:
        print(json.dumps(asdict(result), default=str))
    else:
        print(result.checkpoint or result.output_dir)
    return result.exit_code


def train_together(settings: TrainSettings, command: str = "sft") -> int:
    """Runs ``toolgrove sft``, or ``pt``, in several processes here that train one model.

    The first process of all talks and writes; what the others say is shown only when one of them
    fails alone. Ctrl-C reaches all of them, and they end after the same step. Returns the first
    one's exit code. When this process is killed, they end at once: what they would still write
    could be in the way of a run that goes on from the last checkpoint.
    """
    from toolgrove.train.parallel import processes_here
    from toolgrove.train.ranks import refuse_more_than_cores

    count = processes_here(settings)
    refuse_more_than_cores(count)
    first = settings.node_rank * count
    with tempfile.TemporaryDirectory() as folder:
        recipe = dump_recipe(settings, Path(folder) / "recipe.yaml")
        shared = {**os.environ, **_meeting(settings), "WORLD_SIZE": str(count * settings.nnodes)}
        shared |= {"LOCAL_WORLD_SIZE": str(count), "NODE_RANK": str(settings.node_rank)}
        # torch tells that nothing was left unused, which only mixtures of experts need to look for
        shared.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        # accelerate would set one thread for each, whatever the cores
        shared.setdefault("OMP_NUM_THREADS", str(max(1, usable_cores() // count)))
        words = [sys.executable, "-m", "toolgrove", command, "-c", str(recipe)]
        with (Path(folder) / "others.txt").open("w+b") as others, _leash() as leash:
            processes: list[subprocess.Popen[bytes]] = []
            with _passing_on(processes):
                for local in range(count):
                    own = {"RANK": str(first + local), "LOCAL_RANK": str(local)}
                    own[_LEASH] = str(leash)
                    talks = first + local == 0
                    said, heard = (None, None) if talks else (subprocess.DEVNULL, others)
                    processes.append(
                        subprocess.Popen(
                            words, env=shared | own, stdout=said, stderr=heard, pass_fds=(leash,)
                        )
                    )
                _watch(processes)
            _tell_of_others(processes, others, talks=first == 0)
    return _exit_code(processes)


def _meeting(settings: TrainSettings) -> dict[str, str]:
    """Where the processes meet: the first machine, and a port of it."""
    if settings.nnodes == 1:
        port = settings.master_port or free_port()
        return {"MASTER_ADDR": settings.master_addr or "127.0.0.1", "MASTER_PORT": str(port)}
    address = settings.master_addr or os.environ.get("MASTER_ADDR")
    if not address:
        raise ConfigError(
            f"{settings.nnodes} machines need to know where the first one is",
            hint="give --master_addr and --master_port on each, and --node_rank 0, 1, ...",
        )
    port = settings.master_port or os.environ.get("MASTER_PORT") or str(PORT)
    return {"MASTER_ADDR": address, "MASTER_PORT": str(port)}


def _watch(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Waits for all; once one has failed, gives the others some time and then ends them."""
    failed_at = None
    while any(process.poll() is None for process in processes):
        if failed_at is None and any(process.poll() for process in processes):
            failed_at = time.monotonic()
        elif failed_at is not None and time.monotonic() - failed_at > PATIENCE_S:
            for process in processes:
                process.kill()
        time.sleep(LOOK_EVERY_S)


@contextmanager
def _passing_on(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Inside, Ctrl-C is left to the processes (a terminal sends it to all), SIGTERM passed on."""

    def pass_on(number: int, _frame: object) -> None:
        for process in processes:
            process.send_signal(number)

    before = signal.signal(signal.SIGINT, signal.SIG_IGN), signal.signal(signal.SIGTERM, pass_on)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])
        for process in processes:
            if process.poll() is None:
                process.kill()


@contextmanager
def _leash() -> Iterator[int]:
    """The reading end of a pipe that ends when this process does, however it ends."""
    held, holding = os.pipe()
    try:
        yield held
    finally:
        os.close(held)
        os.close(holding)


def _tell_of_others(
    processes: Sequence[subprocess.Popen[bytes]], said: IO[bytes], *, talks: bool
) -> None:
    """Shows what the silent processes said when the first, which ``talks``, did not fail itself."""
    codes = [process.returncode for process in processes]
    silent = codes[1:] if talks else codes
    if any(silent) and (not talks or codes[0] in (0, -signal.SIGKILL)):
        said.seek(0)
        sys.stderr.buffer.write(said.read())
        sys.stderr.flush()


def _exit_code(processes: Sequence[subprocess.Popen[bytes]]) -> int:
    codes = [process.returncode for process in processes]
    first = codes[0] or next((code for code in codes if code), 0)
    return first if first >= 0 else 128 - first


def free_port() -> int:
    """A port of this machine that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
