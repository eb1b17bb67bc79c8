"""Role play as the seeds' users write it, against a server of our own that plays a script."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from toolgrove.agent.functions import reads_only
from toolgrove.agent.remote import RemoteModel
from toolgrove.agent.role_play import RolePlay
from toolgrove.agent.session import Session
from toolgrove.core.errors import ToolgroveError
from toolgrove.core.messages import Role

CALL = 'I look.\nAction: weather\nAction Input: {"city": "Ulm"}\n'


@reads_only
def weather(city: str) -> str:
    """Tells the weather."""
    return f"{city}: 12 degrees"


class Server:
    """An OpenAI-compatible server that plays replies and keeps what it was asked."""

    def __init__(self, replies: list) -> None:
        self.replies, self.asked = replies, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = self.path.partition("?")[0]
                if query == "/v3/geocode/geo":
                    self._send({"status": "1", "geocodes": [{"adcode": "110105"}]})
                elif query == "/v3/weather/weatherInfo":
                    lives = [{"weather": "晴", "temperature": "21"}]
                    self._send({"status": "1", "lives": lives})
                else:
                    self._send({"data": [{"id": "m"}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append(body)
                reply = outer.replies.pop(0)
                if isinstance(reply, int):
                    self.send_error(reply, "busy")
                elif body["stream"]:
                    self._stream(reply)
                else:
                    text = reply if isinstance(reply, str) else None
                    for stop in body.get("stop", ()):
                        text = text.partition(stop)[0]
                    self._send(
                        {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
                    )

            def _stream(self, reply) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                deltas = reply if isinstance(reply, list) else [{"content": c} for c in reply]
                for delta in deltas:
                    chunk = {"choices": [{"index": 0, "delta": delta}]}
                    self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
                usage = {"prompt_tokens": 7, "completion_tokens": len(deltas)}
                self.wfile.write(
                    f"data: {json.dumps({'choices': [], 'usage': usage})}\n\n".encode()
                )
                self.wfile.write(b"data: [DONE]\n\n")

            def _send(self, value) -> None:
                data = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_args) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.home = f"http://127.0.0.1:{self.http.server_port}"
        self.url = f"{self.home}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def llm(self) -> dict:
        """As the seeds' script has it."""
        return {
            "model_server": "openai",
            "model": "default-lora",
            "api_base": self.url,
            "is_chat": True,
            "is_function_call": False,
            "support_stream": False,
        }


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server([])
    yield made
    made.http.shutdown()
    made.http.server_close()


def test_the_script_of_the_seed(server: Server) -> None:
    """Chunks come as there: what the model says, the observation, what it says to that."""
    server.replies += [
        '好的。\nAction: amap_weather\nAction Input: {"location": "朝阳区"}\nObservation: made up',
        " 朝阳区今天晴，21度。",
    ]
    bot = RolePlay(
        function_list=[{"amap_weather": {"token": "k", "url": f"{server.home}/v3"}}],
        llm=server.llm,
        instruction="你扮演一个天气预报助手。",
    )
    text = ""
    for chunk in bot.run("朝阳区天气怎样？"):
        assert isinstance(chunk, str)
        text += chunk
    assert text == (
        "好的。\n"
        'Action: amap_weather\nAction Input: {"location": "朝阳区"}\n'
        "Observation: <result>朝阳区：天气晴，温度21度。</result>\nAnswer: 朝阳区今天晴，21度。"
    )
    first, second = server.asked
    system, user = first["messages"]
    assert "# 工具\n\n## 你拥有如下工具：\n\namap_weather: amap_weather API。" in system["content"]
    assert "# 指令\n\n你扮演一个天气预报助手。" in system["content"]
    assert user["content"] == "(。你可以使用工具：[amap_weather])朝阳区天气怎样？"
    assert first["stop"] == ["Observation:"]
    assert "tools" not in first
    assert [m["role"] for m in second["messages"]] == ["system", "user"]
    assert second["messages"][1]["content"] == user["content"] + text.removesuffix(
        " 朝阳区今天晴，21度。"
    )


