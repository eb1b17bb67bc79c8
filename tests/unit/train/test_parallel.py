"""Presets and files of DeepSpeed and accelerate; what cannot be is refused early."""

import json
from importlib.util import find_spec

import pytest
import yaml

from toolgrove.core.errors import ConfigError
from toolgrove.train.parallel import PRESETS, Kind, parallel_of, processes_here
from toolgrove.train.ranks import connect, refuse_more_than_cores
from toolgrove.train.recipe import SftSettings
from toolgrove.train.run import is_whole, refuse_other_shape

needs_deepspeed = pytest.mark.skipif(find_spec("deepspeed") is None, reason="needs DeepSpeed")


def settings(**more):
    return SftSettings(model="m", dataset=["d.jsonl"], **more)


def written(path, values):
    text = json.dumps(values) if path.suffix == ".json" else yaml.safe_dump(values)
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr("toolgrove.train.parallel.find_spec", lambda name: name)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_what_their_names_say(name, installed):
    parallel = parallel_of(settings(parallel=name))
    zero = parallel.options.get("zero_optimization", {})
    assert parallel.kind == ("deepspeed" if "zero" in name else name.partition("2")[0])
    assert parallel.stage == (int(name[4]) if "zero" in name else 0)
    assert parallel.shards_weights == ("fsdp" in name or "zero3" in name)
    offloads = zero.get("offload_optimizer") or parallel.options.get("cpu_offload")
    assert bool(offloads) == name.endswith("_offload")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"parallel": "fdsp2"}, 'did you mean "fsdp2"'),
        ({"parallel": "missing.json"}, "no such file"),
        ({"parallel": "fsdp2", "quant_bits": 4}, "weights of 4 bits"),
        ({"parallel": "fsdp2", "tuner_type": "prefix"}, "cannot go with prefix"),
        ({"context_parallel_size": 2}, "GPUs only"),
        ({"sequence_parallel_size": 2, "parallel": "ddp"}, "needs ZeRO"),
        ({"parallel": "fsdp2", "new_special_tokens": ["<a>"]}, "single rows"),
    ],
)
def test_what_cannot_be_is_refused(more, told):
    with pytest.raises(ConfigError, match=told):
        parallel_of(settings(**more))


def test_deepspeed_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr("toolgrove.train.parallel.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"toolgrove\[deepspeed\]"):
        parallel_of(settings(parallel="zero2"))


def test_a_file_of_deepspeed_keeps_what_it_says(tmp_path, installed):
    own = {"zero_optimization": {"stage": 1}, "gradient_clipping": 0.5}
    parallel = parallel_of(settings(parallel=written(tmp_path / "ds.json", own)))
    assert parallel.kind is Kind.DEEPSPEED
    assert parallel.stage == 1
    assert parallel.options["gradient_clipping"] == 0.5
    assert parallel.options["train_batch_size"] == "auto"


def test_a_file_of_accelerate_gives_processes_and_options(tmp_path, installed):
    values = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "FSDP",
        "num_machines": 2,
        "num_processes": 8,
        "fsdp_config": {"fsdp_version": 2, "fsdp_reshard_after_forward": False},
    }
    given = settings(parallel=written(tmp_path / "acc.yaml", values))
    assert parallel_of(given).kind is Kind.FSDP
    assert parallel_of(given).options == {"reshard_after_forward": False}
    assert processes_here(given) == 4
    assert processes_here(settings(parallel=given.parallel, nproc_per_node=3)) == 3
    written(tmp_path / "ds.json", {"zero_optimization": {"stage": 3}})
    values = {
        "distributed_type": "DEEPSPEED",
        "deepspeed_config": {"deepspeed_config_file": "ds.json"},
    }
    assert parallel_of(settings(parallel=written(tmp_path / "acc.yaml", values))).stage == 3


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"distributed_type": "MEGATRON_LM"}, "MEGATRON_LM is not known"),
        ({"distributed_type": "FSDP", "fsdp_config": {"fsdp_version": 1}}, "FSDP1"),
        ({"distributed_type": "FSDP", "fsdp_config": {"fsdp_mystery": 1}}, "mystery"),
        ({"distributed_type": "MULTI_GPU", "tpu_name": "x"}, "tpu_name is not taken"),
        ({"learning_rate": 1}, "neither a configuration of DeepSpeed"),
    ],
)
def test_files_that_cannot_be_used_are_refused(tmp_path, values, told):
    with pytest.raises(ConfigError, match=told):
        parallel_of(settings(parallel=written(tmp_path / "acc.yaml", values)))


def test_more_processes_than_processors_are_refused(monkeypatch):
    with pytest.raises(ConfigError, match="100000 processes, but"):
        refuse_more_than_cores(100_000)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "100000")
    with pytest.raises(ConfigError, match="100000 processes, but"):
        connect(settings())


def test_sharing_needs_processes(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="toolgrove sft or torchrun"):
        connect(settings(parallel="fsdp2"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match="there is none"):
        connect(settings(parallel="fsdp2_offload"))


def test_checkpoints_of_deepspeed_belong_to_their_shape(tmp_path):
    for name in ("adapter_model.safetensors", "scheduler.pt"):
        (tmp_path / name).touch()
    (tmp_path / "trainer_state.json").write_text("{}", encoding="utf-8")
    assert not is_whole(tmp_path)
    (tmp_path / "latest").write_text("global_step2", encoding="utf-8")
    zero = tmp_path / "global_step2"
    zero.mkdir()
    assert not is_whole(tmp_path)
    for number in range(2):
        (zero / f"bf16_zero_pp_rank_{number}_mp_rank_00_optim_states.pt").touch()
    assert is_whole(tmp_path)
    refuse_other_shape(tmp_path, stage=2, ranks=2)
    for stage, ranks in ((0, 1), (2, 4), (3, 2)):
        with pytest.raises(ConfigError, match="2 processes"):
            refuse_other_shape(tmp_path, stage, ranks)
    (tmp_path / "latest").unlink()
    with pytest.raises(ConfigError, match="not saved by DeepSpeed"):
        refuse_other_shape(tmp_path, stage=2, ranks=2)
