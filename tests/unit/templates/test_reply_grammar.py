"""Replies that must call at once, and replies that are JSON where there is no call."""

from datetime import date

import pytest

from toolgrove.core.errors import TemplateError
from toolgrove.core.messages import Conversation, Message, Role, Tool
from toolgrove.encoding.byte_level import byte_level_tokenizer
from toolgrove.encoding.constrain import Constrainer
from toolgrove.templates.constraint import Request
from toolgrove.templates.dialect import chat_templates, dialect
from toolgrove.templates.jinja import MakersTemplate
from toolgrove.templates.own_traits import reading_of

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
    for reply in ('{"b": true}', CALL):
        assert admits(reply, schema=SCHEMA)
    for reply in ('{"b": 1}', "text", f'{CALL}{{"b": true}}'):
        assert not admits(reply, schema=SCHEMA)
    assert not admits(CALL, schema=SCHEMA, tool_choice="none")


THINKS = [
    ("smollm2", {}, False),
    ("qwen2_5", {}, False),
    ("granite4_0", {}, False),
    ("qwen3", {}, True),
    ("qwen3", {"enable_thinking": True}, True),
    ("qwen3", {"enable_thinking": False}, False),
    ("qwen3_5_think", {}, True),
]


@pytest.mark.parametrize(("name", "options", "thinks"), THINKS)
def test_a_reply_that_must_be_json_begins_with_thinking_only_in_families_that_think(
    name, options, thinks
):
    made = dialect(name, agent="hermes", options=options)
    asked = Conversation((Message(Role.USER, "b?"),), (TOOL,))
    prompt = made.prompt(asked)
    opened = prompt.endswith("<think>\n")
    tokenizer = byte_level_tokenizer(made, [prompt, THOUGHT])
    constrainer = Constrainer(tokenizer, made.stops)

    def held(reply, **more):
        request = Request((TOOL,), prompt=prompt, schema=SCHEMA, at_once=True, **more)
        matcher = constrainer.matcher(made.reply_grammar(request))
        ids = [*tokenizer.encode(reply), tokenizer.token_id(made.stops[0])]
        return all(matcher.accept(token) for token in ids)

    thought = THOUGHT.removeprefix("<think>\n") if opened else THOUGHT
    for more in ({}, {"tool_choice": "none"}):
        assert held('{"b": true}', **more) is not opened
        assert held(thought + '{"b": true}', **more) is thinks
    assert held(thought + CALL) is thinks
    # a call that is required may be thought about: composed dialects write what they are given
    assert held(thought + CALL, tool_choice="required") is (options != {"enable_thinking": False})


@pytest.mark.parametrize(("mention", "thinks"), [("", False), ("{# <think> #}", True)])
def test_a_makers_own_template_thinks_if_it_names_the_marks(mention, thinks):
    turn = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    source = f"{mention}{{% for m in messages %}}{turn}{{% endfor %}}<|im_start|>assistant\n"
    traits = reading_of(MakersTemplate(source, {}, date(2026, 1, 15)), ["<|im_end|>"]).traits
    assert traits.think.unasked is thinks


@pytest.mark.parametrize("name", chat_templates())
def test_a_family_that_is_said_not_to_think_has_no_thinking_in_its_own_text(name):
    made = dialect(name)
    thought = Message(Role.ASSISTANT, "Yes.", thinking="Ponder.")
    conv = Conversation((Message(Role.USER, "b?"), thought))
    if not made.chat.think.unasked:
        assert "Ponder." not in made.text(conv)
        assert made.chat.think.open not in made.prompt(conv)


def test_what_a_grammar_cannot_hold_is_refused_where_it_must_hold():
    schema = {**SCHEMA, "not": {"required": ["c"]}}
    made = dialect("chatml", agent="hermes")
    assert made.reply_grammar(Request((), schema=schema))
    with pytest.raises(TemplateError, match="response_format"):
        made.reply_grammar(Request((), schema=schema), strict=True)
