"""Rows keep their values and know their place."""

import gzip
import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from toolgrove.core.errors import DataError
from toolgrove.data.rows import read_rows


def rows_of(path):
    return [(row.value, row.where.removeprefix(str(path))) for row in read_rows(path)]


def failure(path) -> DataError:
    with pytest.raises(DataError) as caught:
        list(read_rows(path))
    return caught.value


def test_jsonl_with_mark_and_blank_lines(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes('\ufeff{"a": "true", "b": "10"}\n\n  \r\n{"a": "\u2028", "b": 10}'.encode())
    assert rows_of(path) == [({"a": "true", "b": "10"}, ":1"), ({"a": "\u2028", "b": 10}, ":4")]


def test_gzip(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n'))
    assert rows_of(path) == [({"a": 1}, ":1")]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ('[\n {"a": 1},\n\n {"a": \n 2}, {"a": 3}\n]\n', [":2", ":4", ":5"]),
        ('\n{"a": 1,\n "b": 2}', [":2"]),
        ('{"a": 1}\n{"a": 2}\n', [":1", ":2"]),
    ],
)
def test_json_list_object_and_lines(tmp_path, text, places):
    path = tmp_path / "a.json"
    path.write_text(text)
    assert [where for _, where in rows_of(path)] == places


def test_csv_values_are_strings_and_records_may_span_lines(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('query,response\n"two\nlines",true\n10,\n', encoding="utf-8-sig")
    assert rows_of(path) == [
        ({"query": "two\nlines", "response": "true"}, ":2"),
        ({"query": "10", "response": ""}, ":4"),
    ]


def test_csv_with_a_very_long_field(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("query,response\na," + "x" * 200_000 + "\n")
    assert len(rows_of(path)[0][0]["response"]) == 200_000


def test_parquet_without_the_nulls_that_arrow_pads_with(tmp_path):
    path = tmp_path / "a.parquet"
    rows = [
        {"messages": [{"role": "user", "content": "10", "n": {"x": 1}}], "tools": None},
        {"messages": [{"role": "assistant", "content": None, "n": {"y": "2"}}], "tools": "[]"},
    ]
    parquet.write_table(pa.Table.from_pylist(rows), path)
    assert rows_of(path) == [(rows[0], ":row 1"), (rows[1], ":row 2")]


@pytest.mark.parametrize(
    ("name", "text", "where", "what"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": ', ":2", "not JSON (Expecting value at column 6)"),
        ("a.jsonl", "[1]\n", ":1", "a row is an object, not the list [1]"),
        ("a.jsonl", '{"a": NaN}\n', ":1", "NaN is not JSON"),
        ("a.jsonl", '{"a": "\\ud800"}\n', ":1", "surrogate"),
        ("a.jsonl", "\n\n", "", "an empty data set"),
        ("a.json", '[\n{"a": 1},\n{"a": ', ":3", "not JSON"),
        ("a.json", '[{"a": 1},\n{"a": 2} {', ":2", "no comma"),
        ("a.json", '[{"a": 1}', "", "not closed"),
        ("a.json", "[]", "", "an empty data set"),
        ("a.csv", "a,b\n1,2\n1\n", ":3", "1 fields, but the header names 2 columns"),
        ("a.csv", "a,a\n1,2\n", ":1", "twice"),
        ("a.csv", "a,b\n", "", "an empty data set"),
        ("a.parquet", "no", ":row 1", "not a whole Parquet file"),
        ("a.jsonl.gz", "no", "", "cannot be read"),
        ("a.docx", "no", "", "a kind of file that is not known"),
    ],
)
def test_failures_name_place_and_cause(tmp_path, name, text, where, what):
    path = tmp_path / name
    path.write_text(text)
    error = failure(path)
    assert what in error.what
    assert error.where == f"{path}{where}"


def test_bytes_that_are_not_utf8(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": "\xff"}\n')
    assert failure(path).where == f"{path}:2"


def test_missing_file(tmp_path):
    assert failure(tmp_path / "no.jsonl").what == "no such file"


def test_bad_lines_can_be_handed_over(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\nbroken\n{"a": 2}\n')
    bad = []
    assert [row.value["a"] for row in read_rows(path, bad.append)] == [1, 2]
    assert [(item.error.where, item.text) for item in bad] == [(f"{path}:2", "broken\n")]


def test_reading_is_lazy(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join([json.dumps({"a": 1}), "broken"]))
    assert next(read_rows(path)).value == {"a": 1}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("text", "places"),
    [
        ('[\n {\n  "query": "a"\n },\n {"query": "b"}\n]\n', [2, 5]),
        ('[{\n  "query": "a"\n }, {"query": "b"}]\n', [1, 3]),
        ('{\n "query": "a"\n}\n{\n "query": "b"\n}\n', [1, 4]),
    ],
)
def test_json_over_several_lines_under_the_name_of_jsonl(tmp_path, text, places, end):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", end).encode())
    assert [(row.value["query"], row.where) for row in read_rows(file)] == [
        (name, f"{file}:{line}") for name, line in zip("ab", places, strict=True)
    ]


def test_a_broken_first_line_does_not_take_the_others_with_it(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{\n{"query": "a"}\n')
    bad = []
    assert [row.value for row in read_rows(file, bad.append)] == [{"query": "a"}]
    assert [line.error.where for line in bad] == [f"{file}:1"]
