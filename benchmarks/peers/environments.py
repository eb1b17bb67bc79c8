"""The environments of the peers, each with its own packages, made once and kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SETUP = {
    "ms-swift": [["ms-swift==4.6.0"]],
    "trl": [["trl==1.16.0", "peft"]],
    "llamafactory": [
        ["--no-deps", "llamafactory==0.9.5"],
        ["transformers==5.6.0", "trl==0.24.0", "datasets", "accelerate", "peft", "sentencepiece"],
        ["tiktoken", "omegaconf", "einops", "fire", "scipy", "pandas", "tyro", "hf_transfer", "av"],
    ],
}
"""What each peer's environment needs beside torch; a stub stands for LLaMA-Factory's torchaudio."""


def set_up(peers: Path) -> None:
    for name, wanted in SETUP.items():
        folder = peers / name
        if (folder / "ready").is_file():
            continue
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        for words in [["torch==2.13.0"], *wanted]:
            pip = [str(folder / "bin" / "pip"), "install", "--quiet", *words]
            subprocess.run(pip, check=True)
        if name == "llamafactory":
            stub = next(folder.glob("lib/python3*/site-packages")) / "torchaudio"
            stub.mkdir(exist_ok=True)
            (stub / "__init__.py").write_text("")
        (folder / "ready").touch()
