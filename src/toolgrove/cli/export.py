"""``toolgrove export``: a tuned model for other programs, checked against the one it came from."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field

from toolgrove.cli.inputs import RowsSettings
from toolgrove.core.errors import ConfigError, EvalError

if TYPE_CHECKING:
    from toolgrove.engine.speech import Speech
    from toolgrove.models.exporting import Voice

_log = logging.getLogger(__name__)


class ExportSettings(RowsSettings):
    """What to make of which model."""

    adapters: list[str] = []
    """The trained adapter (its checkpoint folder); its base is found from it."""

    output_dir: str | None = None
    """The folder to write; left out, one beside the adapter or in output/."""

    exist_ok: bool = False
    """Replace a model that is in the folder already."""

    merge_lora: bool = False
    """Put the adapter into the weights."""

    quant_method: Literal["bnb", "gptq", "awq", "int8", "int4"] | None = None
    """Write the weights in few bits: bnb (bitsandbytes), int8 and int4 (torchao, for CPUs), gptq
    and awq (GPTQModel; they look at --dataset)."""

    quant_bits: int | None = None
    """How many bits; left out, 4 where the method has it."""

    quant_group_size: int = Field(default=128, ge=16, alias="group_size")
    """How many weights share a scale."""

    quant_n_samples: int = Field(default=256, ge=1)
    """How many rows of --dataset gptq and awq look at."""

    to_gguf: bool = False
    """Write model.gguf as well, by llama.cpp's converter."""

    gguf_type: Literal["auto", "f32", "f16", "bf16", "q8_0"] = "auto"
    """The number format in the GGUF file."""

    gguf_converter: str | None = None
    """llama.cpp's folder or its convert_hf_to_gguf.py; left out, the one in llama-cpp-python's
    source package, fetched once and held to its checksum."""

    to_ollama: bool = False
    """Write a Modelfile for Ollama, tools in its template."""

    launch: list[Literal["vllm", "sglang"]] = []
    """Print, and write to launch.sh, the line that starts this server on the exported model."""

    push_to_hub: bool = False
    """Upload the folder as hub_model_id."""

    hub_model_id: str | None = None
    """owner/name on the hub."""

    hub_token: str | None = None
    """A token that may write there; left out, the one that you are logged in with."""

    hub_private_repo: bool = False
    """Nobody else may see it."""

    use_hf: bool = False
    """Upload to Hugging Face; left out, to ModelScope."""

    self_test: bool = False
    """Replay conversations with tools on the exported model and the one it came from; compare."""


class _Plan(NamedTuple):
    """The model that is exported, where to, and what it speaks."""

    base: Path
    adapter: Path | None
    out: Path
    told: Speech
    voice: Voice


def run(settings: ExportSettings) -> int:
    """Exports step by step, telling what each did; 1 when the self-test found a difference."""
    _check(settings)
    plan = _plan(settings)
    _check_dialect(settings, plan)
    _write(settings, plan)
    if settings.to_gguf:
        _gguf(settings, plan)
    if settings.to_ollama:
        _ollama(settings, plan)
    if settings.launch:
        _launch(settings, plan)
    same = _self_test(plan, exact=settings.quant_method is None) if settings.self_test else True
    if settings.push_to_hub and same:
        _push(settings, plan.out)
    print(plan.out)
    return 0 if same else 1


def _check(settings: ExportSettings) -> None:
    """ConfigError for flags that do not go together, before anything is written."""
    if settings.adapters and not settings.merge_lora:
        raise ConfigError(
            "an adapter is exported inside its base's weights", hint="add --merge_lora true"
        )
    if settings.merge_lora and not settings.adapters:
        raise ConfigError("--merge_lora without an adapter", hint="give --adapters CHECKPOINT")
    if len(settings.adapters) > 1:
        raise ConfigError("one adapter at a time", hint="export each into a folder of its own")
    if settings.quant_method is None and settings.quant_bits is not None:
        raise ConfigError(
            "--quant_bits without a method", hint="--quant_method int8, int4, bnb, gptq or awq"
        )
    if settings.quant_method and (settings.to_gguf or settings.to_ollama):
        raise ConfigError(
            "GGUF files are made of full weights",
            hint="leave out --quant_method; --gguf_type q8_0 writes 8 bits",
        )
    if settings.push_to_hub and not settings.hub_model_id:
        raise ConfigError("where to push to?", hint="give --hub_model_id owner/name")
    if settings.quant_method:
        from toolgrove.models.squeeze import squeeze_of

        squeeze_of(settings.quant_method, settings.quant_bits, settings.quant_group_size)


