"""Loading is strict, or tells what it left out."""

import json
import logging

import pytest

from toolgrove.core.errors import ConfigError, DataError
from toolgrove.data.formats import conversation
from toolgrove.data.load import DataSettings, load_chats, rename_columns, split

GOOD = {"query": "a", "response": "b"}
ASKED = {"messages": [{"role": "user", "content": "a"}]}


def write(path, *rows):
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return str(path)


def skipping(tmp_path, **more):
    return DataSettings(on_bad_row="skip", rejected_file=tmp_path / "out" / "bad.jsonl", **more)


def test_rows_of_several_sources_in_their_order(tmp_path):
    first = write(tmp_path / "a.jsonl", GOOD, {"query": "c", "response": "d"})
    second = write(tmp_path / "b.jsonl", {"query": "e", "response": "f"})
    loaded = load_chats([first, f"{second}#2"])
    asked = [chat.conversation.messages[0].content for chat in loaded.chats]
    assert asked == ["a", "c", "e", "e"]
    assert [chat.where for chat in loaded.chats[:2]] == [f"{first}:1", f"{first}:2"]
    assert (loaded.rejected, loaded.rejected_file) == (0, None)


def test_the_text_of_arguments_is_forgotten(tmp_path):
    call = {"function": {"name": "f", "arguments": '{"a":1}'}}
    row = {"messages": [{"role": "assistant", "tool_calls": [call]}]}
    loaded = load_chats([write(tmp_path / "a.jsonl", row)])
    assert loaded.chats[0].conversation.messages[0].calls[0].given is None
    assert conversation(row).messages[0].calls[0].given == '{"a":1}'


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        ('{"query": ', "not JSON"),
        (ASKED, "nothing to train"),
        ({"messages": []}, "messages: no messages"),
        ({"query": "a", "solution": "b"}, "nothing to train"),
    ],
)
def test_strict_stops_at_the_first_bad_row(tmp_path, bad, what):
    path = write(tmp_path / "a.jsonl", GOOD, bad)
    with pytest.raises(DataError) as caught:
        load_chats([path])
    assert what in caught.value.what
    assert caught.value.where == f"{path}:2"


def test_skip_writes_the_rejected_rows_and_says_so(tmp_path, caplog):
    path = write(tmp_path / "a.jsonl", GOOD, ASKED, "broken", {"messages": None})
    with caplog.at_level(logging.WARNING):
        loaded = load_chats([path], skipping(tmp_path))
    assert (len(loaded.chats), loaded.rejected) == (1, 3)
    assert "3 of 4 rows rejected" in caplog.text
    written = [json.loads(line) for line in loaded.rejected_file.read_text().splitlines()]
    assert sorted(entry["where"] for entry in written) == [f"{path}:{n}" for n in (2, 3, 4)]
    by_place = {entry["where"]: entry for entry in written}
    assert by_place[f"{path}:2"]["row"] == ASKED
    assert by_place[f"{path}:3"]["text"] == "broken\n"
    assert all(entry["reason"] for entry in written)


def test_copies_of_a_bad_row_are_one(tmp_path):
    path = write(tmp_path / "a.jsonl", GOOD, ASKED)
    loaded = load_chats([f"{path}#6"], skipping(tmp_path))
    assert (len(loaded.chats), loaded.rejected) == (3, 1)


def test_the_rejected_file_may_be_the_source(tmp_path):
    path = write(tmp_path / "a.jsonl", GOOD, ASKED)
    settings = DataSettings(on_bad_row="skip", rejected_file=tmp_path / "a.jsonl")
    assert len(load_chats([path], settings).chats) == 1


@pytest.mark.parametrize("rows", [[ASKED], []])
def test_no_good_row_is_an_error(tmp_path, rows):
    path = write(tmp_path / "a.jsonl", *rows)
    with pytest.raises(DataError, match="no usable row"):
        load_chats([path], skipping(tmp_path))


def test_columns_are_renamed(tmp_path):
    path = write(tmp_path / "a.jsonl", {"frage": "a", "question": "x", "response": "b"})
    loaded = load_chats([path], DataSettings(columns={"frage": "query"}))
    assert loaded.chats[0].conversation.messages[0].content == "a"
    with pytest.raises(DataError, match='no row has the column "farge"'):
        load_chats([path], DataSettings(columns={"farge": "query"}))
    with pytest.raises(DataError, match='two columns would be named "response"'):
        load_chats([path], DataSettings(columns={"frage": "response"}))


def test_columns_can_change_places():
    assert rename_columns({"a": 1, "b": 2}, {"a": "b", "b": "a"}) == {"b": 1, "a": 2}


def test_shuffling_is_seeded(tmp_path):
    rows = [{"query": str(n), "response": "x"} for n in range(30)]
    path = write(tmp_path / "a.jsonl", *rows)
    once, again = (load_chats([path], DataSettings(shuffle=True)).chats for _ in range(2))
    assert once == again != load_chats([path]).chats


def test_split_keeps_copies_of_a_row_together(tmp_path):
    rows = [{"query": str(n), "response": "x"} for n in range(10)]
    chats = load_chats([write(tmp_path / "a.jsonl", *rows) + "#25"]).chats
    learn, check = split(chats, 0.2, seed=3)
    assert len(learn) + len(check) == 25
    assert len({chat.where for chat in check}) == 2
    assert not {chat.where for chat in learn} & {chat.where for chat in check}
    assert split(chats, 0, seed=3) == (chats, [])
    assert len({chat.where for chat in split(chats, 0.01, seed=3)[1]}) == 1


def test_split_needs_rows_on_both_sides(tmp_path):
    chats = load_chats([write(tmp_path / "a.jsonl", GOOD)]).chats
    with pytest.raises(DataError, match="too few to split"):
        split(chats, 0.5)
    with pytest.raises(ConfigError):
        split(chats, 1.0)


def test_settings_and_sources_are_checked():
    with pytest.raises(ConfigError, match="unknown on_bad_row"):
        DataSettings(on_bad_row="ignore")
    with pytest.raises(DataError, match="no data source"):
        load_chats([])
