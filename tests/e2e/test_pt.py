"""Pre-training from texts to a run folder: what is read, resumed and refused."""

import json
import multiprocessing
import os
import random
import shutil
import time
from pathlib import Path

import pytest
import torch

from toolgrove.core.errors import DataError
from toolgrove.models.load import load_model
from toolgrove.models.tiny import tiny_model
from toolgrove.train.callbacks import read_metrics
from toolgrove.train.pt import run_pt
from toolgrove.train.pt_recipe import PtSettings


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def settings(model, tmp_path):
    rows = [{"text": f"The tool number {n} answers with {n * n}. " * (1 + n % 5)} for n in range(9)]
    return PtSettings(
        model=str(model),
        dataset=[write(tmp_path / "texts.jsonl", rows)],
        output_dir=str(tmp_path / "out"),
        torch_dtype="float32",
        max_length=64,
        learning_rate=3e-3,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=1,
        num_train_epochs=4,
        save_steps=3,
    )


def losses(folder):
    return [x["loss"] for x in read_metrics(Path(folder) / "metrics.jsonl") if "loss" in x]


def test_every_token_is_learnt_and_a_run_goes_on(settings, tmp_path, capfd):
    result = run_pt(settings)
    first, *_, last = read_metrics(result.output_dir / "metrics.jsonl")
    assert last["loss"] < first["loss"]
    blocks = 4 * -(-last["tokens"] // 4 // 64)  # of four epochs
    assert last["trained_tokens"] == last["tokens"] - blocks  # all but each block's first
    assert "one behind the other" in capfd.readouterr().err
    recipe = (result.output_dir / "recipe.yaml").read_text()
    assert "max_length: 64" in recipe
    assert not (result.output_dir / "dialect.json").exists()

    copy = tmp_path / "copy"
    shutil.copytree(result.output_dir, copy)
    half = {"output_dir": str(copy), "resume_from_checkpoint": str(copy / "checkpoint-3")}
    again = run_pt(settings.model_copy(update=half))
    assert again.steps == result.steps
    assert losses(copy) == pytest.approx(losses(result.output_dir), abs=1e-5)


def test_the_loss_is_that_of_the_joined_text(settings, model, tmp_path):
    from toolgrove.encoding.tokenizer import load_tokenizer

    text = "A plain text, short enough for one block."
    data = write(tmp_path / "one.jsonl", [{"text": text}])
    one = {"dataset": [data], "max_steps": 1, "per_device_train_batch_size": 1}
    result = run_pt(settings.model_copy(update=one))
    tok = load_tokenizer(model)
    ids = torch.tensor([[*tok.piece(text).ids, tok.token_id("<|im_end|>")]])
    plain = load_model(model, torch.float32)
    expected = plain(input_ids=ids, labels=ids).loss.item()
    assert losses(result.output_dir)[0] == pytest.approx(expected, rel=1e-4)


def test_texts_alone_and_validation(settings, capfd):
    update = {"packing": False, "split_dataset_ratio": 0.2, "max_steps": 1}
    result = run_pt(settings.model_copy(update=update))
    assert "each alone" in capfd.readouterr().err
    assert any("eval_loss" in x for x in read_metrics(result.output_dir / "metrics.jsonl"))


def test_rows_that_are_no_texts(settings, tmp_path):
    chat = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    data = write(tmp_path / "mixed.jsonl", [{"text": "fine " * 30}, chat, {"text": " "}])
    with pytest.raises(DataError, match="a conversation") as caught:
        run_pt(settings.model_copy(update={"dataset": [data]}))
    assert "mixed.jsonl:2" in str(caught.value.where)
    skip = {"dataset": [data], "on_bad_row": "skip", "max_steps": 1}
    result = run_pt(settings.model_copy(update=skip))
    rejected = (result.output_dir / "rejected.jsonl").read_text()
    assert "mixed.jsonl:2" in rejected
    assert "mixed.jsonl:3" in rejected


def test_flags_of_dialects_are_no_flags_of_pt():
    from toolgrove.cli.main import main

    assert main(["pt", "--agent_template", "hermes", "--model", "m", "--dataset", "d"]) == 2


def test_the_command_trains_and_prints_where(settings, tmp_path, capsys):
    from toolgrove.cli.main import main
    from toolgrove.config.settings import dump_recipe

    recipe = dump_recipe(settings.model_copy(update={"max_steps": 1}), tmp_path / "pt.yaml")
    assert main(["pt", "-c", str(recipe)]) == 0
    assert capsys.readouterr().out.strip().endswith("checkpoint-1")
    assert main(["pt", "-c", str(recipe)]) == 2  # the folder holds a run


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_loss(settings, tmp_path):
    """Kill -9 at random moments of a run: each resume ends where the undisturbed run does."""
    long = settings.model_copy(update={"num_train_epochs": 12, "save_steps": 2})
    whole = losses(run_pt(long).output_dir)
    killed = long.model_copy(update={"output_dir": str(tmp_path / "killed"), "resume": True})
    metrics = Path(killed.output_dir) / "metrics.jsonl"
    fresh = multiprocessing.get_context("forkserver")
    fresh.set_forkserver_preload(["toolgrove.train.pt", "toolgrove.train.callbacks", "peft"])
    chance, kills = random.Random(0), int(os.environ.get("TOOLGROVE_KILLS", "5"))
    ended = [0]
    for moment in range(kills):
        process = fresh.Process(target=run_pt, args=(killed,))
        process.start()
        goal, began = (moment + 1) * len(whole) / (kills + 1), time.monotonic()
        while process.is_alive() and len(read_metrics(metrics)) < goal:
            assert time.monotonic() - began < 120
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.3))  # in a step, or while a checkpoint is written
        process.kill()
        process.join()
        ended.append(max([int(x.name.split("-")[1]) for x in metrics.parent.glob("c*-*")] or [0]))
        print(f"kill {moment + 1}: {len(read_metrics(metrics))} steps, last checkpoint {ended[-1]}")
    assert ended == sorted(ended)
    assert 0 < ended[-1] < len(whole)  # the last kill was no kill of a run that had ended
    again = run_pt(killed)
    assert losses(again.output_dir) == pytest.approx(whole, abs=1e-5)
