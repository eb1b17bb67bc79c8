"""A smaller token budget where memory is short: said, kept, and with the same steps."""

import json
import logging
import shutil

import pytest
import torch

from toolgrove.core.errors import ModelError
from toolgrove.models.tiny import tiny_model
from toolgrove.train.callbacks import read_metrics
from toolgrove.train.loss import WeightedLoss
from toolgrove.train.recipe import SftSettings
from toolgrove.train.sft import run_sft


@pytest.fixture
def settings(tmp_path):
    data = tmp_path / "rows.jsonl"
    rows = [
        [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": f"{n} " * 9}]
        for n in range(32)
    ]
    data.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    return SftSettings(
        model=str(tiny_model(tmp_path / "tiny")),
        dataset=[str(data)],
        output_dir=str(tmp_path / "out"),
        torch_dtype="float32",
        template="chatml",
        auto_budget=True,
        num_train_epochs=2,
        save_steps=1,
    )


def with_room_for(monkeypatch, tokens, error):
    """A device whose memory is full beyond so many tokens."""
    forward = WeightedLoss.forward

    def short(self, input_ids, *given, **named):
        if input_ids.numel() > tokens:
            raise error
        return forward(self, input_ids, *given, **named)

    monkeypatch.setattr(WeightedLoss, "forward", short)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_the_budget_shrinks_until_it_fits_and_stays(settings, monkeypatch, tmp_path, caplog, error):
    enough = run_sft(settings.model_copy(update={"output_dir": str(tmp_path / "enough")}))
    assert enough.steps == 4  # 32 rows, 16 a step, twice
    caplog.clear()
    with_room_for(monkeypatch, 300, error)
    with caplog.at_level(logging.WARNING):
        result = run_sft(settings)
    assert "the memory is full at" in caplog.text
    tokens = json.loads((result.output_dir / "budget.json").read_text())["tokens_per_batch"]
    assert 100 < tokens <= 300
    assert result.steps == enough.steps
    losses = [x["loss"] for x in read_metrics(result.output_dir / "metrics.jsonl")]

    copy = tmp_path / "copy"
    shutil.copytree(result.output_dir, copy)
    half = {"output_dir": str(copy), "resume_from_checkpoint": str(copy / "checkpoint-2")}
    run_sft(settings.model_copy(update=half))
    again = [x["loss"] for x in read_metrics(copy / "metrics.jsonl")]
    assert again == pytest.approx(losses, abs=1e-5)


def test_a_row_that_never_fits_is_named(settings, monkeypatch):
    with_room_for(monkeypatch, 5, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(ModelError, match="one row of") as caught:
        run_sft(settings)
    assert "rows.jsonl:" in str(caught.value.where)


def test_other_errors_are_not_taken_for_it(settings, monkeypatch):
    with_room_for(monkeypatch, 5, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        run_sft(settings)
    with pytest.raises(ValueError, match="tokens_per_batch"):
        SftSettings(**{**settings.model_dump(), "per_device_train_batch_size": 2})
