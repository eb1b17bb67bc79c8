"""Training from caches: the same sequences, the same split, and no cache of another encoding."""

from datetime import date

import pytest
from rich.console import Console

from tests.unit.encoding.test_cache import FOLDER, recipe, rows, write
from toolgrove.core.errors import ConfigError
from toolgrove.data.load import load_chats, split
from toolgrove.encoding.cache import write_cache
from toolgrove.encoding.job import RowEncoder
from toolgrove.encoding.parallel import in_process
from toolgrove.train.cached import from_cache, job_of, uses_cache
from toolgrove.train.recipe import SftSettings

QUIET = Console(quiet=True)


def settings(**more):
    fixed = {"model": "m", "template": "qwen3", "today": date(2026, 1, 15)}
    return SftSettings(**fixed, **more)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))


def test_a_recipe_asks_for_a_cache_or_not():
    assert not uses_cache(settings(dataset=["a"]))
    assert uses_cache(settings(cached_dataset="folder"))
    assert uses_cache(settings(dataset=["a"], dataset_num_proc=2))
    assert uses_cache(settings(dataset=["a"], load_from_cache_file=True))
    with pytest.raises(ValueError, match="not both"):
        settings(dataset=["a"], cached_dataset="b")
    with pytest.raises(ValueError, match='"dataset" is missing'):
        settings()


def test_the_second_run_reads_what_the_first_has_written(tmp_path, monkeypatch):
    data = write(tmp_path / "rows.jsonl", rows(9))
    asked = settings(dataset=[data], load_from_cache_file=True)
    first = from_cache(asked, FOLDER, 2000, QUIET)
    expected = RowEncoder(job_of(asked, FOLDER, 2000)).work

    from toolgrove.data.rows import read_rows

    assert list(first.train) == expected(read_rows(data)).sequences
    assert first.rows == 9
    monkeypatch.setattr(RowEncoder, "work", None)
    assert list(from_cache(asked, FOLDER, 2000, QUIET).train) == list(first.train)
    with pytest.raises(TypeError):
        from_cache(asked.model_copy(update={"loss_scale": "all"}), FOLDER, 2000, QUIET)


def test_the_split_of_a_cache_is_the_split_of_its_rows(tmp_path):
    data = write(tmp_path / "rows.jsonl", [*rows(20), *rows(12)])
    asked = settings(dataset=[data], load_from_cache_file=True, split_dataset_ratio=0.25)
    found = from_cache(asked, FOLDER, None, QUIET)
    assert found.val is not None
    learn, check = split(load_chats([data]).chats, 0.25, seed=42)
    places = [{chat.where for chat in side} for side in (learn, check)]
    assert [{s.where for s in found.train}, {s.where for s in found.val}] == places
    learnt = {sequence.where for sequence in found.train}
    held = {sequence.where for sequence in found.val}
    assert not learnt & held
    asked_of = dict(enumerate([*rows(20), *rows(12)]))

    def questions(places):
        return {asked_of[int(w.rpartition(":")[2]) - 1]["messages"][0]["content"] for w in places}

    assert not questions(learnt) & questions(held)


def test_a_named_cache_must_be_encoded_as_the_recipe_encodes(tmp_path):
    data = write(tmp_path / "rows.jsonl", rows(5))
    cache = write_cache(tmp_path / "cache", recipe(data), in_process)
    folder = str(cache.folder)
    found = from_cache(settings(cached_dataset=folder), FOLDER, None, QUIET)
    assert list(found.train) == list(cache)
    for change, name in (
        ({"loss_scale": "last_round"}, "loss_scale"),
        ({"template": "qwen2_5"}, "dialect"),
        ({"history": "keep"}, "history"),
    ):
        other = settings(cached_dataset=folder).model_copy(update=change)
        with pytest.raises(ConfigError, match=name):
            from_cache(other, FOLDER, None, QUIET)
    with pytest.raises(ConfigError, match="max_length"):
        from_cache(settings(cached_dataset=folder), FOLDER, 100, QUIET)
