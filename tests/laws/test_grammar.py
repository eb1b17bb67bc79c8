"""Laws of grammars: what a grammar admits reads back as valid calls, and what is written is
admitted. They need xgrammar and are skipped without it."""

import re
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.laws.grammars import Walker, is_valid, tool, tools_and_calls
from toolgrove.core.errors import TemplateError
from toolgrove.core.messages import Conversation, Message, Role, ToolCall
from toolgrove.core.spans import text_of
from toolgrove.templates.base import Step, agent_registry, chat_registry
from toolgrove.templates.dialect import dialect

xgrammar = pytest.importorskip(
    "xgrammar", reason='needs xgrammar: pip install "toolgrove[grammar]"'
)
admits = pytest.importorskip("xgrammar.testing")._is_grammar_accept_string

DAY = date(2026, 1, 15)
ONE = (tool("f", {"a": {"type": "integer"}}),)
AGENTS = agent_registry.names()
NATIVE = [name for name in chat_registry.names() if chat_registry.get(name).native_agent in AGENTS]
BEYOND_FLOATS = re.compile(r"\d[eE]\+?\d{3}")
"""numbers that no float holds: JSON has them, Python has not"""
FEW = settings(max_examples=8, deadline=None)


@pytest.fixture(scope="module")
def walker():
    return Walker(xgrammar)


def home(agent):
    """A chat template that the agent template is at home in, composed."""
    own = [name for name in NATIVE if chat_registry.get(name).native_agent == agent]
    return dialect(own[0] if own else "qwen3", agent, today=DAY)


def parsed(grammar):
    return xgrammar.Grammar.from_structural_tag(grammar)


def test_every_agent_template_has_a_grammar():
    without = [
        name for name in AGENTS if agent_registry.get(name)().call_grammar(ONE, True) is None
    ]
    assert without == []


@pytest.mark.parametrize("agent", AGENTS)
@given(made=tools_and_calls(), seed=st.integers(0, 10**6), data=st.data())
@FEW
def test_what_is_admitted_reads_back_as_valid_calls(walker, agent, made, seed, data):
    tools, _ = made
    d = home(agent)
    wanted = data.draw(st.sampled_from(["auto", "required", "none", tools[0].name]))
    parallel = data.draw(st.booleans())
    prompt = data.draw(st.sampled_from(["", d.chat.think.open, d.chat.think.close]))
    text = walker.draw(d.grammar(tools, wanted, parallel, prompt), seed)
    if text is None or BEYOND_FLOATS.search(text):
        return
    reply = d.read(text, tools, prompt)
    schemas = {tool.name: tool.parameters for tool in tools}
    for call in reply.calls:
        assert is_valid(call.arguments, schemas[call.name]), text
    most = 0 if wanted == "none" else 10**9 if parallel and wanted != tools[0].name else 1
    least = 0 if wanted in ("auto", "none") else 1
    assert least <= len(reply.calls) <= most, text
    assert reply.complete or not reply.calls, text
    if wanted == tools[0].name:
        assert reply.calls[0].name == wanted


@pytest.mark.parametrize("agent", AGENTS)
@given(made=tools_and_calls())
@FEW
def test_written_calls_are_admitted(agent, made):
    tools, calls = made
    d = home(agent)
    template = d.agent
    written = text_of(template.write_calls(calls, Step(tools)))
    assert admits(parsed(d.grammar(tools)), written), written
    assert admits(parsed(d.grammar(tools, "required")), f"Well.{template.text_separator}{written}")
    assert not admits(parsed(d.grammar(tools, "none")), written)
    one = len(calls) == 1
    assert admits(parsed(d.grammar(tools, "required", parallel=False)), written) is one
    assert admits(parsed(d.grammar(tools, {"function": {"name": calls[0].name}})), written) is one


@pytest.mark.parametrize("chat", NATIVE)
def test_whole_turns_are_admitted(chat):
    tools = (tool("f", {"a": {"type": "integer"}, "b": {"type": "string"}}, ["a"]),)
    calls = (ToolCall("f", {"a": 1, "b": "x"}, id="abcdefgh1"),)
    rounds = [
        Message(Role.USER, "Hi"),
        Message(Role.ASSISTANT, "Let me see.", thinking="Hm.", calls=calls),
        Message(Role.TOOL, "2", name="f", call_id="abcdefgh1"),
        Message(Role.ASSISTANT, "It is 2.", thinking="So."),
    ]
    d = dialect(chat, chat_registry.get(chat).native_agent, today=DAY)
    for turn in d.turns(Conversation(tuple(rounds), tools)):
        text = text_of(turn.completion)
        for stop in d.stops:
            text = text.removesuffix(stop)
        grammar = parsed(d.grammar(tools, prompt=text_of(turn.prompt)))
        assert admits(grammar, text), text


def test_without_tools_there_is_only_text():
    grammar = parsed(dialect("qwen3").grammar([]))
    assert admits(grammar, "hi")
    assert admits(grammar, "<tool_call>")


def test_a_choice_that_cannot_be():
    with pytest.raises(TemplateError, match="no tool has that name"):
        dialect("qwen3").grammar(ONE, "g")
    with pytest.raises(TemplateError, match="no tools"):
        dialect("qwen3").grammar([], "required")
    with pytest.raises(TemplateError, match="writes no calls"):
        dialect("smollm2").grammar(ONE, "required")
