"""Laws 1 to 3: what is written reads back; reading never raises; streaming is whole reading."""

from datetime import date

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import toolgrove as tg
from tests.laws.strategies import NASTY, call_lists, conversations, cuts, plain, texts, tools
from toolgrove.core.errors import TemplateError
from toolgrove.core.messages import Conversation, Message, Role, Tool
from toolgrove.core.spans import text_of
from toolgrove.templates.dialect import Dialect, same_calls
from toolgrove.templates.reading import DeltaKind

TODAY = date(2026, 1, 15)
TOOL = Tool({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}})
AGENTS = tg.agent_templates()
CHATS = tg.chat_templates()


def composed(chat: str, agent: str) -> Dialect:
    return tg.dialect(chat, agent=agent, today=TODAY)


def completion(d: Dialect, message: Message) -> str:
    conv = Conversation((Message(Role.USER, "q"), message), (TOOL,))
    return text_of(d.turns(conv)[-1].completion)


@pytest.mark.parametrize("chat", CHATS)
@pytest.mark.parametrize("agent", AGENTS)
@given(made=call_lists, content=st.just("") | plain, thinking=st.none() | plain)
def test_written_calls_read_back(chat, agent, made, content, thinking):
    d = composed(chat, agent)
    message = Message(Role.ASSISTANT, content, thinking=thinking, calls=tuple(made))
    reply = d.read(completion(d, message), tools=(TOOL,))
    assert same_calls(reply.calls, made)
    assert reply.complete
    assert reply.content.strip() == content.strip()
    assert (reply.thinking or "").strip("\n") == (thinking or "").strip("\n")


@pytest.mark.parametrize("agent", AGENTS)
@given(made=call_lists, content=texts)
def test_text_that_would_not_read_back_is_refused(agent, made, content):
    d = composed("chatml", agent)
    message = Message(Role.ASSISTANT, content, calls=tuple(made))
    try:
        written = completion(d, message)
    except TemplateError as error:
        assert any(mark in content for mark in (*d.agent.marks, "<think>", "</think>"))
        assert error.hint
        return
    assert same_calls(d.read(written, tools=(TOOL,)).calls, made)


noise = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *NASTY,
                "<tool_call>\n",
                '{"name": "f", "arguments": {',
                '"a": 1}}',
                "\n</tool_call>",
                "Action:",
                " f\n",
                "Action Input:",
                ' {"a": 1}\n',
                "Observation:",
                "<|python_tag|>",
                '{"name": "f", "parameters": {"a": [1, 2]}}',
                "<|im_e",
                "<too",
            ]
        ),
        st.text(max_size=5),
    ),
    max_size=10,
).map("".join)


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("prompt", ["", "<think>\n", "<think>\n\n</think>\n\n"])
@given(text=noise, data=st.data())
def test_streaming_equals_reading_whole(agent, prompt, text, data):
    d = composed("qwen3", agent)
    whole = d.read(text, tools=(TOOL,), prompt=prompt)
    reader = d.reader(tools=(TOOL,), prompt=prompt)
    deltas = [delta for piece in data.draw(cuts(text)) for delta in reader.feed(piece)]
    deltas += reader.rest()
    reply = reader.finish()
    assert reply == whole
    spoken = "".join(x.text for x in deltas if x.kind is DeltaKind.TEXT)
    thought = "".join(x.text for x in deltas if x.kind is DeltaKind.THINKING)
    assert spoken == reply.content
    assert thought == (reply.thinking or "")
    assert [x.text for x in deltas if x.kind is DeltaKind.CALL_NAME] == [
        call.name for call in reply.calls
    ]


@pytest.mark.parametrize("agent", AGENTS)
@given(made=call_lists, content=plain, data=st.data())
def test_no_markup_leaks_into_text(agent, made, content, data):
    d = composed("chatml", agent)
    written = completion(d, Message(Role.ASSISTANT, content, calls=tuple(made)))
    reader = d.reader(tools=(TOOL,))
    deltas = [delta for piece in data.draw(cuts(written)) for delta in reader.feed(piece)]
    deltas += reader.rest()
    spoken = "".join(x.text for x in deltas if x.kind is DeltaKind.TEXT)
    assert spoken.strip() == content.strip()
    assert same_calls(reader.finish().calls, made)


@pytest.mark.parametrize("agent", AGENTS)
@given(made=call_lists, data=st.data())
def test_a_call_that_is_cut_off_is_incomplete_or_whole(agent, made, data):
    d = composed("chatml", agent)
    written = completion(d, Message(Role.ASSISTANT, "", calls=tuple(made[:1])))
    cut = data.draw(st.integers(1, len(written)))
    reply = d.read(written[:cut], tools=(TOOL,))
    assert len(reply.calls) <= 1
    for call in reply.calls:
        assert call.name == made[0].name


@pytest.mark.parametrize("agent", AGENTS)
@given(made=call_lists)
def test_no_calls_where_there_can_be_none(agent, made):
    d = composed("chatml", agent)
    written = completion(d, Message(Role.ASSISTANT, "", calls=tuple(made)))
    assume("</think>" not in written)
    assert d.read(written, tools=()).calls == ()
    inside = d.read(f"<think>\n{written}\n</think>\n\nDone.", tools=(TOOL,))
    assert inside.calls == ()
    assert inside.content == "Done."


@pytest.mark.parametrize("chat", CHATS)
@given(conv=conversations(), offered=st.lists(tools, max_size=2))
def test_makers_templates_write_or_refuse_and_name_their_losses(chat, conv, offered):
    d = tg.dialect(chat, today=TODAY)
    try:
        d.prompt(conv)
    except TemplateError:
        assert d.losses(conv)
