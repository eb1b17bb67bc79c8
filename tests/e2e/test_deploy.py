"""``toolgrove deploy`` as a process: a real client, a tool loop, signals, clients that leave."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx2 as httpx
import openai
import pytest

from toolgrove.cli.together import free_port

CALLS = [
    'Let me look.\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Zürich 🙂"}}\n'
    "</tool_call>",
    '<tool_call>\n{"name": "get_time", "arguments": {"city": "Zürich"}}\n</tool_call>',
    "It is 21 °C at noon.",
]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "Looks it up.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
    for name in ("get_weather", "get_time")
]
RESULTS = {"get_weather": "21 °C", "get_time": "12:00"}


class Server:
    """A server process and where it listens."""

    def __init__(self, folder, replies, *flags, model=None):
        port = free_port()
        script = folder / "script.json"
        script.write_text(json.dumps(replies), encoding="utf-8")
        self.url = f"http://127.0.0.1:{port}"
        words = ["deploy", "--infer_backend", "scripted", "--script", str(script)]
        words = [*words, "--template", "chatml"] if model is None else ["deploy", "--model", model]
        words += ["--agent_template", "hermes", "--port", str(port), *flags]
        self.log = folder / "log"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "toolgrove", *words], stderr=self.log.open("w")
        )
        end = time.monotonic() + 60
        while True:
            try:
                if httpx.get(f"{self.url}/health").status_code == 200:
                    break
            except httpx.TransportError:
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < end
                time.sleep(0.1)

    def client(self, **options):
        return openai.OpenAI(
            base_url=f"{self.url}/v1", api_key="x", max_retries=0, timeout=60, **options
        )

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


@pytest.fixture
def start(tmp_path):
    begun = []

    def begin(replies, *flags):
        begun.append(Server(tmp_path, replies, *flags))
        return begun[-1]

    yield begin
    for server in begun:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


def whole(client, messages):
    return client.chat.completions.create(model="scripted", messages=messages, tools=TOOLS)


def by_chunks(client, messages):
    """The stream put together by the client's own helper."""
    with client.chat.completions.stream(model="scripted", messages=messages, tools=TOOLS) as events:
        text = "".join(event.delta for event in events if event.type == "content.delta")
        answer = events.get_final_completion()
    assert text == (answer.choices[0].message.content or "")
    return answer


@pytest.mark.parametrize("ask", [whole, by_chunks])
def test_a_real_client_completes_a_loop_of_two_tools(start, ask):
    client = start(CALLS).client()
    messages = [{"role": "user", "content": "How is it in Zürich, and how late?"}]
    called = []
    for _ in range(5):
        choice = ask(client, messages).choices[0]
        messages.append(choice.message.model_dump())
        if choice.finish_reason != "tool_calls":
            break
        for call in choice.message.tool_calls:
            called.append((call.function.name, json.loads(call.function.arguments)["city"]))
            result = RESULTS[call.function.name]
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    assert called == [("get_weather", "Zürich 🙂"), ("get_time", "Zürich")]
    assert choice.finish_reason == "stop"
    assert choice.message.content == CALLS[2]


FLAT = [{"type": "function", **tool["function"], "strict": True} for tool in TOOLS]


@pytest.mark.parametrize("streamed", [False, True])
def test_the_responses_api_completes_the_same_loop(start, streamed):
    client = start([f"<think>hm</think>{CALLS[0]}", *CALLS[1:]]).client()
    items = [{"role": "user", "content": "How is it in Zürich, and how late?"}]
    called = []
    for _ in range(5):
        asked = {"model": "scripted", "input": items, "tools": FLAT, "instructions": "Look."}
        if streamed:
            with client.responses.stream(**asked) as events:
                kinds = [event.type for event in events]
                answer = events.get_final_response()
            assert kinds[0] == "response.created"
            assert kinds[-1] == "response.completed"
        else:
            answer = client.responses.create(**asked)
        assert answer.status == "completed"
        items += [item.model_dump(exclude_none=True) for item in answer.output]
        calls = [item for item in answer.output if item.type == "function_call"]
        for call in calls:
            called.append((call.name, json.loads(call.arguments)["city"]))
            output = {"call_id": call.call_id, "output": RESULTS[call.name]}
            items.append({"type": "function_call_output", **output})
        if not calls:
            break
    assert called == [("get_weather", "Zürich 🙂"), ("get_time", "Zürich")]
    assert answer.output_text == CALLS[2]
    assert [item["type"] for item in items if "type" in item][:3] == [
        "reasoning",
        "message",
        "function_call",
    ]


