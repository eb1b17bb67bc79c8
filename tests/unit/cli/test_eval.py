"""The command ``eval``: EvalScope run with our task, and mistakes told."""

import json
import sys

import pytest

from tests.unit.eval.test_remote import Stub
from toolgrove.cli.main import main


@pytest.fixture
def stub():
    made = Stub()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def evalscope(tmp_path) -> str:
    """A Python whose EvalScope writes down the task that it is given."""
    home = tmp_path / "es"
    (home / "evalscope").mkdir(parents=True)
    (home / "evalscope" / "__init__.py").write_text("")
    (home / "evalscope" / "run.py").write_text(
        "import json\ndef run_task(task):\n"
        f"    open({str(tmp_path / 'task.json')!r}, 'w').write(json.dumps(task))\n"
        "    raise SystemExit(3 if task['seed'] == 3 else 0)\n"
    )
    python = home / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={home} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return str(python)


def test_evalscope_gets_our_server_as_its_task(stub, evalscope, tmp_path) -> None:
    out = tmp_path / "out"
    words = ["eval", "--url", f"{stub.url}/v1", "--suite", "evalscope", "--datasets", "gsm8k"]
    words += ["general_fc", "--evalscope", evalscope, "--output_dir", str(out), "--limit", "5"]
    words += ["--api_key", "secret", "--evalscope_args", '{"repeats": 2, "limit": 4}']
    assert main(words) == 0
    task = json.loads((tmp_path / "task.json").read_text())
    assert (task["api_url"], task["model"]) == (f"{stub.url}/v1", "tiny")
    assert task["datasets"] == ["gsm8k", "general_fc"]
    assert (task["repeats"], task["limit"], task["api_key"]) == (2, 4, "secret")
    assert "secret" not in (out / "evalscope.json").read_text()
    assert main([*words, "--seed", "3"]) == 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--suite", "evalscope"], "--datasets"),
        (["--suite", "evalscope", "--datasets", "gsm8k"], "environment of its own"),
        (["--suite", "bfcl"], "--model, or --url"),
        (["--suite", "agents", "--model", "m"], 'did you mean "agent"'),
        (["--suite", "behaviour", "--url", "http://127.0.0.1:9"], "running"),
        (["--categories", "simple_pyton", "--model", "m"], 'did you mean "simple_python"'),
    ],
)
def test_mistakes_are_told(words, told, tmp_path, capsys) -> None:
    assert main(["eval", *words, "--output_dir", str(tmp_path)]) == 2
    assert told in capsys.readouterr().err
