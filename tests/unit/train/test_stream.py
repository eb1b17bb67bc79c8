"""Streams: the same batches whoever reads them, and from wherever they go on."""

import json
from functools import partial
from itertools import islice

import pytest

from toolgrove.core.errors import ConfigError, DataError, ModelError
from toolgrove.data.stream import Mixture
from toolgrove.encoding.encoded import Encoded
from toolgrove.encoding.packs import PackPlan
from toolgrove.train.batches import Plan, Share
from toolgrove.train.stream import Stream, read_mark
from toolgrove.train.stream_source import packed_window, padded_window
from toolgrove.train.windows import Made, Start, Windows

ROWS, WINDOW, TURNS = 23, 5, 2
WAYS = {
    "packed": partial(packed_window, PackPlan(tokens=12, rows=3), TURNS),
    "padded": partial(padded_window, Plan(rows=2)),
}


def ids_of(number):
    return [7, 7, number % 3, *[number] * (1 + number % 4)]


@pytest.fixture
def windows(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"n": n}) + "\n" for n in range(ROWS)))
    held = []

    def make(rows):
        held.append(len(rows))
        ids = [ids_of(row.value["n"]) for row in rows]
        return Made([Encoded(each, [0.0] * (len(each) - 1) + [1.0], []) for each in ids])

    return Windows(Mixture((str(file),)), WINDOW, make), held


def batches(stream, count):
    return [[tuple(row.ids) for _, row in batch] for batch in islice(iter(stream), count)]


@pytest.mark.parametrize("way", WAYS)
def test_a_pass_has_each_row_once_and_the_next_one_begins_anew(windows, way):
    stream = Stream(windows[0], WAYS[way], TURNS, Share())
    seen = [row for batch in batches(stream, 60) for row in batch]
    every = sorted(tuple(ids_of(n)) for n in range(ROWS))
    assert sorted(seen[:ROWS]) == every
    assert sorted(seen[ROWS : 2 * ROWS]) == every
    assert seen[:ROWS] != seen[ROWS : 2 * ROWS]


def test_one_window_is_read_at_a_time(windows):
    stream, held = Stream(windows[0], WAYS["padded"], 1, Share()), windows[1]
    batches(stream, 1)
    assert held == [WINDOW]


@pytest.mark.parametrize("way", WAYS)
def test_processes_share_the_batches_of_one(windows, way):
    alone = batches(Stream(windows[0], WAYS[way], TURNS, Share()), 30)
    each = [batches(Stream(windows[0], WAYS[way], TURNS, Share(r, 3)), 10) for r in range(3)]
    assert [each[number % 3][number // 3] for number in range(30)] == alone


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("steps", [1, 3, 7, 11])
def test_it_goes_on_from_a_mark(windows, tmp_path, way, ranks, steps):
    made, held = windows
    first = Stream(made, WAYS[way], TURNS, Share(0, ranks))
    running = iter(first)
    list(islice(running, steps * TURNS))
    first.save(tmp_path, steps)
    wanted = [[tuple(row.ids) for _, row in batch] for batch in islice(running, 9)]

    mark = read_mark(tmp_path, WINDOW)
    assert mark.batches == steps * TURNS * ranks
    held.clear()
    again = Stream(made, WAYS[way], TURNS, Share(0, ranks), mark)
    again.skip = steps * TURNS
    gone = list(islice(iter(again), steps * TURNS + 1))
    assert gone[:-1] == [[]] * (steps * TURNS)
    assert len(held) <= 2  # the windows before it were not encoded again
    found = batches(again, steps * TURNS + 9)[steps * TURNS :]
    assert found == wanted


def test_a_row_of_the_present_step_is_found_by_its_number(windows):
    stream = Stream(windows[0], WAYS["padded"], TURNS, Share())
    numbers = set()
    for batch in islice(iter(stream), 40):
        for number, row in batch:
            assert stream.sequence(number) is row
            assert number not in numbers
            numbers.add(number)


def test_marks_that_do_not_fit(windows, tmp_path):
    with pytest.raises(ModelError, match="did not stream"):
        read_mark(tmp_path, WINDOW)
    Stream(windows[0], WAYS["padded"], 1, Share()).save(tmp_path, 0)
    with pytest.raises(ConfigError, match="shuffle_buffer_size of 5"):
        read_mark(tmp_path, 6)


def test_rows_without_anything_to_train_end_the_run(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"n": 1}\n{"n": 2}\n')
    windows = Windows(Mixture((str(file),)), 1, lambda rows: Made([], idle=len(rows)))
    with pytest.raises(DataError, match="none of the rows"):
        list(windows.since(Start()))
