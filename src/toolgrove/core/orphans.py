"""Processes that end with the one that started them, also when that was killed."""

from __future__ import annotations

import os
import threading
from multiprocessing import parent_process
from multiprocessing.connection import wait

_ORPHANED = 1


def end_with_parent() -> None:
    """Ends this process, one of multiprocessing's, as soon as its parent has ended."""
    parent = parent_process()
    if parent is not None:
        end_when(parent.sentinel)


def end_when(sentinel: int) -> None:
    """Ends this process at once when the sentinel is ready, such as the reading end of a pipe whose
    writing end only the parent holds."""

    def watch() -> None:
        wait([sentinel])
        os._exit(_ORPHANED)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
