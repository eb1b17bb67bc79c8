"""A server in front of another one, a chat and an evaluation through an API: over real sockets."""

import json
import threading
import time

import pytest
import uvicorn

from tests.unit.serve.conftest import Client, scripted
from toolgrove.engine.http import address_of
from toolgrove.serve.app import make_app
from toolgrove.serve.guard import Limits
from toolgrove.serve.proxy import There, make_proxy
from toolgrove.serve.record import Recorder

CALL = 'Let me look.\n<tool_call>\n{"name": "now", "arguments": {"zone": "CET"}}\n</tool_call>'
TOOL = {
    "type": "function",
    "function": {
        "name": "now",
        "description": "The time.",
        "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}},
    },
}
ASK = {"messages": [{"role": "user", "content": "What time is it?"}], "tools": [TOOL]}


@pytest.fixture
def upstream():
    """Begins a scripted server on a free port; returns its address."""
    begun = []

    def begin(replies, **limits):
        app = make_app(scripted(replies), Limits(**limits))
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        begun.append((server, thread))
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    yield begin
    for server, thread in begun:
        server.should_exit = True
        thread.join(timeout=20)


class Proxy(Client):
    """Asks a proxy's app."""

    def __init__(self, app):
        self.app = app


def proxy(url, recorder=None, name=None, key=None, **limits):
    return Proxy(
        make_proxy(There(address_of(url, key), "scripted"), Limits(**limits), recorder, name)
    )


def test_answers_come_through_whole_and_streamed_and_are_recorded(upstream, tmp_path):
    recorder = Recorder(tmp_path)
    there = proxy(upstream([CALL, CALL]), recorder, name="agent")
    assert there.ask("/v1/models").json()["data"][0]["id"] == "agent"
    assert there.ask("/health").status_code == 200
    whole = there.ask("/v1/chat/completions", {**ASK, "model": "agent"}).json()
    message = whole["choices"][0]["message"]
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"zone": "CET"}
    streamed = there.ask("/v1/chat/completions", {**ASK, "stream": True})
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert streamed.text.rstrip().endswith("data: [DONE]")
    recorder.close()
    first, second = map(json.loads, recorder.file.read_text("utf-8").splitlines())
    for entry in (first, second):
        said = entry["response"]["choices"][0]["message"]
        assert said["content"].strip() == "Let me look."
        assert said["tool_calls"][0]["function"]["name"] == "now"
        assert entry["request"]["tools"] == [TOOL]


def test_what_goes_wrong_there_has_its_own_status_here(upstream):
    url = upstream(["a"], api_keys=("secret",))
    there = proxy(url, name="agent", key="secret", api_keys=("ours",))
    ours = {"headers": {"Authorization": "Bearer ours"}}
    assert there.ask("/v1/chat/completions", ASK).status_code == 401
    bad = there.ask("/v1/chat/completions", {**ASK, "temperature": -1}, **ours)
    assert bad.status_code == 400
    assert "temperature" in bad.json()["error"]["message"]
    other = there.ask("/v1/chat/completions", {**ASK, "model": "other"}, **ours)
    assert (other.status_code, other.json()["error"]["code"]) == (404, "model_not_found")
    assert there.ask("/v1/chat/completions", b"{", **ours).status_code == 400
    assert there.ask("/v1/chat/completions", b"[]", **ours).status_code == 400
    away = There(address_of("http://127.0.0.1:9"), "m")
    gone = Proxy(make_proxy(away, Limits())).ask("/v1/chat/completions", ASK)
    assert gone.status_code == 502
    assert Proxy(make_proxy(away, Limits())).ask("/health").status_code == 503