def _check_dialect(settings: ExportSettings, plan: _Plan) -> None:
    """Refuses what the dialect has no template or parser for, before anything is written."""
    from toolgrove.models.launching import launch_line
    from toolgrove.templates.ollama import go_template

    if settings.to_ollama:
        go_template(plan.voice.dialect)
    for server in settings.launch:
        launch_line(server, plan.out, plan.voice.dialect)


def _plan(settings: ExportSettings) -> _Plan:
    from toolgrove.encoding.tokenizer import load_tokenizer
    from toolgrove.engine.speech import Speech, speech_of
    from toolgrove.models.adapters import check_adapter
    from toolgrove.models.exporting import Voice, check_out
    from toolgrove.models.load import fetch_model
    from toolgrove.models.vocabulary import tokenizer_of

    adapter = Path(settings.adapters[0]).expanduser() if settings.adapters else None
    model = settings.model
    if adapter is not None:
        model = model or check_adapter(adapter).get("base_model_name_or_path")
    if not model:
        raise ConfigError('"model" is missing', hint="give --model FOLDER or --adapters FOLDER")
    base = fetch_model(model)
    options = dict(settings.template_options)
    if settings.enable_thinking is not None:
        options["enable_thinking"] = settings.enable_thinking
    told = Speech(base, settings.template, settings.agent_template, options, settings.today)
    speech = speech_of(told, [place for place in (adapter, base) if place])
    dialect = speech.dialect()
    _log.info("dialect: %s + %s: %s", dialect.chat_name, dialect.agent_name or "none", speech.why)
    words = tokenizer_of(base, adapter)
    out = _out(settings, adapter, base)
    if out.resolve() in (base.resolve(), adapter.resolve() if adapter else None):
        raise ConfigError("the export would overwrite what it is made of", where=str(out))
    check_out(out, overwrite=settings.exist_ok)
    return _Plan(base, adapter, out, speech, Voice(dialect, load_tokenizer(words)))


def _out(settings: ExportSettings, adapter: Path | None, base: Path) -> Path:
    if settings.output_dir:
        return Path(settings.output_dir).expanduser()
    named = adapter if adapter else Path("output") / base.name
    ending = "-merged" if adapter else "-export"
    if settings.quant_method:
        ending = f"-{settings.quant_method}"
    return named.with_name(named.name + ending)


def _write(settings: ExportSettings, plan: _Plan) -> None:
    """The folder: merged or linked, squeezed where asked, with its dialect."""
    import tempfile

    from toolgrove.models.exporting import write_voice

    plan.out.parent.mkdir(parents=True, exist_ok=True)
    if settings.quant_method is None:
        _plain(plan, plan.out)
    else:
        with tempfile.TemporaryDirectory(dir=plan.out.parent, prefix=".export-") as scratch:
            whole = Path(scratch) / "whole"
            _plain(plan, whole)
            _squeeze(settings, plan, whole)
    for line in write_voice(plan.out, plan.voice):
        _log.info("%s", line)


def _plain(plan: _Plan, out: Path) -> None:
    from toolgrove.models.exporting import link_model
    from toolgrove.models.merge import TOLERANCE, merge_lora

    if plan.adapter is None:
        link_model(plan.base, out)
        return
    merged = merge_lora(plan.base, plan.adapter, out)
    _log.info(
        "merged: logits are those of base plus adapter within %g of their spread in float32;"
        " %.2g as the weights are stored",
        TOLERANCE,
        merged.difference,
    )


def _squeeze(settings: ExportSettings, plan: _Plan, whole: Path) -> None:
    from toolgrove.models.squeeze import squeeze_of, write_squeezed

    method = settings.quant_method
    if method is None:
        return
    squeeze = squeeze_of(method, settings.quant_bits, settings.quant_group_size)
    if settings.dataset:
        squeeze = squeeze._replace(texts=_texts(settings, plan))
    write_squeezed(whole, plan.out, squeeze)
    size, before = (
        sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        for folder in (plan.out, whole)
    )
    _log.info(
        "%s, %d bits: %.1f MB of weights instead of %.1f MB",
        method,
        squeeze.bits,
        size / 1e6,
        before / 1e6,
    )


