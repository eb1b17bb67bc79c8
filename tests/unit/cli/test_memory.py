"""Freed memory stays while the block runs, up to a bound, and the thread ends with it."""

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
