"""CPU time, and when to begin to count it; needs nothing but Python's own library."""

from __future__ import annotations

import resource
import time

_STILL_S = 0.25
_SOME_S = 0.005


def cpu_s() -> float:
    """CPU seconds of this process, all its threads, and of the processes that it has ended."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(use.ru_utime + use.ru_stime for use in map(resource.getrusage, kinds))


def settled_cpu_s() -> float:
    """``cpu_s`` once no thread works on in the background: loading pyarrow starts one that goes on
    for a tenth of a second, which belongs to the loading."""
    while True:
        before = cpu_s()
        time.sleep(_STILL_S)
        now = cpu_s()
        if now - before < _SOME_S:
            return now
