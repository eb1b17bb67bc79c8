"""Training on streaming rows: what is learnt, resumed, rejected and refused."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from toolgrove.core.errors import ConfigError, DataError, ModelError
from toolgrove.models.tiny import tiny_model
from toolgrove.train.callbacks import read_metrics
from toolgrove.train.pt import run_pt
from toolgrove.train.pt_recipe import PtSettings
from toolgrove.train.recipe import SftSettings
from toolgrove.train.sft import run_sft


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def chat(n):
    said = {"role": "user", "content": f"Number {n}?"}
    return {"messages": [said, {"role": "assistant", "content": f"It is {n * n}. " * (1 + n % 3)}]}


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def recipe(model, tmp_path, kind=SftSettings, **more):
    data = chat if kind is SftSettings else lambda n: {"text": f"Tool {n} says {n * n}. " * 4}
    common = {
        "model": str(model),
        "dataset": [written(tmp_path / "rows.jsonl", [data(n) for n in range(14)])],
        "streaming": True,
        "shuffle_buffer_size": 5,
        "output_dir": str(tmp_path / "out"),
        "torch_dtype": "float32",
        "learning_rate": 3e-3,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "max_steps": 8,
        "save_steps": 3,
    }
    return kind(**{**common, **more})


def losses(folder):
    return [x["loss"] for x in read_metrics(Path(folder) / "metrics.jsonl") if "loss" in x]


@pytest.mark.parametrize("way", ["forest", "padded", "pt"])
def test_a_stream_is_learnt_and_goes_on(model, tmp_path, way):
    kind, run = (PtSettings, run_pt) if way == "pt" else (SftSettings, run_sft)
    more = {"max_length": 32} if way == "pt" else {"forest": "off" if way == "padded" else "on"}
    settings = recipe(model, tmp_path, kind, **more)
    result = run(settings)
    whole = losses(result.output_dir)
    assert len(whole) == 8
    assert whole[-1] < whole[0]
    for step in (3, 6):
        copy = tmp_path / f"copy-{step}"
        shutil.copytree(result.output_dir, copy)
        half = {
            "output_dir": str(copy),
            "resume_from_checkpoint": str(copy / f"checkpoint-{step}"),
        }
        run(settings.model_copy(update=half))
        assert losses(copy) == pytest.approx(whole, abs=1e-5)
        last = read_metrics(copy / "metrics.jsonl")[-1]
        assert last["tokens"] == read_metrics(result.output_dir / "metrics.jsonl")[-1]["tokens"]


def test_a_window_of_all_rows_teaches_what_holding_them_does(model, tmp_path):
    more = {"shuffle_buffer_size": 100, "max_steps": 3, "forest": "on"}
    streamed = run_sft(recipe(model, tmp_path, **more))
    held = recipe(model, tmp_path, **more, output_dir=str(tmp_path / "held"))
    held = run_sft(held.model_copy(update={"streaming": False}))
    assert losses(streamed.output_dir) == pytest.approx(losses(held.output_dir), abs=1e-5)


def test_bad_rows_are_kept_once(model, tmp_path):
    rows = [chat(n) for n in range(9)]
    rows[4] = {"messages": [{"role": "user", "content": "no answer"}]}
    file = tmp_path / "mixed.jsonl"
    lines = [json.dumps(row) for row in rows]
    lines[7] = lines[7][:-9]
    file.write_text("\n".join(lines) + "\n")
    strict = recipe(model, tmp_path, dataset=[str(file)])
    with pytest.raises(DataError) as caught:
        run_sft(strict)
    assert "mixed.jsonl:5" in str(caught.value.where)
    update = {"on_bad_row": "skip", "output_dir": str(tmp_path / "skipped")}
    result = run_sft(strict.model_copy(update=update))
    rejected = (result.output_dir / "rejected.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["where"] for line in rejected) == [f"{file}:5", f"{file}:8"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"max_steps": -1}, "max_steps"),
        ({"split_dataset_ratio": 0.1}, "val_dataset"),
        ({"dataloader_num_workers": 1}, "dataloader_num_workers"),
        ({"save_strategy": "epoch"}, "save_strategy"),
        ({"dataset_num_proc": 2}, "dataset_num_proc"),
        ({"load_from_cache_file": True}, "cache"),
    ],
)
def test_what_does_not_go_with_a_stream(model, tmp_path, more, says):
    with pytest.raises(ValueError, match=says):
        recipe(model, tmp_path, **more)


def test_a_checkpoint_without_a_mark_is_refused(model, tmp_path):
    held = recipe(model, tmp_path).model_copy(update={"streaming": False})
    run_sft(held)
    update = {"streaming": True, "resume": True, "max_steps": 9}
    with pytest.raises(ModelError, match="did not stream"):
        run_sft(held.model_copy(update=update))
    with pytest.raises(ConfigError):
        run_sft(recipe(model, tmp_path))  # the folder holds a run


@pytest.mark.slow
@pytest.mark.parametrize("command", ["sft", "pt"])
def test_two_processes_learn_what_one_does(model, tmp_path, command):
    kind = SftSettings if command == "sft" else PtSettings
    found = []
    for ranks in (1, 2):
        out = tmp_path / f"ranks-{ranks}"
        flags = {"dataset": recipe(model, tmp_path, kind).dataset[0], "model": model}
        flags |= {"streaming": True, "shuffle_buffer_size": 5, "max_steps": 4, "output_dir": out}
        flags |= {"torch_dtype": "float32", "per_device_train_batch_size": 2, "lora_dropout": 0}
        flags |= {"gradient_accumulation_steps": 4 // ranks, "nproc_per_node": ranks}
        words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        done = subprocess.run(
            [sys.executable, "-m", "toolgrove", command, *words], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        found.append(losses(out))
    assert found[0] == pytest.approx(found[1], rel=1e-4)
