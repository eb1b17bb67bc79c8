"""The loss of each channel is told: their weighted mean is the loss, packed or padded."""

import json

import pytest
import torch

from toolgrove.encoding.encoded import Encoded
from toolgrove.models.tiny import tiny_model
from toolgrove.train.batches import collate, collate_forest
from toolgrove.train.callbacks import read_metrics
from toolgrove.train.recipe import SftSettings
from toolgrove.train.sft import run_sft


def test_the_channels_of_a_forest_have_the_weights_of_their_rows():
    ids = ([5, 6, 7], [5, 6, 7], [5, 6, 8, 9], [5, 6])
    names = ("a", "b", "b", "")
    rows = [
        Encoded(row, [0.0, *[1.0 + number] * (len(row) - 1)], [], "", name)
        for number, (row, name) in enumerate(zip(ids, names, strict=True))
    ]
    items = list(enumerate(rows))
    wanted = {
        name or "other": sum(sum(r.weights) for r in rows if r.channel == name) for name in names
    }
    for batch in (collate(items, channels=True), collate_forest(items, channels=True)):
        found = {name: float(weights.sum()) for name, weights in batch["channels"].items()}
        assert found == wanted
        torch.testing.assert_close(sum(batch["channels"].values()), batch["weights"])


@pytest.mark.parametrize("way", ["forest", "padded", "stream"])
def test_the_loss_of_each_channel_is_told(tmp_path, way):
    rows = [
        {
            "messages": [
                {"role": "user", "content": "Say something long."},
                {"role": "assistant", "content": ["one two three", "7"][n % 2] * (1 + n)},
            ],
            "channel": ["prose", "code"][n % 2],
        }
        for n in range(6)
    ]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = SftSettings(
        model=str(tiny_model(tmp_path / "tiny")),
        dataset=[str(data)],
        output_dir=str(tmp_path / "out"),
        torch_dtype="float32",
        template="chatml",
        forest="off" if way == "padded" else "on",
        streaming=way == "stream",
        enable_channel_loss=True,
        per_device_train_batch_size=6,
        gradient_accumulation_steps=1,
        max_steps=2,
        val_dataset=[str(data)],
        eval_steps=2,
    )
    lines = read_metrics(run_sft(settings).output_dir / "metrics.jsonl")
    for line in lines:
        kind = "eval_" if "eval_loss" in line else ""
        each = [value for name, value in line.items() if name.startswith(f"{kind}loss_")]
        assert len(each) == 2
        assert min(each) - 1e-4 <= line[f"{kind}loss"] <= max(each) + 1e-4
    assert lines[0]["loss_code"] != pytest.approx(lines[0]["loss_prose"], abs=1e-3)
