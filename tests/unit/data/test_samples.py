"""What a row means for training, which format reads it, and what is never guessed."""

import pytest

from toolgrove.core.errors import DataError
from toolgrove.core.messages import Message, Role, ToolCall
from toolgrove.core.samples import Chat, Feedback, Preference, Prompt, Text
from toolgrove.data.format import Format, formats
from toolgrove.data.formats import conversation, explain, format_of
from toolgrove.data.leftovers import unread_keys
from toolgrove.data.samples import feedback, preference, prompt, sample
from toolgrove.data.schemas import python_type

ASK = {"role": "user", "content": "2+2?"}
FOUR = {"role": "assistant", "content": "4"}
CALL = {"role": "tool_call", "content": '{"name": "add", "arguments": {"a": "2"}}'}
RESULT = {"role": "tool_response", "content": "4"}


def contents(messages):
    return [(str(m.role), m.text, [c.name for c in m.calls]) for m in messages]


def refused(read, row) -> str:
    with pytest.raises(DataError) as caught:
        read(row, "train.jsonl:3")
    assert "train.jsonl:3" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"messages": [ASK, FOUR]}, Chat),
        ({"messages": [ASK, FOUR], "rejected_response": None}, Chat),
        ({"messages": [ASK, FOUR], "label": 3}, Chat),
        ({"messages": [ASK, FOUR], "rejected_response": "5"}, Preference),
        ({"messages": [ASK, FOUR], "rejected_messages": [ASK, CALL]}, Preference),
        ({"prompt": "2+2?", "chosen": "4", "rejected": "5"}, Preference),
        ({"messages": [ASK, FOUR], "label": False}, Feedback),
        ({"prompt": [ASK], "completion": [FOUR], "label": True}, Feedback),
        ({"messages": [ASK], "solution": "4"}, Prompt),
        ({"query": "2+2?", "solution": "4"}, Prompt),
        ({"text": "Moss grows."}, Text),
        ({"content": "Moss grows.", "id": 7}, Text),
    ],
)
def test_a_row_says_what_it_is(row, kind):
    assert type(sample(row)) is kind


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "2+2?", "chosen": "4", "rejected": "5"},
        {"question": "2+2?", "chosen": "4", "rejected": "5"},
        {"prompt": [ASK], "chosen": [FOUR], "rejected": [{**FOUR, "content": "5"}]},
        {"chosen": [ASK, FOUR], "rejected": [ASK, {**FOUR, "content": "5"}]},
        {"prompt": "2+2?", "chosen": [ASK, FOUR], "rejected": [ASK, {**FOUR, "content": "5"}]},
        {
            "conversations": [{"from": "human", "value": "2+2?"}],
            "chosen": {"from": "gpt", "value": "4"},
            "rejected": {"from": "gpt", "value": "5"},
        },
        {"instruction": "2+2?", "input": "", "chosen": "4", "rejected": "5"},
        {"query": "2+2?", "response": "4", "rejected_response": "5"},
        {
            "input": {"messages": [ASK]},
            "preferred_output": [FOUR],
            "non_preferred_output": [{**FOUR, "content": "5"}],
        },
        {
            "chosen": "\n\nHuman: 2+2?\n\nAssistant: 4",
            "rejected": "\n\nHuman: 2+2?\n\nAssistant: 5",
        },
        {"messages": [ASK, FOUR], "rejected_messages": [ASK, {**FOUR, "content": "5"}]},
        {"messages": [ASK, FOUR], "rejected_response": [{**FOUR, "content": "5"}]},
    ],
)
def test_every_spelling_of_a_preference(row):
    found = preference({**row, "margin": 0.5})
    assert contents(found.context.messages) == [("user", "2+2?", [])]
    assert (contents(found.chosen), contents(found.rejected)) == (
        [("assistant", "4", [])],
        [("assistant", "5", [])],
    )
    assert dict(found.context.extra) == {"margin": 0.5}


