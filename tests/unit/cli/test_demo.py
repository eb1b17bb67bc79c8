"""The demo's settings and its stages; the whole demo is run by hand and by a benchmark."""

from pathlib import Path

import pytest

from toolgrove.cli.demo import DemoSettings, losses_of
from toolgrove.cli.stages import Stages
from toolgrove.config.settings import load_recipe, resolve
from toolgrove.core.errors import ConfigError
from toolgrove.eval.curve import Point

RECIPE = Path(__file__).parents[3] / "recipes" / "demo.yaml"


def test_the_recipe_in_the_repository_is_what_the_command_does() -> None:
    assert load_recipe(RECIPE, DemoSettings) == DemoSettings()


def test_training_settings_are_those_of_sft() -> None:
    from toolgrove.train.recipe import SftSettings

    training = {**DemoSettings().training, "model": "m", "dataset": ["d"]}
    assert resolve(SftSettings, None, training).tuner_type == "lora"


def test_stages_are_done_once(tmp_path) -> None:
    first = Stages(tmp_path, {"seed": 1})
    with first.stage("a", "doing a") as todo:
        assert todo
    with pytest.raises(KeyboardInterrupt), first.stage("b", "doing b"):
        raise KeyboardInterrupt
    second = Stages(tmp_path, {"seed": 1})
    with second.stage("a", "doing a") as todo:
        assert not todo
    with second.stage("b", "doing b") as todo:
        assert todo
        second.interrupted()
    with Stages(tmp_path, {"seed": 1}).stage("b", "doing b") as todo:
        assert todo


def test_other_settings_are_refused(tmp_path) -> None:
    with Stages(tmp_path, {"seed": 1}).stage("a", "doing a"):
        pass
    with pytest.raises(ConfigError, match="seed"):
        Stages(tmp_path, {"seed": 2})


def test_losses_of_training_lines_only() -> None:
    lines = [{"step": 1, "loss": 0.5}, {"step": 1, "eval_loss": 0.4}]
    assert losses_of(lines) == [Point(1, 0.5)]