def test_without_a_key_the_model_is_told_so(server: Server, monkeypatch) -> None:
    monkeypatch.delenv("AMAP_TOKEN", raising=False)
    server.replies += ['Action: amap_weather\nAction Input: {"location": "朝阳区"}\n', "抱歉。"]
    bot = RolePlay(function_list=["amap_weather"], llm=server.llm, instruction="x")
    assert "AMAP_TOKEN" in "".join(bot.run("朝阳区天气怎样？"))


def test_a_role_a_history_and_knowledge(server: Server) -> None:
    server.replies += [CALL, "It is 12 degrees."]
    role = {"name": "Rain", "description": "Knows the sky.", "instruction": ["be brief", "be kind"]}
    bot = RolePlay([weather], {**server.llm, "support_stream": True}, role)
    history = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    assert "".join(bot.run("Weather?", history=history, ref_doc="Ulm is a city.")).endswith(
        "degrees."
    )
    system, hi, _hello, asked = server.asked[0]["messages"]
    assert "Ulm is a city." in system["content"]
    assert "你的名字是Rain。Knows the sky." in system["content"]
    assert hi["content"] == "(你正在扮演Rain。你可以使用工具：[weather])Hi"
    assert asked["content"] == "Weather?"
    roles = [message["role"] for message in bot.session.transcript()["messages"]]
    assert roles == ["system", "user", "assistant", "user", "assistant", "tool", "assistant"]


def test_tools_as_the_server_reads_them(server: Server) -> None:
    """Native calls, in pieces; arguments that are no JSON are told to the model."""

    def piece(index: int, name: str | None, arguments: str) -> dict:
        function = {"arguments": arguments} | ({"name": name} if name else {})
        return {"tool_calls": [{"index": index, "id": f"c{index}", "function": function}]}

    server.replies += [
        [
            {"reasoning_content": "hm"},
            piece(0, "weather", '{"ci'),
            piece(1, "weather", '{"city": Ulm'),
            piece(0, None, 'ty": "Ulm"}'),
        ],
        [{"content": "12."}],
    ]
    bot = RolePlay([weather], {**server.llm, "is_function_call": True, "support_stream": True}, "x")
    "".join(bot.run("Weather?"))
    messages = bot.session.conversation.messages
    assert [m.text for m in messages if m.role is Role.TOOL] == [
        "Ulm: 12 degrees",
        'error: the arguments are no JSON object: {"city": Ulm',
    ]
    assert messages[2].thinking == "hm"
    assert server.asked[0]["tools"][0]["function"]["name"] == "weather"
    told = server.asked[1]["messages"][2]["tool_calls"]
    assert [json.loads(told[0]["function"]["arguments"]), told[1]["function"]["arguments"]] == [
        {"city": "Ulm"},
        '{"city": Ulm',
    ]
    assert bot.session.works[0].tokens == 5


def test_servers_that_fail(server: Server) -> None:
    server.replies += [503]
    session = Session(RemoteModel(server.url, "m"))
    with pytest.raises(ToolgroveError, match="status 503"):
        list(session.ask("Hi"))
    assert session.works[0].told()["ended"] == "failed"
    with pytest.raises(ToolgroveError, match="no answer"):
        list(Session(RemoteModel("http://127.0.0.1:9/v1", "m")).ask("Hi"))


@pytest.mark.parametrize(
    ("llm", "functions", "what"),
    [
        (None, [], "no model"),
        ({"model_server": "oracle", "model": "m"}, [], 'model_server "oracle" is not known'),
        ({"model_server": "openai"}, [], 'llm has no "model"'),
        ({"model": "m", "api_base": "localhost"}, [], "not an address"),
        ({"model": "m"}, ["amap_wether"], 'unknown tool "amap_wether"'),
    ],
)
def test_what_cannot_be_made(llm, functions, what) -> None:
    with pytest.raises(ToolgroveError, match=what):
        RolePlay(function_list=functions, llm=llm, instruction="x")
