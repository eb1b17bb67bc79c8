"""The cache of encoded rows: exact, the same from any number of processes, keyed by everything."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from tests.laws.tokenizer import small_tokenizer
from toolgrove.core.errors import ConfigError, DataError
from toolgrove.data.stream import Mixture
from toolgrove.encoding import cache as cache_module
from toolgrove.encoding import identity as identity_module
from toolgrove.encoding import parallel
from toolgrove.encoding.cache import CachedSequences, Recipe, write_cache
from toolgrove.encoding.job import Job, RowEncoder
from toolgrove.encoding.parallel import executor, in_process
from toolgrove.encoding.shards import Totals

FOLDER = small_tokenizer().folder
JOB = Job(FOLDER, date(2026, 1, 15), template="qwen3")
TOOL = {"name": "find", "parameters": {"type": "object", "properties": {"q": {"type": "string"}}}}


def rows(count: int) -> list[dict[str, object]]:
    call = {"name": "find", "arguments": {"q": "a b"}}
    talk = [
        {"role": "tool_call", "content": json.dumps(call)},
        {"role": "tool_response", "content": "found"},
        {"role": "assistant", "content": "<think>\nI see.\n</think>\n\nDone.", "loss_scale": 0.1},
        {"role": "user", "content": "Thanks"},
        {"role": "assistant", "content": "Welcome."},
    ]
    return [
        {"messages": [{"role": "user", "content": f"Find {n}"}, *talk], "tools": [TOOL]}
        for n in range(count)
    ]


def write(file: Path, values: list[dict[str, object]]) -> str:
    file.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return str(file)


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (parallel, cache_module, identity_module):
        monkeypatch.setattr(module, "ROWS_PER_SHARD", 4, raising=False)


def recipe(data: str, **changes: object) -> Recipe:
    return Recipe(Mixture((data,)), replace(JOB, **changes))


def shards(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.glob("shard-*.arrow"))}


def test_what_is_read_is_what_was_encoded(tmp_path):
    data = write(tmp_path / "rows.jsonl", rows(11))
    cache = write_cache(tmp_path / "cache", recipe(data), in_process)
    from toolgrove.data.rows import read_rows

    direct = RowEncoder(JOB).work(read_rows(data)).sequences
    assert list(cache) == direct
    assert cache.lengths() == [len(sequence) for sequence in direct]
    assert {weight for found in direct for weight in found.weights} == {0.0, 0.1, 1.0}
    assert cache[-1] == direct[-1]
    assert cache[2:5] == direct[2:5]
    assert len(shards(tmp_path / "cache")) == 3
    some = cache.only([3, 1])
    assert list(some) == [direct[3], direct[1]]
    assert some.lengths() == [len(direct[3]), len(direct[1])]
    with pytest.raises(IndexError):
        cache[len(cache)]


def test_two_processes_write_the_same_files(tmp_path):
    data = write(tmp_path / "rows.jsonl", rows(19))
    write_cache(tmp_path / "one", recipe(data), executor("local", 1))
    write_cache(tmp_path / "two", recipe(data), executor("local", 2))
    assert shards(tmp_path / "one") == shards(tmp_path / "two")


def mixed(tmp_path: Path) -> Mixture:
    """Sources of every kind that is read line by line or not, with lines that hold no row."""
    plain = tmp_path / "plain.jsonl"
    write(plain, rows(6))
    good = plain.read_text().splitlines()
    lines = ["\ufeff" + good[0], "", " ", good[1], '{"messages": [', "\u3000", '{"a": 1, "a": 2}']
    plain.write_bytes("\r\n".join([*lines, "[]", "5", *good[2:]]).encode() + b"\n{\xff}\n")
    packed = tmp_path / "packed.jsonl.gz"
    packed.write_bytes(gzip.compress(b'{"query": "q", "response": 5}\n' + good[0].encode()))
    (tmp_path / "spread.jsonl").write_text(json.dumps(rows(3), indent=1))
    (tmp_path / "table.csv").write_text("query,response\nq,a\nq,b,c\nq,d\n")
    names = ("plain.jsonl", "packed.jsonl.gz", "spread.jsonl", "table.csv")
    return Mixture(tuple(str(tmp_path / name) for name in names))


def test_processes_that_read_the_lines_themselves_write_the_same_files(tmp_path):
    job = replace(JOB, on_bad_row="skip")
    for number, mixture in enumerate(
        [
            (whole := mixed(tmp_path)),
            Mixture((f"{whole.specs[0]}#9", whole.specs[2])),
            Mixture((whole.specs[0], whole.specs[2]), weights=(4, 1)),
        ]
    ):
        folders = [tmp_path / f"{number}-{workers}" for workers in (1, 2)]
        for folder, workers in zip(folders, (1, 2), strict=True):
            write_cache(folder, Recipe(mixture, job), executor("local", workers))
        for name in ("rejected.jsonl", "done.json"):
            assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
        assert shards(folders[0]) == shards(folders[1])
    rejected = (tmp_path / "0-2" / "rejected.jsonl").read_text().splitlines()
    found = {Path(entry["where"]).name: entry for entry in map(json.loads, rejected)}
    bad = [f"plain.jsonl:{line}" for line in (5, 7, 8, 9, 14)]
    assert list(found) == ["table.csv:3", *bad, "packed.jsonl.gz:1"]
    assert found["plain.jsonl:14"]["reason"].startswith("not UTF-8")
    assert found["plain.jsonl:7"]["text"].strip() == '{"a": 1, "a": 2}'
    assert found["packed.jsonl.gz:1"]["row"] == {"query": "q", "response": 5}
    kept = [Path(encoded.where).name for encoded in CachedSequences(tmp_path / "0-2")]
    good = [f"plain.jsonl:{line}" for line in (1, 4, 10, 11, 12, 13)]
    assert list(dict.fromkeys(kept))[:6] == good


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_bad_line_stops_it(tmp_path, workers):
    data = write(tmp_path / "rows.jsonl", rows(9))
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    lines[6] = lines[8] = "{"
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError, match="not JSON") as caught:
        write_cache(tmp_path / "cache", recipe(data), executor("local", workers))
    assert caught.value.where == f"{data}:7"
    assert list(shards(tmp_path / "cache")) == ["shard-000000.arrow"]
    wanted = recipe(data, columns={"frage": "query"}, on_bad_row="skip")
    with pytest.raises(DataError, match='no row has the column "frage"'):
        write_cache(tmp_path / "columns", wanted, executor("local", workers))


@pytest.mark.parametrize(
    "changes",
    [
        {"template": "qwen2_5"},
        {"agent": "react_en"},
        {"options": {"enable_thinking": False}},
        {"loss_scale": "last_round"},
        {"history": "keep"},
        {"max_length": 4000},
        {"system": "Be brief."},
        {"columns": {"frage": "query"}},
        {"on_bad_row": "skip"},
    ],
)
def test_whatever_is_changed_makes_another_cache(tmp_path, changes):
    data = write(tmp_path / "rows.jsonl", rows(2))
    key = recipe(data).key()
    assert recipe(data).key() == key
    assert recipe(data, **changes).key() != key


def test_data_tokenizer_code_and_tables_are_part_of_the_key(tmp_path, monkeypatch):
    data = write(tmp_path / "rows.jsonl", rows(2))
    table = tmp_path / "table.yaml"
    table.write_text("kinds:\n  call_args: 2\n", encoding="utf-8")
    keys = [recipe(data).key(), recipe(data, loss_scale=str(table)).key()]
    table.write_text("kinds:\n  call_args: 3\n", encoding="utf-8")
    keys.append(recipe(data, loss_scale=str(table)).key())
    folder = tmp_path / "model"
    folder.mkdir()
    for file in FOLDER.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "tokenizer_config.json").write_text('{"eos_token": "x"}', encoding="utf-8")
    keys.append(recipe(data, folder=folder).key())
    plugin = tmp_path / "plugin.py"
    plugin.write_text("A = 1\n", encoding="utf-8")
    keys.append(recipe(data, plugins=(str(plugin),)).key())
    plugin.write_text("A = 2\n", encoding="utf-8")
    keys.append(recipe(data, plugins=(str(plugin),)).key())
    write(tmp_path / "rows.jsonl", rows(3))
    keys.append(recipe(data).key())
    monkeypatch.setattr("toolgrove.__version__", "9.9.9")
    keys.append(recipe(data).key())
    assert len(set(keys)) == len(keys)


def test_the_day_counts_only_where_a_template_prints_it(tmp_path):
    data = write(tmp_path / "rows.jsonl", rows(2))
    other = date(2026, 2, 1)
    assert recipe(data, today=other).key() == recipe(data).key()
    dated = {"template": "gpt_oss"}
    assert recipe(data, today=other, **dated).key() != recipe(data, **dated).key()


def test_another_content_is_refused_in_the_same_folder(tmp_path):
    data = write(tmp_path / "rows.jsonl", rows(5))
    write_cache(tmp_path / "cache", recipe(data), in_process)
    with pytest.raises(ConfigError, match=r"encoded otherwise \(history\)"):
        write_cache(tmp_path / "cache", recipe(data, history="keep"), in_process)
    with pytest.raises(ConfigError, match="other files"):
        write_cache(tmp_path, recipe(data), in_process)
    with pytest.raises(DataError, match="no finished cache"):
        CachedSequences(tmp_path / "nothing")


def test_a_finished_cache_is_not_encoded_again(tmp_path):
    data = write(tmp_path / "rows.jsonl", rows(5))
    first = write_cache(tmp_path / "cache", recipe(data), in_process)

    def never(_job, _parts):
        raise AssertionError

    again = write_cache(tmp_path / "cache", recipe(data), never)
    assert list(again) == list(first)


def test_bad_rows_stop_it_or_are_kept_aside(tmp_path):
    values = [*rows(5), {"messages": [{"role": "user", "content": "only asked"}]}, *rows(2)]
    data = write(tmp_path / "rows.jsonl", values)
    with (tmp_path / "rows.jsonl").open("a") as stream:
        stream.write('{"messages": [\n')
    with pytest.raises(DataError, match="no assistant turn") as caught:
        write_cache(tmp_path / "strict", recipe(data), executor("local", 2))
    assert caught.value.where == f"{data}:6"
    skipping = recipe(data, on_bad_row="skip")
    cache = write_cache(tmp_path / "skip", skipping, executor("local", 2))
    assert (cache.totals.rows, cache.totals.rejected) == (7, 2)
    lines = (tmp_path / "skip" / "rejected.jsonl").read_text().splitlines()
    assert [json.loads(line)["where"] for line in lines] == [f"{data}:6", f"{data}:9"]


def test_a_damaged_shard_is_named(tmp_path):
    data = write(tmp_path / "rows.jsonl", rows(9))
    cache = write_cache(tmp_path / "cache", recipe(data), in_process)
    shard = tmp_path / "cache" / "shard-000001.arrow"
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(DataError, match="not a whole shard") as caught:
        list(CachedSequences(cache.folder))
    assert str(shard) == caught.value.where


RUN = """
import sys, time
from pathlib import Path
import toolgrove.encoding.parallel as parallel
from toolgrove.encoding import cache
from tests.unit.encoding.test_cache import recipe
for module in (parallel, cache, cache.identity.__globals__):
    if isinstance(module, dict): module["ROWS_PER_SHARD"] = 4
    else: module.ROWS_PER_SHARD = 4

