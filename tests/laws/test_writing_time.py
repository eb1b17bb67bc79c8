"""The time to write a conversation grows with its length, and not with its square."""

import time

import pytest

import toolgrove as tg
from tests.laws.test_reading import AGENTS, CHATS, TODAY, tools_for
from toolgrove.core.messages import Conversation, Message, Role, ToolCall
from toolgrove.templates.base import chat_registry

SHORT, LONG = 60, 240
"""how many steps: a square law gives a ratio of 16, a linear one of 4"""


def agentic(steps):
    """One question, then call after call."""
    messages = [Message(Role.SYSTEM, "Be brief."), Message(Role.USER, "How high is the tide?")]
    for step in range(steps):
        call = ToolCall("look_up", {"key": "some words", "depth": 3}, id=f"abcd{step:05}")
        messages.append(Message(Role.ASSISTANT, "", calls=(call,)))
        messages.append(Message(Role.TOOL, '{"high": 3}', call_id=call.id))
    return Conversation((*messages, Message(Role.ASSISTANT, "Three metres.")), tools_for([call]))


def seconds(dialect, conv):
    start = time.process_time()
    dialect.prompt(conv)
    return time.process_time() - start


def grows_linearly(dialect):
    """Whether four times the steps take clearly less than sixteen times as long, noise aside."""
    few, many = agentic(SHORT), agentic(LONG)
    return any(seconds(dialect, many) < 8 * seconds(dialect, few) for _ in range(6))


@pytest.mark.parametrize("chat", [c for c in CHATS if chat_registry.get(c).native_agent])
def test_a_makers_template_writes_in_linear_time(chat):
    assert grows_linearly(tg.dialect(chat, today=TODAY))


@pytest.mark.parametrize("agent", AGENTS)
def test_an_agent_template_writes_in_linear_time(agent):
    assert grows_linearly(tg.dialect("chatml", agent=agent, today=TODAY))
