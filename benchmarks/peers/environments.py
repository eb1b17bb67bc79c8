"""The environments of the peers, each with its own packages, made once and kept."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
SETUP = {
    "ms-swift": [["ms-swift==4.6.0"]],
    "trl": [["trl==1.16.0", "peft"]],
    "llamafactory": [
        ["--no-deps", "llamafactory==0.9.5"],
        ["transformers==5.6.0", "trl==0.24.0", "datasets", "accelerate", "peft", "sentencepiece"],
        ["tiktoken", "omegaconf", "einops", "fire", "scipy", "pandas", "tyro", "hf_transfer", "av"],
    ],
    "openvino": [
        ["-c", str(ROOT / "constraints.txt"), "-e", f"{ROOT}[serve,grammar,openvino]"],
    ],
}
"""What each peer's environment needs beside torch; openvino is ours with that engine, and a stub
stands for LLaMA-Factory's torchaudio."""


def set_up(peers: Path) -> None:
    for name, wanted in SETUP.items():
        folder = peers / name
        if make(folder, [["torch==2.13.0"], *wanted]) and name == "llamafactory":
            stub = next(folder.glob("lib/python3*/site-packages")) / "torchaudio"
            stub.mkdir(exist_ok=True)
            (stub / "__init__.py").write_text("")


def make(folder: Path, wanted: Iterable[Sequence[str]]) -> bool:
    """Makes an environment by these calls of pip; whether there was none yet."""
    if (folder / "ready").is_file():
        return False
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    for words in wanted:
        subprocess.run([str(folder / "bin" / "pip"), "install", "--quiet", *words], check=True)
    (folder / "ready").touch()
    return True