def test_a_rejected_response_replaces_all_behind_the_last_question():
    row = {"messages": [ASK, CALL, RESULT, FOUR], "rejected_response": "5"}
    found = preference(row)
    assert contents(found.context.messages) == [("user", "2+2?", [])]
    assert [m.role for m in found.chosen] == [Role.ASSISTANT, Role.TOOL, Role.ASSISTANT]
    assert found.chosen[0].calls == (ToolCall("add", {"a": "2"}),)


def test_the_context_is_what_both_have_in_common():
    row = {
        "system": "Add.",
        "messages": [ASK, CALL, RESULT, FOUR],
        "rejected_messages": [ASK, CALL, RESULT, {**FOUR, "content": "5"}],
    }
    found = preference(row)
    assert [m.role for m in found.context.messages] == [
        Role.SYSTEM,
        Role.USER,
        Role.ASSISTANT,
        Role.TOOL,
    ]
    assert (found.chosen[0].text, found.rejected[0].text) == ("4", "5")


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"messages": [ASK, FOUR]}, "no rejected answer"),
        ({"messages": [ASK, FOUR], "rejected_response": "4"}, "is the chosen one"),
        ({"messages": [ASK, FOUR], "rejected_response": 5}, "expected text, found the number 5"),
        ({"messages": [ASK], "rejected_response": "5"}, "only the beginning"),
        (
            {"messages": [ASK, FOUR], "rejected_messages": [{**ASK, "content": "3?"}, FOUR]},
            "differ in a message of the role user",
        ),
        (
            {"messages": [ASK, FOUR], "rejected_response": "5", "rejected_messages": [ASK, CALL]},
            'the row has "rejected_messages" too',
        ),
        ({"chosen": "4", "rejected": "5"}, "an answer without its question"),
    ],
)
def test_what_is_no_preference(row, what):
    assert what in refused(preference, row)


def test_a_verdict_needs_an_answer_and_a_truth_value():
    assert feedback({"messages": [ASK, FOUR], "kto_tag": True}).good
    assert "no label" in refused(feedback, {"messages": [ASK, FOUR]})
    assert "expected true or false" in refused(feedback, {"messages": [ASK, FOUR], "label": 1})
    assert "no answer" in refused(feedback, {"messages": [ASK], "label": True})


def test_a_prompt_keeps_the_columns_and_the_answer():
    found = prompt({"messages": [ASK, FOUR], "level": 2})
    assert contents(found.conversation.messages) == [("user", "2+2?", [])]
    assert found.columns == {"level": 2, "answer": [FOUR]}
    assert "assistant messages only" in refused(prompt, {"messages": [FOUR]})


def test_a_text_keeps_its_columns_and_has_no_prompt():
    found = sample({"text": "Moss.", "id": 7})
    assert (found.text, found.columns) == ("Moss.", {"id": 7})
    assert "a system prompt" in refused(sample, {"text": "Moss.", "system": "Be kind."})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("query response", "instruction output"),
        ("query response", "prompt completion"),
        ("question answer", "instruction output"),
    ],
)
def test_two_whole_pairs_are_never_a_guess(one, other):
    names = [*one.split(), *other.split()]
    row = dict(zip(names, ["a", "b", "c", "d"], strict=True))
    said = refused(conversation, row)
    assert "each pair could be the question and its answer" in said or "could each be" in said
    assert "--columns" in said
    same = dict(zip(names, ["a", "b", "a", "b"], strict=True))
    if "query" in names:
        assert [m.content for m in conversation(same).messages] == ["a", "b"]


@pytest.mark.parametrize(
    ("row", "what"),
    [
        (
            {"messages": [{**ASK, "content": "<image>?"}], "images": ["a", "b"]},
            "images: 2 in the list, but 1 <image> in the messages",
        ),
        ({"messages": [ASK], "videos": ["a"]}, "videos: 1 in the list, but 0 <video>"),
        (
            {"messages": [{**ASK, "content": "<bbox>"}], "objects": {"bbox": [[1], [2]]}},
            "objects.bbox: 2 in the list, but 1 <bbox>",
        ),
    ],
)
def test_media_tags_are_held_against_their_lists(row, what):
    assert what in refused(conversation, row)


