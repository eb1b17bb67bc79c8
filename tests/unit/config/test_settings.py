"""Settings, recipes and their errors."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from toolgrove.config import names
from toolgrove.config.settings import Settings, dump_recipe, load_recipe, resolve
from toolgrove.core.errors import ConfigError


class Inner(Settings):
    deep: int = 1


class Run(Settings):
    model: str
    """Which model."""
    dataset: list[str] = []
    lora_rank: int = 8
    lora_dropout: float = 0.0
    tuner_type: Literal["lora", "full"] = "lora"
    inner: Inner = Inner()
    extras: dict[str, int] = {"a": 1}
    as_json: bool = Field(default=False, alias="json")


def recipe(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    return file


def test_docstrings_become_help() -> None:
    assert Run.model_fields["model"].description == "Which model."


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    file = recipe(tmp_path, "model: m\nlora-rank: 4\njson: true\n")
    run = load_recipe(file, Run, {"lora_rank": "16"})
    assert (run.model, run.lora_rank, run.as_json) == ("m", 16, True)


def test_pairs_from_flags_are_added(tmp_path: Path) -> None:
    assert resolve(Run, None, {"model": "m", "extras": {"b": 2}}).extras == {"a": 1, "b": 2}
    file = recipe(tmp_path, "model: m\nextras: {c: 3}\ninner: {deep: 4}\n")
    run = load_recipe(file, Run, {"extras": {"c": 5, "d": 6}, "inner": {}})
    assert (run.extras, run.inner.deep) == ({"c": 5, "d": 6}, 4)


@pytest.mark.parametrize(
    ("text", "line", "says", "hint"),
    [
        ("model: m\nlora_rnk: 4\n", 2, 'unknown key "lora_rnk"', 'did you mean "lora_rank"?'),
        ("model: m\n\nlora_rank: many\n", 3, '"many" is not a whole number', None),
        ("model: m\ndataset:\n- a\n- {}\n", 4, "is not text", None),
        ("model: m\ntuner_type: lorra\n", 2, "is not a choice", 'did you mean "lora"?'),
        ("model: m\ninner:\n  dep: 2\n", 3, 'unknown key "dep"', 'did you mean "deep"?'),
        ("model: m\ninner:\n  deep: two\n", 3, '"two" is not a whole number', None),
        ("model: m\ninner: 3\n", 2, "is not a mapping", None),
        ("model: m\ndataset: [a, b\n", 3, "not valid YAML", "cut off"),
        ('model: "m\n', 2, "not valid YAML", "cut off"),
        ("- a\n- b\n", 1, "mapping", None),
        ("model: m\nmodel: n\n", 2, "stands twice", None),
    ],
)
def test_each_problem_has_its_line(
    tmp_path: Path, text: str, line: int, says: str, hint: str | None
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(recipe(tmp_path, text), Run)
    assert caught.value.where == f"{tmp_path / 'recipe.yaml'}:{line}"
    assert says in caught.value.what
    assert hint is None or hint in str(caught.value.hint)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(recipe(tmp_path, "lora_rank: a\nlora_dropout: b\n"), Run)
    message = str(caught.value)
    assert "recipe.yaml:1: lora_rank" in message
    assert "recipe.yaml:2: lora_dropout" in message
    assert '"model" is missing' in message


@pytest.mark.parametrize("content", [None, "", "  \n"])
def test_missing_and_empty_files(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "recipe.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError):
        load_recipe(file, Run)


def test_a_folder_or_bytes_are_not_a_recipe(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        load_recipe(tmp_path, Run)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError):
        load_recipe(tmp_path / "bytes", Run)


def test_older_spellings_work_and_are_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names._remark.cache_clear()
    file = recipe(tmp_path, "model_id_or_path: m\nsft-type: full\nlora_dropout_p: 0.5\n")
    with caplog.at_level(logging.WARNING):
        run = load_recipe(file, Run)
        load_recipe(file, Run)
    assert (run.model, run.tuner_type, run.lora_dropout) == ("m", "full", 0.5)
    assert [record.getMessage() for record in caplog.records] == [
        "model_id_or_path is an older spelling; its name is model",
        "sft_type is an older spelling; its name is tuner_type",
        "lora_dropout_p is an older spelling; its name is lora_dropout",
    ]


def test_old_and_new_name_together_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="given twice"):
        load_recipe(recipe(tmp_path, "model: m\nmodel_id_or_path: n\n"), Run)


def test_an_error_under_an_older_spelling_has_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(recipe(tmp_path, "model: m\nlora-dropout-p: x\n"), Run)
    assert str(caught.value.where).endswith(":2")


def test_a_wrong_flag_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(Run, None, {"model": "m", "lora_rank": "x"})
    assert caught.value.where == "--lora_rank"


@given(
    st.builds(
        Run,
        model=st.text(),
        dataset=st.lists(st.text()),
        lora_rank=st.integers(),
        lora_dropout=st.floats(allow_nan=False),
        inner=st.builds(Inner, deep=st.integers()),
        json=st.booleans(),
    )
)
def test_a_dumped_recipe_gives_the_same_settings(
    tmp_path_factory: pytest.TempPathFactory, run: Run
) -> None:
    file = tmp_path_factory.mktemp("recipes") / "recipe.yaml"
    assert load_recipe(dump_recipe(run, file), Run) == run
