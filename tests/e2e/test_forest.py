"""Fine-tuning with forests: the same losses as padded rows, resumed exactly, told what matters."""

import json
import logging
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest

from toolgrove.core.errors import ConfigError
from toolgrove.models.tiny import tiny_model
from toolgrove.train.callbacks import read_metrics
from toolgrove.train.recipe import SftSettings
from toolgrove.train.sft import run_sft

PROMPTS = [f"You are assistant number {n}. " + "Be kind and short. " * 6 for n in range(5)]


def row(number):
    return {
        "messages": [
            {"role": "system", "content": PROMPTS[number % 5]},
            {"role": "user", "content": f"What is {number} and {number % 7}?"},
            {"role": "assistant", "content": f"It is {number + number % 7}. " * (1 + number % 3)},
        ]
    }


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny", "qwen3")


@pytest.fixture
def settings(model, tmp_path):
    return SftSettings(
        model=str(model),
        dataset=[write(tmp_path / "train.jsonl", [row(n) for n in range(40)])],
        template="chatml",
        output_dir=str(tmp_path / "run"),
        forest="on",
        tokens_per_batch=400,
        gradient_accumulation_steps=2,
        num_train_epochs=3,
        learning_rate=3e-3,
        lora_dropout=0.1,
        save_steps=2,
        torch_dtype="float32",
    )


def lines(folder):
    return [line for line in read_metrics(Path(folder) / "metrics.jsonl") if "loss" in line]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_forests_packs_and_padded_rows_learn_the_same(settings, tmp_path, checkpointing):
    """One optimizer step holds all rows, however they are computed."""

    def run(name, **how):
        update = {
            "output_dir": str(tmp_path / name),
            "tokens_per_batch": None,
            "per_device_train_batch_size": 40,
            "gradient_accumulation_steps": 1,
            "gradient_checkpointing": checkpointing,
            "num_train_epochs": 6,
            "lora_dropout": 0.0,
            "save_strategy": "no",
            "split_dataset_ratio": 0.1,
            "eval_steps": 3,
            **how,
        }
        result = run_sft(settings.model_copy(update=update))
        every = read_metrics(result.output_dir / "metrics.jsonl")
        names = ("tokens", "trained_tokens", "loss", "eval_loss")
        return [[line.get(name) for name in names] for line in every]

    padded = run("padded", forest="off")
    forest = run("forest", forest="on")
    packed = run("packed", forest="off", packing=True)
    assert len(padded) == 6 + 2
    assert padded[-2][2] < padded[0][2]
    for other in (forest, packed):
        for one, same in zip(padded, other, strict=True):
            assert one == pytest.approx(same, abs=1e-4)


@pytest.mark.slow
def test_in_bfloat16_a_hundred_steps_differ_no_more_than_by_the_order_of_rows(settings, tmp_path):
    """Every step has all rows; what is left are sums in another order, in numbers of 8 bits."""
    few = write(tmp_path / "few.jsonl", [row(n) for n in (0, 5, 10, 15, 1, 6)])

    def losses(name, **how):
        update = {
            "output_dir": str(tmp_path / name),
            "dataset": [few],
            "torch_dtype": "bfloat16",
            "tokens_per_batch": None,
            "per_device_train_batch_size": 6,
            "gradient_accumulation_steps": 1,
            "num_train_epochs": 100,
            "lora_dropout": 0.0,
            "save_strategy": "no",
            **how,
        }
        run = run_sft(settings.model_copy(update=update))
        return [line["loss"] for line in lines(run.output_dir)]

    def distance(one, other):
        return max(abs(a - b) for a, b in zip(one, other, strict=True))

    plain = {"forest": "off", "group_by_length": False}
    padded = [losses(f"padded-{n}", data_seed=n, **plain) for n in range(3)]
    noise = max(distance(one, other) for one, other in combinations(padded, 2))
    assert len(padded[0]) == 100
    assert 0 < noise < 0.05 * (padded[0][0] - padded[0][-1])
    forest = losses("forest", forest="on", data_seed=0)
    assert min(distance(forest, one) for one in padded) <= 2 * noise


