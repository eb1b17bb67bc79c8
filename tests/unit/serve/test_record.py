"""What is recorded: whole exchanges with their tokens, secrets masked."""

import json
import stat

from tests.unit.serve.test_chat import CALL, PATH, TOOLS, chat
from toolgrove.data.openai_log import log_rows
from toolgrove.data.rows import Row
from toolgrove.serve.record import MASK, Recorder


def entries(recorder):
    recorder.close()
    return [json.loads(line) for line in recorder.file.read_text(encoding="utf-8").splitlines()]


def test_exchanges_read_back_as_rows_streamed_or_not(serving, tmp_path):
    recorder = Recorder(tmp_path)
    client = serving([CALL] * 3, recorder=recorder)
    client.ask(PATH, chat(tools=TOOLS))
    flat = [{"type": "function", **tool["function"]} for tool in TOOLS]
    client.ask("/v1/responses", {"input": "Hello", "tools": flat})
    client.ask(PATH, chat(tools=TOOLS, stream=True))
    written = entries(recorder)
    assert len(written) == 3
    assert stat.S_IMODE(recorder.file.stat().st_mode) == 0o600
    for entry in written:
        (row,) = log_rows(Row(entry, "x"))
        assert row.value["messages"][-1]["tool_calls"][0]["function"]["name"] == "get_weather"
        assert row.value["tools"] == TOOLS
        tokenizer = client.served.tokenizer
        assert tokenizer.decode(entry["completion_token_ids"][0]) == CALL
        assert "get_weather" in tokenizer.decode(entry["prompt_token_ids"])
        assert entry["masked"] == 0


def test_secrets_are_masked_and_their_tokens_left_out(serving, tmp_path):
    key = "sk-" + "a1B2" * 8
    recorder = Recorder(tmp_path, ["my-own-key"])
    client = serving([f"your key is {key}"], recorder=recorder)
    said = f"use {key} and my-own-key, ghp_{'x' * 30}, AKIA{'Q' * 16}"
    client.ask(PATH, chat(messages=[{"role": "user", "content": said}]))
    (entry,) = entries(recorder)
    text = json.dumps(entry)
    assert entry["masked"] == 5
    assert text.count(MASK) == 5
    assert entry["prompt_token_ids"] is None
    assert entry["completion_token_ids"] is None
    for secret in (key, "my-own-key", "ghp_x", "AKIAQ"):
        assert secret not in text
