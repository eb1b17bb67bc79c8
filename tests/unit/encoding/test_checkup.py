"""Rows held against a model: what training would refuse is found before."""

from __future__ import annotations

from typing import Any

from tests.laws.tokenizer import small_tokenizer
from toolgrove.data.doctor.examine import Doctor
from toolgrove.encoding.checkup import Checkup
from toolgrove.encoding.encode import EncodeSettings
from toolgrove.templates.dialect import dialect

TALK = {"query": "What is it that you want?", "response": "Nothing, I am just looking around."}
CALL = {
    "messages": [
        {"role": "user", "content": "Weather?"},
        {"role": "tool_call", "content": {"name": "weather", "arguments": {"city": "Ulm"}}},
    ],
    "tools": [{"name": "weather", "description": "Says it.", "parameters": {}}],
}
MASKED = {
    "messages": [
        {"role": "user", "content": "And?"},
        {"role": "assistant", "content": "Nothing.", "loss": False},
    ]
}


def doctor(agent: str | None = "hermes", **settings: Any) -> Doctor:
    checkup = Checkup(dialect("chatml", agent), small_tokenizer(), EncodeSettings(**settings))
    return Doctor(further=(checkup,))


def codes(row: dict[str, Any], made: Doctor) -> list[str]:
    return [finding.kind.code for finding in made.row(row, ("rows.jsonl", 1)).findings]


def test_clean_rows_are_counted_in_tokens() -> None:
    made = doctor()
    assert codes(TALK, made) == []
    assert made.counts.sequences == 1
    assert 0 < made.counts.trained < made.counts.tokens
    assert sum(made.counts.trained_shares.values()) == 1


def test_over_length() -> None:
    assert codes(TALK, doctor(max_length=10)) == ["over-length"]
    assert codes(TALK, doctor(max_length=10_000)) == []


def test_nothing_to_train() -> None:
    assert codes(MASKED, doctor()) == ["all-masked", "nothing-to-train"]


def test_what_a_template_loses() -> None:
    assert set(codes(CALL, doctor(agent=None))) == {"lost-in-template"}
    assert codes(CALL, doctor()) == []


def test_what_a_template_refuses() -> None:
    row = {**CALL, "messages": [*CALL["messages"]]}
    row["messages"][1] = {
        "role": "tool_call",
        "content": [{"name": "weather", "arguments": {}}, {"name": "weather", "arguments": {}}],
    }
    checkup = Checkup(dialect("llama3_1"), small_tokenizer(), EncodeSettings())
    assert codes(row, Doctor(further=(checkup,))) == ["not-written"]
