"""Gives memory that is free inside the process back to the system while something runs."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

EVERY_S = 5.0


@contextmanager
def returning_memory(every_s: float = EVERY_S) -> Iterator[None]:
    """Trims the heap every so many seconds.

    Batches of ever other shapes leave holes in glibc's heap: without this a training that needs
    3 GB at a time grows beyond 8. Where the C library is not glibc nothing is done.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is None:
        yield
        return
    over = threading.Event()

    def keep_trimming() -> None:
        while not over.wait(every_s):
            trim(0)

    thread = threading.Thread(target=keep_trimming, name="memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        trim(0)
