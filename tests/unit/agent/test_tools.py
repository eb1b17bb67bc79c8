"""Tools of Python files, functions, OpenAPI documents and scripts, and what they may do wrong."""

from __future__ import annotations

import http.server
import json
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from toolgrove.agent.functions import Functions, tool_of
from toolgrove.agent.load import sources
from toolgrove.agent.python_file import PythonFile
from toolgrove.agent.results import result_text
from toolgrove.agent.running import Job, run_all
from toolgrove.agent.tools import CallError, RunnableTool, Toolbox
from toolgrove.core.errors import ToolError, ToolgroveError
from toolgrove.core.messages import Tool

FILE = '''
import os, subprocess, time
from toolgrove.agent.functions import reads_only

print("printed while importing")
kept = []

@reads_only
def remember(word: str) -> list:
    """Remembers a word."""
    print("noted", word)
    os.system("echo from a child process")
    kept.append(word)
    return kept

def hang():
    subprocess.Popen(["sleep", "60"])
    time.sleep(60)

def die():
    os._exit(3)

def large(n: int) -> str:
    return "x" * n

def picture() -> bytes:
    return b"\\x89PNG" + bytes(1000)

def mixed() -> dict:
    return {"data": bytes(3), "nan": float("nan"), "half": "\\ud800"}

def asks() -> str:
    return input("your name? ")

def leaves():
    raise SystemExit("bye")

def _hidden():
    return 1
'''


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("tools") / "helpers.py"
    path.write_text(FILE)
    source = PythonFile(path)
    yield Toolbox([source])
    source.close()


def run(box: Toolbox, name: str, timeout_s: float = 20.0, **arguments) -> str:
    tool = box.find(name)
    outcomes = dict(run_all({0: Job(tool, arguments)}, timeout_s))
    return outcomes[0].text


def test_a_files_functions_are_its_tools_and_remember_things(file: Toolbox) -> None:
    assert [tool.name for tool in file.offered][:3] == ["remember", "hang", "die"]
    assert "_hidden" not in [tool.name for tool in file.offered]
    assert [tool.reads_only for tool in file.tools][:2] == [True, False]
    assert run(file, "remember", word="a") == ('["a"]\n\nprinted:\nnoted a\nfrom a child process')
    assert run(file, "remember", word="b").startswith('["a", "b"]')


def test_what_a_tool_may_do_wrong(file: Toolbox) -> None:
    begin = time.monotonic()
    assert "no result within 0.5 s; the call was ended" in run(file, "hang", 0.5)
    assert time.monotonic() - begin < 3
    assert run(file, "remember", word="c").startswith('["c"]')  # a new process has forgotten
    assert "the process of the tool ended in the middle of the call (exit code 3)" in run(
        file, "die"
    )
    large = run(file, "large", n=10_000_000)
    assert len(large) < 21_000
    assert re.search(r"9,98\d,\d00 of 10,000,000 characters left out", large)
    assert run(file, "picture") == "[binary data: image/png, 1,004 bytes]"
    assert run(file, "mixed") == '{"data": "[binary data: 3 bytes]", "nan": "nan", "half": "?"}'
    assert run(file, "asks").startswith("error: EOFError")
    assert run(file, "leaves") == "error: SystemExit: bye"


