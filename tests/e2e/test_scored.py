"""Classifiers and reward models: they learn, go on, and score alike when loaded again."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, set_seed

from toolgrove.core.errors import DataError, ModelError
from toolgrove.encoding.tokenizer import load_tokenizer
from toolgrove.models.adapters import load_adapter
from toolgrove.models.head import causal
from toolgrove.models.load import load_model
from toolgrove.models.scorer import load_scorer, scores
from toolgrove.models.task import read_head
from toolgrove.models.tiny import tiny_model
from toolgrove.train.callbacks import read_metrics
from toolgrove.train.prepare_scored import prepare_scored
from toolgrove.train.recipe import SftSettings
from toolgrove.train.sft import run_sft
from toolgrove.train.trainer import SftTrainer

LONG = {"role": "system", "content": "You sort messages. " * 8}


def asked(text):
    return [LONG, {"role": "user", "content": text}]


def said(n, text):
    return [*asked(f"Number {n}?"), {"role": "assistant", "content": text}]


ROWS = {
    "classes": [
        {"messages": asked(["yes", "no", "why"][n % 3] * 3), "label": n % 3} for n in range(12)
    ],
    "several": [
        {"messages": asked("ab"[: 1 + n % 2] * 3), "label": [0, 1][: 1 + n % 2]} for n in range(12)
    ],
    "number": [{"messages": asked("x" * (n % 4)), "label": (n % 4) / 2} for n in range(12)],
    "reward": [
        {"messages": said(n, f"It is {n}."), "rejected_response": "Who knows?", "margin": 0.1}
        for n in range(12)
    ],
}
FLAGS = {
    "classes": {"task_type": "seq_cls", "num_labels": 3},
    "several": {
        "task_type": "seq_cls",
        "num_labels": 2,
        "problem_type": "multi_label_classification",
    },
    "number": {"task_type": "seq_cls", "num_labels": 1},
    "reward": {"task_type": "reward", "center_rewards_coefficient": 0.01},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny", "qwen3")


def recipe(model, folder, task, rows=None, **more):
    file = folder / f"{task}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows or ROWS[task]))
    common = {
        "model": str(model),
        "dataset": [str(file)],
        "output_dir": str(folder / "out"),
        "torch_dtype": "float32",
        "template": "chatml",
        "lora_dropout": 0.0,
        "learning_rate": 3e-3,
        "per_device_train_batch_size": 12,
        "gradient_accumulation_steps": 1,
        "max_steps": 10,
        "save_steps": 4,
    }
    return SftSettings(**{**common, **FLAGS[task], **more})


def lines(folder):
    return read_metrics(Path(folder) / "metrics.jsonl")


def loaded(settings, checkpoint):
    head = read_head(checkpoint)
    assert head == settings.head
    if (checkpoint / "adapter_config.json").is_file():
        return load_adapter(load_scorer(Path(settings.model), torch.float32, head), checkpoint)
    return load_scorer(checkpoint, torch.float32, head)


@pytest.mark.parametrize("task", FLAGS)
@pytest.mark.parametrize("way", ["lora", "full"])
def test_a_scorer_learns_goes_on_and_scores_alike(model, tmp_path, task, way, monkeypatch):
    kept = []
    train = SftTrainer.train
    monkeypatch.setattr(
        SftTrainer, "train", lambda self, *a, **k: kept.append(self) or train(self, *a, **k)
    )
    rate = {"tuner_type": way} | ({"learning_rate": 3e-4} if way == "full" else {})
    settings = recipe(model, tmp_path, task, **rate)
    result = run_sft(settings)
    told = lines(result.output_dir)
    assert told[-1]["loss"] < told[0]["loss"]
    assert ("acc" in told[-1]) is (task != "number")

    inside = kept[0].tuned.model.eval()
    causal(inside).set_attn_implementation("sdpa")
    ids = [1, 40, 50, 60, 70, 2]
    there = loaded(settings, result.checkpoint)
    torch.testing.assert_close(scores(there, ids), scores(inside, ids), rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        theirs = there(input_ids=torch.tensor([ids])).logits[0]
    torch.testing.assert_close(scores(there, ids), theirs, rtol=1e-4, atol=1e-4)

    copy = tmp_path / "copy"
    shutil.copytree(result.output_dir, copy)
    half = {"output_dir": str(copy), "resume_from_checkpoint": str(copy / "checkpoint-4")}
    run_sft(settings.model_copy(update=half))
    assert [x["loss"] for x in lines(copy)] == pytest.approx([x["loss"] for x in told], abs=1e-5)


@pytest.mark.parametrize("task", FLAGS)
def test_forests_and_padded_batches_give_the_loss_of_transformers(model, tmp_path, task):
    first = []
    plain = {"tuner_type": "full", "max_steps": 1}
    plain |= {"center_rewards_coefficient": 0.0} if task == "reward" else {}
    for forest in ("on", "off"):
        more = {**plain, "forest": forest, "output_dir": str(tmp_path / forest)}
        settings = recipe(model, tmp_path, task, **more)
        first.append(lines(run_sft(settings).output_dir)[0]["loss"])
    assert first[0] == pytest.approx(first[1], rel=1e-4)
    set_seed(settings.seed)
    there = load_scorer(model, torch.float32, settings.head)
    tok = load_tokenizer(model)
    data = prepare_scored(settings, model, tmp_path).train
    found = [[scores(there, row.ids) for row in item.rows] for item in data]
    if task == "reward":
        each = [-torch.nn.functional.logsigmoid(c - r - 0.1) for c, r in found]
        assert tok.decode(data[0].rows[1].ids).rstrip().endswith("Who knows?<|im_end|>")
    else:
        assert tok.decode(data[0].rows[0].ids).endswith("<|im_start|>assistant\n")
        config = there.config
        labels = torch.tensor([item.label for item in data])
        labels = labels[:, 0].long() if task == "classes" else labels
        labels = labels[:, 0] if task == "number" else labels
        logits = torch.stack([row[0] for row in found])
        each = [there.loss_function(labels, pooled_logits=logits, config=config)]
    assert first[0] == pytest.approx(float(torch.stack(each).mean()), rel=1e-3)


def test_validation_tells_how_many_are_right(model, tmp_path):
    settings = recipe(model, tmp_path, "classes", split_dataset_ratio=0.3, eval_steps=5)
    told = [x for x in lines(run_sft(settings).output_dir) if "eval_loss" in x]
    assert len(told) == 2
    assert all(0 <= x["eval_acc"] <= 1 for x in told)


def test_a_scorer_is_no_writer_and_the_other_way_round(model, tmp_path):
    settings = recipe(model, tmp_path, "classes", max_steps=1)
    checkpoint = run_sft(settings).checkpoint
    with pytest.raises(ModelError, match="scores conversations"):
        load_adapter(load_model(model, torch.float32), checkpoint)
    full = settings.model_copy(update={"tuner_type": "full", "output_dir": str(tmp_path / "f")})
    checkpoint = run_sft(full).checkpoint
    assert AutoModelForSequenceClassification.from_pretrained(checkpoint).num_labels == 3


@pytest.mark.parametrize(
    ("task", "row", "says"),
    [
        ("classes", {"label": 3}, "classes are 0 to 2"),
        ("classes", {"label": "yes"}, "number of a class"),
        ("classes", {"label": True}, "number of a class"),
        ("classes", {}, "no label"),
        ("several", {"label": 1}, "list of classes"),
        ("number", {"label": [1, 2]}, "2 numbers"),
        ("reward", {}, "no rejected answer"),
    ],
)
def test_labels_that_do_not_fit(model, tmp_path, task, row, says):
    bad = {"messages": said(1, "Hm."), **row}
    settings = recipe(model, tmp_path, task, rows=[ROWS[task][0], bad])
    with pytest.raises(DataError) as caught:
        run_sft(settings)
    assert says in str(caught.value) + str(caught.value.hint)
    assert f"{task}.jsonl:2" in str(caught.value.where)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"num_labels": None}, "num_labels"),
        ({"task_type": "reward"}, "num_labels"),
        ({"loss_scale": "react"}, "loss_scale"),
        ({"tuner_type": "prompt"}, "learnt prompts"),
        ({"quant_bits": 4}, "quant_bits"),
        ({"truncation_strategy": "left"}, "not cut"),
        ({"streaming": True}, "streaming"),
    ],
)
def test_flags_that_do_not_go_with_scores(model, tmp_path, more, says):
    with pytest.raises(ValueError, match=says):
        recipe(model, tmp_path, "classes", **more)
