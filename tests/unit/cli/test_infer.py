"""infer: chats, single questions and data sets, over an engine that says what it is told."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tests.laws.tokenizer import small_tokenizer
from toolgrove.cli import infer
from toolgrove.cli.main import main
from toolgrove.engine.base import Sampling
from toolgrove.engine.scripted import ScriptedEngine
from toolgrove.templates.dialect import dialect

CALL = 'Let me see.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Ulm"}}\n</tool_call>'
TOOLS = '[{"name": "weather", "parameters": {}}]'


@pytest.fixture
def replies() -> list[str]:
    """What the model says, one after the other; "^C" stands for a key pressed meanwhile."""
    return []


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, replies: list[str]) -> ScriptedEngine:
    """Takes the place of the model."""
    tokenizer = small_tokenizer()
    spoken = dialect("chatml", agent="hermes")

    def reply(_prompt: str) -> str:
        if replies[0] == "^C":
            raise KeyboardInterrupt(replies.pop(0))
        return replies.pop(0)

    scripted = ScriptedEngine(reply, tokenizer)
    sampling = Sampling(max_new_tokens=2000, stop=spoken.stops)
    chat = infer.Chat(scripted, spoken, tokenizer, sampling)
    monkeypatch.setattr(infer, "_load", lambda _settings: chat)
    return scripted


def asked(engine: ScriptedEngine) -> list[str]:
    return [small_tokenizer().decode(list(ids)) for ids in engine.asked]


def test_one_question(
    engine: ScriptedEngine, replies: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    replies += ["Hello <b>."]
    assert main(["infer", "--model", "m", "--prompt", "Hi", "--system", "Be brief."]) == 0
    assert capsys.readouterr().out == "Hello <b>.\n"
    assert "Be brief." in asked(engine)[0]


def test_calls_are_shown_as_calls(
    engine: ScriptedEngine, replies: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    replies += [CALL, CALL]
    words = ["infer", "--model", "m", "--prompt", "Weather?", "--tools", TOOLS]
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines()[-1] == '→ weather({"city": "Ulm"})'
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tool_calls"][0]["function"]["name"] == "weather"


def test_a_talk_with_commands(
    engine: ScriptedEngine,
    replies: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tools = tmp_path / "tools.json"
    tools.write_text(TOOLS)
    typed = [
        "/help",
        f"/tools {tools}",
        "/result too early",
        "Weather in Ulm?",
        "/result 12 degrees",
        "/nonsense",
        "/reset",
        "/system Be a pirate.",
        "Hi",
        "/exit",
        "never read",
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(typed)))
    replies += [CALL, "It is 12 degrees.", "Ahoy"]
    assert main(["infer", "--model", "m"]) == 0
    said = capsys.readouterr()
    first, second, third = asked(engine)
    assert "weather" in first
    assert "12 degrees" in second
    assert "Weather in Ulm?" in second
    assert "Be a pirate." in third
    assert "Weather in Ulm?" not in third
    assert said.out.splitlines() == [
        "Let me see.",
        '→ weather({"city": "Ulm"})',
        "It is 12 degrees.",
        "Ahoy",
    ]
    assert "no call waits for a result" in said.err
    assert "unknown command /nonsense" in said.err


def test_rows_are_answered_without_their_answers(
    engine: ScriptedEngine, replies: list[str], rows: str, capsys: pytest.CaptureFixture[str]
) -> None:
    replies += ["First", "Second"]
    assert main(["infer", rows, "--model", "m", "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["message"]["content"] for answer in answers] == ["First", "Second"]
    assert [answer["where"] for answer in answers] == [f"{rows}:1", f"{rows}:2"]
    assert all(prompt.endswith("<|im_start|>assistant\n") for prompt in asked(engine))
    assert "Hello" not in asked(engine)[1]


def test_ctrl_c_ends_the_reply_and_not_the_program(
    engine: ScriptedEngine,
    replies: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replies += ["^C", "Fine."]
    monkeypatch.setattr("sys.stdin", io.StringIO("first\nsecond\n"))
    assert main(["infer", "--model", "m"]) == 0
    shown = capsys.readouterr().out
    assert "[stopped]" in shown
    assert "Fine." in shown
