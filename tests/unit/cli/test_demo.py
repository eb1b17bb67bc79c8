"""The demo's settings and its stages; the whole demo is run by hand and by a benchmark."""

import json
from pathlib import Path

import pytest

from toolgrove.cli.demo import Measured, _Demo, losses_of
from toolgrove.cli.demo_settings import DemoSettings, others
from toolgrove.cli.stages import Stages
from toolgrove.config.settings import load_recipe, resolve
from toolgrove.core.errors import ConfigError
from toolgrove.eval.curve import Point
from toolgrove.eval.measures import score
from toolgrove.eval.outcome import Outcome
from toolgrove.eval.runner import Report
from toolgrove.train.run import METRICS

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


def test_every_other_category_is_measured_a_little() -> None:
    assert len(others(DemoSettings())) == 11
    assert "live_multiple#1" in others(DemoSettings())
    assert others(DemoSettings(others=0)) == []


def test_the_report_tells_base_against_tuned(tmp_path, capsys) -> None:
    def report(right: bool) -> Report:
        kinds = [("bfcl", "simple_python"), ("bfcl", "multiple"), ("behaviour", "general_chat")]
        outcomes = [
            Outcome(suite, name, "a", {"right": float(right), "arguments": float(right)})
            for suite, name in kinds
        ]
        return Report("m", "d", score(outcomes), outcomes, 1.0, 1.0)

    settings = DemoSettings(output_dir=tmp_path)
    demo = _Demo(settings, Stages(tmp_path, {}), None)
    demo.tuned.mkdir()
    demo.dataset.write_text("{}\n")
    (demo.tuned / METRICS).write_text('{"step": 1, "loss": 0.5}\n')
    measured = Measured(report(False), report(True), None)
    demo.report(measured)
    demo.tell(measured)
    told = capsys.readouterr().out
    assert (
        "behaviour, all categories: right 0.0 % [0.0, 79.3] before, 100.0 % [20.7, 100.0]" in told
    )
    html = (tmp_path / "report.html").read_text()
    assert html.count('data-change="gained"') == 3
    assert "training loss" in html
    numbers = json.loads((tmp_path / "report.json").read_text())
    assert numbers["after"]["scores"][0]["arguments"]["share"] == 1.0
