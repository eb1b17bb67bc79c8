"""``toolgrove convert`` as people run it."""

import io
import json

import pytest

from toolgrove.cli.main import main
from toolgrove.core.errors import DataError
from toolgrove.core.messages import Role
from toolgrove.data.formats import conversation
from toolgrove.data.openai_log import log_rows, sessions
from toolgrove.data.rows import Row

TOOL = {
    "type": "function",
    "function": {
        "name": "tide",
        "description": "",
        "parameters": {"type": "object", "properties": {"port": {"type": "string"}}},
    },
}
CALL = {"role": "tool_call", "content": {"name": "tide", "arguments": {"port": "true"}}}
ROWS = [
    {
        "messages": [
            {"role": "user", "content": "Tide?"},
            CALL,
            {"role": "tool_response", "content": "10"},
            {"role": "assistant", "content": "At 10."},
        ],
        "tools": [TOOL],
        "id": "a",
    },
    {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "null"}]},
    {"instruction": "Say", "input": "hi", "output": "hi"},
]


@pytest.fixture
def rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "rows.jsonl", ROWS)
    return tmp_path


def write(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def read(file):
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("to", ["canonical", "openai", "sharegpt", "trl", "llamafactory"])
def test_any_format_to_another_and_back(rows, to):
    assert main(["convert", "rows.jsonl", "--to", to, "-o", "out.jsonl"]) == 0
    assert main(["convert", "out.jsonl", "-o", "back.jsonl"]) == 0
    back = [conversation(row) for row in read(rows / "back.jsonl")]
    texts = [[(m.role, m.text) for m in conversation(row).messages] for row in ROWS]
    assert [[(m.role, m.text) for m in conv.messages] for conv in back] == texts
    assert back[0].messages[1].calls[0].arguments == {"port": "true"}
    assert back[0].tools[0].spec == TOOL
    assert dict(back[0].extra) == {"id": "a"}


@pytest.mark.parametrize("to", ["react_en", "react_zh", "agentfabric", "toolbench", "hermes"])
def test_to_the_text_of_a_dialect_and_back(rows, to):
    write(rows / "rows.jsonl", ROWS[:1])
    assert main(["convert", "rows.jsonl", "--to", to, "-o", "out.jsonl"]) == 0
    (row,) = read(rows / "out.jsonl")
    assert "tools" not in row
    assert "tide" in row["messages"][0]["content"]
    back, given = conversation(row), conversation(ROWS[0])
    assert [(m.role, m.text, m.calls) for m in back.messages] == [
        (m.role, m.text, m.calls) for m in given.messages
    ]
    assert back.tools == given.tools


def test_canonical_has_roles_for_calls_and_strings_stay_strings(rows, capsys):
    assert main(["convert", "rows.jsonl"]) == 0
    first, second, _ = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [m["role"] for m in first["messages"]] == [
        "user",
        "tool_call",
        "tool_response",
        "assistant",
    ]
    call = json.loads(first["messages"][1]["content"])
    assert call == {"name": "tide", "arguments": {"port": "true"}}
    assert first["messages"][2]["content"] == "10"
    assert second["messages"][1]["content"] == "null"


def test_a_row_that_cannot_be_carried_is_named_with_the_reason(rows, capsys):
    said = [*ROWS[0]["messages"][:1], {"role": "assistant", "content": "Look."}, CALL]
    write(rows / "rows.jsonl", [ROWS[1], {"messages": said, "tools": [TOOL]}])
    assert main(["convert", "rows.jsonl", "--to", "llamafactory", "-o", "out.jsonl"]) == 2
    told = capsys.readouterr().err
    assert "rows.jsonl:2" in told
    assert "no turn with both text and calls" in told
    assert not (rows / "out.jsonl").exists()


def test_skipped_rows_are_kept_in_a_file(rows, capsys):
    write(rows / "rows.jsonl", [*ROWS, {"messages": [{"role": "moderator", "content": "x"}]}])
    with (rows / "rows.jsonl").open("a") as stream:
        stream.write('{"messages": [\n')
    words = ["convert", "rows.jsonl", "-o", "out.jsonl", "--on-bad-row", "skip"]
    assert main(words) == 0
    assert len(read(rows / "out.jsonl")) == 3
    rejected = read(rows / "rejected.jsonl")
    assert [entry["where"] for entry in rejected] == ["rows.jsonl:4", "rows.jsonl:5"]
    assert 'unknown role "moderator"' in rejected[0]["reason"]
    assert rejected[0]["row"]["messages"][0]["content"] == "x"
    assert rejected[1]["text"].strip() == '{"messages": ['
    assert "2 rows rejected, see rejected.jsonl" in capsys.readouterr().err
    write(rows / "rows.jsonl", [{"messages": []}])
    assert main(words) == 2


def test_what_no_conversation_keeps_is_told(rows, capsys):
    message = {"role": "user", "content": "q", "weight": 1, "ts": None}
    write(rows / "rows.jsonl", [{"messages": [message, {"role": "assistant", "content": "a"}]}])
    assert main(["convert", "rows.jsonl", "-o", "out.jsonl"]) == 0
    assert "messages[].weight (1 rows)" in capsys.readouterr().err


def test_unknown_words(rows, capsys):
    assert main(["convert", "rows.jsonl", "--to", "sharegtp"]) == 2
    assert 'did you mean "sharegpt"?' in capsys.readouterr().err
    assert main(["convert", "rows.jsonl", "--from", "carrier"]) == 2
    assert main(["convert"]) == 2


def test_columns_are_renamed(rows, capsys):
    write(rows / "rows.jsonl", [{"frage": "q", "antwort": "a"}])
    words = ["convert", "rows.jsonl", "--columns", '{"frage": "query", "antwort": "response"}']
    assert main(words) == 0
    row = json.loads(capsys.readouterr().out)
    assert [m["content"] for m in row["messages"]] == ["q", "a"]


def test_a_column_that_no_row_has_is_told(rows, capsys):
    words = ["convert", "rows.jsonl#1", "--columns", "mesages=query", "-o", "out.jsonl"]
    assert main(words) == 2
    assert 'no row has the column "mesages"' in capsys.readouterr().err
    assert not (rows / "out.jsonl").exists()


def sent(monkeypatch, text):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_rows_from_stdin(rows, capsys, monkeypatch):
    sent(monkeypatch, json.dumps(ROWS[1]) + "\n{\n")
    assert main(["convert", "-", "-o", "out.jsonl"]) == 2
    assert "stdin:2" in capsys.readouterr().err
    for text in (json.dumps(ROWS[1]), json.dumps([ROWS[1]]), json.dumps([ROWS[1]], indent=2)):
        sent(monkeypatch, text)
        assert main(["convert", "-"]) == 0
        assert json.loads(capsys.readouterr().out)["messages"][0]["content"] == "Hi"


def test_preferences_to_trl_and_back(rows, capsys):
    asked, answer = ROWS[0]["messages"][:1], {"role": "assistant", "content": "6"}
    write(
        rows / "rows.jsonl",
        [
            {"messages": [*asked, answer], "rejected_response": "7", "margin": 0.5},
            {"messages": [*asked, CALL], "rejected_messages": [*asked, answer], "tools": [TOOL]},
            {"messages": [*asked, answer], "label": True},
            {"messages": asked, "solution": "6"},
            {"text": "Moss grows."},
        ],
    )
    assert main(["convert", "rows.jsonl", "--to", "trl", "-o", "out.jsonl"]) == 0
    first, second, third, fourth, fifth = read(rows / "out.jsonl")
    assert (first["chosen"], first["rejected"], first["margin"]) == (
        [answer],
        [{**answer, "content": "7"}],
        0.5,
    )
    assert second["chosen"][0]["tool_calls"][0]["function"]["arguments"] == {"port": "true"}
    assert (third["completion"], third["label"]) == ([answer], True)
    assert (fourth["prompt"], fourth["solution"]) == (asked, "6")
    assert fifth == {"text": "Moss grows."}
    assert main(["convert", "out.jsonl", "-o", "back.jsonl"]) == 0
    back = read(rows / "back.jsonl")
    assert back[0] == {"messages": [*asked, answer], "rejected_response": "7", "margin": 0.5}
    assert [m["role"] for m in back[1]["messages"]] == ["user", "tool_call"]
    assert back[2]["label"] is True
    assert back[4] == {"text": "Moss grows."}


def chunk(**delta):
    return {
        "id": "c",
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": None}],
    }


def part(index, **function):
    return {"tool_calls": [{"index": index, "function": function}]}


END = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
STREAM = [
    chunk(role="assistant", content=""),
    chunk(reasoning_content="Ports"),
    chunk(reasoning_content=" first."),
    chunk(content="Look"),
    chunk(content="ing."),
    chunk(tool_calls=[{"index": 0, "id": "t0", "function": {"name": "tide", "arguments": ""}}]),
    chunk(**part(0, arguments='{"port": ')),
    chunk(**part(0, arguments='"true"}')),
    chunk(tool_calls=[{"index": 1, "id": "t1", "function": {"name": "tide", "arguments": "{}"}}]),
    END,
    {"choices": [], "usage": {"total_tokens": 9}},
]
ASKED = [{"role": "user", "content": "Tides?"}]


def as_events(chunks):
    return "".join(f"data: {json.dumps(c)}\n\n" for c in chunks) + "data: [DONE]\n\n"


@pytest.mark.parametrize(
    "response", [STREAM, as_events(STREAM), {"chunks": STREAM}, {"body": as_events(STREAM)}]
)
def test_a_streamed_reply_becomes_a_row(response):
    entry = {"request": {"messages": ASKED, "tools": [TOOL], "stream": True}, "response": response}
    (row,) = log_rows(Row(entry, "log:1"))
    reply = conversation(row.value).messages[1]
    assert (reply.thinking, reply.content) == ("Ports first.", "Looking.")
    assert [(c.id, c.name, c.arguments) for c in reply.calls] == [
        ("t0", "tide", {"port": "true"}),
        ("t1", "tide", {}),
    ]
    assert (row.value["model"], row.value["tools"]) == ("m", [TOOL])


def whole(message, reason="stop"):
    return {"id": "r", "choices": [{"index": 0, "message": message, "finish_reason": reason}]}


def test_a_session_is_one_row_with_what_was_thought(rows, capsys):
    call = {"id": "t0", "type": "function", "function": {"name": "tide", "arguments": "{}"}}
    first = {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [call]}
    sent_back = {"role": "assistant", "content": "", "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "t0", "content": "10"}
    last = {"role": "assistant", "content": "At 10."}
    log = [
        {"request": {"messages": ASKED, "tools": [TOOL]}, "response": whole(first, "tool_calls")},
        {
            "request": {"body": {"messages": [*ASKED, sent_back, result], "tools": [TOOL]}},
            "response": {"status_code": 200, "body": whole(last)},
        },
        {"messages": ASKED, "response": whole(last)},
    ]
    write(rows / "log.jsonl", log)
    assert main(["convert", "log.jsonl", "--from", "openai-log", "-o", "out.jsonl"]) == 0
    session, other = [conversation(row) for row in read(rows / "out.jsonl")]
    assert [m.role for m in session.messages] == [
        Role.USER,
        Role.ASSISTANT,
        Role.TOOL,
        Role.ASSISTANT,
    ]
    assert session.messages[1].thinking == "hm"
    assert [m.content for m in other.messages] == ["Tides?", "At 10."]


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ({"response": whole({"content": "x"})}, "no recorded request"),
        ({"request": {"input": "hi"}, "response": {}}, "no messages"),
        ({"request": {"messages": ASKED}}, "no recorded response"),
        ({"request": {"messages": ASKED}, "response": {"error": {"message": "busy"}}}, "failed"),
        ({"request": {"messages": ASKED}, "response": {"status_code": 500, "body": {}}}, "failed"),
        (
            {"request": {"messages": ASKED}, "response": whole({"content": "x"}, "length")},
            "cut off",
        ),
        ({"request": {"messages": ASKED}, "response": STREAM[:4]}, "the stream ends before"),
        ({"request": {"messages": ASKED}, "response": "data: {\n\n"}, "not JSON"),
        ({"request": "{", "response": {}}, "not JSON"),
    ],
)
def test_what_is_no_whole_exchange_is_refused(entry, what):
    with pytest.raises(DataError, match=what):
        log_rows(Row(entry, "log:1"))


