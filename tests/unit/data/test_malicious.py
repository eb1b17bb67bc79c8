"""Files that mean harm, and honest ones that look like it: an error with its place, or all rows."""

import contextlib
import gzip
import json
import resource
import time
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.data.test_canonical import values
from toolgrove.core.errors import DataError
from toolgrove.data import rows as rows_module
from toolgrove.data.formats import conversation, explain
from toolgrove.data.leftovers import unread_keys
from toolgrove.data.openai_log import log_rows, sessions
from toolgrove.data.rows import Row, read_rows
from toolgrove.data.samples import feedback, preference, prompt, sample
from toolgrove.data.sources import resolve

GOOD = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
LINE = json.dumps(GOOD)


def refused(path) -> DataError:
    with pytest.raises(DataError) as caught:
        list(read_rows(path))
    assert str(path) in str(caught.value)
    return caught.value


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_utf16_is_told(tmp_path, encoding, name):
    file = tmp_path / name
    file.write_bytes(LINE.encode(encoding))
    assert "UTF-16" in refused(file).what


def test_mark_and_line_ends_are_no_data(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + f"{LINE}\r\n\r\n{LINE}\r\n".encode())
    assert [row.value for row in read_rows(file)] == [GOOD, GOOD]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_what_json_does_not_have(tmp_path, value):
    file = tmp_path / "rows.jsonl"
    file.write_text(f'{LINE}\n{{"messages": [], "x": {value}}}\n')
    assert refused(file).where == f"{file}:2"


def test_a_key_twice(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"messages": [{"role": "user", "content": "a", "content": "b"}]}\n')
    assert "content" in refused(file).what


def test_deep_nesting(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"a":' * 100_000 + "\n")
    assert "too deeply" in refused(file).what
    arguments = "[" * 50_000 + "]" * 50_000
    call = {"role": "tool_call", "content": f'{{"name": "f", "arguments": {arguments}}}'}
    with pytest.raises(DataError, match="not JSON"):
        conversation({"messages": [call]})


def test_a_long_line_is_read_and_a_bomb_is_not(tmp_path, monkeypatch):
    long = {"messages": [{"role": "user", "content": "ü" * 5_000_000}]}
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(long, ensure_ascii=False) + "\n")
    assert [row.value for row in read_rows(file)] == [long]
    monkeypatch.setattr(rows_module, "LONGEST_LINE", 2**20)
    monkeypatch.setattr(rows_module, "LARGEST_JSON", 2**20)
    for name in ("bomb.jsonl.gz", "bomb.json.gz"):
        bomb = tmp_path / name
        with gzip.open(bomb, "wb") as stream:
            for _ in range(200):
                stream.write(b" " * 2**20)
        assert bomb.stat().st_size < 2**19
        tracemalloc.start()
        assert "MiB" in refused(bomb).what
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 16 * 2**20


def test_packed_files_and_broken_ones(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    packed = tmp_path / "rows.jsonl.zst"
    with pyarrow.output_stream(str(packed), compression="zstd") as stream:
        stream.write(f"{LINE}\n{LINE}\n".encode())
    assert [row.value for row in read_rows(packed)] == [GOOD, GOOD]
    packed.write_bytes(b"no zstd at all")
    assert "cannot be read" in refused(packed).what
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(f"{LINE}\n".encode() * 1000)[:-20])
    assert "cannot be read" in refused(cut).what


def test_empty_files(tmp_path):
    for name, text in {"a.jsonl": "", "b.json": " \n", "c.json": "[]", "d.csv": ""}.items():
        (tmp_path / name).write_text(text)
        assert "empty" in refused(tmp_path / name).what


def test_a_loop_of_links(tmp_path):
    (tmp_path / "loop.jsonl").symlink_to(tmp_path / "loop.jsonl")
    refused(tmp_path / "loop.jsonl")
    inner = tmp_path / "folder"
    inner.mkdir()
    (inner / "again").symlink_to(inner, target_is_directory=True)
    (inner / "rows.jsonl").write_text(LINE)
    assert [row.value for file in resolve(str(inner)) for row in read_rows(file)] == [GOOD]


def test_strings_beside_objects_in_one_column_keep_their_types(tmp_path):
    turns = [
        {"role": "user", "content": "true"},
        {"role": "tool_call", "content": {"name": "f", "arguments": {"n": "10", "b": True}}},
        {"role": "tool_response", "content": "10"},
        {"role": "assistant", "content": "[1, 2]"},
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join([json.dumps({"messages": turns}), LINE]))
    user, call, result, answer = conversation(next(read_rows(file)).value).messages
    assert [m.content for m in (user, result, answer)] == ["true", "10", "[1, 2]"]
    assert call.calls[0].arguments == {"n": "10", "b": True}


def test_parquet_with_nested_lists(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    turns = [{"role": "user", "content": parts}, {"role": "assistant", "content": parts[:1]}]
    file = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([{"messages": turns, "grid": [[1], []]}]), file)
    (row,) = read_rows(file)
    conv = conversation(row.value)
    assert [m.content for m in conv.messages] == ["ab", "a"]
    assert conv.extra["grid"] == [[1], []]


