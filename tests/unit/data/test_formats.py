"""Rows of every format become the conversations that they mean."""

import json

import pytest

from toolgrove.core.errors import DataError
from toolgrove.core.messages import Message, Role, ToolCall
from toolgrove.data.formats import conversation

USER = {"role": "user", "content": "Weather in Bodø?"}
CALL = '{"name": "weather", "arguments": {"city": "Bodø", "days": 3}}'


def roles(row):
    return [(str(m.role), m.content, [c.name for c in m.calls]) for m in conversation(row).messages]


def refused(row) -> DataError:
    with pytest.raises(DataError) as caught:
        conversation(row, "train.jsonl:17")
    assert caught.value.where == "train.jsonl:17"
    return caught.value


def test_a_run_of_calls_is_one_assistant_message():
    row = {
        "messages": [
            USER,
            {"role": "tool_call", "content": CALL},
            {"role": "tool_call", "content": json.loads(CALL)},
            {"role": "tool_response", "content": "4 °C"},
            {"role": "tool", "content": {"rain": None, "wind": "stürmisch"}},
        ]
    }
    assert roles(row) == [
        ("user", "Weather in Bodø?", []),
        ("assistant", "", ["weather", "weather"]),
        ("tool", "4 °C", []),
        ("tool", '{"rain": null, "wind": "stürmisch"}', []),
    ]


def test_a_run_of_calls_joins_the_text_before_it_and_keeps_each_weight():
    row = {
        "messages": [
            USER,
            {"role": "assistant", "content": "<think>\nlook\n</think>\n\n", "loss": False},
            {"role": "tool_call", "content": CALL, "loss": True, "loss_scale": 2},
            {"role": "tool_call", "content": CALL},
        ]
    }
    turn = conversation(row).messages[1]
    assert turn.content == "<think>\nlook\n</think>\n\n"
    assert (turn.loss, turn.loss_scale) == (False, None)
    assert [(call.loss, call.loss_scale) for call in turn.calls] == [(True, 2.0), (None, None)]


def test_a_call_after_an_assistant_that_already_called_is_a_turn_of_its_own():
    openai = {"function": {"name": "first", "arguments": {}}}
    row = {
        "messages": [
            {"role": "assistant", "content": "", "tool_calls": [openai]},
            {"role": "tool_call", "content": CALL},
        ]
    }
    assert [calls for _, _, calls in roles(row)] == [["first"], ["weather"]]


def test_openai_calls_keep_ids_text_and_the_order_of_results():
    given = '{"city":  "Bodø"}'
    row = {
        "messages": [
            USER,
            {
                "role": "assistant",
                "content": None,
                "reasoning_content": "",
                "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "w", "arguments": given}},
                    {"id": "b", "function": {"name": "w", "arguments": {"city": None}}},
                ],
            },
            {"role": "tool", "tool_call_id": "b", "name": "w", "content": "2"},
            {"role": "tool", "tool_call_id": "a", "content": ""},
        ]
    }
    _, turn, second, first = conversation(row).messages
    assert (turn.content, turn.has_content, turn.thinking) == (None, True, "")
    assert turn.calls == (ToolCall("w", {"city": "Bodø"}), ToolCall("w", {"city": None}))
    assert [(call.id, call.given) for call in turn.calls] == [("a", given), ("b", None)]
    assert second == Message(Role.TOOL, "2", name="w", call_id="b")
    assert first == Message(Role.TOOL, "", call_id="a")


@pytest.mark.parametrize(
    ("entry", "content", "has_content"),
    [({"content": None}, None, True), ({}, None, False), ({"content": ""}, "", True)],
)
def test_null_absent_and_empty_content_are_kept_apart(entry, content, has_content):
    calls = [{"function": {"name": "w", "arguments": "{}"}}]
    message = {"role": "assistant", "tool_calls": calls, **entry}
    turn = conversation({"messages": [USER, message]}).messages[1]
    assert (turn.content, turn.has_content) == (content, has_content)


def test_types_of_arguments_are_exact():
    text = '{"name": "f", "arguments": {"a": 123456789012345678901, "b": 1.0, "c": "1", "d": true}}'
    call = conversation({"messages": [{"role": "tool_call", "content": text}]}).messages[0].calls[0]
    assert [(type(value), value) for value in call.arguments.values()] == [
        (int, 123456789012345678901),
        (float, 1.0),
        (str, "1"),
        (bool, True),
    ]


