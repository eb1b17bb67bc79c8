"""A model folder for other programs: merged or linked, with the dialect that it was trained in."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from toolgrove.core.errors import ModelError, TemplateError
from toolgrove.templates.plain_jinja import plain_jinja
from toolgrove.templates.spoken import FILE, spoken

if TYPE_CHECKING:
    from toolgrove.encoding.tokenizer import Tokenizer
    from toolgrove.templates.dialect import Dialect

CHAT_TEMPLATE = "chat_template.jinja"
MAKERS = "chat_template.maker.jinja"
_CONFIG, _GENERATION = "tokenizer_config.json", "generation_config.json"
_LEFT_OUT = (".git", "runs", "optimizer.pt", "trainer_state.json")


class Voice(NamedTuple):
    """What a folder's model speaks, and the tokenizer that it is written with."""

    dialect: Dialect
    tok: Tokenizer


def link_model(source: Path, out: Path) -> None:
    """``out``: the files of a model folder, weights as links where the file system has them."""
    out.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.iterdir()):
        if not file.is_file() or file.name in _LEFT_OUT:
            continue
        target = out / file.name
        if file.suffix in (".safetensors", ".bin"):
            try:
                os.link(file.resolve(), target)
                continue
            except OSError:
                pass
        shutil.copyfile(file, target)


def check_out(out: Path, *, overwrite: bool) -> None:
    """Makes room for a new model folder: ModelError where ``out`` holds files that may not, or
    that are no model."""
    if not out.exists() or not any(out.iterdir()):
        return
    if not overwrite:
        raise ModelError(
            "the folder is not empty",
            where=str(out),
            hint="name another --output_dir, or --exist_ok",
        )
    if not (out / "config.json").is_file():
        raise ModelError("there is something else than a model in this folder", where=str(out))
    shutil.rmtree(out)


def write_voice(folder: Path, voice: Voice) -> list[str]:
    """Writes what the model speaks into its folder; returns what was changed, in words.

    The dialect's note is for this program. For others: the chat template, which is the maker's own
    where the dialect is native and else one made from the dialect (``plain_jinja``), so that it
    shows tools, calls and results as they were trained; and the end tokens of generation.
    """
    note = json.dumps(spoken(voice.dialect), indent=2, ensure_ascii=False) + "\n"
    (folder / FILE).write_text(note, encoding="utf-8")
    told = [
        f"{FILE}: {voice.dialect.chat_name} + {voice.dialect.agent_name or 'no agent template'}"
    ]
    told += _write_template(folder, voice.dialect)
    return told + _write_ends(folder, voice)


def _write_template(folder: Path, dialect: Dialect) -> list[str]:
    if dialect.native:
        return ["chat template: the maker's own, which is what was trained"]
    try:
        source = plain_jinja(dialect)
    except TemplateError as error:
        return [f"chat template: the maker's own, WITHOUT what was trained: {error.what}"]
    file, config = folder / CHAT_TEMPLATE, folder / _CONFIG
    settings = _json(config)
    own: Any = settings.pop("chat_template", None)
    if file.is_file():
        file.rename(folder / MAKERS)
    elif isinstance(own, str):
        (folder / MAKERS).write_text(own, encoding="utf-8")
    if own is not None:
        config.write_text(json.dumps(settings, indent=2, ensure_ascii=False), encoding="utf-8")
    file.write_text(source, encoding="utf-8")
    return [f"chat template: made from the dialect, tools included (the maker's is in {MAKERS})"]


def _write_ends(folder: Path, voice: Voice) -> list[str]:
    """Adds the dialect's stop tokens to those that generation ends with."""
    settings = _json(folder / _GENERATION)
    given = settings.get("eos_token_id", _json(folder / "config.json").get("eos_token_id"))
    known = [] if given is None else [given] if isinstance(given, int) else list(given)
    control = voice.tok.control_ids
    new = [control[stop] for stop in voice.dialect.stops if stop in control]
    missing = [token for token in new if token not in known]
    if not missing:
        return [f"end tokens: {known}"]
    settings["eos_token_id"] = [*known, *missing]
    text = json.dumps(settings, indent=2) + "\n"
    (folder / _GENERATION).write_text(text, encoding="utf-8")
    return [f"end tokens: {settings['eos_token_id']}, with the dialect's own"]


def _json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        value: Any = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"not a JSON file: {error}", where=str(file)) from None
    return value if isinstance(value, dict) else {}
