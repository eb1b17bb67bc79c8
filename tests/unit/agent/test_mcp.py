"""A real MCP server over stdio and HTTP, its good tools and its bad ones."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from toolgrove.agent.events import Ended, Over
from toolgrove.agent.load import sources
from toolgrove.agent.permission import Permission
from toolgrove.agent.session import Session
from toolgrove.agent.tools import CallError, Toolbox
from toolgrove.cli.together import free_port
from toolgrove.core.errors import ToolError
from toolgrove.core.messages import Role

pytest.importorskip("mcp", reason="pip install 'toolgrove[agent]'")
SERVER = Path(__file__).parent / "mcp_tools.py"


@pytest.fixture(scope="module")
def town():
    with Toolbox(sources(f"mcp:{sys.executable} {SERVER}")) as box:
        yield box


def called(box: Toolbox, name: str, timeout_s: float = 60, **arguments) -> str:
    return box.find(name).call(arguments, timeout_s)


def test_a_servers_tools(town: Toolbox) -> None:
    assert {tool.source for tool in town.tools} == {"mcp_tools"}
    weather, book = town.find("weather"), town.find("book")
    assert weather.tool.description == "Tells the weather of a city."
    assert weather.tool.parameters["required"] == ["city"]
    assert (weather.reads_only, book.reads_only) == (True, False)
    assert called(town, "weather", city="Ulm") == "Ulm: 13 °C"
    assert json.loads(called(town, "book", hotel="Elm", nights=2)) == {"booked": "Elm", "nights": 2}
    assert called(town, "picture") == "[binary data: image/png, 3,000 bytes]\na map"


def test_what_a_server_may_do_wrong(town: Toolbox) -> None:
    """It hangs, raises, dies in the middle of a call; the next call finds it again."""
    begin = time.monotonic()
    with pytest.raises(CallError, match=r"no result within 0\.3 s"):
        called(town, "hang", 0.3)
    assert time.monotonic() - begin < 5
    with pytest.raises(CallError, match="broken"):
        called(town, "broken")
    with pytest.raises(CallError, match="the server ended in the middle of the call"):
        called(town, "die")
    assert called(town, "weather", city="Ulm", days=3) == "Ulm: 15 °C"


def test_a_conversation_with_a_servers_tools(town: Toolbox, scripted) -> None:
    def call(name: str, **arguments) -> str:
        return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"

    model = scripted(
        [
            call("weather", city="Ulm") + "\n" + call("die"),
            call("book", hotel="Elm", nights=1),
            call("large"),
            "It rains.",
        ]
    )
    session = Session(model, town, Permission())
    *_, end = session.ask("A room, please")
    assert end == Over(Ended.ANSWER)
    weather, died, refused, large = [
        m.text for m in session.conversation.messages if m.role is Role.TOOL
    ]
    assert weather == "Ulm: 13 °C" or "the server ended" in weather  # the two ran at once
    assert "the server ended" in died
    assert "permission denied" in refused
    assert len(large) < 21_000
    assert "characters left out" in large


def test_a_server_over_http(tmp_path: Path) -> None:
    port = free_port()
    process = subprocess.Popen([sys.executable, SERVER, str(port)], stderr=subprocess.DEVNULL)
    config = tmp_path / "servers.json"
    url = f"http://127.0.0.1:{port}/mcp"
    config.write_text(json.dumps({"mcpServers": {"far": {"url": url, "headers": {"X-A": "b"}}}}))
    try:
        end = time.monotonic() + 60
        while True:
            try:
                found = sources(str(config))
                break
            except ToolError:
                assert time.monotonic() < end
                time.sleep(0.3)
        with Toolbox(found) as box:
            assert box.tools[0].source == "far"
            assert called(box, "weather", city="Ulm") == "Ulm: 13 °C"
            process.kill()
            process.wait()
            with pytest.raises(CallError):
                called(box, "weather", 5, city="Ulm")
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("word", "what"),
    [
        ("mcp:no-such-command --x", "no such command: no-such-command"),
        (f"mcp:{sys.executable} -c 'raise SystemExit(\"no key\")'", "it wrote: no key"),
        ("mcp:http://127.0.0.1:9/mcp", "cannot be used"),
        ("mcp:", "without a command"),
        ("mcp:'", "No closing quotation"),
    ],
)
def test_servers_that_cannot_be_reached(word: str, what: str) -> None:
    with pytest.raises(ToolError) as error:
        sources(word)
    assert what in str(error.value)
