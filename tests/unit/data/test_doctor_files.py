"""Files that are broken on purpose: each is a finding or read rightly, none stops the doctor."""

from __future__ import annotations

import gzip
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from toolgrove.data.doctor.examine import MOST_BAD_LINES, Doctor


def row(number: int) -> str:
    turns = [
        {"role": "user", "content": f"Which of the {number} ways leads home?"},
        {"role": "assistant", "content": f"Number {number * 7}, as far as I know."},
    ]
    return json.dumps({"messages": turns})


def told(file: Path) -> tuple[list[tuple[int, str]], int]:
    """Line and code of each finding, and how many rows were read."""
    doctor = Doctor()
    found = [(f.line, f.kind.code) for one in doctor.file(file) for f in one.findings]
    return found, doctor.counts.read


PLAIN: dict[str, tuple[Callable[[], bytes], list[tuple[int, str]], int]] = {
    "cut.jsonl": (lambda: f"{row(1)}\n{row(2)[:-20]}".encode(), [(2, "cut-off")], 1),
    "bom.jsonl": (lambda: b"\xef\xbb\xbf" + row(1).encode(), [], 1),
    "crlf.jsonl": (lambda: f"{row(1)}\r\n{row(2)}\r\n".encode(), [], 2),
    "utf16.jsonl": (lambda: row(1).encode("utf-16"), [(1, "not-utf8")], 0),
    "utf16.json": (lambda: f"[{row(1)}]".encode("utf-16"), [(1, "not-utf8")], 0),
    "nan.jsonl": (
        lambda: f'{row(1)}\n{row(2)[:-1]}, "x": NaN}}\n{row(3)}'.encode(),
        [(2, "json-constant")],
        2,
    ),
    "keys.jsonl": (
        lambda: f'{row(1)[:-1]}, "messages": []}}\n{row(2)}'.encode(),
        [(1, "duplicate-key")],
        1,
    ),
    "deep.jsonl": (
        lambda: f'{{"x": {"[" * 100_000}{"]" * 100_000}}}\n{row(2)}'.encode(),
        [(1, "too-deep")],
        1,
    ),
    "types.jsonl": (
        lambda: f'{row(1)[:-1]}, "flag": "true"}}\n{row(2)[:-1]}, "flag": true}}'.encode(),
        [(2, "mixed-column")],
        2,
    ),
    "empty.jsonl": (lambda: b"", [(1, "empty-file")], 0),
    "blank.jsonl": (lambda: b"\n \n\n", [(1, "empty-file")], 0),
    "empty.json": (lambda: b"[]", [(1, "empty-file")], 0),
    "open.json": (lambda: f"[{row(1)},\n{row(2)}".encode(), [(3, "cut-off")], 2),
    "two.jsonl.gz": (lambda: gzip.compress(f"{row(1)}\n{row(2)}\n".encode()), [], 2),
    "no.jsonl.gz": (lambda: row(1).encode(), [(1, "unreadable-file")], 0),
    "no.parquet": (lambda: b"PAR1", [(1, "unreadable-file")], 0),
    "fields.csv": (lambda: b"query,response\na,b\nc\nd,e\n", [(3, "bad-record")], 2),
    "what.xyz": (lambda: b"?", [(1, "unreadable-file")], 0),
}


@pytest.mark.parametrize("name", PLAIN)
def test_broken_files(name: str, tmp_path: Path) -> None:
    content, findings, rows = PLAIN[name]
    file = tmp_path / name
    file.write_bytes(content())
    assert told(file) == (findings, rows)


def test_a_string_true_stays_a_string(tmp_path: Path) -> None:
    file = tmp_path / "types.jsonl"
    file.write_bytes(PLAIN["types.jsonl"][0]())
    rows = [one.row or {} for one in Doctor().file(file)]
    assert [one["flag"] for one in rows] == ["true", True]


def test_a_cut_archive_keeps_what_came_before(tmp_path: Path) -> None:
    packed = gzip.compress(b"".join(f"{row(n)}\n".encode() for n in range(3000)) + os.urandom(9000))
    file = tmp_path / "cut.jsonl.gz"
    file.write_bytes(packed[: len(packed) - 9000])
    found, rows = told(file)
    assert found[-1][1] == "unreadable-file"
    assert rows == found[-1][0] - 1 or rows >= 2000


def test_nested_lists_of_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [{**json.loads(row(n)), "nested": [[1, 2], [n]]} for n in range(3)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "nested.parquet")
    verdicts = list(Doctor().file(tmp_path / "nested.parquet"))
    assert [one.line for one in verdicts] == [1, 2, 3]
    assert [(one.row or {})["nested"] for one in verdicts] == [[[1, 2], [n]] for n in range(3)]


def test_a_line_of_ten_megabytes(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "word " * 2_000_000},
        {"role": "assistant", "content": "Yes."},
    ]
    file = tmp_path / "long.jsonl"
    file.write_text(json.dumps({"messages": turns}) + "\n" + row(2))
    assert told(file) == ([(1, "long-row")], 2)


def test_a_file_of_bad_lines_is_given_up(tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"
    file.write_text("no\n" * (MOST_BAD_LINES + 5) + row(1))
    found, rows = told(file)
    assert found[-1] == (MOST_BAD_LINES + 1, "unreadable-file")
    assert len(found) == MOST_BAD_LINES + 1
    assert rows == 0


def test_a_loop_of_links_is_passed_by(tmp_path: Path) -> None:
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "self.jsonl").symlink_to(tmp_path / "self.jsonl")
    (tmp_path / "rows.jsonl").write_text(row(1))
    found = subprocess.run(
        [sys.executable, "-m", "toolgrove", "check", str(tmp_path), "--json"],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert json.loads(found.stdout)["rows"] == 1
    assert found.returncode == 0


def test_many_rows_need_little_memory_each() -> None:
    doctor = Doctor()
    turns = [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}]
    start = 0
    for number in range(6000):
        if number == 1000:
            start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        turns[0]["content"] = " ".join(str(hash((number, k))) for k in range(20))
        turns[1]["content"] = " ".join(str(hash((k, number))) for k in range(20))
        doctor.row({"messages": turns}, ("rows.jsonl", number + 1))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) * 1024
    assert grown / 5000 < 4000
