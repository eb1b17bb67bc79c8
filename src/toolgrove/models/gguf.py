"""Turns a GGUF file into a model folder in the Hugging Face layout."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from toolgrove.core.errors import ModelError


def convert_gguf(file: Path, folder: Path) -> Path:
    """Writes ``folder`` (weights in bfloat16, config, tokenizer, chat template) unless it exists.

    The folder appears whole or not at all: it is built beside its place, then renamed. A GGUF's
    quantized weights are widened; transformers refuses to save what it read from a GGUF, so the
    weights move into a fresh model that was never quantized.
    """
    if (folder / "config.json").is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write_model(file, work)
        _write_tokenizer(file, work)
        work.chmod(0o755)
        for written in work.iterdir():
            written.chmod(0o644)
        with suppress(FileExistsError, OSError):  # another process may have been first
            work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if not (folder / "config.json").is_file():
        raise ModelError("the converted model could not be put in its place", where=str(folder))
    return folder


def _write_model(file: Path, work: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from toolgrove.models.quiet import quiet_transformers

    with quiet_transformers():
        read: Any = AutoModelForCausalLM.from_pretrained(
            str(file.parent), gguf_file=file.name, dtype=torch.float32
        )
        config = type(read.config)(
            **{k: v for k, v in read.config.to_dict().items() if k not in _OF_THE_FILE}
        )
        fresh: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        fresh.load_state_dict(read.state_dict())
        fresh.generation_config = read.generation_config
        fresh.to(torch.bfloat16).save_pretrained(work)


_OF_THE_FILE = frozenset({"quantization_config", "_name_or_path", "_model_name_or_path", "dtype"})


def _write_tokenizer(file: Path, work: Path) -> None:
    import json

    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    tokenizer.save_pretrained(work)
    settings_file = work / "tokenizer_config.json"
    settings = json.loads(settings_file.read_text(encoding="utf-8"))
    settings.pop("is_local", None)
    settings.pop("local_files_only", None)
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    settings["clean_up_tokenization_spaces"] = False
    settings["chat_template"] = tokenizer.chat_template
    settings_file.write_text(json.dumps(settings, indent=2, ensure_ascii=False), encoding="utf-8")
