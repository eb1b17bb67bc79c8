"""Training in several processes of one machine: one talks, all stop together, errors are told."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from toolgrove.models.tiny import tiny_model
from toolgrove.train.callbacks import read_metrics

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def words(model, tmp_path) -> list[str]:
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"{n}?"},
                {"role": "assistant", "content": "Yes"},
            ]
        }
        for n in range(12)
    ]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    flags = f"--model {model} --dataset {data} --template chatml --nproc_per_node 2"
    flags += f" --output_dir {tmp_path / 'run'} --torch_dtype float32"
    return [sys.executable, "-m", "toolgrove", "sft", *flags.split()]


def test_two_processes_make_one_run(words, tmp_path):
    done = subprocess.run([*words, "--max_steps", "2", "--json", "true"], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    result = json.loads(done.stdout)
    assert result["steps"] == 2
    assert (Path(result["checkpoint"]) / "adapter_model.safetensors").is_file()
    assert done.stderr.decode().count("done: 2 steps") == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_all_stop_after_the_same_step_and_go_on(words, tmp_path, number, code):
    long = [*words, "--num_train_epochs", "800", "--save_steps", "100000"]
    process = subprocess.Popen(long, stderr=subprocess.PIPE, text=True, start_new_session=True)
    metrics = tmp_path / "run" / "metrics.jsonl"
    waited = time.monotonic()
    while not read_metrics(metrics) and time.monotonic() - waited < 120:
        time.sleep(0.1)
    if number is signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    _, told = process.communicate(timeout=120)
    assert process.returncode == code, told
    assert "Traceback" not in told
    steps = len(read_metrics(metrics))
    recipe = str(tmp_path / "run" / "recipe.yaml")
    more = ["-c", recipe, "--resume", "true", "--max_steps", str(steps + 1)]
    again = subprocess.run([*words[:4], *more], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert len(read_metrics(metrics)) == steps + 1


def test_an_error_is_told_once(words, tmp_path):
    broken = [*words, "--dataset", str(tmp_path / "missing.jsonl")]
    done = subprocess.run(broken, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.count("missing.jsonl") == 1
    assert "Traceback" not in done.stderr


def test_when_the_first_process_is_killed_the_others_end_too(words, tmp_path):
    long = [*words, "--num_train_epochs", "800", "--save_steps", "100000"]
    process = subprocess.Popen(long, stderr=subprocess.DEVNULL)
    metrics = tmp_path / "run" / "metrics.jsonl"
    waited = time.monotonic()
    while not read_metrics(metrics) and time.monotonic() - waited < 120:
        time.sleep(0.1)
    others = psutil.Process(process.pid).children(recursive=True)
    assert len(others) >= 2
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(others, timeout=30)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
