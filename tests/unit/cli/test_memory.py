"""Freed memory stays while the block runs, up to a bound, and the thread ends with it."""

import itertools
import sys
import threading
import time

import pytest

from toolgrove.cli import memory
from toolgrove.cli.memory import keeping_memory

MB = 1 << 20

glibc = pytest.mark.skipif(sys.platform != "linux", reason="glibc's heap")


def use_and_free(megabytes: int) -> int:
    """Bytes that the process holds more than before, a moment after having used so many."""
    before = memory._resident()
    blocks = [bytearray(b"x" * (4 * MB)) for _ in range(megabytes // 4)]
    time.sleep(0.1)
    del blocks
    time.sleep(0.3)
    return memory._resident() - before


def test_the_thread_ends_with_the_block() -> None:
    with keeping_memory(every_s=0.01):
        assert "memory" in [thread.name for thread in threading.enumerate()]
    assert "memory" not in [thread.name for thread in threading.enumerate()]


@glibc
def test_freed_memory_stays_until_the_end() -> None:
    before = memory._resident()
    with keeping_memory(every_s=0.01):
        assert use_and_free(256) > 200 * MB
    assert memory._resident() < before + 100 * MB


@glibc
def test_what_is_held_above_the_bound_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST", 0.0)
    monkeypatch.setattr(memory, "SPARE", 0)
    with keeping_memory(every_s=0.01):
        assert use_and_free(256) < 100 * MB


class Libc:
    """Counts how often the heap is given back."""

    trims = 0

    def malloc_trim(self, _: int) -> None:
        self.trims += 1


def trims(ticks: int) -> int:
    """How often the watch gives the heap back in so many looks."""
    libc, over = Libc(), threading.Event()
    looks = iter([False] * ticks + [True])
    over.wait = lambda _timeout=None: next(looks)
    memory._watch(libc, over, 0.5)
    return libc.trims


def test_memory_beside_the_heap_is_not_asked_for_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "_used", lambda _libc: 100 * MB)
    monkeypatch.setattr(memory, "_resident", lambda: 9000 * MB)
    assert trims(10) == 1


def test_where_use_cannot_be_told_growth_gives_the_heap_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grown = itertools.count(1000 * MB, 300 * MB)
    monkeypatch.setattr(memory, "_used", lambda _libc: 0)
    monkeypatch.setattr(memory, "_resident", lambda: next(grown))
    assert trims(10) > 2