def test_several_choices_are_several_rows_and_equal_rows_one():
    choices = [{"message": {"content": c}, "finish_reason": "stop"} for c in ("a", "b", "a")]
    entry = Row({"request": {"messages": ASKED}, "response": {"choices": choices}}, "log:1")
    found = list(sessions(log_rows(entry)))
    assert [row.value["messages"][-1]["content"] for row in found] == ["b", "a"]


@pytest.mark.parametrize("content", [{}, {"content": None}, {"content": ""}])
def test_every_sharegpt_turn_has_its_value(tmp_path, monkeypatch, content):
    """Readers of the format look ``value`` up; a turn that only calls is its calls alone."""
    monkeypatch.chdir(tmp_path)
    call = {"type": "function", "function": {"name": "tide", "arguments": '{"port": "Bodø"}'}}
    thinks = {"role": "assistant", "reasoning_content": "Hm.", "tool_calls": [call], **content}
    calls = {"role": "assistant", "tool_calls": [call], **content}
    asked, result = {"role": "user", "content": "Tide?"}, {"role": "tool", "content": "10"}
    answer = {"role": "assistant", "content": "At 10."}
    messages = [asked, calls, result, thinks, result, answer]
    write(tmp_path / "rows.jsonl", [{"messages": messages, "tools": [TOOL]}])
    assert main(["convert", "rows.jsonl", "--to", "sharegpt", "-o", "out.jsonl"]) == 0
    (row,) = read(tmp_path / "out.jsonl")
    turns = row["conversations"]
    assert [(turn["from"], turn["value"] == "") for turn in turns] == [
        ("human", False),
        ("function_call", False),
        ("observation", False),
        ("gpt", True),
        ("function_call", False),
        ("observation", False),
        ("gpt", False),
    ]
    back = conversation(row).messages
    given = conversation({"messages": messages, "tools": [TOOL]}).messages
    assert [(m.role, m.text, m.thinking, m.calls) for m in back] == [
        (m.role, m.text, m.thinking, m.calls) for m in given
    ]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["-o", "rows.jsonl"], "written over"),
        (["-o", "."], "a folder"),
        (["-o", "out.jsonl", "--on-bad-row", "skip", "--rejected_file", "rows.jsonl"], "over"),
        (["-o", "x.jsonl", "--on-bad-row", "skip", "--rejected_file", "x.jsonl"], "the same"),
    ],
)
@pytest.mark.parametrize("source", ["rows.jsonl", "*.jsonl", "rows.jsonl#2", "."])
def test_inputs_stay_as_they_are(rows, capsys, source, flags, told):
    before = (rows / "rows.jsonl").read_bytes()
    assert main(["convert", source, *flags]) == 2
    assert told in capsys.readouterr().err
    assert (rows / "rows.jsonl").read_bytes() == before
