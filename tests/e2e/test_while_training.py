"""What is told while training: calls of held-out turns, losses by kind, the best checkpoint."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

import toolgrove as tg
from toolgrove.cli.together import train_together
from toolgrove.core.errors import ConfigError
from toolgrove.encoding.kinds import Kinds
from toolgrove.eval.runner import run_eval
from toolgrove.eval.settings import EvalSettings
from toolgrove.eval.while_training import tool_watch
from toolgrove.models.load import load_model
from toolgrove.models.tiny import tiny_model
from toolgrove.train.batches import collate, collate_forest
from toolgrove.train.callbacks import read_metrics
from toolgrove.train.loss import WeightedLoss
from toolgrove.train.probe import set_to_forests
from toolgrove.train.recipe import SftSettings
from toolgrove.train.sft import run_sft
from toolgrove.train.watchers import refuse_parts

slow = pytest.mark.slow
CITIES = ("Rome", "Oslo", "Bern", "Lima", "Cairo", "Quito")
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def row(number):
    city = CITIES[number % len(CITIES)]
    call = {"type": "function", "function": {"name": "weather", "arguments": {"city": city}}}
    return {
        "tools": [WEATHER],
        "messages": [
            {"role": "user", "content": f"{city}?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "sunny"},
            {"role": "assistant", "content": "sunny"},
        ],
    }


def recipe(tmp_path, name="run", **more):
    data, held = tmp_path / "rows.jsonl", tmp_path / "held.jsonl"
    data.write_text("".join(json.dumps(row(n)) + "\n" for n in range(12)))
    held.write_text("".join(json.dumps(row(n)) + "\n" for n in range(6)))
    model = tmp_path / "tiny"
    given = {
        "model": str(model if model.is_dir() else tiny_model(model)),
        "dataset": [str(data)],
        "val_dataset": [str(held)],
        "output_dir": str(tmp_path / name),
        "torch_dtype": "float32",
        "template": "chatml",
        "forest": "on",
        "agent_template": "hermes",
        "tuner_type": "full",
        "learning_rate": 5e-3,
        "lr_scheduler_type": "constant",
        "per_device_train_batch_size": 6,
        "gradient_accumulation_steps": 1,
        "max_steps": 4,
        "eval_steps": 2,
        "eval_generate": 6,
        "eval_max_new_tokens": 48,
    }
    return SftSettings(**{**given, **more})


def run(settings):
    result = run_sft(settings, [tool_watch])
    return result, read_metrics(result.output_dir / "metrics.jsonl")


def told(lines):
    return [line for line in lines if "eval_loss" in line]


def learnt(lines):
    return [(line["step"], line["loss"], line["grad_norm"]) for line in lines if "loss" in line]


def test_a_model_that_learns_to_call_is_seen_to_and_its_best_checkpoint_is_kept(tmp_path):
    settings = recipe(
        tmp_path,
        max_steps=60,
        eval_steps=10,
        metric_for_best_model="tool_accuracy",
        load_best_model_at_end=True,
        early_stop_interval=2,
        save_steps=1000,
        save_total_limit=1,
    )
    result, lines = run(settings)
    accuracy = {line["step"]: line["eval_tool_accuracy"] for line in told(lines)}
    best = max(accuracy, key=lambda step: (accuracy[step], -step))
    assert accuracy[10] < 0.5 < accuracy[best]
    assert result.steps == min(60, best + 20)  # two validations that were no better end it
    assert result.best == result.checkpoint == result.output_dir / f"checkpoint-{best}"
    kept = {each.name for each in result.output_dir.glob("checkpoint-*")}
    assert kept == {f"checkpoint-{best}", f"checkpoint-{result.steps}"}
    for name in ("loss.png", "tools.png", "loss_by_kind.png"):
        assert (result.output_dir / "plots" / name).is_file()
    replies = read_metrics_of(result, best)
    calls = [line for line in replies if "weather(" in line["expected"]]
    assert (len(replies), len(calls)) == (12, 6)
    assert sum(line["right"] for line in calls) / 6 == accuracy[best]
    assert any("city is" in line["reason"] for line in read_metrics_of(result, 10))


def read_metrics_of(result, step):
    file = result.output_dir / "replies" / f"step-{step}.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize(
    "way",
    [
        "lora",
        pytest.param("full", marks=slow),
        pytest.param("padded", marks=slow),
        pytest.param("p_tuning", marks=slow),
    ],
)
def test_training_is_the_same_with_and_without_watching(tmp_path, way):
    tuner = {"padded": "lora"}.get(way, way)
    more = {"tuner_type": tuner, "forest": "off" if way in ("padded", "p_tuning") else "on"}
    more |= {"lora_dropout": 0.3} if tuner == "lora" else {}
    more |= {"num_virtual_tokens": 4} if tuner == "p_tuning" else {}
    settings = recipe(tmp_path, "watched", **more)
    watched, lines = run(settings)
    alone, plain = run(
        settings.model_copy(update={"eval_generate": 0, "output_dir": str(tmp_path / "plain")})
    )
    assert learnt(lines) == learnt(plain)
    assert [line["eval_loss"] for line in told(lines)] == [
        line["eval_loss"] for line in told(plain)
    ]
    assert not [key for line in plain for key in line if "tool" in key or "loss_" in key]
    for file in watched.checkpoint.glob("*.safetensors"):
        assert file.read_bytes() == (alone.checkpoint / file.name).read_bytes()


def test_the_answers_are_those_of_the_checkpoint_when_it_is_served(tmp_path):
    more = {"tuner_type": "lora", "learning_rate": 3e-2, "eval_max_new_tokens": 24}
    settings = recipe(tmp_path, max_steps=6, eval_steps=3, **more)
    result, _ = run(settings)
    report = run_eval(
        EvalSettings(
            model=settings.model,
            adapters=[result.checkpoint],
            template="chatml",
            agent_template="hermes",
            suite=["agent"],
            dataset=settings.val_dataset,
            max_new_tokens=24,
            torch_dtype="float32",
            output_dir=tmp_path / "eval",
        )
    )
    replies = {line["name"]: line["text"] for line in read_metrics_of(result, 6)}
    assert replies == {outcome.name: outcome.texts[0] for outcome in report.outcomes}
    assert [line["text"] for line in read_metrics_of(result, 3)] != list(replies.values())


@slow
def test_a_resumed_run_tells_the_same(tmp_path):
    settings = recipe(tmp_path, save_steps=2, metric_for_best_model="loss_argument_values")
    whole, lines = run(settings)
    copy = tmp_path / "copy"
    shutil.copytree(whole.output_dir, copy)
    shutil.rmtree(copy / "checkpoint-4")
    again, resumed = run(settings.model_copy(update={"output_dir": str(copy), "resume": True}))
    assert learnt(resumed) == [pytest.approx(line) for line in learnt(lines)]
    assert told(resumed) == [pytest.approx(line) for line in told(lines)]
    assert again.best.name == whole.best.name == "checkpoint-4"


def test_the_losses_of_the_kinds_make_the_loss_packed_and_padded(tmp_path):
    folder = tiny_model(tmp_path / "tiny")
    tok, spoken = tg.load_tokenizer(folder), tg.dialect("chatml", agent="hermes")
    rows = [tg.encode(tg.conversation(row(n)), spoken, tok)[0] for n in range(3)]
    weighed = [replace(each, weights=[w * 2.5 for w in each.weights]) for each in rows[:1]]
    items, kinds = list(enumerate([*rows[1:], *weighed])), Kinds(tok).weights
    model = load_model(folder, torch.float32, device=torch.device("cpu"))
    notes = []
    for made in (collate(items, kinds=kinds), collate_forest(items, kinds=kinds)):
        loss = WeightedLoss(model)
        if "tree" in made:
            assert not set_to_forests(loss, 500)
        names = ("input_ids", "weights", "tree", "channels")
        with torch.no_grad():
            total = float(loss(**{name: made[name] for name in names if name in made}))
        torch.testing.assert_close(sum(made["channels"].values()), made["weights"])
        told = loss.notes.take()
        weights = {name: float(each.sum()) for name, each in made["channels"].items()}
        assert sum(told[f"loss_{name}"] * weights[name] for name in weights) == pytest.approx(total)
        notes.append(told)
    assert len(notes[0]) == 6
    assert notes[0] == pytest.approx(notes[1], rel=1e-4)


@slow
def test_a_streaming_or_cached_run_answers_too(tmp_path, monkeypatch):
    monkeypatch.setenv("TOOLGROVE_CACHE", str(tmp_path / "cache"))
    short = {"max_steps": 2, "eval_steps": 2, "eval_max_new_tokens": 2}
    _, held = run(recipe(tmp_path, "held", **short))
    for name, more in {
        "streaming": {"streaming": True},
        "cached": {"load_from_cache_file": True},
    }.items():
        _, lines = run(recipe(tmp_path, name, **short, **more))
        assert told(lines)[0].keys() == told(held)[0].keys()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"val_dataset": []}, "eval_generate needs val_dataset"),
        ({"load_from_cache_file": True, "val_dataset": []}, "eval_generate needs"),
        ({"cached_val_dataset": "c"}, "a cache holds tokens"),
        ({"task_type": "reward"}, "eval_generate belongs to task_type causal_lm"),
        ({"val_dataset": [], "eval_generate": 0, "metric_for_best_model": "loss"}, "needs val_"),
        ({"greater_is_better": True}, "says nothing without"),
        ({"load_best_model_at_end": True, "save_strategy": "no"}, "needs checkpoints"),
    ],
)
def test_recipes_that_cannot_be_watched_are_refused(tmp_path, more, said):
    with pytest.raises(ValidationError, match=said):
        recipe(tmp_path, **more)


def test_metrics_that_nothing_tells_are_refused_before_training(tmp_path):
    for more, hint in (
        ({"metric_for_best_model": "tool_acuracy"}, "tool_accuracy"),
        ({"metric_for_best_model": "tool_accuracy", "eval_generate": 0}, "--eval_generate 32"),
    ):
        with pytest.raises(ConfigError) as caught:
            run(recipe(tmp_path, **more))
        assert hint in caught.value.hint
    with pytest.raises(ConfigError, match="nothing watches"):
        run_sft(recipe(tmp_path))
    with pytest.raises(ConfigError, match='no validation tells "loss_thinking"') as caught:
        run(recipe(tmp_path, metric_for_best_model="loss_thinking"))
    assert "loss_text" in caught.value.hint


@slow
def test_two_processes_share_the_questions(tmp_path):
    more = {"max_steps": 12, "eval_steps": 12, "per_device_train_batch_size": 3}
    settings = recipe(tmp_path, "two", **more, nproc_per_node=2)
    assert train_together(settings) == 0
    (line,) = told(read_metrics(tmp_path / "two" / "metrics.jsonl"))
    one = settings.model_copy(
        update={
            "output_dir": str(tmp_path / "one"),
            "nproc_per_node": 1,
            "per_device_train_batch_size": 6,
        }
    )
    (other,) = told(run(one)[1])
    assert {name for name in line if "tool" in name} == {name for name in other if "tool" in name}
    assert line["eval_tool_names"] == pytest.approx(other["eval_tool_names"], abs=0.2)
    file = "replies/step-12.jsonl"
    lines = [(tmp_path / way / file).read_text().splitlines() for way in ("one", "two")]
    names = [[json.loads(each)["name"] for each in way] for way in lines]
    assert names[0] == names[1]


def test_a_model_that_is_spread_over_processes_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no process has the whole model"):
        refuse_parts(recipe(tmp_path, parallel="fsdp2"))
    refuse_parts(recipe(tmp_path, parallel="ddp"))
