"""Tiny models, made once."""

from pathlib import Path

import pytest

from toolgrove.models.threads import quiet_openmp
from toolgrove.models.tiny import tiny_model

quiet_openmp()


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("models") / "llama", "llama")


@pytest.fixture(scope="session")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("models") / "qwen", "qwen3")
