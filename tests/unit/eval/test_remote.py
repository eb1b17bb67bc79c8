"""A server asked over HTTP: what is sent, what is read, what is tried again, what is refused."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from toolgrove.core.errors import ConfigError, ModelError
from toolgrove.core.messages import Conversation, Message, Role, Tool, ToolCall
from toolgrove.eval import remote
from toolgrove.eval.remote import UrlSpeaker, plain_names

TOOLS = (Tool({"type": "function", "function": {"name": "geo.area", "parameters": {}}}),)
ASKED = Conversation((Message(Role.USER, "Hi"),), TOOLS)


class Stub:
    """A server that answers with what it is told, and keeps what it was sent."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, object]] = []
        self.sent: list[dict] = []
        self.headers: list[str | None] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._say(200, {"data": [{"id": "tiny"}]})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                stub.sent.append(json.loads(body))
                stub.headers.append(self.headers["Authorization"])
                self._say(*stub.answers.pop(0))

            def _say(self, status: int, value: object) -> None:
                text = value if isinstance(value, str) else json.dumps(value)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def stub():
    made = Stub()
    yield made
    made.server.shutdown()
    made.server.server_close()


def reply(content=None, calls=(), finish="stop", **more) -> tuple[int, dict]:
    listed = [
        {"id": f"c{n}", "type": "function", "function": {"name": name, "arguments": given}}
        for n, (name, given) in enumerate(calls)
    ]
    message = {"role": "assistant", "content": content, "tool_calls": listed, **more}
    return 200, {"choices": [{"message": message, "finish_reason": finish}]}


def test_calls_go_out_and_come_back_under_their_names(stub) -> None:
    stub.answers = [reply(None, [("geo_area", '{"a": 1}')], "tool_calls", reasoning_content="hm")]
    speaker = UrlSpeaker(f"{stub.url}/v1/", api_key="key", max_new_tokens=7)
    (said,) = speaker.answer([ASKED])
    assert said.reply.calls == (ToolCall("geo.area", {"a": 1}),)
    assert (said.reply.thinking, said.ended, said.reply.calls[0].id) == ("hm", True, "c0")
    (sent,) = stub.sent
    assert (sent["model"], sent["temperature"], sent["max_tokens"]) == ("tiny", 0, 7)
    assert sent["tools"][0]["function"]["name"] == "geo_area"
    assert stub.headers == ["Bearer key"]


def test_a_history_of_calls_is_told_as_openai_has_it(stub) -> None:
    stub.answers = [reply("Fine.", finish="length")]
    calls = (ToolCall("geo.area", {"a": 1}), ToolCall("geo.area", {}, id="own"))
    history = (
        *ASKED.messages,
        Message(Role.ASSISTANT, "", calls=calls),
        Message(Role.TOOL, "12", name="geo.area"),
        Message(Role.TOOL, "0", name="geo.area", call_id="own"),
    )
    (said,) = UrlSpeaker(stub.url).answer([Conversation(history, TOOLS)])
    assert (said.reply.content, said.ended) == ("Fine.", False)
    _, called, first, second = stub.sent[0]["messages"]
    ids = [call["id"] for call in called["tool_calls"]]
    assert [first["tool_call_id"], second["tool_call_id"]] == ids
    assert ids[1] == "own"
    assert called["tool_calls"][0]["function"] == {"name": "geo_area", "arguments": '{"a": 1}'}


def test_unreadable_arguments_are_no_call(stub) -> None:
    stub.answers = [reply("", [("geo_area", "[1"), ("geo_area", "{}")])]
    (said,) = UrlSpeaker(stub.url).answer([ASKED])
    assert said.reply.calls == (ToolCall("geo.area", {}),)
    assert not said.reply.complete
    assert "geo_area([1)" in said.reply.content


def test_a_busy_server_is_asked_again_and_a_refusal_is_a_fault(stub, monkeypatch) -> None:
    monkeypatch.setattr(remote, "_WAITS_S", (0.0, 0.0))
    stub.answers = [(429, "later"), (503, ""), reply("Here."), (400, {"error": "too long"})]
    speaker = UrlSpeaker(stub.url)
    good, bad = speaker.answer([ASKED, ASKED])
    assert good.reply.content == "Here."
    assert "too long" in bad.fault
    stub.answers = [(500, "broken")] * 3
    with pytest.raises(ModelError, match="500"):
        speaker.answer([ASKED])
    stub.answers = [(401, "who?")]
    with pytest.raises(ModelError, match="--api_key"):
        speaker.answer([ASKED])
    stub.answers = [(200, "not json")]
    with pytest.raises(ModelError, match="not JSON"):
        speaker.answer([ASKED])
    stub.answers = [(200, {"choices": []})]
    with pytest.raises(ModelError, match="no choice"):
        speaker.answer([ASKED])


def test_addresses_are_checked() -> None:
    with pytest.raises(ConfigError, match="address"):
        UrlSpeaker("localhost:8000")
    with pytest.raises(ModelError, match="running"):
        UrlSpeaker("http://127.0.0.1:9")


def test_names_stay_apart() -> None:
    names = ["a.b", "a_b", "a-b", "x" * 80, "x" * 90]
    plain = plain_names(names)
    assert plain["a.b"] == "a_b"
    assert plain["a_b"] == "a_b_2"
    assert plain["a-b"] == "a-b"
    assert len(set(plain.values())) == 5
    assert max(map(len, plain.values())) <= 64
