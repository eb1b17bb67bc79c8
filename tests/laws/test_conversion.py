"""Law: what a target writes reads back as the same sample, or the sample is refused."""

import json

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.laws import strategies
from tests.unit.data.test_canonical import conversations as odd_conversations
from toolgrove.core.errors import ToolgroveError
from toolgrove.core.messages import Conversation, Message, Role, Tool, ToolCall
from toolgrove.core.samples import Chat, Feedback, Preference, Prompt, Text
from toolgrove.data.samples import sample
from toolgrove.data.target import difference, plain, targets, written
from toolgrove.encoding.transcript import text_target, text_targets

STRUCTURED = ("canonical", "openai", "sharegpt", "trl", "llamafactory")
ALL = {name: targets.get(name) for name in STRUCTURED} | {n: text_target(n) for n in text_targets()}
NEVER_REFUSE = ("canonical", "openai", "sharegpt", "trl")
GENTLE = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def samples_of(conv: Conversation):
    """The conversation as each kind of sample that it can be."""
    answer = Message(Role.ASSISTANT, "This one.")
    other = Message(Role.ASSISTANT, "", calls=(ToolCall("f", {"a": "true"}),))
    yield Chat(Conversation((*conv.messages, answer), conv.tools, extra={"x_topic": ["true", 1]}))
    asked = Conversation((*conv.messages, Message(Role.USER, "And?")), conv.tools)
    yield Prompt(asked, {"x_solution": "144"})
    yield Preference(asked, (answer,), (other,))
    yield Preference(asked, (other, Message(Role.TOOL, "1"), answer), (answer,))
    yield Feedback(Conversation((*asked.messages, answer), conv.tools), good=False)


def meaning(conv: Conversation):
    """What was said, without ids and without the difference of null and empty."""
    return [
        (m.role, m.text, m.thinking, [(c.name, repr(c.arguments)) for c in m.calls])
        for m in conv.messages
    ]


def through_a_file(row):
    return json.loads(json.dumps(row, ensure_ascii=False, allow_nan=False))


@pytest.mark.parametrize("name", NEVER_REFUSE)
@settings(max_examples=25, deadline=None, suppress_health_check=GENTLE)
@given(conv=strategies.conversations())
def test_structured_rows_carry_every_conversation(name, conv):
    for given_sample in samples_of(conv):
        row = through_a_file(written(given_sample, ALL[name]))
        kept = ALL[name].keep(given_sample)
        assert difference(plain(kept), plain(sample(row))) == ""
        back = sample(through_a_file(written(sample(row), ALL["canonical"])))
        canonical = ALL["canonical"].keep(kept)
        assert difference(plain(canonical), plain(back)) == ""
        assert type(back) is type(given_sample)


@settings(max_examples=40, deadline=None, suppress_health_check=GENTLE)
@given(conv=odd_conversations)
def test_canonical_rows_carry_all_that_a_row_can_say(conv):
    given_sample = sample({"messages": [{"role": "user", "content": "q"}]})
    given_sample = Chat(
        Conversation(
            (*conv.messages, Message(Role.ASSISTANT, "a")),
            conv.tools,
            conv.images,
            conv.videos,
            conv.audios,
            conv.extra,
        )
    )
    row = through_a_file(written(given_sample, ALL["canonical"]))
    kept = ALL["canonical"].keep(given_sample)
    assert difference(plain(kept), plain(sample(row))) == ""
    assert "tool_calls" not in json.dumps(row["messages"])


@pytest.mark.parametrize("name", sorted(ALL))
@settings(max_examples=25, deadline=None, suppress_health_check=GENTLE)
@given(conv=odd_conversations | strategies.conversations())
def test_what_is_written_says_the_same_or_is_refused(name, conv):
    for given_sample in samples_of(conv):
        try:
            row = written(given_sample, ALL[name])
        except ToolgroveError as error:
            assert error.what
            continue
        target = ALL[name]
        back = target.keep(sample(through_a_file(row)))
        assert difference(plain(target.keep(given_sample)), plain(back)) == ""


words = st.text(st.characters(categories=["L", "N", "Zs"]), min_size=1, max_size=12).map(str.strip)
sentences = words.filter(bool)
arguments = st.dictionaries(sentences, strategies.values, max_size=3)
PARAMETERS = {"type": "object", "properties": {"a": {"type": "string"}}}
OFFERED = Tool(
    {
        "type": "function",
        "function": {"name": "look_up", "description": "Looks it up.", "parameters": PARAMETERS},
    }
)


@st.composite
def rounds(draw, thinking, parallel):
    """Conversations as agents have them: steps with results, then an answer."""
    messages = [Message(Role.SYSTEM, draw(sentences))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 2))):
        messages.append(Message(Role.USER, draw(sentences)))
        for _ in range(draw(st.integers(0, 2))):
            made = draw(st.lists(arguments, min_size=1, max_size=2 if parallel else 1))
            calls = tuple(ToolCall("look_up", values) for values in made)
            thought = draw(st.none() | sentences) if thinking else None
            messages.append(Message(Role.ASSISTANT, "", thinking=thought, calls=calls))
            messages += [Message(Role.TOOL, draw(sentences)) for _ in calls]
        thought = draw(st.none() | sentences) if thinking else None
        messages.append(Message(Role.ASSISTANT, draw(sentences), thinking=thought))
    return Conversation(tuple(messages), (OFFERED,))


@pytest.mark.parametrize("name", sorted(ALL))
@settings(max_examples=25, deadline=None, suppress_health_check=GENTLE)
@given(data=st.data())
def test_every_target_carries_agents_conversations(name, data):
    """Nothing of these is refused, and all comes back: to the target and to canonical again."""
    thinking = name not in ("agentfabric", "llamafactory", "hermes")
    conv = data.draw(rounds(thinking, parallel=name != "llamafactory"))
    row = through_a_file(written(Chat(conv), ALL[name]))
    back = sample(row)
    assert meaning(back.conversation) == meaning(conv)
    assert back.conversation.tools == conv.tools
    again = sample(through_a_file(written(back, ALL["canonical"])))
    assert meaning(again.conversation) == meaning(conv)


@pytest.mark.parametrize("name", text_targets())
@settings(max_examples=20, deadline=None, suppress_health_check=GENTLE)
@given(data=st.data())
def test_the_text_comes_back_too(name, data):
    """Writing what was read out of a text gives that text, character for character."""
    conv = data.draw(rounds(thinking=name not in ("agentfabric", "hermes"), parallel=True))
    row = written(Chat(conv), ALL[name])
    assert written(sample(row), ALL[name]) == row
    assume(any(message.calls for message in conv.messages))
    assert all("tool_calls" not in message for message in row["messages"])


@given(text=strategies.texts)
def test_texts(text):
    given_sample = Text(text, columns={"id": "1"})
    for name in STRUCTURED:
        row = through_a_file(written(given_sample, ALL[name]))
        assert plain(sample(row)) == plain(given_sample)