def test_resuming_continues_identically(settings, tmp_path):
    whole = run_sft(settings)
    steps = lines(whole.output_dir)
    assert whole.steps >= 8
    for kept in (2, 4):  # in the middle of the first epoch, and in the second one
        copy = tmp_path / f"from-{kept}"
        shutil.copytree(whole.output_dir, copy)
        for later in range(kept + 1, whole.steps + 1):
            shutil.rmtree(copy / f"checkpoint-{later}", ignore_errors=True)
        run_sft(settings.model_copy(update={"output_dir": str(copy), "resume": True}))
        resumed = lines(copy)
        assert [x["tokens"] for x in resumed] == [x["tokens"] for x in steps]
        assert [x["loss"] for x in resumed] == pytest.approx([x["loss"] for x in steps], abs=1e-5)


def test_sharing_and_long_rows_are_told(settings, caplog):
    with caplog.at_level(logging.INFO):
        run_sft(settings.model_copy(update={"tokens_per_batch": 70, "max_steps": 1}))
    assert "times fewer" in caplog.text
    assert "rows are longer than --tokens_per_batch 70 and run alone" in caplog.text
    assert "train.jsonl:" in caplog.text


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        ([row(n) for n in range(40)], "forests: "),
        ([{"query": f"{n} " * 30, "response": f"{n}"} for n in range(40)], "padded batches: "),
    ],
)
def test_auto_takes_forests_where_they_pay(settings, tmp_path, caplog, rows, chosen):
    """Two ways of computing the same: only the one that costs less may be taken unasked."""
    update = {"dataset": [write(tmp_path / "some.jsonl", rows)], "forest": "auto", "max_steps": 1}
    with caplog.at_level(logging.INFO):
        run_sft(settings.model_copy(update=update))
    (said,) = [record.getMessage() for record in caplog.records if "worth it" in record.message]
    assert said.startswith(chosen)
    assert ("times fewer" in caplog.text) == (chosen == "forests: ")


def test_a_model_that_cannot_is_padded_or_refused(settings, tmp_path, model, caplog):
    """A plain sum of what came before, with no attention: forests would be wrong."""
    from transformers import AutoModelForCausalLM, MambaConfig

    folder = tmp_path / "mamba"
    shutil.copytree(model, folder, ignore=shutil.ignore_patterns("*.safetensors", "config.json"))
    config = MambaConfig(vocab_size=512, hidden_size=32, num_hidden_layers=2, state_size=8)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    update = {"model": str(folder), "max_steps": 1, "forest": "auto"}
    update |= {"tokens_per_batch": None, "target_modules": ["in_proj"]}
    run_sft(settings.model_copy(update=update))
    assert caplog.text.count("batches are padded") == 1
    for how in ({"forest": "on"}, {"forest": "off", "packing": True}):
        update |= {"output_dir": str(tmp_path / "refused"), **how}
        with pytest.raises(ConfigError, match="cannot run forests"):
            run_sft(settings.model_copy(update=update))


@pytest.mark.slow
def test_two_processes_compute_what_one_does(settings, tmp_path):
    def losses(name, processes):
        chosen = {
            **settings.model_dump(mode="json", exclude_none=True),
            "output_dir": str(tmp_path / name),
            "gradient_accumulation_steps": 4 // processes,
            "lora_dropout": 0.0,
            "nproc_per_node": processes,
        }
        recipe = tmp_path / f"{name}.yaml"
        recipe.write_text(json.dumps(chosen), encoding="utf-8")
        words = [sys.executable, "-m", "toolgrove", "sft", "-c", str(recipe)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return [(x["loss"], x["tokens"]) for x in lines(tmp_path / name)]

    one, two = losses("one", 1), losses("two", 2)
    assert len(one) > 3
    assert [tokens for _, tokens in one] == [tokens for _, tokens in two]
    assert [loss for loss, _ in one] == pytest.approx([loss for loss, _ in two], abs=1e-5)
