"""Tiny models, made once."""

import os
from pathlib import Path

import pytest

from toolgrove.models.threads import prepare_torch
from toolgrove.models.tiny import tiny_model

prepare_torch()
os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads only get in the way of tiny models


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("models") / "llama", "llama")


@pytest.fixture(scope="session")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("models") / "qwen", "qwen3")
