"""EvalScope run against a server: its task configuration, made from the settings of an eval."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from toolgrove.cli.together import free_port
from toolgrove.core.errors import ConfigError, EvalError, ModelError
from toolgrove.core.messages import JSON
from toolgrove.engine.http import address_of
from toolgrove.eval.settings import EvalSettings

TASK_FILE = "evalscope.json"
_RUN = "import json, sys; from evalscope.run import run_task; run_task(json.load(sys.stdin))"
STARTS_WITHIN_S = 600.0


def run_evalscope(settings: EvalSettings) -> int:
    """Runs EvalScope on the server of the settings, or on one started for their model.

    The task configuration stays in ``evalscope.json``, what EvalScope writes beside it. Returns
    EvalScope's exit code.
    """
    if not settings.datasets:
        raise ConfigError(
            "EvalScope needs benchmarks", hint="--datasets general_fc gsm8k, by EvalScope's names"
        )
    python = shutil.which(settings.evalscope or sys.executable)
    if python is None or subprocess.run([python, "-c", "import evalscope"], check=False).returncode:
        raise ConfigError(
            f"{settings.evalscope or sys.executable} has no EvalScope",
            hint="python -m venv es && es/bin/pip install evalscope, then --evalscope "
            "es/bin/python: it needs an environment of its own",
        )
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    with _server(settings) as url:
        task = task_config(settings, url, _first_model(url, settings))
        file = settings.output_dir / TASK_FILE
        hidden = {**task, "api_key": "***"} if settings.api_key else task
        file.write_text(json.dumps(hidden, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        told = json.dumps(
            task
        )  # by its input: neither a file nor the list of processes has the key
        return subprocess.run([python, "-c", _RUN], input=told, text=True, check=False).returncode


def task_config(settings: EvalSettings, url: str, model: str) -> JSON:
    """EvalScope's task: our server, greedy decoding; ``evalscope_args`` have the last word."""
    task: JSON = {
        "model": model,
        "api_url": f"{url}/v1",
        "api_key": settings.api_key or "EMPTY",
        "eval_type": "openai_api",
        "datasets": settings.datasets,
        "eval_batch_size": settings.parallel,
        "generation_config": {"temperature": 0.0, "max_tokens": settings.max_new_tokens},
        "seed": settings.seed,
        "work_dir": str(settings.output_dir.resolve() / "evalscope"),
    }
    if settings.limit is not None:
        task["limit"] = settings.limit
    return {**task, **settings.evalscope_args}


@contextmanager
def _server(settings: EvalSettings) -> Iterator[str]:
    """The address of the server, which is started for a model and ended afterwards."""
    if settings.url and settings.backend == "remote":
        yield address_of(settings.url).url
        return
    if settings.model is None:
        raise EvalError("nothing to measure", hint="give --model, or --url of a server")
    port = free_port()
    words = ["--model", settings.model, "--port", str(port), "--torch_dtype", settings.torch_dtype]
    for name, value in (
        ("template", settings.template),
        ("agent_template", settings.agent_template),
        ("infer_backend", settings.infer_backend),
        ("url", settings.url),
        ("remote_key", settings.url and settings.api_key),
    ):
        words += [f"--{name}", value] if value else []
    words += ["--adapters", *map(str, settings.adapters)] if settings.adapters else []
    words += ["--strict"] if settings.strict else []
    options = [f"{name}={value}" for name, value in settings.engine_options.items()]
    words += ["--engine_options", *options] if options else []
    server = subprocess.Popen([sys.executable, "-m", "toolgrove", "deploy", *words])
    try:
        yield _awaited(f"http://127.0.0.1:{port}", server)
    finally:
        server.terminate()
        server.wait()


def _awaited(url: str, server: subprocess.Popen[bytes]) -> str:
    until = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < until:
        if server.poll() is not None:
            raise ModelError("the server did not start", hint="what it said stands above")
        try:
            with urlopen(f"{url}/v1/models", timeout=5):  # our own server
                return url
        except (URLError, OSError):
            time.sleep(0.5)
    raise ModelError(f"no server at {url} within {STARTS_WITHIN_S:g} s")


def _first_model(url: str, settings: EvalSettings) -> str:
    from toolgrove.eval.remote import UrlSpeaker

    if settings.served_model is None and settings.adapters:
        return Path(settings.adapters[0]).name
    return UrlSpeaker(url, settings.served_model, api_key=settings.api_key).model
