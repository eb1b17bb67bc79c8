"""Cases played to their end: many at once, each asking and answered in turn."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import TypeAlias

from toolgrove.core.messages import Conversation
from toolgrove.eval.outcome import Outcome
from toolgrove.eval.speakers import Said, Speaker

Play: TypeAlias = Generator[Conversation, Said, Outcome]
"""A case being played: it yields what the model is asked, is sent the answer, and returns its
outcome when it has ended."""


def in_batches(plays: Iterable[Play], speaker: Speaker, live: int) -> Iterator[list[Outcome]]:
    """Plays up to ``live`` cases side by side; all that wait are answered in one batch.

    A case that has ended makes room for the next one. Gives the outcomes of each round.
    """
    waiting: list[tuple[Play, Conversation]] = []
    coming = iter(plays)
    try:
        while True:
            ended: list[Outcome] = []
            while len(waiting) < live and (play := next(coming, None)) is not None:
                _go_on(play, None, waiting, ended)
            if not waiting and not ended:
                return
            batch, waiting = waiting, []
            answers = speaker.answer([asked for _, asked in batch]) if batch else []
            for (play, _), said in zip(batch, answers, strict=True):
                _go_on(play, said, waiting, ended)
            yield ended
    finally:
        for play, _ in waiting:
            play.close()


def in_threads(plays: Iterable[Play], speaker: Speaker, threads: int) -> Iterator[list[Outcome]]:
    """Plays cases in threads, each one to its end; gives outcomes as they come.

    The first error of any thread is raised here, and no further case is begun.
    """
    coming = iter(plays)
    found: queue.Queue[Outcome | BaseException | None] = queue.Queue()
    lock, stop = threading.Lock(), threading.Event()

    def work() -> None:
        try:
            while not stop.is_set():
                with lock:
                    play = next(coming, None)
                if play is None:
                    break
                outcome = _to_the_end(play, speaker, stop)
                if outcome is not None:
                    found.put(outcome)
        except BaseException as error:  # noqa: BLE001 -- told where outcomes are awaited
            found.put(error)
        found.put(None)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        running = len(workers)
        while running:
            one = found.get()
            if isinstance(one, BaseException):
                raise one
            if one is None:
                running -= 1
            else:
                yield [one]
    finally:
        stop.set()


def play_alone(play: Play, speaker: Speaker) -> Outcome:
    """The outcome of a case that is played by itself."""
    (outcome,) = (one for ended in in_batches([play], speaker, 1) for one in ended)
    return outcome


def _to_the_end(play: Play, speaker: Speaker, stop: threading.Event) -> Outcome | None:
    """The outcome of the case; None when the run was stopped meanwhile."""
    said: Said | None = None
    try:
        while not stop.is_set():
            asked = next(play) if said is None else play.send(said)
            said = speaker.answer([asked])[0]
    except StopIteration as end:
        return end.value
    finally:
        play.close()
    return None


def _go_on(
    play: Play, said: Said | None, waiting: list[tuple[Play, Conversation]], ended: list[Outcome]
) -> None:
    try:
        waiting.append((play, next(play) if said is None else play.send(said)))
    except StopIteration as end:
        ended.append(end.value)
