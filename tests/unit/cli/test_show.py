"""The command show: rows that fit, rules, the model's own template, a page to browse."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from toolgrove.cli.main import main

SPOKEN = ["--template", "chatml", "--agent_template", "hermes"]
OWN = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture
def talks(tmp_path: Path) -> str:
    rows = [
        {"query": f"What is {n} and {n}, in words?", "response": f"It is {2 * n}, I think."}
        for n in range(4)
    ]
    rows[2]["query"] += " My key: AKIAZ3QW7RTY5UPL2KMN"
    file = tmp_path / "talks.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{\n")
    return str(file)


def shown(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(words) == 0
    return capsys.readouterr().out


def test_rules_and_tokens(
    talks: str, tokenizer_folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["show", talks, *SPOKEN, "--model", tokenizer_folder]
    text = shown(words, capsys)
    assert "default: the model writes it" in text
    assert "given to the model" in text
    listed = shown([*words, "--tokens"], capsys)
    assert "place" in listed
    assert "<|im_start|>" in listed
    told = json.loads(shown([*words, "--json"], capsys))
    weights = {piece["rule"]: piece["weight"] for piece in told["pieces"]}
    assert weights["default: the model writes it"] == 1
    assert weights["given to the model"] == 0


def test_rows_are_searched_and_filtered(
    talks: str, tokenizer_folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["show", talks, *SPOKEN, "--model", tokenizer_folder, "--json", "--rows", "9"]
    assert main(words) == 2
    assert f"{talks}:5" in capsys.readouterr().err
    found = shown([*words, "--search", "is 3 AND 3"], capsys).splitlines()
    assert [json.loads(line)["where"] for line in found] == [f"{talks}:4"]
    found = shown([*words, "--code", "secret"], capsys).splitlines()
    assert [json.loads(line)["where"] for line in found] == [f"{talks}:3"]
    assert main([*words, "--code", "unknown-tool"]) == 2
    assert "no row fits" in capsys.readouterr().err
    assert main([*words, "--code", "secrets"]) == 2
    assert 'did you mean "secret"?' in capsys.readouterr().err
    long = [*words, "--code", "nothing-to-train", "--max_length", "4000"]
    assert main(long) == 2


def test_the_models_own_template(
    talks: str, tokenizer_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in Path(tokenizer_folder).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    words = ["show", talks, *SPOKEN, "--diff", "--model", str(folder)]
    assert "no chat template" in shown(words, capsys)
    (folder / "chat_template.jinja").write_text(OWN)
    assert "equal to the model's own template" in shown(words, capsys)
    (folder / "chat_template.jinja").write_text(OWN.replace("m.role }}", "m.role | upper }}"))
    assert "USERuser" in shown(words, capsys)


def test_browsing_in_a_terminal(
    talks: str,
    tokenizer_folder: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\nb\n/3 and 3\nsecret\nt\nq\n"))
    text = shown(["show", talks, *SPOKEN, "--model", tokenizer_folder, "--browse"], capsys)
    places = [line.split(" · ")[0] for line in text.splitlines() if "q quit" in line]
    assert [place.removeprefix("> ") for place in places] == [
        "1 of 5",
        "2 of 5",
        "1 of 5",
        "1 of 1",
        "1 of 1",
        "1 of 1",
    ]
    assert "secret" in text
