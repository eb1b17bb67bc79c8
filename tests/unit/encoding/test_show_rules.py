"""Every token's weight has a rule that explains it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.laws.tokenizer import small_tokenizer
from toolgrove.data.formats import conversation
from toolgrove.encoding.encode import EncodeSettings, History, encode_with
from toolgrove.encoding.show import by_rule, pieces
from toolgrove.encoding.show_rules import ELSEWHERE, FIRST, GIVEN, OWN, SCAFFOLD, Rules
from toolgrove.templates.dialect import dialect

TOK = small_tokenizer()
ROW: dict[str, Any] = {
    "messages": [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "reasoning_content": "Hm.", "content": "Where?"},
        {"role": "user", "content": "In Ulm."},
        {"role": "tool_call", "content": {"name": "weather", "arguments": {"city": "Ulm"}}},
        {"role": "tool_response", "content": "12"},
        {"role": "assistant", "content": "It is 12."},
    ],
    "tools": [{"name": "weather", "parameters": {}}],
}
WEIGHED = {**ROW, "messages": [*ROW["messages"]]}
WEIGHED["messages"][1] = {**ROW["messages"][1], "loss": False}
WEIGHED["messages"][5] = {**ROW["messages"][5], "loss_scale": 3.0}
FACTOR = re.compile(r"(×|= )([\d.]+)")


def weight_of(rule: str) -> float:
    """The weight that a rule's words say."""
    weight = 1.0 if "the model writes it" in rule or "everything is learnt" in rule else 0.0
    for sign, number in FACTOR.findall(rule):
        weight = weight * float(number) if sign == "×" else float(number)
    return weight


@pytest.mark.parametrize("row", [ROW, WEIGHED])
@pytest.mark.parametrize("history", list(History))
@pytest.mark.parametrize(
    "scale", ["default", "last_round", "all", "hermes", "last_round+hermes", "react+hermes"]
)
def test_rules_say_what_tokens_weigh(row: dict[str, Any], history: History, scale: str) -> None:
    conv = conversation(row)
    settings = EncodeSettings(scale, history)
    spoken = dialect("qwen3", "hermes")
    sequences = encode_with(conv, spoken, TOK, settings)
    told = Rules(spoken, TOK, settings).of(conv, sequences)
    for sequence, rules in zip(sequences, told, strict=True):
        assert len(rules) == len(sequence)
        assert [weight_of(rule) for rule in rules] == sequence.weights


def test_reasons_are_named() -> None:
    settings = EncodeSettings("last_round+hermes")
    spoken = dialect("qwen3", "hermes")
    conv = conversation(ROW)
    sequences = encode_with(conv, spoken, TOK, settings)
    rules = Rules(spoken, TOK, settings).of(conv, sequences)
    found = {rule for told in rules for rule in told}
    assert "last_round: the model writes it" in found
    assert "last_round: the model writes it · hermes ×2" in found
    assert {FIRST, GIVEN, SCAFFOLD} <= found
    assert any(rule == "last_round: before the last input" for rule in found)


@pytest.mark.parametrize(
    ("row", "history", "name"),
    [
        (ROW, History.SERVED, ELSEWHERE),
        (WEIGHED, History.KEEP, f"{OWN} ×0"),
        (WEIGHED, History.KEEP, f"{OWN} ×3"),
    ],
)
def test_other_sequences_and_own_weights_are_named(
    row: dict[str, Any], history: History, name: str
) -> None:
    spoken = dialect("qwen3", "hermes")
    conv = conversation(row)
    settings = EncodeSettings(history=history)
    sequences = encode_with(conv, spoken, TOK, settings)
    told = Rules(spoken, TOK, settings).of(conv, sequences)
    assert any(name in rule for rules in told for rule in rules)


def test_pieces_carry_rule_and_place_and_are_summed() -> None:
    conv = conversation(ROW)
    spoken = dialect("qwen3", "hermes")
    sequence = encode_with(conv, spoken, TOK, EncodeSettings())[-1]
    rules = Rules(spoken, TOK, EncodeSettings()).of(conv, [sequence])[0]
    found = pieces(sequence, TOK, rules)
    assert [piece.rule for piece in found] == [rules[piece.position] for piece in found]
    summed = by_rule(found)
    assert sum(count for _, count, _ in summed) == len(sequence)
    assert sum(weight for _, _, weight in summed) == sum(sequence.weights)
