"""Replies that must call at once, and replies that are JSON where there is no call."""

import pytest

from toolgrove.core.errors import TemplateError
from toolgrove.core.messages import Tool
from toolgrove.encoding.byte_level import byte_level_tokenizer
from toolgrove.encoding.constrain import Constrainer
from toolgrove.templates.constraint import Request
from toolgrove.templates.dialect import dialect

pytest.importorskip("xgrammar", reason="the extra grammar is not installed")

TOOL = Tool(
    {
        "type": "function",
        "function": {
            "name": "f",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "integer"}},
                "required": ["a"],
            },
        },
    }
)
CALL = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
THOUGHT = "<think>\nhm\n</think>\n\n"
SCHEMA = {"type": "object", "properties": {"b": {"type": "boolean"}}, "required": ["b"]}


@pytest.fixture(scope="module", params=["chatml", "qwen3"])
def admits(request):
    made = dialect(request.param, agent="hermes")
    tokenizer = byte_level_tokenizer(made, [CALL])
    constrainer = Constrainer(tokenizer, made.stops)

    def held(reply, **asked):
        matcher = constrainer.matcher(made.reply_grammar(Request((TOOL,), **asked)))
        ids = [*tokenizer.encode(reply), tokenizer.token_id("<|im_end|>")]
        return all(matcher.accept(token) for token in ids)

    return held


@pytest.mark.parametrize("choice", ["required", "f"])
def test_a_required_call_comes_before_any_text_but_thinking(admits, choice):
    for reply in (CALL, f"\n\n{CALL}", f"{THOUGHT}{CALL}"):
        assert admits(reply, tool_choice=choice, at_once=True)
    for reply in (f"I will. {CALL}", f"{THOUGHT}So {CALL}", "", "No."):
        assert not admits(reply, tool_choice=choice, at_once=True)
    assert admits(f"I will. {CALL}", tool_choice=choice)


def test_a_schema_leaves_json_or_calls(admits):
    for reply in ('{"b": true}', f'{THOUGHT}{{"b": false}}', CALL):
        assert admits(reply, schema=SCHEMA)
    for reply in ('{"b": 1}', "text", f'{CALL}{{"b": true}}'):
        assert not admits(reply, schema=SCHEMA)
    assert not admits(CALL, schema=SCHEMA, tool_choice="none")


def test_what_a_grammar_cannot_hold_is_refused_where_it_must_hold():
    schema = {**SCHEMA, "not": {"required": ["c"]}}
    made = dialect("chatml", agent="hermes")
    assert made.reply_grammar(Request((), schema=schema))
    with pytest.raises(TemplateError, match="response_format"):
        made.reply_grammar(Request((), schema=schema), strict=True)