def test_a_call_that_is_stopped_ends_at_once(file: Toolbox) -> None:
    threading.Timer(0.3, file.stop).start()
    begin = time.monotonic()
    assert run(file, "hang") == "error: the call was stopped"
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("def f(:", "SyntaxError"),
        ("import no_such_module", "line 1: ModuleNotFoundError"),
        ("x = 1", "no tools in this file"),
        ("def f(*words): pass", "which has no name in a call"),
        ("raise SystemExit(1)", "SystemExit"),
        ("TOOLS = [1]", "AttributeError"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "bad.py"
    path.write_text(text)
    with pytest.raises(ToolError, match=what):
        sources(str(path))


@dataclass
class Place:
    street: str
    number: int = 1


def deliver(
    place: Place, how: Literal["fast", "slow"] = "slow", *, gift: bool | None = None
) -> str:
    """Delivers a parcel.

    It takes a day.

    :param place: where to
    """
    return f"{place.street} {place.number} {how} {gift}"


def test_a_function_is_told_by_its_signature_and_docstring() -> None:
    function = tool_of(deliver).function
    assert function["description"] == "Delivers a parcel.\nIt takes a day."
    parameters = function["parameters"]
    assert parameters["required"] == ["place"]
    assert parameters["properties"]["place"]["description"] == "where to"
    assert parameters["properties"]["how"] == {
        "default": "slow",
        "enum": ["fast", "slow"],
        "type": "string",
    }
    tool = Functions([deliver]).tools[0]
    assert tool.call({"place": {"street": "Elm"}, "gift": True}, 1) == "Elm 1 slow True"
    with pytest.raises(CallError, match=r"place\.street: Field required"):
        tool.call({"place": {}}, 1)


async def soon(n: int) -> int:
    """Comes soon."""
    return n + 1


def count(n: int):
    """Counts."""
    yield from range(n)


def test_coroutines_and_generators_are_tools_too() -> None:
    later, counted = Functions([soon, count]).tools
    assert later.call({"n": 1}, 1) == 2
    assert counted.call({"n": 3}, 1) == [0, 1, 2]
    assert len(counted.call({"n": 10**12}, 1)) == 1001


def test_text_that_is_none() -> None:
    assert result_text("\0\1\2" * 100) == "[binary data: 300 bytes]"
    assert result_text("\x1b[31mred\x1b[0m") == "\x1b[31mred\x1b[0m"
    assert result_text(None) == "null"
    assert result_text({1: object()}).startswith('{"1": "<object')


# OpenAPI


class Shop(http.server.BaseHTTPRequestHandler):
    """Echoes what it is asked, or misbehaves."""

    def do_GET(self) -> None:
        if self.path.startswith("/v1/missing"):
            self.send_error(404, "no such thing")
            return
        binary = self.path.startswith("/v1/picture")
        length = int(self.headers.get("Content-Length") or 0)
        said = {
            "method": self.command,
            "path": self.path,
            "key": self.headers.get("X-Key"),
            "body": json.loads(self.rfile.read(length)) if length else None,
        }
        data = bytes(5000) if binary else json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Type", "image/png" if binary else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_GET  # noqa: N815 -- the name that http.server looks for

    def log_message(self, *_args) -> None:
        pass


@pytest.fixture(scope="module")
def shop():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def document(url: str) -> str:
    return f"""
openapi: 3.1.0
info: {{title: Shop, version: "1"}}
servers: [{{url: "{url}/v1"}}]
paths:
  /items/{{id}}:
    parameters:
      - {{name: id, in: path, required: true, schema: {{type: string}}}}
    get:
      operationId: get item
      summary: Finds an item.
      parameters:
        - {{name: tag, in: query, schema: {{type: array, items: {{type: string}}}}}}
        - {{name: X-Key, in: header, schema: {{type: string}}}}
    post:
      operationId: buy
      requestBody:
        content:
          application/json:
            schema: {{$ref: "#/components/schemas/Order"}}
  /missing:
    get: {{}}
  /picture:
    get: {{operationId: picture}}
components:
  schemas:
    Order:
      type: object
      properties:
        count: {{type: integer}}
        also: {{$ref: "#/components/schemas/Order"}}
      required: [count]
"""


def test_operations_of_a_document_are_tools(tmp_path: Path, shop: str) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(document(shop))
    box = Toolbox(sources(str(path)))
    assert [tool.name for tool in box.offered] == ["get_item", "buy", "get_missing", "picture"]
    assert [tool.reads_only for tool in box.tools] == [True, False, True, True]
    buy = box.find("buy").tool.parameters
    assert set(buy["required"]) == {"id", "count"}
    assert json.loads(
        run(box, "get_item", **{"id": "a/b ü", "tag": ["x", "y z"], "X-Key": "k"})
    ) == {
        "method": "GET",
        "path": "/v1/items/a%2Fb%20%C3%BC?tag=x&tag=y+z",
        "key": "k",
        "body": None,
    }
    bought = json.loads(run(box, "buy", id="7", count=2))
    assert (bought["method"], bought["path"], bought["body"]) == (
        "POST",
        "/v1/items/7",
        {"count": 2},
    )
    assert "status 404 no such thing" in run(box, "get_missing")
    assert run(box, "picture") == "[binary data: image/png, 5,000 bytes]"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"openapi": "3.1.0", "paths": {"/a": {"get": {}}}}', "names no server"),
        ('{"openapi": "3.1.0", "servers": [{"url": "http://x"}], "paths": {}}', "no operations"),
        ('{"swagger": "2.0"}', "OpenAPI 2"),
        ('[{"type": "function"}]', "a tool without a name"),
        ('[{"name": "f"}]', "nothing that runs them"),
        ('{"mcpServers": {}}', "names no server"),
        ('{"mcpServers": {"a": {}}}', "neither a command nor a url"),
        ('{"tools": [{"name": "f"}], "results": [{"name": "f"}]}', r"results\[0\] needs"),
        ("{", "neither JSON nor YAML"),
        ("", "no tools in it"),
    ],
)
def test_documents_that_cannot_be_used(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "tools.json"
    path.write_text(text)
    with pytest.raises(ToolgroveError, match=what):
        sources(str(path))


def test_scripted_results() -> None:
    box = Toolbox(
        sources(
            {
                "tools": [{"name": "look", "parameters": {"type": "object"}}],
                "results": [
                    {"name": "look", "arguments": {"at": "sky"}, "result": "blue"},
                    {"name": "look", "result": 1},
                    {"name": "look", "error": "dark"},
                ],
            }
        )
    )
    found = [run(box, "look"), run(box, "look", at="sky"), run(box, "look"), run(box, "look")]
    assert found == ["1", "blue", "error: dark", "error: dark"]


def test_two_tools_of_one_name_and_tools_that_are_dropped() -> None:
    box = Toolbox([Functions([soon, count], "a")])
    with pytest.raises(ToolError, match='two tools are named "soon": one of a, one of b'):
        box.add(Functions([soon], "b"))
    with pytest.raises(ToolError, match='did you mean "count"'):
        box.drop("cuont")
    assert box.drop("soon") == ["soon"]
    assert box.drop("a") == ["count"]
    assert box.offered == ()


def test_a_tool_that_raises_anything_has_an_outcome() -> None:
    def bad(_arguments, _timeout_s):
        raise RuntimeError("boom")

    tool = RunnableTool(Tool({"type": "function", "function": {"name": "bad"}}), bad)
    assert dict(run_all({3: Job(tool, {})}, 5))[3].text == "error: RuntimeError: boom"
