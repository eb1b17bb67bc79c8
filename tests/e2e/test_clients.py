"""Agents of other libraries complete a loop of two tools on ``toolgrove deploy``."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.test_deploy import CALLS, RESULTS, TOOLS, Server

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".bench" / "clients"
WANTED = [
    "openai==3.54.0",
    "openai-agents==0.24.0",
    "langchain-openai==1.7.3",
    "smolagents==1.26.0",
    "qwen-agent==0.0.34",
    *("numpy", "soundfile", "python-dateutil"),
]
"""the last line is what qwen-agent imports and does not ask for"""
LAST = (
    '<tool_call>\n{"name": "final_answer", "arguments": {"answer": "It is 21 °C at noon."}}\n'
    "</tool_call>"
)
CITIES = [["get_weather", "Zürich 🙂"], ["get_time", "Zürich"]]


@pytest.fixture(scope="module")
def python():
    """The clients' own environment, made once and kept."""
    if not (HOME / "ready").is_file():
        subprocess.run([sys.executable, "-m", "venv", str(HOME)], check=True)
        pip = [str(HOME / "bin" / "pip"), "install", "--quiet"]
        subprocess.run([*pip, *WANTED], check=True)
        (HOME / "ready").touch()
    return HOME / "bin" / "python"


def ask(python, name, url, model, stream):
    words = [str(python), str(ROOT / "tests/e2e/clients.py"), name, url, model, str(stream)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "name", ["openai", "agents", "agents_responses", "langchain", "smolagents", "qwen_agent"]
)
def test_a_client_completes_a_loop_of_two_tools(python, tmp_path, name, stream):
    server = Server(tmp_path, [*CALLS[:2], LAST if name == "smolagents" else CALLS[2]])
    try:
        found = ask(python, name, f"{server.url}/v1", "scripted", stream)
        assert found == {"called": CITIES, "said": CALLS[2]}
        assert server.end() == 0
        assert "Traceback" not in server.log.read_text()
    finally:
        server.process.kill()
        server.process.wait()


TUNED = ROOT / "output" / "demo" / "model"


@pytest.mark.skipif(not TUNED.is_dir(), reason="needs output/demo/model: make demo")
@pytest.mark.parametrize("stream", [False, True])
def test_the_tuned_model_completes_a_loop_of_two_tools(tmp_path, stream):
    """The tools are named, since a model of 135 million parameters seldom finds the second one by
    itself; their arguments are its own."""
    server = Server(
        tmp_path, [], "--temperature", "0", "--served_model_name", "tuned", model=str(TUNED)
    )
    messages = [{"role": "user", "content": "How is the weather in Paris, and how late is it?"}]
    cities = []
    try:
        for name in RESULTS:
            choice = {"type": "function", "function": {"name": name}}
            answer = real(server, messages, stream, tool_choice=choice, parallel_tool_calls=False)
            (call,) = answer.tool_calls
            assert call.function.name == name
            cities.append(json.loads(call.function.arguments))
            messages.append(answer.model_dump(exclude_none=True))
            result = {"role": "tool", "tool_call_id": call.id, "content": RESULTS[name]}
            messages.append(result)
        answer = real(server, messages, stream, tool_choice="none", max_tokens=40)
        assert cities == [{"city": "Paris"}] * 2
        assert not answer.tool_calls
        assert "<tool_call>" not in (answer.content or "")
        assert server.end() == 0
    finally:
        server.process.kill()
        server.process.wait()


def real(server, messages, stream, **asked):
    chats = server.client().chat.completions
    asked |= {"model": "tuned", "messages": messages, "tools": TOOLS}
    if not stream:
        return chats.create(**asked).choices[0].message
    with chats.stream(**asked) as events:
        for _ in events:
            pass
        return events.get_final_completion().choices[0].message
