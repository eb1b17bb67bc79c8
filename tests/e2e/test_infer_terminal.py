"""``toolgrove infer`` in a real terminal: whole conversations with the tools of an MCP server."""

import json
import re
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux"),
]

SERVER = Path(__file__).parent.parent / "unit" / "agent" / "mcp_tools.py"
TOWN = f"mcp:{sys.executable} {SERVER}"
SEEN_S = 60.0
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
ASKED = "Weather in Ulm, and a room for two nights?"
ANSWER = "It will be 14 °C, and the Elm has a room for you."
HERMES = [
    "<think>\nThe weather first.\n</think>\n\nLet me look.\n"
    '<tool_call>\n{"name": "weather", "arguments": {"city": "Ulm", "days": 2}}\n</tool_call>\n'
    '<tool_call>\n{"name": "book", "arguments": {"hotel": "Elm", "nights": 2}}\n</tool_call>',
    ANSWER,
]
REACT = [
    'Thought: The weather first.\nAction: weather\nAction Input: {"city": "Ulm", "days": 2}\n'
    "Observation: it is 40 °C\nFinal Answer: hot",
    '\nThought: Now the room.\nAction: book\nAction Input: {"hotel": "Elm", "nights": 2}\n'
    "Observation:",
    f"\nThought: I now know the final answer\nFinal Answer: {ANSWER}",
]
HANG = '<tool_call>\n{"name": "hang", "arguments": {}}\n</tool_call>'


class Terminal:
    """A terminal that keys are sent to and whose screen is read."""

    def __init__(self, folder: Path, replies: list[str], *flags: str, env: str = "") -> None:
        self.socket = f"toolgrove-{uuid.uuid4().hex[:8]}"
        script = folder / "script.json"
        script.write_text(json.dumps(replies))
        self.kept = folder / "kept.jsonl"
        words = [sys.executable, "-m", "toolgrove", "infer", "--script", str(script)]
        words += ["--result_path", str(self.kept), *flags]
        line = " ".join(f"'{word}'" for word in words)
        self._tmux("new-session", "-d", "-x", "100", "-y", "50", "-s", "t", f"{env} {line}; cat")

    def _tmux(self, *words: str) -> str:
        run = ["tmux", "-L", self.socket, *words]
        return subprocess.run(run, check=True, capture_output=True, text=True).stdout

    def screen(self) -> str:
        """All that was shown so far, with its colours."""
        return self._tmux("capture-pane", "-p", "-e", "-t", "t", "-S", "-500")

    def see(self, text: str, times: int = 1) -> str:
        """Waits until a text stands on the screen."""
        end = time.monotonic() + SEEN_S
        while COLOUR.sub("", screen := self.screen()).count(text) < times:
            assert time.monotonic() < end, f"{text!r} was not seen:\n{screen}"
            time.sleep(0.1)
        return screen

    def type(self, text: str, key: str = "Enter") -> None:
        """Types a line."""
        if text:
            self._tmux("send-keys", "-t", "t", "-l", text)
        self._tmux("send-keys", "-t", "t", key)

    def rows(self) -> list[dict]:
        """The conversations that were written down."""
        return [json.loads(line) for line in self.kept.read_text().splitlines()]

    def close(self) -> None:
        """Ends the terminal."""
        self._tmux("kill-server")


@pytest.fixture
def terminal(tmp_path: Path):
    opened: list[Terminal] = []

    def make(replies: list[str], *flags: str, env: str = "") -> Terminal:
        opened.append(Terminal(tmp_path, replies, *flags, env=env))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


@pytest.mark.parametrize(
    ("replies", "flags"),
    [
        (HERMES, ["--template", "qwen3"]),
        (REACT, ["--template", "chatml", "--agent_template", "react_en"]),
    ],
    ids=["hermes", "react"],
)
def test_a_whole_conversation(terminal, replies: list[str], flags: list[str]) -> None:
    talk = terminal(replies, *flags, "--tools", TOWN)
    talk.see("<<<")
    talk.type("tools list")
    talk.see("book (mcp_tools; asks): Books a room.")
    talk.type(ASKED)
    talk.see('run book({"hotel": "Elm", "nights": 2})? y(es), n(o), a(lways)>')
    talk.type("y")
    screen = talk.see(ANSWER)
    shown = COLOUR.sub("", screen)
    assert re.search(r"╭─ call weather ─+╮\n│ {\s+│\n│   \"city\": \"Ulm\"", shown)
    assert re.search(r"╭─ result weather ─+╮\n│ Ulm: 14 °C\s+│", shown)
    assert re.search(r"╭─ result book ─+╮", shown)
    assert "40 °C" not in shown  # what the model made up behind Observation: was never read
    assert "tool_call" not in shown
    if replies is HERMES:
        assert "\x1b[2mThe weather first." in screen
    talk.type("exit")
    talk.see("saved:")
    (row,) = talk.rows()
    assert row["agent_runs"][0] | {"seconds": 0, "tokens": 0} == {
        "ended": "answer",
        "steps": len(replies),
        "calls": 2,
        "errors": 0,
        "seconds": 0,
        "tokens": 0,
    }
    assert row["messages"][-1]["content"].endswith(ANSWER)


def test_ctrl_c_in_a_tool_and_in_a_question(terminal) -> None:
    book = HERMES[0].partition("</tool_call>\n")[2]
    talk = terminal([HANG, book, "Fine."], "--template", "qwen3", "--tools", TOWN)
    talk.see("<<<")
    talk.type("Hang")
    talk.see("call hang")
    talk.type("", "C-c")
    talk.see("[stopped]")
    talk.type("Book")
    talk.see("a(lways)>")
    talk.type("", "C-c")
    talk.see("[stopped]", times=2)
    talk.type("Then not")
    talk.see("Fine.")
    talk.type("", "C-c")
    talk.see("Ctrl-C again, or exit, to leave")
    talk.type("", "C-c")
    talk.see("saved:")
    (row,) = talk.rows()
    assert [run["ended"] for run in row["agent_runs"]] == ["interrupted", "interrupted", "answer"]
    results = [m["content"] for m in row["messages"] if m["role"] == "tool"]
    assert results == ["error: not run: the work was stopped before"] * 2


@pytest.mark.parametrize("env", ["NO_COLOR=1", "TERM=dumb", "TERM=xterm-256color"])
def test_a_terminal_without_colours_and_results_by_hand(terminal, env: str) -> None:
    call = '<tool_call>\n{"name": "look", "arguments": {}}\n</tool_call>'
    flags = ["--template", "qwen3", "--tools", '[{"name": "look"}]']
    talk = terminal([call, "Blue <b>."], *flags, env=f"env {env}")
    talk.see("<<<")
    talk.type("What colour is the sky?")
    talk.see("call look")
    talk.see("result of look>")
    talk.type("blue")
    screen = talk.see("Blue <b>.")
    assert bool(re.search(r"\x1b\[[0-9;]*3[1-7]m", screen)) == (env == "TERM=xterm-256color")
    talk.type("exit")
    talk.see("saved:")
    assert [m["content"] for m in talk.rows()[0]["messages"]][-2:] == ["blue", "Blue <b>."]
