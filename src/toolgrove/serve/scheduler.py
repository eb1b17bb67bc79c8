"""The thread that owns the engine: requests wait in line, work together, leave when they like."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from toolgrove.core.errors import ToolgroveError
from toolgrove.engine.live import LiveEngine, Piece
from toolgrove.serve.refusal import RefusedError, refusal_of

_NO_ENGINE = "the engine has stopped; see the server's log"


class Part(NamedTuple):
    """A piece of the reply of one of a request's jobs."""

    job: int
    piece: Piece


class Load(NamedTuple):
    """How much there is to do: replies that are going on, jobs that wait."""

    running: int
    waiting: int


@dataclass(eq=False)
class Ticket:
    """A request in the line: its jobs, and where the parts of their replies arrive."""

    prepared: Sequence[Any]
    loop: asyncio.AbstractEventLoop
    arriving: asyncio.Queue[Part | RefusedError] = field(default_factory=asyncio.Queue)
    numbers: dict[int, int] = field(default_factory=dict)
    left: bool = False

    async def parts(self, seconds: float) -> AsyncIterator[Part]:
        """All parts until each job has finished; RefusedError when the engine fails, and (504) when
        the last part has not come within that time. The event loop gets a turn at each part."""
        late = RefusedError(504, "the request took too long", code="timeout")
        alarm = self.loop.call_later(max(0.0, seconds), self.arriving.put_nowait, late)
        going = len(self.prepared)
        try:
            while going:
                await asyncio.sleep(0)
                arrived = await self.arriving.get()
                if isinstance(arrived, RefusedError):
                    raise arrived
                going -= arrived.piece.finish is not None
                yield arrived
        finally:
            alarm.cancel()


class Scheduler:
    """Runs an engine in a thread of its own.

    Requests are taken in as they came, while fewer than ``max_running`` jobs go on; at most
    ``max_waiting`` jobs wait, further ones are refused with status 429. What changes the engine
    (adapters) waits until no reply is going on, and new requests wait for it.
    """

    def __init__(self, engine: LiveEngine, max_running: int = 32, max_waiting: int = 256) -> None:
        self.engine = engine
        self._max_running, self._max_waiting = max_running, max_waiting
        self._changed = threading.Condition()
        self._line: deque[Ticket] = deque()
        self._errands: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._leaving: deque[Ticket] = deque()
        self._jobs: dict[int, tuple[Ticket, int]] = {}
        self._numbers = itertools.count()
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; replies that are still going on fail."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join(timeout=30)

    @property
    def alive(self) -> bool:
        """Whether the engine answers."""
        return self._thread.is_alive() and not self._ended

    @property
    def load(self) -> Load:
        """How much there is to do."""
        with self._changed:
            return Load(len(self._jobs), sum(len(ticket.prepared) for ticket in self._line))

    def submit(self, prepared: Sequence[Any]) -> Ticket:
        """Puts a request of this event loop in the line; RefusedError (429) when that is full."""
        ticket = Ticket(prepared, asyncio.get_running_loop())
        with self._changed:
            if not self.alive:
                raise RefusedError(503, _NO_ENGINE)
            if self.load.waiting + len(prepared) > self._max_waiting:
                raise RefusedError(
                    429,
                    f"{self.load.waiting} requests are waiting already; try again soon",
                    code="queue_full",
                )
            self._line.append(ticket)
            self._changed.notify()
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """The client is gone, or has enough: what is left of the request is dropped."""
        with self._changed:
            ticket.left = True
            self._leaving.append(ticket)
            self._changed.notify()

    def errand(self, act: Callable[[], Any]) -> Future[Any]:
        """Something to do in the engine's thread while no reply is going on."""
        done: Future[Any] = Future()
        with self._changed:
            if not self.alive:
                raise RefusedError(503, _NO_ENGINE)
            self._errands.append((act, done))
            self._changed.notify()
        return done

    def _work(self) -> None:
        try:
            while self._wait():
                self._let_go()
                self._run_errands()
                self._take_in()
                if self._jobs:
                    self._step()
        finally:
            self._ended = True
            self._fail(RefusedError(503, _NO_ENGINE))

    def _wait(self) -> bool:
        """Waits for work; False when the thread is to end."""
        with self._changed:
            while not (self._ended or self._jobs or self._line or self._errands or self._leaving):
                self._changed.wait()
            return not self._ended

    def _let_go(self) -> None:
        while self._leaving:
            ticket = self._leaving.popleft()
            with self._changed:
                if ticket in self._line:
                    self._line.remove(ticket)
            for number in ticket.numbers:
                self.engine.drop(number)
                self._jobs.pop(number, None)

    def _run_errands(self) -> None:
        while self._errands and not self._jobs:
            act, done = self._errands.popleft()
            try:
                done.set_result(act())
            except (ToolgroveError, RuntimeError, ValueError, OSError) as error:
                done.set_exception(error)

    def _take_in(self) -> None:
        while self._line and not self._errands:
            ticket = self._line[0]
            if self._jobs and len(self._jobs) + len(ticket.prepared) > self._max_running:
                return
            with self._changed:
                self._line.popleft()
            if not ticket.left:
                self._begin(ticket)

    def _begin(self, ticket: Ticket) -> None:
        for index, prepared in enumerate(ticket.prepared):
            number = next(self._numbers)
            try:
                self.engine.add(number, prepared)
            except ToolgroveError as error:
                self._drop(ticket)
                told = refusal_of(error)
                self._tell(ticket, [RefusedError(503, told.message, code="engine")])
                return
            ticket.numbers[number] = index
            self._jobs[number] = (ticket, index)

    def _step(self) -> None:
        try:
            pieces = self.engine.step()
        except (ToolgroveError, RuntimeError, ValueError, IndexError, MemoryError) as error:
            first = str(error).partition("\n")[0]
            self._fail(RefusedError(500, f"the engine failed: {type(error).__name__}: {first}"))
            return
        arrived: dict[Ticket, list[Part | RefusedError]] = {}
        for piece in pieces:
            ticket, index = self._jobs[piece.number]
            arrived.setdefault(ticket, []).append(Part(index, piece))
            if piece.finish is not None:
                del self._jobs[piece.number]
                del ticket.numbers[piece.number]
        for ticket, parts in arrived.items():
            self._tell(ticket, parts)

    def _fail(self, refusal: RefusedError) -> None:
        """Ends every reply that is going on; without an engine, those that wait, too."""
        tickets = {ticket for ticket, _ in self._jobs.values()}
        if self._ended:
            tickets |= set(self._line)
            self._line.clear()
        for ticket in tickets:
            self._drop(ticket)
            self._tell(ticket, [refusal])

    def _drop(self, ticket: Ticket) -> None:
        for number in ticket.numbers:
            self.engine.drop(number)
            self._jobs.pop(number, None)
        ticket.numbers.clear()

    def _tell(self, ticket: Ticket, parts: Sequence[Part | RefusedError]) -> None:
        def deliver() -> None:
            for part in parts:
                ticket.arriving.put_nowait(part)

        if not ticket.left and not ticket.loop.is_closed():
            ticket.loop.call_soon_threadsafe(deliver)
