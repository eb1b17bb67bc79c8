"""Kinds of tokens: in every dialect keys, values and names are told apart."""

import json

import pytest

import toolgrove as tg
from tests.laws.tokenizer import small_tokenizer
from toolgrove.encoding import kinds

ARGUMENTS = {
    "city": 'Paris, "old" {x: [1}',
    "number": 31,
    "options": {"city": [1, True], "deep": {"c": "d: e, f"}},
    "last": "=9",
}


@pytest.fixture(scope="module")
def tok():
    return small_tokenizer()


def said(arguments, thinking=None):
    types = {"number": "integer", "options": "object"}
    properties = {name: {"type": types.get(name, "string")} for name in arguments}
    function = {"name": "find", "description": "Finds.", "parameters": {"type": "object"}}
    function["parameters"]["properties"] = properties
    call = {"type": "function", "function": {"name": "find", "arguments": arguments}}
    messages = [
        {"role": "user", "content": "Please!"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "12"},
        {"role": "assistant", "content": "It is 12."},
    ]
    if thinking:
        messages[1]["reasoning_content"] = thinking
    return tg.conversation(
        {"messages": messages, "tools": [{"type": "function", "function": function}]}
    )


def by_kind(row, tok):
    found = {}
    for name, token, weight in zip(kinds.Kinds(tok).names(row), row.ids, row.weights, strict=True):
        if weight:
            found.setdefault(name, []).append(tok.decode([token]))
    return {name: "".join(texts) for name, texts in found.items()}


@pytest.mark.parametrize("agent", tg.agent_templates())
def test_keys_and_values_are_told_apart_in_every_dialect(agent, tok):
    spoken = tg.dialect("chatml", agent=agent)
    (row, *_) = tg.encode(said(ARGUMENTS), spoken, tok)
    found = by_kind(row, tok)
    assert "find" in found[kinds.CALL_NAME]
    keys, values = found[kinds.ARGUMENT_KEYS], found[kinds.ARGUMENT_VALUES]
    for name in ARGUMENTS:
        assert name in keys, (keys, values)
    assert "Paris" not in keys
    assert "31" not in keys
    for value in ("Paris", "31", "d: e, f", "=9"):
        assert value in values, (keys, values)
    assert "last" not in values
    assert "number" not in values


@pytest.mark.parametrize("agent", tg.agent_templates())
def test_the_weights_of_the_kinds_add_up_to_the_weights(agent, tok):
    spoken = tg.dialect("qwen3", agent=agent)
    told = kinds.Kinds(tok)
    for row in tg.encode(said(ARGUMENTS, "Hm: {why}, not?"), spoken, tok, loss_scale="all"):
        found = told.weights(row)
        assert set(found) <= set(kinds.NAMES)
        assert [sum(each) for each in zip(*found.values(), strict=True)] == row.weights


@pytest.mark.parametrize(
    "arguments", [{}, {"a": ""}, {"{": "}"}, {"a": {"b": "\\"}, "c": "it's"}, {"é": "日本 🙂"}]
)
def test_odd_arguments_are_told(arguments, tok):
    (row,) = tg.encode(said(arguments), tg.dialect("chatml", agent="hermes"), tok)
    found = by_kind(row, tok)
    assert "12." in found[kinds.TEXT]
    assert json.dumps(arguments)[-1] in found[kinds.CALL_MARKS]
    if "c" in arguments:
        assert "c" in found[kinds.ARGUMENT_KEYS]
        assert "it's" in found[kinds.ARGUMENT_VALUES]
