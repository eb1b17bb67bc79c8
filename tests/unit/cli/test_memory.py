"""The heap is trimmed while the block runs, and the thread ends with it."""

import threading

from toolgrove.cli.memory import returning_memory


def test_the_thread_ends_with_the_block() -> None:
    with returning_memory(every_s=0.01):
        held = [bytes(1 << 20) for _ in range(8)]
        assert len(held) == 8
    assert "memory" not in [thread.name for thread in threading.enumerate()]
