"""Recipes: what they refuse, what they fill in, and that they need no torch."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from toolgrove.core.errors import ConfigError, ModelError
from toolgrove.train.pt_recipe import PtSettings
from toolgrove.train.recipe import SftSettings
from toolgrove.train.run import checkpoint_to_resume, newest_checkpoint, run_folder


def recipe(**more):
    return SftSettings(model="m", dataset=["d.jsonl"], **more)


def test_every_setting_is_explained_in_a_sentence():
    for name, field in {**SftSettings.model_fields, **PtSettings.model_fields}.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_importing_recipes_does_not_import_torch():
    recipes = "toolgrove.train.recipe, toolgrove.train.pt_recipe"
    code = f"import sys; import {recipes}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_learning_rate_depends_on_the_tuner():
    assert recipe().peak_learning_rate == 1e-4
    assert recipe(tuner_type="full").peak_learning_rate == 1e-5
    assert recipe(tuner_type="prompt").peak_learning_rate == 1e-2
    assert recipe(learning_rate=3e-4).peak_learning_rate == 3e-4


def test_accumulation_makes_about_sixteen_sequences():
    assert recipe().accumulation(1) == 16
    assert recipe(per_device_train_batch_size=8).accumulation(1) == 2
    assert recipe(per_device_train_batch_size=8).accumulation(4) == 1
    assert recipe(tokens_per_batch=1000).accumulation(1) == 1
    assert recipe(gradient_accumulation_steps=3).accumulation(2) == 3


@pytest.mark.parametrize(
    "more",
    [
        {"val_dataset": ["v"], "split_dataset_ratio": 0.1},
        {"tokens_per_batch": 100, "per_device_train_batch_size": 2},
        {"save_only_model": True, "resume": True},
        {"lora_rank": 0},
        {"tuner_type": "lorra"},
        {"tuner_type": "freeze"},
        {"tuner_type": "vera", "use_dora": True},
        {"tuner_type": "full", "quant_bits": 4},
        {"trainable_layers": 2},
        {"init_weights": "pizza"},
        {"init_weights": "pissa", "quant_bits": 4},
        {"new_special_tokens": ["<a>"], "tuner_type": "prompt"},
        {"early_stop_interval": 2},
        {"tuner_type": "prefix", "gradient_checkpointing": True},
        {"no_such_setting": 1},
    ],
)
def test_what_does_not_fit_is_refused(more):
    with pytest.raises(ValidationError):
        recipe(**more)


def test_thinking_is_an_option_of_the_template():
    assert recipe(enable_thinking=False, template_options={"a": 1}).options() == {
        "a": 1,
        "enable_thinking": False,
    }
    with pytest.raises(ConfigError, match="twice"):
        recipe(enable_thinking=False, template_options={"enable_thinking": True}).options()


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path):
    out = tmp_path / "out"
    settings = recipe(output_dir=str(out))
    assert run_folder(settings) == out
    (out / "recipe.yaml").write_text("")
    (out / "metrics.jsonl").write_text("")
    assert run_folder(settings) == out  # a start that failed
    (out / "metrics.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(ConfigError, match="already holds a run") as caught:
        run_folder(settings)
    assert "--resume" in str(caught.value.hint)
    assert run_folder(recipe(output_dir=str(out), resume=True)) == out


def test_versions_are_counted(tmp_path):
    settings = recipe(output_dir=str(tmp_path / "out"), add_version=True)
    assert [run_folder(settings).name for _ in range(3)] == ["v0", "v1", "v2"]
    assert run_folder(settings.model_copy(update={"resume": True})).name == "v2"


def test_output_below_a_file_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError):
        run_folder(recipe(output_dir=str(tmp_path / "file")))
    with pytest.raises(ConfigError):
        run_folder(recipe(output_dir=str(tmp_path / "file" / "below")))


def checkpoint(folder, step, whole=True):
    import torch
    from safetensors.torch import save_file

    path = folder / f"checkpoint-{step}"
    path.mkdir()
    save_file({"w": torch.ones(4)}, path / "adapter_model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt"):
        torch.save({"step": step, "moments": torch.ones(64)}, path / name)
    state = f'{{"global_step": {step}}}'
    (path / "trainer_state.json").write_text(state if whole else state[:5])
    return path


def test_only_whole_checkpoints_are_gone_on_from(tmp_path, caplog):
    whole = checkpoint(tmp_path, 9)
    cut = checkpoint(tmp_path, 10, whole=False)
    assert newest_checkpoint(tmp_path) == whole
    assert newest_checkpoint(tmp_path, whole=False) == cut
    assert checkpoint_to_resume(recipe(resume=True), tmp_path) == whole
    assert str(cut) in caplog.text
    assert checkpoint_to_resume(recipe(), tmp_path) is None
    with pytest.raises(ModelError, match="cannot be resumed from") as caught:
        checkpoint_to_resume(recipe(resume_from_checkpoint=str(cut)), tmp_path)
    assert str(whole) in str(caught.value.hint)
    with pytest.raises(ModelError, match="no such checkpoint"):
        checkpoint_to_resume(recipe(resume_from_checkpoint=str(tmp_path / "no")), tmp_path)


def cut_off(file):
    file.write_bytes(file.read_bytes()[:-10])


def turn_a_bit(file):
    held = bytearray(file.read_bytes())
    held[len(held) // 2] ^= 1
    file.write_bytes(held)


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("adapter_model.safetensors", cut_off),
        ("adapter_model.safetensors", lambda file: file.write_bytes(b"")),
        ("optimizer.pt", cut_off),
        ("optimizer.pt", turn_a_bit),
        ("scheduler.pt", lambda file: file.write_bytes(b"PK")),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_next_older_offered(tmp_path, name, harm):
    sound, older, newest = (checkpoint(tmp_path, step) for step in (3, 6, 9))
    harm(newest / name)
    for given in ({"resume": True}, {"resume_from_checkpoint": str(newest)}):
        with pytest.raises(ModelError, match="damaged") as caught:
            checkpoint_to_resume(recipe(**given), tmp_path)
        assert str(newest) in str(caught.value.where)
        assert name in caught.value.what
        assert f"--resume_from_checkpoint {older}" in str(caught.value.hint)
    harm(older / name)
    with pytest.raises(ModelError, match="damaged") as caught:
        checkpoint_to_resume(recipe(resume=True), tmp_path)
    assert str(sound) in str(caught.value.hint)
    harm(sound / name)
    with pytest.raises(ModelError, match="damaged") as caught:
        checkpoint_to_resume(recipe(resume=True), tmp_path)
    assert "no older one" in str(caught.value.hint)
