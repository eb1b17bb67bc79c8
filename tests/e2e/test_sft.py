"""Fine-tuning from rows to a run folder: resuming, stopping, and what goes wrong."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from toolgrove.core.errors import ConfigError, DataError, ModelError, TemplateError
from toolgrove.models.tiny import tiny_model
from toolgrove.train.callbacks import read_metrics
from toolgrove.train.recipe import SftSettings
from toolgrove.train.sft import run_sft

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def row(number):
    city = ["Rome", "Oslo", "Bern"][number % 3]
    return {
        "messages": [
            {"role": "user", "content": f"{'Please! ' * (number % 5)}What about {city}?"},
            {"role": "assistant", "content": f"{city} is fine. " * (1 + number % 4)},
        ]
    }


def call_row():
    call = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Rome"}}}
    return {
        "tools": [WEATHER],
        "messages": [
            {"role": "user", "content": "Rome?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
        ],
    }


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def settings(model, tmp_path):
    return SftSettings(
        model=str(model),
        dataset=[write(tmp_path / "train.jsonl", [row(n) for n in range(22)])],
        template="chatml",
        output_dir=str(tmp_path / "run"),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        num_train_epochs=2,
        learning_rate=3e-3,
        lora_dropout=0.2,
        save_steps=4,
        torch_dtype="float32",
    )


def lines(folder):
    return [line for line in read_metrics(Path(folder) / "metrics.jsonl") if "loss" in line]


def test_a_run_leaves_all_that_is_needed(settings, model):
    with_val = settings.model_copy(update={"split_dataset_ratio": 0.2})
    result = run_sft(with_val)
    run = result.output_dir
    assert result.stopped is None
    assert result.exit_code == 0
    assert result.checkpoint == run / f"checkpoint-{result.steps}"
    for name in ("recipe.yaml", "tokenizer.json", "plots/loss.png", "plots/learning_rate.png"):
        assert (run / name).is_file(), name
    for name in ("adapter_model.safetensors", "tokenizer.json", "trainer_state.json"):
        assert (result.checkpoint / name).is_file(), name
    dialect = json.loads((run / "dialect.json").read_text())
    assert dialect["chat_template"] == "chatml"
    assert dialect["fingerprint"]
    first, *_, last = lines(run)
    assert last["loss"] < first["loss"]
    assert {"step", "epoch", "lr", "grad_norm", "tokens", "trained_tokens"} <= set(first)
    assert last["trained_tokens"] < last["tokens"]
    assert [x for x in read_metrics(run / "metrics.jsonl") if "eval_loss" in x]


def test_resuming_continues_identically(settings, tmp_path):
    whole = run_sft(settings)
    steps = lines(whole.output_dir)
    assert len(steps) == whole.steps > 8
    for kept in (4, 8):  # in the middle of the first epoch, and in the second one
        copy = tmp_path / f"from-{kept}"
        shutil.copytree(whole.output_dir, copy)
        for later in range(kept + 1, whole.steps + 1):
            shutil.rmtree(copy / f"checkpoint-{later}", ignore_errors=True)
        again = run_sft(settings.model_copy(update={"output_dir": str(copy), "resume": True}))
        assert again.steps == whole.steps
        resumed = lines(copy)
        assert [x["step"] for x in resumed] == [x["step"] for x in steps]
        for one, other in zip(steps, resumed, strict=True):
            assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
            assert one["lr"] == pytest.approx(other["lr"])
            assert one["tokens"] == other["tokens"]


def test_the_same_recipe_repeats_the_run(settings, tmp_path):
    from toolgrove.config.settings import load_recipe

    short = settings.model_copy(update={"max_steps": 2})
    first = run_sft(short)
    recipe = load_recipe(first.output_dir / "recipe.yaml", SftSettings)
    again = run_sft(recipe.model_copy(update={"output_dir": str(tmp_path / "again")}))
    assert [x["loss"] for x in lines(first.output_dir)] == [
        x["loss"] for x in lines(again.output_dir)
    ]
    with pytest.raises(ConfigError, match="already holds a run"):
        run_sft(short)


def test_accumulated_batches_equal_one_large_batch(settings, tmp_path):
    def losses(name, rows, accumulation):
        update = {
            "output_dir": str(tmp_path / name),
            "per_device_train_batch_size": rows,
            "gradient_accumulation_steps": accumulation,
            "dataset": [write(tmp_path / "four.jsonl", [row(n) for n in range(4)])],
            "lora_dropout": 0.0,
            "num_train_epochs": 3,
            "save_strategy": "no",
        }
        return [x["loss"] for x in lines(run_sft(settings.model_copy(update=update)).output_dir)]

    assert losses("apart", 1, 4) == pytest.approx(losses("together", 4, 1), abs=1e-5)


def test_all_weights_and_resuming_them(settings, tmp_path):
    full = settings.model_copy(
        update={"tuner_type": "full", "max_steps": 4, "save_steps": 2, "loss_scale": "last_round"}
    )
    whole = run_sft(full)
    assert (whole.checkpoint / "model.safetensors").is_file()
    copy = tmp_path / "copy"
    shutil.copytree(whole.output_dir, copy)
    again = run_sft(
        full.model_copy(
            update={
                "output_dir": str(copy),
                "resume_from_checkpoint": str(copy / "checkpoint-2"),
            }
        )
    )
    assert lines(copy)[-1]["loss"] == pytest.approx(lines(whole.output_dir)[-1]["loss"], abs=1e-5)
    assert again.steps == 4


def test_resuming_in_another_dialect_is_refused(settings):
    run_sft(settings.model_copy(update={"max_steps": 1}))
    other = {"resume": True, "agent_template": "react_en"}
    with pytest.raises(ConfigError, match="another dialect"):
        run_sft(settings.model_copy(update=other))


def test_recipe_and_metrics_stay_where_going_on_is_refused(settings):
    run = run_sft(settings.model_copy(update={"max_steps": 2, "save_steps": 1})).output_dir
    began = (run / "recipe.yaml").read_text()
    told = (run / "metrics.jsonl").read_text()
    on = {"resume_from_checkpoint": str(run / "checkpoint-1"), "max_steps": 3}
    with pytest.raises(ModelError, match="differ from the checkpoint's"):
        run_sft(settings.model_copy(update={**on, "lora_rank": 4}))
    assert (run / "recipe.yaml").read_text() == began
    assert (run / "metrics.jsonl").read_text() == told
    assert run_sft(settings.model_copy(update=on)).steps == 3
    assert "max_steps: 3" in (run / "recipe.yaml").read_text()
    assert [line["step"] for line in lines(run)] == [1, 2, 3]


def test_what_the_template_would_lose_is_refused(settings, tmp_path):
    data = write(tmp_path / "calls.jsonl", [call_row()])
    update = {"dataset": [data], "template": "smollm2"}
    with pytest.raises(TemplateError) as caught:
        run_sft(settings.model_copy(update=update))
    assert "hermes" in str(caught.value)
    assert "calls.jsonl:1" in str(caught.value)
    run_sft(settings.model_copy(update={**update, "agent_template": "hermes", "max_steps": 1}))


def test_a_loss_that_is_no_number_names_its_rows(settings):
    wild = settings.model_copy(update={"learning_rate": 1e38, "max_grad_norm": 0.0})
    with pytest.raises(ModelError, match="not a number") as caught:
        run_sft(wild)
    assert "train.jsonl:" in str(caught.value.where)
    saved = Path(wild.output_dir) / "bad_rows.jsonl"
    assert str(saved) in caught.value.what
    for row in map(json.loads, saved.read_text(encoding="utf-8").splitlines()):
        assert "train.jsonl:" in row["where"]
        assert row["text"].startswith("<|im_start|>")
        assert len(row["ids"]) == len(row["weights"])


def test_nothing_to_train_is_refused(settings, tmp_path):
    idle = row(0)
    idle["messages"][1]["loss"] = False
    with pytest.raises(DataError, match="anything to train"):
        run_sft(settings.model_copy(update={"dataset": [write(tmp_path / "i.jsonl", [idle])]}))


def test_rows_that_can_only_stand_alone_or_not_be_validated_are_told(settings, tmp_path, caplog):
    idle = [
        {**row(0), "messages": [*row(0)["messages"][:1], {**row(0)["messages"][1], "loss": False}]}
    ]
    update = {"val_dataset": [write(tmp_path / "i.jsonl", idle)]}
    with pytest.raises(DataError, match="none of the validation rows") as caught:
        run_sft(settings.model_copy(update=update))
    assert "--loss_scale" in str(caught.value.hint)
    long = row(0)
    long["messages"][1]["content"] = "word " * 60
    data = write(tmp_path / "long.jsonl", [long, *(row(n) for n in range(6))])
    update = {"dataset": [data], "tokens_per_batch": 64, "per_device_train_batch_size": None}
    for forest in ("on", "off"):
        more = {"forest": forest, "output_dir": str(tmp_path / forest), "max_steps": 1}
        assert run_sft(settings.model_copy(update={**update, **more})).steps == 1
        assert (
            "rows are longer than --tokens_per_batch 64 and run alone; the longest has 260"
            in caplog.text
        )
        assert "long.jsonl:1" in caplog.text
        caplog.clear()


def test_a_bad_row_stops_or_is_written_down(settings, tmp_path):
    data = write(tmp_path / "bad.jsonl", [row(0), {"messages": [{"role": "human2"}]}, row(1)])
    with pytest.raises(DataError, match="role") as caught:
        run_sft(settings.model_copy(update={"dataset": [data]}))
    assert "bad.jsonl:2" in str(caught.value)
    skip = {"dataset": [data], "on_bad_row": "skip", "max_steps": 1}
    result = run_sft(settings.model_copy(update=skip))
    assert "bad.jsonl:2" in (result.output_dir / "rejected.jsonl").read_text()


def test_too_long_a_limit_is_refused(settings):
    with pytest.raises(ModelError, match="2048"):
        run_sft(settings.model_copy(update={"max_length": 4096}))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told(settings):
    run = Path(settings.output_dir)
    run.mkdir()
    (run / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(ModelError, match="no room on the disk"):
        run_sft(settings)


SCRIPT = """
import json, sys
from toolgrove.models.threads import prepare_torch
prepare_torch()
from toolgrove.train.recipe import SftSettings
from toolgrove.train.sft import run_sft
result = run_sft(SftSettings(**json.loads(sys.argv[1])))
print(result.stopped, result.checkpoint)
sys.exit(result.exit_code)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_saves_and_ends(settings, number, code):
    long = settings.model_copy(update={"num_train_epochs": 500, "save_steps": 100000})
    words = [sys.executable, "-c", SCRIPT, long.model_dump_json()]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(words, **pipes)
    metrics = Path(long.output_dir) / "metrics.jsonl"
    waited = time.monotonic()
    while not read_metrics(metrics) and time.monotonic() - waited < 60:
        time.sleep(0.1)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    stopped, checkpoint = out.split()
    assert stopped == number.name
    assert (Path(checkpoint) / "trainer_state.json").is_file()
    assert "--resume" in err
    assert "Traceback" not in err
    steps = len(lines(long.output_dir))
    more = long.model_copy(update={"resume": True, "max_steps": steps + 1})
    assert run_sft(more).steps == steps + 1


@pytest.mark.slow
def test_two_processes_compute_what_one_does(settings, tmp_path):
    def losses(name, processes):
        update = {
            "output_dir": str(tmp_path / name),
            "gradient_accumulation_steps": 4 // processes,
            "lora_dropout": 0.0,
            "max_steps": 5,
        }
        chosen = settings.model_copy(update=update)
        if processes == 1:
            run_sft(chosen)
        else:
            script = tmp_path / "train.py"
            script.write_text(SCRIPT, encoding="utf-8")
            launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
            words = ["--nproc_per_node", str(processes), str(script), chosen.model_dump_json()]
            subprocess.run([*launch, *words], check=True, timeout=300, cwd=tmp_path)
        return [(x["loss"], x["tokens"]) for x in lines(tmp_path / name)]

    one, two = losses("one", 1), losses("two", 2)
    assert [tokens for _, tokens in one] == [tokens for _, tokens in two]
    assert [loss for loss, _ in one] == pytest.approx([loss for loss, _ in two], abs=1e-5)
    checkpoint = tmp_path / "two" / "checkpoint-5"
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= {file.name for file in checkpoint.iterdir()}
    assert sorted(entry.name for entry in tmp_path.glob("checkpoint*")) == []
