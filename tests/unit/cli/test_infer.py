"""infer: chats, single questions and data sets, over an engine that says what it is told."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tests.laws.tokenizer import small_tokenizer
from toolgrove.agent.model import EngineModel
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

    def load(settings: infer.InferSettings) -> EngineModel:
        sampling = Sampling(max_new_tokens=2000, stop=tuple(settings.stop_words))
        unlisted = bool(settings.stop_words)
        return EngineModel(scripted, spoken, tokenizer, sampling, unlisted)

    monkeypatch.setattr(infer, "_load", load)
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
    assert "nothing waits for a result" in said.err
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


FUNCTIONS = '''
from toolgrove.agent.functions import reads_only

@reads_only
def weather(city: str) -> str:
    """Tells the weather."""
    return f"{city}: 12 degrees"

def paint(colour: str) -> str:
    """Paints the house."""
    return f"the house is {colour}"
'''


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    file = tmp_path / "house.py"
    file.write_text(FUNCTIONS)
    return file


def made(name: str, **arguments: str) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))


def test_tools_run_and_what_may_change_things_is_refused_or_allowed(
    engine: ScriptedEngine,
    replies: list[str],
    functions: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = [made("weather", city="Ulm"), made("paint", colour="red"), "Done."]
    kept = tmp_path / "kept" / "talks.jsonl"
    words = ["infer", "--model", "m", "--tools", str(functions), "--result_path", str(kept)]
    typed(monkeypatch, "Weather, then paint")
    replies += calls
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines() == [
        '→ weather({"city": "Ulm"})',
        "← weather: Ulm: 12 degrees",
        '→ paint({"colour": "red"})',
        '← paint: error: permission denied: "paint" may change things, and nobody has allowed it',
        "Done.",
    ]
    replies += calls
    assert main([*words, "--prompt", "Weather, then paint", "--allow", "house.py/*"]) == 0
    assert "← paint: the house is red" in capsys.readouterr().out
    replies += calls
    assert main([*words, "--prompt", "Weather, then paint", "--allow", "paint", "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["role"] for line in told] == ["assistant", "tool"] * 2 + ["assistant"]
    rows = [json.loads(line) for line in kept.read_text().splitlines()]
    assert [row["agent_runs"][0]["errors"] for row in rows] == [1, 0, 0]
    assert main(["check", str(kept)]) == 0


def test_commands_load_list_and_drop_tools_save_and_join_lines(
    engine: ScriptedEngine,
    replies: list[str],
    functions: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    saved = tmp_path / "saved.jsonl"
    typed(
        monkeypatch,
        f"tools load {functions}",
        f"tools load {functions}",
        "tools load nowhere.py",
        "tools list",
        "tools drop paint",
        "multi-line",
        "Weather",
        "in Ulm?#",
        "single-line",
        "reset-system",
        "Be a pirate.",
        "tools are great, said the user",
        f"save {saved}",
        "clear",
        f"save {saved}",
        "exit",
    )
    replies += [made("weather", city="Ulm"), "It is 12 degrees.", "Aye"]
    assert main(["infer", "--model", "m"]) == 0
    said = capsys.readouterr()
    assert "tools: weather, paint" in said.err
    assert 'two tools are named "weather"' in said.err
    assert "nowhere.py: no such file" in said.err
    assert "weather (house.py; reads only): Tells the weather." in said.err
    assert "paint (house.py; asks): Paints the house." in said.err
    assert "dropped: paint" in said.err
    assert "Weather\nin Ulm?<|im_end|>" in asked(engine)[0]
    assert '"paint"' not in asked(engine)[0]
    assert "Be a pirate." in asked(engine)[2]
    (row,) = [json.loads(line) for line in saved.read_text().splitlines()]
    assert [m["content"] for m in row["messages"]] == [
        "Be a pirate.",
        "tools are great, said the user",
        "Aye",
    ]


def test_react_with_results_by_hand_as_the_seeds_do_it(
    replies: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The tools stand in the system prompt only; the model stops at Observation:."""
    script = tmp_path / "script.json"
    first = 'I look.\nAction: weather\nAction Input: {"city": "Ulm"}\nObservation: made up'
    script.write_text(json.dumps([first, "It is 12 degrees."]))
    kept = tmp_path / "kept.jsonl"
    typed(monkeypatch, "Weather?", "12 degrees")
    words = ["infer", "--script", str(script), "--template", "chatml", "--agent_template"]
    words += ["react_en", "--stop_words", "Observation:", "--eval_human", "true"]
    assert main([*words, "--system", "You have the tool weather.", "--result_path", str(kept)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "I look.",
        '→ weather({"city": "Ulm"})',
        "It is 12 degrees.",
    ]
    row = json.loads(kept.read_text())
    assert [m["role"] for m in row["messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
    assert row["messages"][3]["content"] == "12 degrees"


def test_the_end_of_the_input_in_the_middle_is_no_result(
    engine: ScriptedEngine,
    replies: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = tmp_path / "kept.jsonl"
    typed(monkeypatch, "Weather?")
    replies += [CALL]
    assert main(["infer", "--model", "m", "--tools", TOOLS, "--result_path", str(kept)]) == 0
    row = json.loads(kept.read_text())
    assert row["agent_runs"][0]["ended"] == "interrupted"
    assert row["messages"][-1]["content"] == "error: not run: the work was stopped before"


def test_control_characters_do_not_reach_the_terminal(
    engine: ScriptedEngine, replies: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    replies += ["\x1b]0;owned\x07 hello \x1b[2J"]
    assert main(["infer", "--model", "m", "--prompt", "Hi"]) == 0
    assert "\x1b" not in capsys.readouterr().out


GOLD = [
    {
        "messages": [
            {"role": "user", "content": "Weather in Ulm?"},
            {"role": "tool_call", "content": '{"name": "weather", "arguments": {"city": "Ulm"}}'},
            {"role": "tool_response", "content": "12"},
            {"role": "assistant", "content": "12 degrees"},
        ],
        "tools": [{"name": "weather", "parameters": {}}],
    },
    {
        "messages": [
            {"role": "user", "content": "Weather in Ulm?"},
            {"role": "tool_call", "content": '{"name": "weather", "arguments": {"city": "Ulm"}}'},
        ],
        "tools": [{"name": "weather", "parameters": {}}],
    },
]


def test_replies_to_a_data_set_are_measured_and_taken_up_again(
    engine: ScriptedEngine,
    replies: list[str],
    functions: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, out = tmp_path / "gold.jsonl", tmp_path / "out.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in GOLD))
    words = ["infer", str(data), "--model", "m", "--result_path", str(out)]
    replies += [" 12 degrees ", "^C"]
    assert main([*words, "--max_batch_size", "1"]) == 130  # Ctrl-C in the second row
    assert (
        "1 of 2 rows: well_formed 1/1, called_alike 1/1, same_text 1/1" in capsys.readouterr().err
    )
    whole = out.read_text()
    out.write_text(whole + '{"where": "cut of')
    replies += [made("weather", city="Bonn")]
    assert main(words) == 0
    told = capsys.readouterr().err
    assert "2 of 2 rows: well_formed 2/2, called_alike 2/2, same_names 1/1, same_calls 0/1" in told
    assert out.read_text().startswith(whole)
    assert main(words) == 0
    assert "2 of 2 rows are answered" in capsys.readouterr().err
    replies += [made("weather", city="Ulm"), "12 degrees"] * 2
    assert main([*words, "--tools", str(functions)]) == 0
    assert "answer 2" in capsys.readouterr().err
    last = json.loads(out.read_text().splitlines()[-1])
    assert last["transcript"]["messages"][2]["content"] == "Ulm: 12 degrees"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--infer_backend", "scripted"], "no script to play"),
        (["--infer_backend", "remote"], "no server to ask"),
        (["--url", "localhost:1"], "not an address"),
        (["--url", "http://127.0.0.1:9/v1"], "does not tell its models"),
        (["--script", "s.json", "--url", "http://x"], "--url has no meaning"),
        (["--script", "nowhere.json", "--template", "chatml"], "no such script"),
        (["--tools", "x", "--infer_backend", "local"], '"model" is missing'),
        (["--max_steps", "0"], "max_steps"),
        (["--model", "m", "--tools", "nowhere.py"], "nowhere.py: no such file"),
        (["--url", "http://127.0.0.1:9/v1", "--model", "m"], "--model has no meaning"),
        (["rows.jsonl", "--model", "m", "--eval_human"], "without anybody asking"),
    ],
)
def test_wrong_flags(words: list[str], what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["infer", *words]) == 2
    assert what in capsys.readouterr().err
