"""Shards of rows encoded by one process, by several, or by a Ray cluster: always the same files."""

from __future__ import annotations

import gc
import importlib
import pickle
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from toolgrove.core.errors import ConfigError, DataError, ToolgroveError
from toolgrove.core.orphans import end_with_parent
from toolgrove.data.rows import Line, Row
from toolgrove.encoding.job import Job, RowEncoder
from toolgrove.encoding.shards import Shard, Totals, write_shard

ROWS_PER_SHARD = 512
_AHEAD = 2
"""How many shards wait for each process: enough that none is idle."""


_RARELY = (200_000, 20, 100)


class Part(NamedTuple):
    """Rows that become one shard, and the file it is.

    Lines travel as they stand in their files: the process that encodes them looks into them.
    """

    file: Path
    rows: list[Row | Line]


Executor = Callable[[Job, Iterator[Part]], Iterator[Totals]]
"""Encodes the parts; what came of each, in their order. Law: the files do not depend on it."""


def in_process(job: Job, parts: Iterator[Part]) -> Iterator[Totals]:
    """One part after the other, in this process."""
    encoder: RowEncoder | None = None
    for part in parts:
        found = _finished(part)
        if found is None:
            with rare_collections():
                encoder = encoder or RowEncoder(job)
                found = write_shard(part.file, encoder.work(part.rows))
        yield found


@contextmanager
def rare_collections() -> Generator[None]:
    """Looks for garbage in circles seldom: encoding makes none, and looking takes a sixth of it."""
    before = gc.get_threshold()
    gc.set_threshold(*_RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def in_processes(workers: int) -> Executor:
    """Several parts at a time, in that many processes of this machine."""

    def run(job: Job, parts: Iterator[Part]) -> Iterator[Totals]:
        context = get_context("spawn")
        with ProcessPoolExecutor(workers, context, _begin, (job,)) as pool:
            waiting: deque[Future[Totals] | Totals] = deque()
            try:
                for part in _then_raise(parts, waiting):
                    found = _finished(part)
                    waiting.append(pool.submit(_encode, part) if found is None else found)
                    if len(waiting) > workers * _AHEAD:
                        yield _result(waiting.popleft())
                while waiting:
                    yield _result(waiting.popleft())
            except BrokenProcessPool:
                raise DataError(
                    "a process that encodes was killed: is the memory full?",
                    hint="run the same command again: it goes on with the next shard",
                ) from None
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    return run


def on_ray(workers: int) -> Executor:
    """Parts as a Ray data set, encoded by that many actors of the cluster.

    Every machine must see the folder of the cache under the same path.
    """

    def run(job: Job, parts: Iterator[Part]) -> Iterator[Totals]:
        try:
            ray: Any = importlib.import_module("ray")
            data: Any = importlib.import_module("ray.data")
        except ImportError:
            raise ConfigError(
                "--executor ray needs Ray", hint='pip install "toolgrove[ray]"'
            ) from None
        if not ray.is_initialized():
            ray.init(log_to_driver=False, logging_level="error")
        data.DataContext.get_current().enable_progress_bars = False
        window = workers * _AHEAD * 4
        while taken := list(islice(parts, window)):
            done = {str(part.file): _finished(part) for part in taken}
            todo = [part for part in taken if done[str(part.file)] is None]
            if todo:
                items = [{"file": str(part.file), "part": pickle.dumps(part)} for part in todo]
                found = data.from_items(items, override_num_blocks=len(items)).map(
                    _RayEncoder,
                    fn_constructor_args=(job,),
                    compute=data.ActorPoolStrategy(size=workers),
                )
                for result in found.take_all():
                    if result["error"] is not None:
                        raise result["error"]
                    done[result["file"]] = result["totals"]
            yield from (totals for totals in done.values() if totals is not None)

    return run


def _then_raise(parts: Iterator[Part], waiting: deque[Future[Totals] | Totals]) -> Iterator[Part]:
    """The parts; an error in reading them comes after those of the parts before it."""
    try:
        yield from parts
    except ToolgroveError:
        for item in waiting:
            _result(item)
        raise


def executor(name: str, workers: int) -> Executor:
    """The executor of that name: ``local`` (one process or several) or ``ray``."""
    if name == "ray":
        return on_ray(workers)
    return in_process if workers == 1 else in_processes(workers)


class _RayEncoder:
    """An actor: it has its tokenizer for all the parts that it is given."""

    def __init__(self, job: Job) -> None:
        self._encoder = RowEncoder(job)

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        part: Part = pickle.loads(item["part"])
        try:
            totals = _written(self._encoder, part)
        except ToolgroveError as error:
            return {"file": item["file"], "totals": None, "error": error}
        return {"file": item["file"], "totals": totals, "error": None}


def _finished(part: Part) -> Totals | None:
    """What an earlier run made of this part, if it did."""
    return Shard(part.file).totals if part.file.is_file() else None


_encode_part: Callable[[Part], Totals] | None = None


def _begin(job: Job) -> None:
    global _encode_part
    end_with_parent()
    gc.set_threshold(*_RARELY)
    _encode_part = partial(_written, RowEncoder(job))


def _encode(part: Part) -> Totals:
    if _encode_part is None:
        raise RuntimeError("a process of the pool has not begun")
    return _encode_part(part)


def _written(encoder: RowEncoder, part: Part) -> Totals:
    return write_shard(part.file, encoder.work(part.rows))


def _result(item: Future[Totals] | Totals) -> Totals:
    return item if isinstance(item, Totals) else item.result()
