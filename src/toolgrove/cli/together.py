"""Several training processes on this machine, started and watched by one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from toolgrove.config.settings import dump_recipe
from toolgrove.models.threads import usable_cores

if TYPE_CHECKING:
    from toolgrove.train.settings import TrainSettings

LOOK_EVERY_S = 0.5
PATIENCE_S = 60.0
"""How long the others may take to end once one process has failed."""


def train_together(settings: TrainSettings, command: str = "sft") -> int:
    """Runs ``toolgrove sft``, or ``pt``, in ``nproc_per_node`` processes that train one model.

    The first process talks and writes; what the others say is shown only when one of them fails
    alone. Ctrl-C reaches all of them, and they end after the same step. Returns the first one's
    exit code.
    """
    count = settings.nproc_per_node
    with tempfile.TemporaryDirectory() as folder:
        recipe = dump_recipe(settings, Path(folder) / "recipe.yaml")
        shared = {
            **os.environ,
            "WORLD_SIZE": str(count),
            "LOCAL_WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(_free_port()),
        }
        # accelerate would set one thread for each, whatever the cores
        shared.setdefault("OMP_NUM_THREADS", str(max(1, usable_cores() // count)))
        words = [sys.executable, "-m", "toolgrove", command, "-c", str(recipe)]
        with (Path(folder) / "others.txt").open("w+b") as others:
            processes: list[subprocess.Popen[bytes]] = []
            with _passing_on(processes):
                for rank in range(count):
                    own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
                    heard = None if rank == 0 else others
                    said = subprocess.DEVNULL if rank else None
                    processes.append(
                        subprocess.Popen(words, env=shared | own, stdout=said, stderr=heard)
                    )
                _watch(processes)
            _tell_of_others(processes, others)
    return _exit_code(processes)


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


def _tell_of_others(processes: Sequence[subprocess.Popen[bytes]], said: IO[bytes]) -> None:
    """Shows what the other processes said when the first was not the one that failed."""
    codes = [process.returncode for process in processes]
    if any(codes[1:]) and codes[0] in (0, -signal.SIGKILL):
        said.seek(0)
        sys.stderr.buffer.write(said.read())
        sys.stderr.flush()


def _exit_code(processes: Sequence[subprocess.Popen[bytes]]) -> int:
    codes = [process.returncode for process in processes]
    first = codes[0] or next((code for code in codes if code), 0)
    return first if first >= 0 else 128 - first


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