def _texts(settings: ExportSettings, plan: _Plan) -> list[list[int]]:
    """The rows as the model reads them, for methods that look at activations."""
    from itertools import islice

    from toolgrove.cli.inputs import conversations_of
    from toolgrove.encoding.encode import encode

    rows = islice(conversations_of(settings.dataset), settings.quant_n_samples)
    dialect, tok = plan.voice
    return [list(row.ids) for said in rows for row in encode(said.conversation, dialect, tok)]


def _gguf(settings: ExportSettings, plan: _Plan) -> None:
    from toolgrove.models.to_gguf import gguf_difference, write_gguf

    file = plan.out / "model.gguf"
    write_gguf(plan.out, file, settings.gguf_type, settings.gguf_converter)
    difference = gguf_difference(plan.out, file)
    _log.info(
        "%s: %.1f MB; its logits, read back by transformers, differ by %.2g of their spread",
        file,
        file.stat().st_size / 1e6,
        difference,
    )


def _ollama(settings: ExportSettings, plan: _Plan) -> None:
    from toolgrove.templates.ollama import modelfile

    kept = plan.out / "generation_config.json"
    known: dict[str, Any] = json.loads(kept.read_text("utf-8")) if kept.is_file() else {}
    text = modelfile(plan.voice.dialect, "./model.gguf" if settings.to_gguf else ".", known)
    file = plan.out / "Modelfile"
    file.write_text(text, encoding="utf-8")
    _log.info("%s: ollama create NAME -f %s", file, file)


def _launch(settings: ExportSettings, plan: _Plan) -> None:
    from toolgrove.models.launching import launch_line

    lines = [launch_line(server, plan.out, plan.voice.dialect) for server in settings.launch]
    for line in lines:
        print(line)
    file = plan.out / "launch.sh"
    file.write_text("#!/bin/sh\n" + "\n".join(lines) + "\n", encoding="utf-8")


def _self_test(plan: _Plan, *, exact: bool) -> bool:
    from toolgrove.engine.live_local import LocalLive
    from toolgrove.engine.local import LocalEngine
    from toolgrove.engine.speech import Speech, speech_of
    from toolgrove.eval.replay import Speaker, replay, template_differences

    again = speech_of(Speech(plan.out, None, None, today=plan.told.today), [plan.out]).dialect()
    wrong = template_differences(plan.out, again)
    adapters = {"tuned": plan.adapter} if plan.adapter else {}
    before, after = (
        LocalEngine.load(plan.base, adapters, dtype="float32"),
        LocalEngine.load(plan.out, dtype="float32"),
    )
    name = "tuned" if adapters else None
    found = replay(
        Speaker(LocalLive(before), plan.voice.dialect, plan.voice.tok, name),
        Speaker(LocalLive(after), again, after.tok),
    )
    _log.info(
        "self-test: %d of %d prompts are equal token by token",
        found.prompts - len(found.other_prompts),
        found.prompts,
    )
    _log.info(
        "self-test: %d of %d texts of the folder's chat template are the dialect's",
        found.prompts - len(wrong),
        found.prompts,
    )
    parted = len(found.other_replies) + len(found.ties)
    _log.info(
        "self-test: %d of %d greedy replies are equal token by token%s",
        found.replies - parted,
        found.replies,
        f", {len(found.ties)} part at a near tie" if found.ties else "",
    )
    for line in (*found.other_prompts, *wrong, *found.other_replies, *found.ties):
        _log.info("self-test: %s", line)
    if not exact and found.other_replies:
        _log.info("self-test: few bits change replies; measure by toolgrove eval")
    ours = found.same or (not exact and not found.other_prompts)
    if not found.prompts:
        raise EvalError("no conversation with tools goes without loss in this dialect")
    return ours and not wrong


def _push(settings: ExportSettings, folder: Path) -> None:
    from toolgrove.models.pushing import Hub, push

    hub = Hub("hf" if settings.use_hf else "ms", settings.hub_token, settings.hub_private_repo)
    url = push(folder, str(settings.hub_model_id), hub)
    _log.info("pushed to %s", url)
