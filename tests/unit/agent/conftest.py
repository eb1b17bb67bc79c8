"""Agents over an engine that says what it is told."""

from collections.abc import Callable, Sequence

import pytest

from tests.laws.tokenizer import small_tokenizer
from toolgrove.agent.model import EngineModel
from toolgrove.engine.base import Sampling
from toolgrove.engine.scripted import ScriptedEngine
from toolgrove.templates.dialect import dialect

Scripted = Callable[..., EngineModel]


@pytest.fixture(scope="session")
def tokenizer():
    return small_tokenizer()


@pytest.fixture
def scripted(tokenizer) -> Scripted:
    """A model that plays replies in order; a callable among them is called with the prompt."""

    def make(
        replies: Sequence, chat: str = "chatml", agent: str = "hermes", **options
    ) -> EngineModel:
        left = list(replies)

        def reply(prompt: str) -> str:
            said = left.pop(0)
            return said(prompt) if callable(said) else said

        engine = ScriptedEngine(reply, tokenizer)
        sampling = Sampling(max_new_tokens=2000)
        return EngineModel(engine, dialect(chat, agent=agent), tokenizer, sampling, **options)

    return make
