"""Several calls at once, each with its time limit; results come as they are ready."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from toolgrove.agent.results import MOST_CHARS, Outcome, result_text, shortened
from toolgrove.agent.tools import CallError, RunnableTool
from toolgrove.core.messages import JSON

_GRACE_S = 3.0
_LOOK_S = 0.2


class Job(NamedTuple):
    """A call that may run."""

    tool: RunnableTool
    arguments: JSON


def run_all(
    jobs: Mapping[int, Job], timeout_s: float, limit: int = MOST_CHARS
) -> Iterator[tuple[int, Outcome]]:
    """The outcomes by the jobs' numbers, in the order in which they come.

    Law: every job gets exactly one, some seconds after ``timeout_s`` at the latest, whatever its
    tool does: a call that cannot be ended is given up.
    """
    done: queue.SimpleQueue[tuple[int, Outcome]] = queue.SimpleQueue()
    for number, job in jobs.items():
        threading.Thread(
            target=lambda number=number, job=job: done.put(
                (number, _outcome(job, timeout_s, limit))
            ),
            daemon=True,
        ).start()
    waiting = dict(jobs)
    end = time.monotonic() + timeout_s + _GRACE_S
    while waiting:
        try:
            number, outcome = done.get(timeout=_LOOK_S)  # short, so that Ctrl-C is heard
        except queue.Empty:
            if time.monotonic() < end:
                continue
            for number in waiting:
                yield number, failed(f"no result within {timeout_s:g} s; the call was given up")
            return
        if waiting.pop(number, None) is not None:
            yield number, outcome


def failed(what: str, limit: int = MOST_CHARS) -> Outcome:
    """The outcome of a call that failed, as the model reads it."""
    return Outcome(f"error: {shortened(what, limit)}", error=True)


def by_hand(job: Job, limit: int = MOST_CHARS) -> Outcome:
    """What a person answers to a call; the end of their input is the caller's business."""
    return Outcome(result_text(job.tool.call(job.arguments, float("inf")), limit))


def _outcome(job: Job, timeout_s: float, limit: int) -> Outcome:
    try:
        return Outcome(result_text(job.tool.call(job.arguments, timeout_s), limit))
    except CallError as error:
        return failed(result_text(str(error), limit), limit)
    except Exception as error:  # noqa: BLE001 -- whatever a tool does, its call has an outcome
        return failed(f"{type(error).__name__}: {error}", limit)
