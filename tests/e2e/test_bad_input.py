"""Bad input: one clear error with place, cause and way out; exit code 2, no traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.laws.tokenizer import small_tokenizer
from toolgrove.cli.main import main

SPOKEN = ["--template", "chatml", "--agent_template", "hermes"]
HI = {"role": "user", "content": "Hi"}
HELLO = {"role": "assistant", "content": "Hello"}


@pytest.fixture(scope="module")
def model() -> str:
    return str(small_tokenizer().folder)


def row(*messages: Any, **columns: Any) -> str:
    return json.dumps({"messages": list(messages), **columns})


def call(content: Any) -> dict[str, Any]:
    return {"role": "tool_call", "content": content}


BAD_ROWS = {
    "truncated line": (row(HI, HELLO)[:-20], "not JSON"),
    "unknown role": (row(HI, {"role": "asistant", "content": "x"}), "asistant"),
    "call is not JSON": (row(HI, call("weather(Ulm)")), "weather(Ulm)"),
    "call without a name": (row(HI, call('{"arguments": {}}')), "name"),
    "tools are not a list": (row(HI, HELLO, tools={"a": 1}), "not a list"),
    "tools are not JSON": (row(HI, HELLO, tools="[{"), "not JSON"),
    "tool without a name": (row(HI, HELLO, tools=[{"description": "d"}]), "without a name"),
    "no messages": (json.dumps({"mesages": []}), "mesages"),
    "a list": ("[1, 2]", "a row is an object"),
    "nothing known": ('{"a": 1}', "no conversation"),
}


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one error that the command tells; nothing on stdout."""
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("error:") == 1
    assert "Traceback" not in said.err
    return said.err


@pytest.mark.parametrize("name", BAD_ROWS)
@pytest.mark.parametrize("command", ["render", "encode"])
def test_a_bad_row_is_named_with_file_and_line(
    command: str, name: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, says = BAD_ROWS[name]
    file = tmp_path / "rows.jsonl"
    file.write_text(f"{row(HI, HELLO)}\n\n{text}\n")
    words = [command, str(file), *SPOKEN]
    assert main([*words, *(["--model", model] if command == "encode" else [])]) == 2
    told = capsys.readouterr().err
    assert f"{file}:3" in told
    assert says in told
    assert told.count("error:") == 1


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("nope.jsonl", "nope.jsonl"),
        ("org/name", "hf:org/name"),
        ("rows.jsonl#0", "#0"),
        ("rows.jsonl#many", "many"),
        ("empty.jsonl", "empty"),
        ("rows.docx", "rows.docx"),
        ("pypi:", "pypi"),
    ],
)
def test_a_source_that_is_none(
    source: str,
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "rows.docx").write_text("x")
    (tmp_path / "rows.jsonl").write_text(row(HI, HELLO))
    assert says in refused(["render", source, *SPOKEN], capsys)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["render", "rows.jsonl"], "--template NAME"),
        (["render", "--template", "chatml"], "no rows"),
        (["render", "rows.jsonl", "--template", "chatlm"], 'did you mean "chatml"?'),
        (["render", "rows.jsonl", *SPOKEN[:3], "hermess"], 'did you mean "hermes"?'),
        (["render", "rows.jsonl", "--templat", "chatml"], 'did you mean "--template"?'),
        (["rendr", "rows.jsonl"], 'did you mean "render"?'),
        (["--tamplate"], "unknown flag --tamplate"),
        (["render", "--template"], "requires an argument"),
        (["render", "rows.jsonl", *SPOKEN, "--option", "x"], "key=value"),
        (["render", "rows.jsonl", *SPOKEN, "--option", "deep=1"], "deep"),
        (["render", "rows.jsonl", *SPOKEN, "--today", "soon"], "2026-01-15"),
        (["render", "rows.jsonl", *SPOKEN, "--plugin", "no.py"], "no.py"),
        (["render", "-c", "no.yaml"], "no.yaml"),
        (["encode", "rows.jsonl", *SPOKEN], "--model FOLDER"),
        (["encode", "rows.jsonl", "--model", "nowhere"], "nowhere"),
        (["encode", "rows.jsonl", "--model", "org/name"], "hf:org/name"),
        (["encode", "rows.jsonl", *SPOKEN, "--max_length", "x"], "whole number"),
        (["encode", "rows.jsonl", *SPOKEN, "--history", "kep"], 'did you mean "keep"?'),
        (["parse", "missing.txt", *SPOKEN], "missing.txt"),
        (["parse", "x", *SPOKEN, "--tools", "missing.json"], "missing.json"),
        (["parse", "x", *SPOKEN, "--tools", "[{"], "not JSON"),
        (["parse", "x", *SPOKEN, "--tools", '{"a": 1}'], "not a list"),
        (["sft", "rows.jsonl", "--model", "./nowhere"], "nowhere"),
        (["sft", "rows.jsonl", "--model", "org/name"], "hf:org/name"),
        (["sft", "rows.jsonl"], '"model" is missing'),
        (["sft", "--model", "m"], '"dataset" is missing'),
        (["sft", "rows.jsonl", "--model", "m", "--lora_rnk", "4"], '"--lora_rank"?'),
        (["sft", "rows.jsonl", "--model", "m", "--model_type", "qwen"], "leave it out"),
        (["infer"], "--model"),
        (["eval", "surplus", "--model", "m"], "not understood: surplus"),
    ],
)
def test_flags_that_do_not_fit(
    words: list[str],
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text(row(HI, HELLO))
    assert says in refused(words, capsys)


@pytest.mark.parametrize(
    ("recipe", "line", "says"),
    [
        ("dataset: [rows.jsonl]\ntemplte: chatml\n", 2, 'did you mean "template"?'),
        ("dataset: [rows.jsonl\ntemplate: chatml\n", 2, "not valid YAML"),
        ("dataset: [rows.jsonl]\nprompt: perhaps\n", 2, "true or false"),
    ],
)
def test_a_recipe_that_does_not_fit(
    recipe: str, line: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe)
    told = refused(["render", "-c", str(file)], capsys)
    assert f"{file}:{line}: " in told
    assert says in told


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("way", ["stdout", "page"])
def test_no_room_on_disk(way: str, model: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(row(HI, HELLO))
    words = ["show", str(file), *SPOKEN, "--model", model]
    words += ["--html", "/dev/full"] if way == "page" else []
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "toolgrove", *words],
            stdout=full if way == "stdout" else subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ran.returncode == 2
    assert "No space left on device" in ran.stderr
    assert "hint: free some space" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("source", ["hf:org/name", "pypi:no-such-package-of-anyone==1.0"])
def test_the_network_is_away(source: str, tmp_path: Path) -> None:
    away = "http://127.0.0.1:9"
    ran = subprocess.run(
        [sys.executable, "-m", "toolgrove", "render", source, *SPOKEN],
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "TOOLGROVE_CACHE": str(tmp_path / "cache"),
            "HF_ENDPOINT": away,
            "HF_HOME": str(tmp_path / "hf"),
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_INDEX_URL": away,
            "PIP_RETRIES": "0",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2, ran.stderr
    assert "Traceback" not in ran.stderr
    assert "error: " in ran.stderr
    assert "hint: " in ran.stderr