def test_the_client_sees_the_kinds_of_errors(start):
    server = start(CALLS, "--api_key", "right", "--max_body_mb", "0.01")
    hello = [{"role": "user", "content": "x"}]
    with pytest.raises(openai.AuthenticationError):
        whole(server.client(), hello)
    client = server.client(default_headers={"Authorization": "Bearer right"})
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="nope", messages=hello)
    with pytest.raises(openai.BadRequestError, match="unknown field"):
        client.chat.completions.create(
            model="scripted", messages=hello, extra_body={"temprature": 1}
        )
    with pytest.raises(openai.APIStatusError) as caught:
        whole(client, [{"role": "user", "content": "x" * 20_000}])
    assert caught.value.status_code == 413
    assert whole(client, hello).choices[0].finish_reason == "tool_calls"


LONG = "word " * 60_000


def test_at_sigterm_a_running_stream_ends_whole_and_new_clients_are_turned_away(start):
    server = start([LONG, "never"])
    stream = server.client().chat.completions.create(
        model="scripted", messages=[{"role": "user", "content": "x"}], stream=True
    )
    chunks = iter(stream)
    text = (next(chunks).choices[0].delta.content or "") + (next(chunks).choices[0].delta.content)
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert server.process.poll() is None
    with pytest.raises(openai.APIConnectionError):
        whole(server.client(), [{"role": "user", "content": "y"}])
    reason = None
    for chunk in chunks:
        text += chunk.choices[0].delta.content or ""
        reason = chunk.choices[0].finish_reason or reason
    assert (text, reason) == (LONG, "stop")
    assert server.process.wait(timeout=60) == 0
    assert "the server has stopped" in server.log.read_text()


def test_a_client_that_drops_its_stream_leaves_nothing_behind(start):
    server = start([LONG, LONG, "fine"])
    body = {"messages": [{"role": "user", "content": "x"}], "stream": True}
    path = f"{server.url}/v1/chat/completions"
    with httpx.stream("POST", path, json=body) as response:
        next(response.iter_lines())
    with pytest.raises(httpx.TimeoutException):
        httpx.post(path, json={**body, "stream": False}, timeout=0.3)
    end = time.monotonic() + 30
    while "toolgrove_running 0.0" not in httpx.get(f"{server.url}/metrics").text:
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(0.2)
    lines = [line for line in server.log.read_text().splitlines() if line.startswith("{")]
    assert [json.loads(line)["status"] for line in lines] == [200, 499]
    assert all("completion_tokens" not in line for line in lines)
    answer = whole(server.client(), [{"role": "user", "content": "x"}])
    assert answer.choices[0].message.content == "fine"
    assert server.end() == 0
    assert "Traceback" not in server.log.read_text()


def test_many_connections_and_clients_at_once(start):
    server = start([f"reply {number}" for number in range(48)], "--max_running", "8")
    host, port = server.url.removeprefix("http://").split(":")
    idle = [socket.create_connection((host, int(port))) for _ in range(300)]
    got, lock = [], threading.Lock()

    def talk():
        client = server.client()
        for _ in range(4):
            answer = whole(client, [{"role": "user", "content": "x"}])
            with lock:
                got.append(answer.choices[0].message.content)

    threads = [threading.Thread(target=talk) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted(f"reply {number}" for number in range(48))
    for connection in idle:
        connection.close()
    assert server.end() == 0


def test_a_scripted_server_needs_no_torch(tmp_path):
    code = (
        "import sys; from toolgrove.cli.deploy import DeploySettings, _served;"
        f"_served(DeploySettings(infer_backend='scripted', script={str(tmp_path / 's.json')!r},"
        "template='qwen3', agent_template='hermes'));"
        "import toolgrove.serve.app, toolgrove.serve.run;"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    (tmp_path / "s.json").write_text('["hi"]')
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_port_that_is_taken_is_told_before_anything_is_loaded():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        words = [sys.executable, "-m", "toolgrove", "deploy", "--model", "none", "--port", port]
        done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"127.0.0.1:{port}: cannot listen there: Address already in use" in done.stderr
    assert "--port" in done.stderr


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--infer_backend", "scripted"], "--script FILE"),
        (["--script", "/nope.json", "--template", "chatml"], "no such script"),
        (["--infer_backend", "scriptd"], 'did you mean "scripted"?'),
        ([], '"model" is missing'),
    ],
)
def test_what_cannot_be_served_is_told(flags, told):
    done = subprocess.run(
        [sys.executable, "-m", "toolgrove", "deploy", *flags], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert told in done.stderr