def test_a_tag_without_a_list_is_text():
    assert conversation({"messages": [{**ASK, "content": "What is <image>?"}]}).images == ()


def test_spellings_of_roles_and_tools():
    row = {
        "conversations": [
            {"from": "Human", "value": "q"},
            {"from": "function-call", "value": "<think>\nhm\n</think>\n\n" + CALL["content"]},
            {"from": "Observation", "value": "4"},
            {"from": "chatGPT", "value": "4"},
        ],
        "functions": '[{"name": "add", "input_schema": {"type": "object"}}]',
    }
    conv = conversation(row)
    assert [m.role for m in conv.messages] == [Role.USER, Role.ASSISTANT, Role.TOOL, Role.ASSISTANT]
    assert conv.messages[1].thinking == "hm"
    assert conv.tools[0].function == {"name": "add", "parameters": {"type": "object"}}
    assert dict(conv.extra) == {}


def test_anthropics_system_parts():
    system = [{"type": "text", "text": "Be "}, {"type": "text", "text": "kind."}]
    assert conversation({"messages": [ASK], "system": system}).messages[0].content == "Be kind."


def test_an_empty_assistant_is_completed_by_the_calls_behind_it():
    empty = {"role": "assistant", "content": None}
    turn = conversation({"messages": [ASK, empty, CALL]}).messages[1]
    assert (turn.content, len(turn.calls)) == (None, 1)
    assert "without content" in refused(conversation, {"messages": [ASK, empty]})


def test_a_format_says_why_it_fits():
    row = {"messages": [ASK, FOUR], "query": "q", "response": "r"}
    first, second = explain(row)
    assert (first.format, first.why) == ("messages", 'a list of messages in the column "messages"')
    assert second.why == 'a question in the column "query" and an answer in the column "response"'
    assert format_of(row) == "messages"
    assert explain({"mesages": []}) == []


def test_a_plugins_format_comes_first_and_may_say_no_more_than_yes(monkeypatch):
    assert all(formats.get(name).rank < Format.rank for name in formats.names())
    monkeypatch.setattr(formats, "_entries", dict(formats._entries))

    @formats.add("only_here")
    class OnlyHere(Format):
        def fits(self, row):
            return "only_here" in row

        def convert(self, row):
            conv = conversation({"messages": [ASK]})
            return type(conv)((Message(Role.USER, row["only_here"]),))

    assert conversation({"only_here": "x", "query": "q"}).messages[0].content == "x"
    assert explain({"only_here": "x"})[0] == ("only_here", "")
    assert conversation({"query": "q"}).messages[0].content == "q"


def test_keys_that_no_conversation_keeps_are_told():
    call = {"id": "a", "function": {"name": "f", "arguments": "{}"}, "extra_content": {"x": 1}}
    row = {"messages": [{**ASK, "weight": 1, "ts": None}, {**FOUR, "tool_calls": [call]}, ASK]}
    assert unread_keys(row) == ["messages[].weight", "messages[].tool_calls[].extra_content"]
    assert unread_keys({"messages": [ASK, FOUR]}) == []


@pytest.mark.parametrize(
    ("written", "schema"),
    [
        ("str", {"type": "string"}),
        (
            "List[List[float]]",
            {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
        ),
        ("Optional[int]", {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        ("Union[int, str]", {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        ("Dict[str, int]", {"type": "object", "additionalProperties": {"type": "integer"}}),
        (
            "Tuple[int, str]",
            {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]},
        ),
        ("Tuple[int, ...]", {"type": "array", "items": {"type": "integer"}}),
        ("np.ndarray", {"x-type": "np.ndarray"}),
    ],
)
def test_python_types(written, schema):
    assert python_type(written) == schema
