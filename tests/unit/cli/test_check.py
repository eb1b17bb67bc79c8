"""The command check: findings, exit codes, repairs, reports."""

from __future__ import annotations

import io
import json
import random
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from scripts.corrupt import CORPUS, EVALUATION, clean_rows, write

from toolgrove.cli.main import main


def call_row(arguments: object) -> dict:
    return {
        "messages": [
            {"role": "user", "content": "Weather in Ulm?"},
            {"role": "tool_call", "content": {"name": "weather", "arguments": arguments}},
        ],
        "tools": [
            {
                "name": "weather",
                "parameters": {"type": "object", "properties": {"days": {"type": "integer"}}},
            }
        ],
    }


def file_of(folder: Path, *rows: object) -> str:
    file = folder / "train.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    file.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return str(file)


GOOD = {"query": "What time is it in Ulm now?", "response": "It is noon there."}
MENDABLE = call_row({"days": "3"})
BROKEN = call_row({"town": "Ulm"})


def checked(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, dict]:
    code = main(["check", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_json_has_rows_and_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = file_of(tmp_path, GOOD, MENDABLE, "{", BROKEN)
    code, told = checked([file], capsys)
    assert code == 2
    assert told["rows"] == 4
    assert [(f["line"], f["code"], f["path"]) for f in told["findings"]] == [
        (2, "argument-type", "messages[1].content.arguments.days"),
        (3, "cut-off", ""),
        (4, "extra-argument", "messages[1].content.arguments.town"),
    ]
    for finding in told["findings"]:
        assert finding["file"] == file
        assert finding["severity"] in ("error", "warning")
        assert finding["message"]
        assert finding["fix"]


def test_clean_data_and_warnings_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked([file_of(tmp_path, GOOD)], capsys)[0] == 0
    code, told = checked([file_of(tmp_path, GOOD, GOOD)], capsys)
    assert code == 0
    assert [f["severity"] for f in told["findings"]] == ["warning"]


def test_the_summary_names_places_and_ways_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = file_of(tmp_path, GOOD, BROKEN)
    assert main(["check", file]) == 2
    shown = capsys.readouterr().out
    assert "error extra-argument × 1" in shown
    assert f"{file}:2 messages[1].content.arguments.town" in shown
    assert "→ take it out" in shown
    assert "2 rows: 1 with errors, 0 with warnings only, 1 clean" in shown


def test_fix_writes_a_new_file_and_shows_a_diff(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = file_of(tmp_path, GOOD, MENDABLE, "{", BROKEN)
    before = Path(file).read_bytes()
    apart = tmp_path / "apart.jsonl"
    assert main(["check", file, "--fix", "--quarantine", str(apart)]) == 0
    diff = capsys.readouterr().err
    assert f'--- {file}:2\n@@ messages[1].content.arguments.days @@\n-"3"\n+3\n' in diff
    assert Path(file).read_bytes() == before
    rows = [json.loads(line) for line in (tmp_path / "train.fixed.jsonl").read_text().splitlines()]
    assert rows == [GOOD, call_row({"days": 3})]
    kept = [json.loads(line) for line in apart.read_text().splitlines()]
    assert [(item["line"], item.get("text"), item.get("row")) for item in kept] == [
        (3, "{\n", None),
        (4, None, BROKEN),
    ]
    assert [f["code"] for f in kept[1]["findings"]] == ["extra-argument"]


def test_fix_alone_keeps_rows_that_stay_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = file_of(tmp_path, MENDABLE, BROKEN, "{")
    out = tmp_path / "new" / "rows.jsonl"
    assert main(["check", file, "--fix", "--output", str(out)]) == 2
    assert "--quarantine keeps them" in capsys.readouterr().out
    assert [json.loads(line) for line in out.read_text().splitlines()] == [
        call_row({"days": 3}),
        BROKEN,
    ]


def test_an_input_is_never_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = file_of(tmp_path, GOOD)
    assert main(["check", file, "--fix", "--output", file]) == 2
    assert main(["check", file, "--quarantine", file]) == 2
    assert "written over" in capsys.readouterr().err
    assert json.loads(Path(file).read_text()) == GOOD


def test_overlap_with_an_evaluation_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, clean_rows(120, random.Random(1)))
    words = [str(tmp_path / CORPUS), "--against", str(tmp_path / EVALUATION)]
    _, told = checked(words, capsys)
    codes = [f["code"] for f in told["findings"]]
    assert codes.count("eval-overlap") == 1
    assert codes.count("eval-near") == 1


def test_a_model_adds_lengths(
    tmp_path: Path, tokenizer_folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoken = ["--model", tokenizer_folder, "--template", "chatml", "--agent_template", "hermes"]
    file = file_of(tmp_path, GOOD)
    code, told = checked([file, *spoken, "--max_length", "8"], capsys)
    assert code == 2
    assert [f["code"] for f in told["findings"]] == ["over-length"]
    assert told["counts"]["tokens"] > told["counts"]["trained_tokens"] > 0


def test_a_length_needs_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", file_of(tmp_path, GOOD), "--max_length", "8"]) == 2
    assert "--model" in capsys.readouterr().err


def test_explain_says_how_rows_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = file_of(tmp_path, GOOD, GOOD, BROKEN)
    assert main(["check", file, "--explain"]) == 2
    shown = capsys.readouterr().out
    assert f"{file}: 2 of the first 3 rows: query_response" in shown
    assert f"{file}: 1 of the first 3 rows: messages" in shown


def test_columns_are_renamed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = file_of(tmp_path, {"frage": "Wie spät ist es in Ulm?", "response": "Zwölf Uhr."})
    assert checked([file], capsys)[1]["findings"] == []
    code, told = checked([file, "--columns", "frage=query"], capsys)
    assert (code, told["findings"]) == (0, [])
    assert told["counts"]["messages"] == {"user": 1, "assistant": 1}


def test_stdin_and_drawn_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = io.TextIOWrapper(io.BytesIO((json.dumps(BROKEN) + "\n").encode()))
    monkeypatch.setattr(sys, "stdin", sent)
    _, told = checked(["-"], capsys)
    assert [(f["file"], f["line"]) for f in told["findings"]] == [("stdin", 1)]
    rows = [{"query": f"What is {n} times {n}?", "response": str(n * n)} for n in range(30)]
    _, told = checked([file_of(tmp_path, *rows) + "#7"], capsys)
    assert told["rows"] == 7


def test_codes_are_listed_and_unknown_ones_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--codes", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert len(listed) > 50
    assert all(item["cause"] and item["fix"] for item in listed)
    file = file_of(tmp_path, BROKEN)
    assert main(["check", file, "--ignore", "extra-argument"]) == 0
    assert main(["check", file, "--ignore", "extra-argumnet"]) == 2
    assert 'did you mean "extra-argument"?' in capsys.readouterr().err


def test_the_docs_list_all_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--codes"]) == 0
    page = Path(__file__).parents[3] / "docs" / "doctor.md"
    assert f"```text\n{capsys.readouterr().out}```\n" in page.read_text(encoding="utf-8")


class Page(HTMLParser):
    """What a page loads, and how many charts it has."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.charts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [str(value) for name, value in attrs if name in ("src", "href")]
        self.charts += tag == "svg"


def test_the_report_is_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = call_row({"<script>alert(1)</script>": '"><b>'})
    file = file_of(tmp_path, GOOD, MENDABLE, evil)
    page = tmp_path / "report.html"
    assert main(["check", file, "--html", str(page)]) == 2
    text = page.read_text(encoding="utf-8")
    read = Page()
    read.feed(text)
    assert read.loaded == []
    assert read.charts >= 5
    assert "<script>alert" not in text
    assert "Tools called" in text
    assert 'data-code="argument-type"' in text


def test_the_code_of_quarantine_alone_speaks_of_the_input(tmp_path: Path) -> None:
    file = file_of(tmp_path, GOOD, BROKEN)
    apart = tmp_path / "apart.jsonl"
    assert main(["check", file, "--quarantine", str(apart)]) == 2
    assert len(apart.read_text().splitlines()) == 1
    rows = str(tmp_path / "rows.jsonl")
    assert main(["check", file, "--quarantine", str(apart), "--output", rows]) == 0


@pytest.mark.parametrize("flag", ["--output", "--quarantine", "--html"])
def test_a_folder_in_the_way_is_said_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    file = file_of(tmp_path, BROKEN)
    assert main(["check", file, flag, str(tmp_path)]) == 2
    shown = capsys.readouterr()
    assert "a folder" in shown.err
    assert not shown.out
