"""Work in pieces, each on a thread that computes alone, not each operation on all threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier
from typing import TypeVar

import torch

Piece = TypeVar("Piece")
Made = TypeVar("Made")


def for_all(work: Callable[[Piece], Made], pieces: Sequence[Piece]) -> list[Made]:
    """What ``work`` makes of each piece, in their order; pieces run at the same time.

    Small operations are not worth waking the other threads for, and take longer with them. What
    is computed inside has no gradients.
    """

    def apart(piece: Piece) -> Made:
        with torch.no_grad():
            return work(piece)

    if len(pieces) == 1:
        return [apart(pieces[0])]
    return list(_threads(len(pieces)).map(apart, pieces))


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    """So many threads, each of which computes its operations by itself."""
    all_begun = Barrier(count)

    def begin() -> None:
        torch.get_num_threads()  # takes over the process's number, which the next line replaces
        torch.set_num_threads(1)
        all_begun.wait()

    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, "attention", begin)
    list(pool.map(lambda _: None, range(count)))
    torch.set_num_threads(before)  # a thread's own number is also that of threads to come
    return pool
