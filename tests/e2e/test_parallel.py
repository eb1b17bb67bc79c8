"""Runs of two processes compute what one process computes, whatever it is that they share."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from toolgrove.cli.together import free_port
from toolgrove.models.threads import usable_cores
from toolgrove.models.tiny import tiny_model
from toolgrove.train.callbacks import read_metrics

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(usable_cores() < 2, reason="two processes need two processors"),
]
NEEDS_DEEPSPEED = pytest.mark.skipif(
    find_spec("deepspeed") is None, reason="DeepSpeed is not installed: pip install -e .[deepspeed]"
)
NEEDS_RAY = pytest.mark.skipif(
    find_spec("ray") is None, reason="Ray is not installed: pip install -e .[ray]"
)
STEPS = 4
EPSILON = "1e-5"
"""Keeps Adam from whole steps of the noise where a gradient is nearly nothing."""


def zero(*words):
    return pytest.param(*words, marks=NEEDS_DEEPSPEED)


def row(number):
    return {
        "messages": [
            {"role": "system", "content": f"You are assistant {number % 3}. Be kind. " * 2},
            {"role": "user", "content": f"What is {number} and {number % 7}?"},
            {"role": "assistant", "content": f"It is {number + number % 7}. " * (1 + number % 5)},
            {"role": "user", "content": "Thanks"},
            {"role": "assistant", "content": "Yes", "loss_scale": 0.5 + number % 2},
        ]
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("parallel")
    tiny_model(folder / "tiny", "qwen3")
    for name, numbers in (("train", range(10)), ("val", range(20, 25))):
        text = "".join(json.dumps(row(number)) + "\n" for number in numbers)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return folder


def flags(folder, tuner, run, *more):
    """Five packs of two rows; a step is two packs, so that each epoch ends with half a step."""
    return [
        *("--model", str(folder / "tiny"), "--template", "chatml", "--agent_template", "hermes"),
        *("--dataset", str(folder / "train.jsonl"), "--val_dataset", str(folder / "val.jsonl")),
        *("--tuner_type", tuner, "--lora_dropout", "0", "--torch_dtype", "float32"),
        *("--per_device_train_batch_size", "2", "--learning_rate", "3e-3"),
        *("--optim", "adamw_torch", "--adam_epsilon", EPSILON),
        *("--output_dir", str(run), "--max_steps", str(STEPS)),
        *("--save_steps", "2", *more),
    ]


def toolgrove(*words, code=0, env=None):
    command = [sys.executable, "-m", "toolgrove", "sft", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, **(env or {})}
    )
    assert done.returncode == code, done.stderr[-4000:]
    return done


def numbers(run):
    """Each step's loss and gradient, each validation's loss, the counts of tokens."""
    names = ("loss", "grad_norm", "eval_loss")
    lines = read_metrics(Path(run) / "metrics.jsonl")
    counts = [line["trained_tokens"] for line in lines if "loss" in line]
    return [line[name] for line in lines for name in names if name in line], counts


@pytest.fixture(scope="module")
def alone(folder):
    """What one process computes; each tuner once."""
    runs: dict[str, Path] = {}

    def run(tuner):
        if tuner not in runs:
            runs[tuner] = folder / f"alone-{tuner}"
            words = flags(folder, tuner, runs[tuner], "--gradient_accumulation_steps", "2")
            toolgrove(*words)
        return runs[tuner]

    return run


def same(run, other):
    """Losses, gradients, counts and final weights are equal within the noise of float32."""
    (found, counts), (wanted, wanted_counts) = numbers(run), numbers(other)
    assert len(wanted) > 2 * STEPS
    assert counts == wanted_counts
    assert found == pytest.approx(wanted, rel=2e-5)
    last = f"checkpoint-{STEPS}"
    (file,) = (Path(other) / last).glob("*model.safetensors")
    there, here = load_file(file), load_file(Path(run) / last / file.name)
    assert set(there) == set(here)
    for name, weight in there.items():
        torch.testing.assert_close(here[name], weight, rtol=1e-3, atol=1e-4)


TWO = ("--nproc_per_node", "2", "--gradient_accumulation_steps", "1")


@pytest.mark.parametrize(
    ("parallel", "tuner"),
    [
        ("ddp", "lora"),
        ("fsdp2", "full"),
        ("fsdp2", "lora"),
        zero("zero1", "lora"),
        zero("zero2", "full"),
        zero("zero2", "lora"),
        zero("zero3", "full"),
        zero("zero3", "lora"),
    ],
)
def test_two_processes_compute_what_one_computes(folder, alone, tmp_path, parallel, tuner):
    run = tmp_path / "run"
    done = toolgrove(*flags(folder, tuner, run, *TWO, "--parallel", parallel))
    assert ("holds its part of the weights" in done.stderr) == (parallel in ("fsdp2", "zero3"))
    same(run, alone(tuner))


@NEEDS_DEEPSPEED
def test_two_processes_that_share_each_sequence_compute_what_one_computes(folder, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    padded = ("--forest", "off", "--gradient_accumulation_steps", "2")
    toolgrove(*flags(folder, "lora", one, *padded))
    share = ("--sequence_parallel_size", "2", "--nproc_per_node", "2")
    toolgrove(*flags(folder, "lora", two, *padded, *share))
    same(two, one)


@NEEDS_RAY
def test_a_ray_train_job_computes_what_one_process_computes(folder, alone, tmp_path):
    run = tmp_path / "run"
    words = flags(folder, "lora", run, *TWO, "--executor", "ray", "--json", "true")
    told = json.loads(toolgrove(*words).stdout.splitlines()[-1])
    assert told["steps"] == STEPS
    assert told["checkpoint"] == str(run / f"checkpoint-{STEPS}")
    same(run, alone("lora"))
    other = flags(folder, "lora", tmp_path / "other", "--executor", "ray", "--nproc_per_node")
    assert "but Ray has" in toolgrove(*other, "1000", code=2).stderr


def test_two_commands_are_two_machines(folder, alone, tmp_path):
    run = tmp_path / "run"
    words = flags(folder, "full", run, "--gradient_accumulation_steps", "1", "--nnodes", "2")
    words += ["--parallel", "fsdp2", "--master_addr", "127.0.0.1"]
    words += ["--master_port", str(free_port())]
    command = [sys.executable, "-m", "toolgrove", "sft", *words, "--node_rank"]
    with subprocess.Popen([*command, "1"], stdout=subprocess.PIPE, text=True) as second:
        done = toolgrove(*words, "--node_rank", "0")
        assert second.wait(60) == 0
        assert second.stdout is not None
        assert second.stdout.read() == ""
    assert done.stdout.strip() == str(run / f"checkpoint-{STEPS}")
    same(run, alone("full"))


def again(folder, made, tmp_path, *more, code=0):
    """Goes on from step 2 of a run, in a copy of its folder."""
    run = tmp_path / "again"
    shutil.copytree(made, run)
    shutil.rmtree(run / f"checkpoint-{STEPS}")
    return run, toolgrove(*flags(folder, "lora", run, "--resume", "true", *more), code=code)


def test_fsdp2_goes_on_from_one_process_and_one_process_from_fsdp2(folder, alone, tmp_path):
    run, _ = again(folder, alone("lora"), tmp_path / "a", *TWO, "--parallel", "fsdp2")
    same(run, alone("lora"))
    back, _ = again(folder, run, tmp_path / "b", "--gradient_accumulation_steps", "2")
    same(back, alone("lora"))


@NEEDS_DEEPSPEED
def test_zero_goes_on_in_its_own_shape_only(folder, alone, tmp_path):
    made = tmp_path / "made"
    toolgrove(*flags(folder, "lora", made, *TWO, "--deepspeed", "zero3"))
    run, _ = again(folder, made, tmp_path / "same", *TWO, "--deepspeed", "zero3")
    same(run, alone("lora"))
    for name, other, told in (
        ("one", ("--gradient_accumulation_steps", "2"), "only it can go on"),
        ("zero2", (*TWO, "--parallel", "zero2"), "ZeRO-3 saved this checkpoint with 2 processes"),
    ):
        _, done = again(folder, made, tmp_path / name, *other, code=2)
        assert done.stderr.count(told) == 1
        assert "Traceback" not in done.stderr


def test_more_processes_than_there_are_processors_are_refused(folder, tmp_path):
    words = flags(folder, "lora", tmp_path / "run", "--nproc_per_node", "1000")
    assert "1000 processes, but" in toolgrove(*words, code=2).stderr
