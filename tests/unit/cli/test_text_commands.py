"""render, encode, parse and show."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from toolgrove.cli.main import main

SPOKEN = ["--template", "chatml", "--agent_template", "hermes"]


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_render_text_and_prompt(rows: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", rows, *SPOKEN, "--json"]) == 0
    texts = lines(capsys.readouterr().out)
    assert [row["where"] for row in texts] == [f"{rows}:1", f"{rows}:2"]
    assert main(["render", rows, *SPOKEN, "--json", "--prompt"]) == 0
    prompts = lines(capsys.readouterr().out)
    for text, prompt in zip(texts, prompts, strict=True):
        assert prompt["text"] == text["text"] + "<|im_start|>assistant\n"


def send(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_one_row_is_printed_bare(
    rows: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    last = Path(rows).read_text().splitlines()[1]
    send(monkeypatch, json.dumps(json.loads(last), indent=2))
    assert main(["render", "-", "--template", "chatml"]) == 0
    assert capsys.readouterr().out == (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n"
    )


def test_stdin_is_named_in_errors(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    send(monkeypatch, '{"messages": 3}')
    assert main(["render", "-", "--template", "chatml"]) == 2
    assert "error: stdin:1" in capsys.readouterr().err


def test_what_a_template_loses_is_told(rows: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", rows, "--template", "chatml"]) == 0
    told = capsys.readouterr().err
    assert f"{rows}:1: not shown" in told
    assert f"{rows}:2" not in told


def test_encode_refuses_what_would_be_lost(
    rows: str, tokenizer_folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["encode", rows, "--template", "chatml", "--model", tokenizer_folder]) == 2
    told = capsys.readouterr().err
    assert f"{rows}:1" in told
    assert "--agent_template hermes" in told


def test_encode_prints_ids_and_weights(
    rows: str, tokenizer_folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["encode", rows, *SPOKEN, "--model", tokenizer_folder, "--loss_scale", "hermes"]
    assert main(words) == 0
    shown = capsys.readouterr()
    for line in lines(shown.out):
        assert len(line["ids"]) == len(line["weights"])
        assert line["weights"][0] == 0
    assert "2 rows, 2 sequences" in shown.err
    assert {0.0, 1.0, 2.0} == {w for line in lines(shown.out) for w in line["weights"]}


def test_encode_takes_a_table_and_tells_once_which_scale_found_nothing(
    rows: str, tokenizer_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.yaml"
    table.write_text("kinds:\n  call_name: 5\n")
    spec = f"last_round+{table}+ignore_empty_think"
    words = ["encode", rows, *SPOKEN, "--model", tokenizer_folder, "--loss_scale", spec]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert {0.0, 1.0, 5.0} == {w for line in lines(shown.out) for w in line["weights"]}
    assert shown.err.count("weighs nothing") == 1
    assert 'loss scale "ignore_empty_think" weighs nothing' in shown.err
    table.write_text("kinds:\n  call_nam: 5\n")
    assert main(words) == 2
    told = capsys.readouterr().err
    assert f"{table}:2" in told
    assert 'did you mean "call_name"' in told


def test_encode_prompt_is_what_training_saw(
    tmp_path: Path, tokenizer_folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    question = {"messages": [{"role": "user", "content": "Hi"}]}
    whole = {"messages": [*question["messages"], {"role": "assistant", "content": "Hello"}]}
    ids = []
    for row, flags in ((question, ["--prompt"]), (whole, [])):
        file = tmp_path / "row.jsonl"
        file.write_text(json.dumps(row))
        assert main(["encode", str(file), *SPOKEN, "--model", tokenizer_folder, *flags]) == 0
        ids.append(lines(capsys.readouterr().out)[0]["ids"])
    assert ids[1][: len(ids[0])] == ids[0]


def test_encode_too_long_names_the_row(
    rows: str, tokenizer_folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["encode", rows, *SPOKEN, "--model", tokenizer_folder, "--max_length", "60"]
    assert main(words) == 2
    assert f"{rows}:1: " in capsys.readouterr().err
    assert main([*words, "--truncation", "delete"]) == 0
    assert len(lines(capsys.readouterr().out)) == 1


REPLY = 'Sure.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Ulm"}}\n</tool_call>'


@pytest.mark.parametrize("way", ["word", "file", "stdin", "dash"])
def test_parse_a_reply_from_anywhere(
    way: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "reply.txt"
    file.write_text(REPLY)
    monkeypatch.setattr("sys.stdin", io.StringIO(REPLY))
    words = {"word": [REPLY], "file": [str(file)], "stdin": [], "dash": ["-"]}[way]
    assert main(["parse", *words, *SPOKEN]) == 0
    message = json.loads(capsys.readouterr().out)
    assert message["tool_calls"] == [
        {"type": "function", "function": {"name": "weather", "arguments": {"city": "Ulm"}}}
    ]
    assert message["complete"] is True


@pytest.mark.parametrize("wrapped", [False, True])
def test_parse_with_tools(
    wrapped: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tools = [{"name": "weather"}]
    file = tmp_path / "tools.json"
    file.write_text(json.dumps({"tools": tools} if wrapped else tools))
    assert main(["parse", REPLY, *SPOKEN, "--tools", str(file)]) == 0
    assert "tool_calls" in json.loads(capsys.readouterr().out)
    assert main(["parse", REPLY, *SPOKEN, "--tools", "[]"]) == 0
    assert "tool_calls" not in json.loads(capsys.readouterr().out)


def test_show_in_the_terminal_as_json_and_as_a_page(
    rows: str, tokenizer_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["show", rows, *SPOKEN, "--model", tokenizer_folder]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "call_name" in shown
    assert "12 °C 🙂" in shown
    assert main([*words, "--json", "--rows", "2"]) == 0
    first, second = lines(capsys.readouterr().out)
    assert second["where"] == f"{rows}:2"
    name = [piece["text"] for piece in first["pieces"] if piece["kind"] == "call_name"]
    assert "weather" in "".join(name)
    page = tmp_path / "show.html"
    assert main([*words, "--html", str(page)]) == 0
    assert capsys.readouterr().out.strip() == str(page)
    assert page.read_text().startswith("<!doctype html>")


OWN = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content or '' }}"
    "{% for c in m.tool_calls or [] %}"
    "(({{ c.function.name }}!{{ c.function.arguments }})){% endfor %}"
    "[END]{% endfor %}{{ tools or '' }}{% if add_generation_prompt %}[assistant]{% endif %}"
)
"""A template that is none of ours, with calls that no agent template reads."""


@pytest.fixture
def edited(tokenizer_folder: str, tmp_path: Path) -> str:
    folder = tmp_path / "edited"
    shutil.copytree(tokenizer_folder, folder)
    (folder / "chat_template.jinja").write_text(OWN)
    return str(folder)


def test_the_models_own_template_by_name(
    rows: str, edited: str, capsys: pytest.CaptureFixture[str]
) -> None:
    named = ["--model", edited, "--template", "jinja"]
    assert main(["render", rows, *named, "--json", "--prompt"]) == 0
    told = capsys.readouterr()
    assert lines(told.out)[1]["text"] == "[user]Hi[END][assistant]Hello[END][assistant]"
    assert told.err.count("no known agent template reads its calls") == 1
    assert main(["encode", rows, *named]) == 0
    told = capsys.readouterr()
    assert len(lines(told.out)) >= 2
    assert told.err.count("no known agent template reads its calls") == 1
    assert main(["encode", rows, "--model", edited]) == 0
    assert capsys.readouterr().err.count("no known agent template reads its calls") == 1


@pytest.mark.parametrize("command", ["render", "encode", "parse"])
def test_the_models_own_template_needs_a_model(
    command: str, rows: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, rows, "--template", "jinja"]) == 2
    told = capsys.readouterr().err
    assert "no model is named" in told
    assert "--model FOLDER" in told