def test_a_call_may_be_a_python_literal_or_a_list():
    literal = "{'name': 'f', 'arguments': {'a': (1, None), 'b': True}}"
    row = {"messages": [{"role": "tool_call", "content": f"[{literal}, {literal}]"}]}
    calls = conversation(row).messages[0].calls
    assert calls == (ToolCall("f", {"a": [1, None], "b": True}),) * 2


def test_strings_stay_strings():
    texts = ["true", "10", "null", "[1, 2]", '{"a": 1}']
    row = {"messages": [{"role": role, "content": t} for t in texts for role in ("user", "tool")]}
    assert [m.content for m in conversation(row).messages] == [t for t in texts for _ in "ab"]


def test_content_parts_are_joined_and_media_collected():
    content = [
        {"type": "text", "text": "Which "},
        {"type": "image_url", "image_url": {"url": "a.png"}},
        {"type": "image", "image": "b.png"},
        {"type": "text", "text": " is older?"},
    ]
    conv = conversation({"messages": [{"role": "user", "content": content}]})
    assert conv.messages[0].content == "Which <image><image> is older?"
    assert conv.images == ("a.png", "b.png")


def test_media_of_the_row():
    row = {"query": "<image>What?", "response": "A lamp.", "image": "lamp.png"}
    conv = conversation(row)
    assert (conv.images, dict(conv.extra)) == (("lamp.png",), {})


def test_anthropic_blocks():
    row = {
        "messages": [
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm"},
                    {"type": "text", "text": "Looking."},
                    {"type": "tool_use", "id": "t", "name": "tide", "input": {"port": "厦门"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t", "content": "03:12"},
                    {"type": "text", "text": "short please"},
                ],
            },
        ]
    }
    turn, result, user = conversation(row).messages
    assert (turn.thinking, turn.content) == ("hm", "Looking.")
    assert turn.calls == (ToolCall("tide", {"port": "厦门"}),)
    assert result == Message(Role.TOOL, "03:12", call_id="t")
    assert user == Message(Role.USER, "short please")


def test_sharegpt_turns_with_tools_as_text():
    row = {
        "system": "Be brief.",
        "conversations": [
            {"from": "human", "value": "Track SF1."},
            {"from": "function_call", "value": '{"name": "track", "arguments": {"no": "SF1"}}'},
            {"from": "observation", "value": "hub"},
            {"from": "gpt", "value": "At the hub."},
        ],
        "tools": '[{"name": "track", "description": "d"}]',
        "id": "x-1",
    }
    conv = conversation(row)
    assert " ".join(m.role for m in conv.messages) == "system user assistant tool assistant"
    assert conv.tools[0].spec == {
        "type": "function",
        "function": {"name": "track", "description": "d"},
    }
    assert dict(conv.extra) == {"id": "x-1"}


def test_sharegpt_pairs():
    row = {"conversation": [{"human": "Hello", "assistant": "Ahoy!"}]}
    assert roles(row) == [("user", "Hello", []), ("assistant", "Ahoy!", [])]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"instruction": "Say", "input": "hi", "output": "hi"}, ["Say\nhi", "hi"]),
        ({"instruction": "Say", "input": "", "output": "hi"}, ["Say", "hi"]),
        ({"instruction": None, "input": "hi", "output": "hi"}, ["hi", "hi"]),
        (
            {"instruction": "c", "input": "", "output": "d", "history": [["a", "b"]], "text": "x"},
            ["a", "b", "c", "d"],
        ),
        ({"query": "q", "response": "r", "history": "[['a', 'b']]"}, ["a", "b", "q", "r"]),
        ({"query": "q", "response": "r", "system": "s"}, ["s", "q", "r"]),
        ({"query": "q", "response": "r", "system": None, "history": []}, ["q", "r"]),
        ({"question": "q", "answer": "r"}, ["q", "r"]),
        ({"query": "q", "prompt": "p", "response": "r", "answer": "a"}, ["q", "r"]),
        ({"prompt": [{"role": "user", "content": "q"}], "completion": "r"}, ["q", "r"]),
        ({"text": "Moss grows."}, ["Moss grows."]),
        ({"messages": '[{"role": "user", "content": "as text"}]'}, ["as text"]),
    ],
)
def test_plain_formats(row, expected):
    assert [message.content for message in conversation(row).messages] == expected


def test_of_several_answers_the_first_is_taken_and_none_is_lost():
    conv = conversation({"query": "A colour?", "response": ["blue", "green"], "topic": 1})
    assert conv.messages[1].content == "blue"
    assert dict(conv.extra) == {"response": ["blue", "green"], "topic": 1}


def test_a_solution_is_for_rewards_not_an_answer():
    conv = conversation({"query": "12*12?", "solution": "144"})
    assert [str(m.role) for m in conv.messages] == ["user"]
    assert dict(conv.extra) == {"solution": "144"}