def test_an_index_in_a_stream_is_no_size():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    part = {"tool_calls": [{"index": 10**9, "function": {"name": "f"}}]}
    chunk = {"choices": [{"index": 0, "delta": part, "finish_reason": "stop"}]}
    entry = {"request": {"messages": [{"role": "user", "content": "q"}]}, "response": [chunk]}
    with pytest.raises(DataError, match="an index that is none"):
        log_rows(Row(entry, "log:1"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18


KEYS = st.sampled_from(
    [
        "messages",
        "conversations",
        "system",
        "chat",
        "query",
        "tools",
        "answers",
        "question",
        "function",
        "ground_truth",
        "chosen",
        "rejected",
        "prompt",
        "rejected_response",
        "label",
        "rejected_messages",
        "text",
        "images",
        "objects",
        "function_description",
        "instruction",
        "input",
        "output",
        "history",
        "functions",
        "request",
        "response",
        "completion",
    ]
)
PROMPTS = st.sampled_from(
    [
        "Answer the following questions as best you can. You have access to the following APIs:\n"
        "1. f: d Parameters: {}\n\nUse the following format:\nAction Input: x\n"
        "Observation: y\nBegin!",
        "<tools> [{'name': 'f'}] </tools> <tool_call>",
        "a <tools> [1] </tools> <tool_call>",
        "You are a helpful assistant with access to the following functions. "
        "Use them if required -\n{",
        "\n# 工具\n\n## 你拥有如下工具：\n\nAction Input",
        "Action: f\nAction Input: {}\nObservation: 1",
        "You can use many tools(functions) to do the following task. "
        "You have access to the following APIs: [1]",
        "<tool_call>\n{'name': 'f'}\n</tool_call>",
        "USER: a\n\n\nASSISTANT: b",
        "<functioncall> {'name': 1}",
        "Observation: x",
        "Thought: x\nAction: f\n",
    ]
)
TURNS = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "user", "assistant", "tool", "tool_call"]),
            "content": PROMPTS | values,
        }
    ),
    max_size=4,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(row=st.dictionaries(KEYS, PROMPTS | TURNS | values, max_size=5))
def test_any_row_is_read_or_refused_with_a_reason(row):
    for read in (conversation, sample, preference, feedback, prompt, explain):
        with contextlib.suppress(DataError):
            read(row)
    unread_keys(row)
    with contextlib.suppress(DataError):
        list(sessions(log_rows(Row(row, "log:1"))))


CHUNKS = st.lists(
    st.fixed_dictionaries(
        {
            "choices": st.lists(
                st.fixed_dictionaries(
                    {
                        "delta": st.fixed_dictionaries({"content": values, "tool_calls": values})
                        | values,
                        "index": values,
                        "finish_reason": st.just("stop") | values,
                    }
                ),
                max_size=2,
            )
        }
    )
    | values,
    max_size=3,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(messages=TURNS, response=CHUNKS | values, key=st.sampled_from(["response", "chunks"]))
def test_any_recorded_exchange_is_read_or_refused(messages, response, key):
    entry = {"request": {"messages": messages}, key: response}
    with contextlib.suppress(DataError):
        for row in sessions(log_rows(Row(entry, "log:1"))):
            conversation(row.value)


REACT = "Answer the following questions as best you can. You have access to the following APIs:\n"
LONG = 200_000
SLOW = {
    "react forms": REACT + "Use the following format: Action Input: Observation: " * 5000,
    "react tools": REACT + "1. f: Parameters: " * 10_000 + "Action Input",
    "agentfabric": "\n# 工具\n\n## 你拥有如下工具：\n\n"
    + "## 当你需要调用工具时 Action Input: " * 5000,
    "toolbench": "You can use many tools(functions) to do the following task. " * 4000
    + "the following APIs: [",
    "glaive": "You are a helpful assistant with access to the following functions. "
    "Use them if required -" * 1500,
    "hermes": "<tools>[" * 20_000 + " " * LONG + "<tool_call>",
    "blanks": "<tool_call> <tools> [1] </tools>" + " " * LONG,
}
REPLIES = {
    "steps": "Action: f\nAction Input: {}\nObservation: x\n" * 4000,
    "tagged": "Action: f\nAction Input: {}\nObservation: <result>x</result>\nAnswer:" * 4000,
    "open": "Action: f\nAction Input: {" * 8000,
    "calls": '<tool_call>{"name": "f"}</tool_call>' * 6000,
    "unclosed": "<tool_call> { " * 15_000,
    "marks": "<functioncall> {} " * 10_000,
    "blanks": " \n" * LONG,
    "results": "<tool_response>" * 15_000,
}
PROMPTED = [
    REACT + "1. f: d Parameters: {}\n\nUse the following format:\nAction Input: x\nObservation: y\n"
    "Begin!",
    "\n# 工具\n\n## 你拥有如下工具：\n\nf: f API。 输入参数: {}\n\n## 当你需要调用工具时\n"
    "Action Input: x\nObservation: y\nAnswer: z\n",
    "<tools>[{'name': 'f'}]</tools><tool_call></tool_call>",
    "You are a helpful assistant with access to the following functions. Use them if required -\n"
    '{"name": "f"}',
]


def seconds(row) -> float:
    start = time.process_time()
    with contextlib.suppress(DataError):
        conversation(row)
    return time.process_time() - start


@pytest.mark.parametrize("name", SLOW)
def test_no_prompt_takes_long(name):
    assert seconds({"system": SLOW[name], "query": "q", "response": "r"}) < 2


@pytest.mark.parametrize("system", PROMPTED, ids=range(len(PROMPTED)))
@pytest.mark.parametrize("name", REPLIES)
def test_no_reply_takes_long(name, system):
    assert seconds({"system": system, "query": REPLIES[name], "response": REPLIES[name]}) < 2


def test_no_chat_takes_long():
    for chat in ("\n" * LONG + "ASSISTANT:", "USER: a\n\n\nASSISTANT: b\n\n\n" * 8000):
        assert seconds({"system": "SYSTEM: s", "chat": chat}) < 2
