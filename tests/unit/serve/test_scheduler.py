"""The line before the engine: its length, its order, those who leave, an engine that fails."""

import asyncio
import threading
import time

import pytest

from toolgrove.core.errors import ModelError
from toolgrove.engine.base import Finish, Sampling
from toolgrove.engine.live import Job, Piece
from toolgrove.serve.refusal import RefusedError
from toolgrove.serve.scheduler import Scheduler

JOB = Job((1,), Sampling())


class Gated:
    """An engine that goes a step on whenever the test lets it, and never ends by itself."""

    context = 100
    holds_grammars = False

    def __init__(self):
        self.gate = threading.Semaphore(0)
        self.going, self.dropped, self.added = {}, [], []
        self.failure = None
        self.ending = False

    def prepare(self, job):
        return job

    def add(self, number, prepared):
        self.going[number] = prepared
        self.added.append(prepared)

    def drop(self, number):
        if self.going.pop(number, None):
            self.dropped.append(number)

    def step(self):
        self.gate.acquire(timeout=0.2)
        if self.failure:
            failure, self.failure = self.failure, None
            raise failure
        finish = Finish.STOP if self.ending else None
        pieces = [Piece(number, (1,), "x", finish) for number in self.going]
        if self.ending:
            self.going.clear()
        return pieces

    def load_adapter(self, name, folder):
        raise ModelError("none here")

    def unload_adapter(self, name):
        raise ModelError("none here")


@pytest.fixture
def gated():
    scheduler = Scheduler(Gated(), max_running=2, max_waiting=2)
    scheduler.start()
    yield scheduler
    scheduler.engine.ending = True
    scheduler.stop()
    assert not scheduler.alive


def eventually(holds):
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


async def taken(scheduler, count=1):
    ticket = scheduler.submit([JOB])
    await asyncio.to_thread(eventually, lambda: scheduler.load.waiting == 0)
    return ticket


def test_the_line_is_bounded_and_kept_in_order(gated):
    async def talk():
        first = [await taken(gated), await taken(gated)]
        waiting = [gated.submit([Job((n,), Sampling())]) for n in (7, 8)]
        assert gated.load == (2, 2)
        with pytest.raises(RefusedError) as caught:
            gated.submit([JOB])
        assert caught.value.status == 429
        gated.engine.ending = True
        for ticket in [*first, *waiting]:
            parts = [part async for part in ticket.parts(60)]
            assert parts[-1].piece.finish is Finish.STOP
        assert [job.prompt for job in gated.engine.added[2:]] == [(7,), (8,)]

    asyncio.run(talk())


def test_who_leaves_is_dropped_whether_going_on_or_waiting(gated):
    async def talk():
        going = [await taken(gated), await taken(gated)]
        waiting = gated.submit([JOB])
        gated.leave(waiting)
        gated.leave(going[0])
        await asyncio.to_thread(eventually, lambda: gated.load == (1, 0))
        assert len(gated.engine.dropped) == 1
        assert len(gated.engine.added) == 2

    asyncio.run(talk())


def test_an_engine_that_fails_ends_its_replies_and_goes_on(gated):
    async def talk():
        ticket = await taken(gated)
        gated.engine.failure = RuntimeError("out of memory")
        with pytest.raises(RefusedError, match="out of memory") as caught:
            [part async for part in ticket.parts(60)]
        assert caught.value.status == 500
        gated.engine.ending = True
        assert [part async for part in gated.submit([JOB]).parts(60)]

    asyncio.run(talk())


def test_an_engine_that_dies_answers_everyone(monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _args: None)
    scheduler = Scheduler(Gated())
    scheduler.start()

    async def talk():
        ticket = await taken(scheduler)
        scheduler.engine.failure = KeyError("a mistake of ours")
        with pytest.raises(RefusedError) as caught:
            [part async for part in ticket.parts(60)]
        assert caught.value.status == 503
        with pytest.raises(RefusedError):
            scheduler.submit([JOB])
        assert not scheduler.alive

    asyncio.run(talk())


def test_errands_wait_until_nothing_is_going_on(gated):
    async def talk():
        ticket = await taken(gated)
        done = gated.errand(lambda: dict(gated.engine.going))
        await asyncio.sleep(0.05)
        assert not done.done()
        gated.leave(ticket)
        assert await asyncio.wrap_future(done) == {}
        with pytest.raises(ModelError):
            await asyncio.wrap_future(gated.errand(lambda: gated.engine.unload_adapter("x")))

    asyncio.run(talk())


def test_a_reply_that_never_ends_is_timed_out(gated):
    async def talk():
        ticket = await taken(gated)
        with pytest.raises(RefusedError) as caught:
            [part async for part in ticket.parts(0.3)]
        assert caught.value.status == 504

    asyncio.run(talk())
