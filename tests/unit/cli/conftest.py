"""A tokenizer folder and rows small enough to read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.laws.tokenizer import small_tokenizer

ROWS = [
    {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Weather in Ulm?"},
            {"role": "tool_call", "content": {"name": "weather", "arguments": {"city": "Ulm"}}},
            {"role": "tool_response", "content": "12 °C"},
            {"role": "assistant", "content": "It is 12 °C 🙂."},
        ],
        "tools": [{"name": "weather", "description": "Says the weather.", "parameters": {}}],
    },
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]},
]


@pytest.fixture(scope="session")
def tokenizer_folder() -> str:
    return str(small_tokenizer().folder)


@pytest.fixture
def rows(tmp_path: Path) -> str:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return str(file)
