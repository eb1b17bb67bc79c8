"""What a run tells beside its folder: TensorBoard's files, services, callbacks of the user."""

import json

import pytest

from toolgrove.cli.main import main
from toolgrove.core.errors import ConfigError
from toolgrove.models.tiny import tiny_model
from toolgrove.train.callbacks import read_metrics
from toolgrove.train.loggers import refuse_missing
from toolgrove.train.plugged import callbacks
from toolgrove.train.recipe import SftSettings
from toolgrove.train.sft import run_sft

SAYS = """
from transformers import TrainerCallback
from toolgrove.train.plugged import callbacks

@callbacks.add("stops")
class Stops(TrainerCallback):
    def on_log(self, args, state, control, logs=None, **more):
        print("heard", sorted(logs))
        if state.global_step == 2:
            {at_two}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_model(tmp_path_factory.mktemp("model") / "tiny"))


@pytest.fixture
def words(model, tmp_path):
    rows = [
        {
            "messages": [
                {"role": "user", "content": "Say something."},
                {"role": "assistant", "content": ["one two three", "7"][n % 2] * (1 + n)},
            ],
            "channel": ["prose", "code"][n % 2],
        }
        for n in range(6)
    ]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {
        "model": model,
        "template": "chatml",
        "output_dir": str(tmp_path / "out"),
        "torch_dtype": "float32",
        "max_steps": 4,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 1,
    }
    return ["sft", str(data), *(f"--{name}={value}" for name, value in given.items())]


@pytest.fixture
def plugin(tmp_path):
    def written(at_two, text=SAYS):
        file = tmp_path / "mine.py"
        file.write_text(text.format(at_two=at_two))
        return file

    yield written
    callbacks._entries.pop("stops", None)


def scalars(run):
    """What TensorBoard itself reads out of the event files: name -> {step: value}."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    held = EventAccumulator(str(run / "runs"))
    held.Reload()
    return {
        name: [(event.step, event.value) for event in held.Scalars(name)]
        for name in held.Tags()["scalars"]
    }


def test_tensorboard_reads_what_the_run_told(words, tmp_path):
    run = tmp_path / "out"
    more = ["--report_to=tensorboard", "--enable_channel_loss=true", "--save_steps=2"]
    more += ["--val_dataset", words[1], "--eval_steps=2"]
    assert main([*words, *more]) == 0
    told = scalars(run)
    lines = read_metrics(run / "metrics.jsonl")
    as_told = {"lr": "learning_rate"}
    for name in ("loss", "lr", "grad_norm", "tokens", "tokens_per_s", "loss_prose", "loss_code"):
        wanted = [(line["step"], line[name]) for line in lines if name in line and "loss" in line]
        assert [step for step, _ in wanted] == [1, 2, 3, 4] or name.startswith("loss_")
        assert told[f"train/{as_told.get(name, name)}"] == [
            (step, pytest.approx(value, rel=1e-5)) for step, value in wanted
        ]
        assert wanted
    wanted = [(line["step"], line["eval_loss"]) for line in lines if "eval_loss" in line]
    assert told["eval/loss"] == [(step, pytest.approx(value, rel=1e-5)) for step, value in wanted]
    assert len(wanted) == 2

    # going on from step 2 takes back steps 3 and 4, and tells them anew
    again = ["--resume_from_checkpoint", str(run / "checkpoint-2")]
    assert main([*words, *more, *again]) == 0
    assert [step for step, _ in scalars(run)["train/loss"]] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["tensorbord"], 'did you mean "tensorboard"?'),
        (["none", "tensorboard"], "none goes with no other"),
        (["dvclive"], "pip install 'dvclive'"),
    ],
)
def test_a_logger_that_is_not_there_is_refused(names, says):
    with pytest.raises(ConfigError) as caught:
        refuse_missing(names)
    assert says in str(caught.value)


def test_a_logger_is_refused_before_the_model_is_looked_for(words, capsys):
    words = [word for word in words if not word.startswith("--model")]
    assert main([*words, "--model=/no/where", "--report_to=wandbb"]) == 2
    assert 'did you mean "wandb"?' in capsys.readouterr().err


@pytest.mark.parametrize("command", ["sft", "pt"])
def test_a_callback_of_a_plugin_file_is_called(command, words, plugin, tmp_path, capsys):
    file = plugin("control.should_training_stop = True")
    if command == "pt":
        texts = tmp_path / "texts.jsonl"
        texts.write_text("".join(json.dumps({"text": "A text. " * n}) + "\n" for n in range(1, 9)))
        words = ["pt", str(texts), *(w for w in words[2:] if not w.startswith("--template"))]
    assert main([*words, "--external_plugins", str(file)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1].endswith("checkpoint-2")
    assert "'tokens_per_s'" in out


def test_an_installed_callback_is_used_when_named(words, capsys):
    from transformers import TrainerCallback

    class Installed(TrainerCallback):
        def on_train_end(self, *args, **more):
            print("the end")

    callbacks.put("installed", Installed)
    callbacks.put("not_one", dict)
    try:
        assert main([*words, "--add_version=true"]) == 0
        assert "the end" not in capsys.readouterr().out
        more = ["--add_version=true", "--callbacks"]
        assert main([*words, *more, "installed"]) == 0
        assert "the end" in capsys.readouterr().out
        assert main([*words, *more, "instaled"]) == 2
        assert 'did you mean "installed"?' in capsys.readouterr().err
        assert main([*words, *more, "not_one"]) == 2
        assert "makes no TrainerCallback but dict" in capsys.readouterr().err
    finally:
        for name in ("installed", "not_one"):
            del callbacks._entries[name]


@pytest.mark.parametrize(
    ("at_two", "says"),
    [
        ("open('/nowhere/at/all')", "FileNotFoundError"),
        ("json.dumps(object())", "NameError"),
    ],
)
def test_a_callback_that_raises_is_named_with_its_line(at_two, says, words, plugin, capsys):
    file = plugin(at_two)
    assert main([*words, "--external_plugins", str(file)]) == 2
    told = capsys.readouterr().err
    assert f"{file}:10: the plug-in raised {says}" in told
    assert "Traceback" not in told


def test_a_run_from_python_uses_the_plugin_too(words, plugin, model):
    file = plugin("control.should_training_stop = True")
    result = run_sft(
        SftSettings(
            model=model,
            dataset=[words[1]],
            template="chatml",
            output_dir=str(file.parent / "python"),
            max_steps=9,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=1,
            external_plugins=[str(file)],
        )
    )
    assert result.steps == 2
