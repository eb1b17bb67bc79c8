"""A model folder written as one GGUF file, by llama.cpp's own converter."""

from __future__ import annotations

import logging
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolgrove.core.errors import ConfigError, ModelError
from toolgrove.data.cache import cache_folder

if TYPE_CHECKING:
    import torch

TYPES = ("auto", "f32", "f16", "bf16", "q8_0")
"""The number formats that the converter writes; auto is that of the folder."""

_SCRIPT = "convert_hf_to_gguf.py"
_PACKAGE = "llama-cpp-python==0.3.36"
_SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
"""of the package's source archive on PyPI"""
_INSIDE = "vendor/llama.cpp/"
_PARTS = (_SCRIPT, "conversion/", "gguf-py/", "models/templates/", "LICENSE")
_log = logging.getLogger(__name__)


def write_gguf(folder: Path, file: Path, kind: str = "auto", converter: str | None = None) -> None:
    """Writes ``file``: the model of ``folder``, its tokenizer and chat template.

    ``converter``: llama.cpp's folder or its script; else the script in the source package of
    llama-cpp-python, fetched once and held to its checksum. Commands on the path are not taken:
    packages of others have their names. The file appears whole or not at all.
    """
    command = _converter(converter)
    part = file.with_name(f".{file.name}.part")
    try:
        done = subprocess.run(
            [*command, str(folder), "--outfile", str(part), "--outtype", kind],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode != 0 or not part.is_file():
            said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
            raise ModelError(
                f"llama.cpp's converter failed: {said[-1] if said else 'it said nothing'}",
                where=str(folder),
                hint=f"it was: {' '.join(command)}",
            )
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def gguf_difference(folder: Path, file: Path) -> float:
    """How far the logits of the file are from the folder's: the largest difference of one, in
    standard deviations of all. ModelError where transformers cannot read such a file."""
    import torch
    from transformers import AutoModelForCausalLM

    from toolgrove.models.load import load_model
    from toolgrove.models.merge import some_ids, spreads
    from toolgrove.models.quiet import quiet_transformers

    plain: Any = load_model(folder, torch.float32)
    ids = some_ids(int(plain.config.get_text_config().vocab_size))
    try:
        with quiet_transformers():
            read: Any = AutoModelForCausalLM.from_pretrained(
                str(file.parent), gguf_file=file.name, dtype=torch.float32
            )
    except (ValueError, OSError, KeyError, NotImplementedError) as error:
        raise ModelError(
            f"the file was written, but transformers cannot read it back to compare: {error}",
            where=str(file),
        ) from error
    with torch.no_grad():
        return spreads(_logits(read, ids), _logits(plain, ids))


def _logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    return model.eval()(input_ids=ids).logits


def _converter(given: str | None) -> list[str]:
    if given is not None:
        path = Path(given).expanduser()
        script = path / _SCRIPT if path.is_dir() else path
        if not script.is_file():
            raise ConfigError(
                f"no {_SCRIPT} there", where=given, hint="name llama.cpp's folder or the script"
            )
        return [sys.executable, str(script)]
    return [sys.executable, str(_fetched())]


def _fetched() -> Path:
    """The converter out of llama-cpp-python's source package, in the cache."""
    home = cache_folder(None, "converters")
    goal = home / _PACKAGE
    if not (goal / _SCRIPT).is_file():
        _log.info("fetching llama.cpp's converter (the source package of %s)", _PACKAGE)
        with tempfile.TemporaryDirectory(dir=home, prefix=".part-") as scratch:
            part = _unpacked(_downloaded(Path(scratch)), Path(scratch) / "out")
            if not goal.exists():
                part.rename(goal)
    return goal / _SCRIPT


def _downloaded(scratch: Path) -> Path:
    """The package's source archive; pip refuses one with another checksum."""
    wanted = scratch / "requirements.txt"
    wanted.write_text(f"{_PACKAGE} --hash=sha256:{_SHA256}\n", encoding="utf-8")
    name = _PACKAGE.partition("==")[0]
    flags = ("--no-deps", "--require-hashes", "--no-binary", name, "--quiet")
    places = ("--disable-pip-version-check", "--dest", str(scratch), "--requirement", str(wanted))
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *flags, *places],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    found = sorted(scratch.glob("*.tar.gz"))
    if done.returncode != 0 or not found:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise ModelError(
            f"llama.cpp's converter could not be fetched: {said[-1] if said else 'pip is silent'}",
            hint="give --gguf_converter, a folder with llama.cpp's sources",
        )
    return found[0]


def _unpacked(archive: Path, out: Path) -> Path:
    """The converter's own files; nothing else of the package is kept."""
    with tarfile.open(archive) as source:
        for member in source.getmembers():
            inner = member.name.partition("/")[2]
            if member.isfile() and inner.startswith(_INSIDE):
                member.name = inner.removeprefix(_INSIDE)
                if member.name.startswith(_PARTS):
                    source.extract(member, out, filter="data")
    if not (out / _SCRIPT).is_file():
        raise ModelError(f"the package {_PACKAGE} holds no {_SCRIPT}")
    return out
