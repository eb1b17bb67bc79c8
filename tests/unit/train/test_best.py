"""The best of the validations: which it is, and when none better comes."""

import json
from types import SimpleNamespace

import pytest
from transformers import TrainerControl

from toolgrove.train.early_stop import EarlyStop
from toolgrove.train.settings import Best


def test_losses_are_better_when_lower_and_all_else_when_higher():
    assert Best.of("loss") == Best("eval_loss", greater=False)
    assert Best.of("eval_loss_thinking") == Best("eval_loss_thinking", greater=False)
    assert Best.of("tool_accuracy") == Best("eval_tool_accuracy", greater=True)
    assert Best.of("tool_accuracy", False) == Best("eval_tool_accuracy", greater=False)


@pytest.mark.parametrize(
    ("name", "values", "stops"),
    [
        ("tool_accuracy", [0.1, 0.5, 0.4, 0.5], 3),
        ("tool_accuracy", [0.9, 0.1, 0.2, 0.3], 2),
        ("loss", [0.9, 0.1, 0.2, 0.3], 3),
        ("loss", [0.4, 0.3, 0.2, 0.1], None),
    ],
)
def test_a_run_ends_after_two_validations_that_are_no_better(tmp_path, name, values, stops):
    file = tmp_path / "metrics.jsonl"
    file.write_text("")
    watch, stopped = EarlyStop(file, 2, Best.of(name)), None
    for step, value in enumerate(values):
        line = {f"eval_{name}": value}
        control = TrainerControl()
        state = SimpleNamespace(global_step=step, is_world_process_zero=True)
        watch.on_evaluate(None, state, control, metrics=line)
        if control.should_training_stop and stopped is None:
            stopped = step
        with file.open("a") as told:
            told.write(json.dumps({"step": step, **line}) + "\n")
    assert stopped == stops
