"""Servers over scripts, asked without a network."""

import asyncio

import httpx2 as httpx
import pytest

from toolgrove.encoding.byte_level import byte_level_tokenizer
from toolgrove.engine.live_script import ScriptedLive
from toolgrove.engine.speech import Speech
from toolgrove.serve.app import make_app
from toolgrove.serve.guard import Limits
from toolgrove.serve.scheduler import Scheduler
from toolgrove.serve.served import Model, Served


def scripted(replies, template="chatml", agent="hermes", **limits):
    """What a scripted server has."""
    speech = Speech(None, template, agent)
    tokenizer = byte_level_tokenizer(speech.dialect(), replies)
    scheduler = Scheduler(ScriptedLive(replies, tokenizer), **limits)
    return Served(tokenizer, scheduler, Model("scripted", speech))


class Client:
    """Asks an app, each time in an event loop of its own, its lifespan kept."""

    def __init__(self, served, limits=None, recorder=None):
        self.served = served
        self.app = make_app(served, limits or Limits(), recorder)

    def ask(self, path, body=None, **options):
        return self.ask_all([(path, body, options)])[0]

    def ask_all(self, questions):
        async def talk():
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
                return await asyncio.gather(*(self._one(http, *one) for one in questions))

        return asyncio.run(talk())

    async def _one(self, http, path, body, options):
        if body is None:
            return await http.get(path, **options)
        if isinstance(body, bytes | str):
            headers = {"content-type": "application/json"} | options.pop("headers", {})
            return await http.post(path, content=body, headers=headers, **options)
        return await http.post(path, json=body, **options)


@pytest.fixture
def serving():
    """Makes clients of scripted servers; their engines end with the test."""
    begun = []

    def begin(replies, limits=None, recorder=None, **options):
        served = scripted(replies, **options)
        served.scheduler.start()
        begun.append(served)
        return Client(served, limits, recorder)

    yield begin
    for served in begun:
        served.scheduler.stop()