def test_two_columns_for_one_target_are_never_a_guess():
    error = refused({"prompt": "a", "question": "b", "answer": "c"})
    assert '"prompt" and "question" could each be the query' in error.what
    assert "--columns" in (error.hint or "")


@pytest.mark.parametrize(
    ("message", "what", "hint"),
    [
        ({"role": "asistant", "content": "x"}, 'messages[1].role: unknown role "asis', "assistant"),
        ({"content": "x"}, "messages[1]: a message without a role", "role"),
        ("x", "messages[1]: not an object but the string x", "role"),
        ({"role": "user", "content": None}, "messages[1].content: expected text, found null", ""),
        ({"role": "user", "content": 5}, "messages[1].content: expected text, found the num", ""),
        ({"role": "assistant"}, "messages[1].content: an assistant message without", ""),
        ({"role": "tool", "content": None}, "messages[1].content: a tool result without", '""'),
        ({"role": "tool_call", "content": '{"name": "f", '}, "not JSON (", "a call is"),
        ({"role": "tool_call", "content": "{}"}, "a call without a name: {}", "name"),
        ({"role": "tool_call", "content": '{"name": "f", "args": {}}'}, '"args"', "arguments"),
        ({"role": "tool_call", "content": '{"name": "f", "arguments": [1]}'}, "no object but", ""),
        ({"role": "assistant", "content": "a", "tool_calls": {}}, "tool_calls: not a list", ""),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "x"}}]},
            "messages[1].tool_calls[0].function.arguments: not JSON",
            "a call is",
        ),
        ({"role": "assistant", "content": "a", "loss": 3}, "messages[1].loss: expected true", ""),
        ({"role": "assistant", "content": "a", "loss_scale": -1}, "messages[1].loss_scale", ""),
        ({"role": "assistant", "content": "a", "loss_scale": 10**400}, "loss_scale", ""),
        (
            {"role": "assistant", "content": "a", "thinking": "b", "reasoning_content": "c"},
            "different thinking",
            "",
        ),
        ({"role": "user", "content": [{"type": "hologram"}]}, "messages[1].content[0]", "text"),
    ],
)
def test_bad_messages_name_the_path_and_the_way_out(message, what, hint):
    error = refused({"messages": [USER, message]})
    assert what in error.what
    assert error.what.startswith("messages[1]")
    assert hint in (error.hint or "")


@pytest.mark.parametrize(
    ("tools", "what"),
    [
        ({}, "tools: not a list but the object"),
        ("{}", "tools: not a list but the object"),
        ("abc", "tools: not JSON"),
        ([5], "tools[0]: not an object but the number 5"),
        ([{"name": "ok"}, {"type": "function", "function": {}}], "tools[1]: a tool without a name"),
        ([{"name": "f", "parameters": [1]}], "tools[0] (f).parameters: not an object"),
        ([{"type": "function", "function": "f"}], "tools[0].function: not an object"),
    ],
)
def test_bad_tools_are_named(tools, what):
    assert refused({"messages": [USER], "tools": tools}).what.startswith(what)


@pytest.mark.parametrize("tools", [None, [], "", "[]"])
def test_no_tools(tools):
    assert conversation({"messages": [USER], "tools": tools}).tools == ()


def test_tools_keep_their_keys_and_order():
    wrapped = {"function": {"parameters": {"z": 1, "a": 2}, "name": "f", "strict": True}, "x": 1}
    responses = {"type": "function", "name": "g", "parameters": {}}
    first, second = conversation({"messages": [USER], "tools": [wrapped, responses]}).tools
    assert json.dumps(first.spec) == json.dumps({"type": "function", **wrapped})
    assert second.spec == {"type": "function", "function": {"name": "g", "parameters": {}}}


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"messages": []}, "messages: no messages"),
        ({"messages": None}, "messages: null"),
        ({"mesages": []}, "no conversation in the columns mesages"),
        ({}, "an empty row"),
        ([], "a row is an object"),
        ({"messages": [USER], "conversations": [USER]}, 'the row has "conversations" too'),
        ({"messages": [{"role": "system", "content": "a"}], "system": "b"}, "another system"),
        ({"instruction": "", "input": "", "output": "x"}, "neither an instruction nor an input"),
        ({"query": 5, "response": "x"}, "query: expected text, found the number 5"),
        ({"query": "a", "response": "x", "history": [["a"]]}, "history[0]: not a pair"),
    ],
)
def test_bad_rows(row, what):
    assert what in refused(row).what