def slow(job, parts):
    for totals in parallel.in_process(job, parts):
        time.sleep(0.2)
        yield totals

cache.write_cache(Path(sys.argv[1]), recipe(sys.argv[2], folder=Path(sys.argv[3])), slow)
"""


def test_a_killed_run_goes_on_behind_its_last_shard(tmp_path):
    data = write(tmp_path / "rows.jsonl", rows(80))
    whole = write_cache(tmp_path / "whole", recipe(data), in_process)
    folder = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", RUN, str(folder), data, str(FOLDER)])
    until = time.monotonic() + 100
    while len(shards(folder)) < 3 and time.monotonic() < until and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = shards(folder)
    assert 3 <= len(kept) < 20
    assert not (folder / "done.json").exists()
    before = {name: (folder / name).stat().st_mtime_ns for name in kept}
    resumed: list[Totals] = []
    cache = write_cache(folder, recipe(data), in_process, resumed.append)
    assert len(resumed) == 20
    assert {name: (folder / name).stat().st_mtime_ns for name in kept} == before
    assert shards(folder) == shards(tmp_path / "whole")
    assert list(cache) == list(whole)
    assert cache.totals == whole.totals


@pytest.mark.slow
def test_ray_writes_the_same_files(tmp_path):
    pytest.importorskip("ray", reason="the extra ray is not installed")
    data = write(tmp_path / "rows.jsonl", rows(19))
    write_cache(tmp_path / "one", recipe(data), in_process)
    write_cache(tmp_path / "ray", recipe(data), executor("ray", 2))
    assert shards(tmp_path / "one") == shards(tmp_path / "ray")


def test_a_folder_in_which_nothing_was_finished_takes_other_settings(tmp_path: Path) -> None:
    data = write(tmp_path / "rows.jsonl", [*rows(2), {"messages": 5}])
    folder = tmp_path / "cache"
    with pytest.raises(DataError):
        write_cache(folder, recipe(data), in_process)
    cache = write_cache(folder, recipe(data, on_bad_row="skip"), in_process)
    assert cache.totals.rejected == 1


def test_a_file_in_the_place_of_the_folder_is_an_error_of_the_users(tmp_path: Path) -> None:
    data = write(tmp_path / "rows.jsonl", rows(2))
    with pytest.raises(ConfigError, match="a file, not a folder"):
        write_cache(Path(data), recipe(data), in_process)
