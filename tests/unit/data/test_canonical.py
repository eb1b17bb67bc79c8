"""Law: a canonical row gives back the conversation that it was written from."""

import contextlib
import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from toolgrove.core.errors import DataError
from toolgrove.core.messages import Conversation, Message, Role, Tool, ToolCall
from toolgrove.data.canonical import to_row
from toolgrove.data.formats import conversation

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(texts, values, max_size=3)
losses = st.none() | st.booleans()
scales = st.none() | st.floats(0, 10)


@st.composite
def calls(draw) -> ToolCall:
    arguments = draw(objects)
    given_text = draw(st.sampled_from([None, json.dumps(arguments)]))
    return ToolCall(
        draw(names),
        arguments,
        id=draw(st.none() | texts),
        given=given_text,
        loss=draw(losses),
        loss_scale=draw(scales),
    )


@st.composite
def messages(draw) -> Message:
    role = draw(st.sampled_from(list(Role)))
    message = Message(role, draw(texts), name=draw(st.none() | names), loss=draw(losses))
    message = replace(message, loss_scale=draw(scales))
    if role is Role.TOOL:
        return replace(message, call_id=draw(st.none() | texts))
    if role is not Role.ASSISTANT:
        return message
    made = tuple(draw(st.lists(calls(), max_size=3)))
    message = replace(message, calls=made, thinking=draw(st.none() | texts))
    if made or message.thinking is not None:
        has_content = draw(st.booleans())
        content = draw(st.none() | texts) if has_content else None
        message = replace(message, content=content, has_content=has_content)
    return message


@st.composite
def tools(draw) -> Tool:
    function = {"name": draw(names), "parameters": draw(objects), "strict": draw(values)}
    return Tool({"type": "function", "function": function})


def with_tags(conv: Conversation) -> Conversation:
    """Media stand where their tags are; texts may hold tags of their own, which show media too."""
    listed = {"images": ("<image>", conv.images), "videos": ("<video>", conv.videos)}
    tags = "".join(tag * len(media) for tag, media in listed.values())
    for name, (tag, media) in listed.items():
        more = sum(message.text.count(tag) for message in conv.messages) if media else 0
        conv = replace(conv, **{name: (*media, *["more"] * more)})
    return replace(conv, messages=(*conv.messages, Message(Role.USER, tags)))


conversations = st.builds(
    Conversation,
    messages=st.lists(messages(), min_size=1, max_size=5).map(tuple),
    tools=st.lists(tools(), max_size=2).map(tuple),
    images=st.lists(texts, max_size=2).map(tuple),
    videos=st.lists(texts, max_size=2).map(tuple),
    extra=st.dictionaries(names.map("x_".__add__), values, max_size=2),
).map(with_tags)


def exact(conv: Conversation) -> str:
    """Everything of a conversation, the fields that its equality leaves out too."""
    return repr(conv)


@settings(max_examples=150, deadline=None)
@given(conversations)
def test_a_row_gives_back_its_conversation(conv):
    assert exact(conversation(to_row(conv))) == exact(conv)


@settings(max_examples=50, deadline=None)
@given(conversations)
def test_a_row_survives_its_way_through_a_file(conv):
    line = json.dumps(to_row(conv), ensure_ascii=False)
    assert exact(conversation(json.loads(line))) == exact(conv)


@settings(max_examples=100, deadline=None)
@given(values)
def test_any_json_is_converted_or_refused_with_a_reason(value):
    for row in (
        {"messages": value},
        {"messages": [value]},
        {"messages": [{"role": "assistant", "content": value, "tool_calls": value}]},
        {"messages": [{"role": "tool_call", "content": value}]},
        {"messages": [{"role": "tool", "content": value}], "tools": value},
        {"conversations": [{"from": value, "value": "x"}]},
        {"query": value, "response": value, "history": value, "system": value, "images": value},
    ):
        with contextlib.suppress(DataError):
            conversation(row)
