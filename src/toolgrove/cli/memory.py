"""Keeps freed memory for the next batch while something runs, up to a bound."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

EVERY_S = 0.5
MOST, SPARE = 1.25, 512 << 20
"""Held at most: so many times the most that was in use at once, and so many bytes more."""

_HELD = Path("/proc/self/statm")
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # numbers of glibc's malloc.h
_KEEPING = {_TRIM_THRESHOLD: -1, _MMAP_MAX: 0}
_USUAL = {_TRIM_THRESHOLD: 64 << 20, _MMAP_THRESHOLD: 32 << 20, _MMAP_MAX: 65536}
"""Where glibc's own rule, which ends once it is set otherwise, comes to after large blocks."""


class _Usage(ctypes.Structure):
    """glibc's ``struct mallinfo2``."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


@contextmanager
def keeping_memory(every_s: float = EVERY_S) -> Iterator[None]:
    """Freed memory stays with the process, but never much more than was needed at once.

    The system hands out memory page by page and emptied, which costs a training that frees all of
    it after each step up to a fifth of its processor time. Kept without a bound, batches of ever
    other shapes leave holes in glibc's heap, and a training that needs 3 GB at a time grows
    beyond 8. So the heap is given back when the process holds ``MOST`` times the most that it
    used at once, and ``SPARE``. A glibc before 2.33 cannot tell what is in use: there the heap is
    given back whenever ``SPARE`` came to it. Without glibc and /proc nothing is done.
    """
    libc: Any = ctypes.CDLL(None) if _HELD.exists() else None
    if not hasattr(libc, "malloc_trim"):
        yield
        return
    can_tell = hasattr(libc, "mallinfo2")
    if can_tell:
        libc.mallinfo2.restype = _Usage
        _set(libc, _KEEPING)
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=(libc, over, every_s), name="memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        if can_tell:
            _set(libc, _USUAL)
        libc.malloc_trim(0)


def _set(libc: Any, numbers: Mapping[int, int]) -> None:
    for name, number in numbers.items():
        libc.mallopt(name, number)


def _watch(libc: Any, over: threading.Event, every_s: float) -> None:
    most = beside = 0
    while not over.wait(every_s):
        most = max(most, _used(libc))
        if _resident() > MOST * most + SPARE + beside:
            libc.malloc_trim(0)
            beside = max(0, _resident() - _used(libc))  # is not the heap's, such as pinned memory


def _used(libc: Any) -> int:
    """Bytes that malloc has given out; 0 where glibc cannot tell."""
    if not hasattr(libc, "mallinfo2"):
        return 0
    usage = libc.mallinfo2()
    return usage.uordblks + usage.hblkhd


def _resident() -> int:
    """Bytes of this process that no file lies behind."""
    _, resident, shared, *_ = map(int, _HELD.read_text().split())
    return (resident - shared) * os.sysconf("SC_PAGESIZE")
