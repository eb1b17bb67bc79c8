"""``toolgrove deploy``: serves a model over OpenAI's API, its tool calls read, streamed, held."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from toolgrove.cli.inputs import DialectSettings, text_model
from toolgrove.core.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from toolgrove.encoding.tokenizer import Tokenizer
    from toolgrove.engine.backends import Backend
    from toolgrove.engine.live import LiveEngine
    from toolgrove.engine.speech import Speech
    from toolgrove.serve.guard import Limits
    from toolgrove.serve.record import Recorder
    from toolgrove.serve.served import Defaults, Model
    from toolgrove.serve.traces import Traces

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_MB = 1_000_000
_log = logging.getLogger(__name__)


class DeploySettings(DialectSettings):
    """Which model to serve, where, and what to let in."""

    infer_backend: Literal["auto", "local", "vllm", "openvino", "remote", "scripted"] = "auto"
    """What generates: local (transformers), vllm (here, or the server at --url), openvino, remote
    (requests go on to the API at --url), scripted (replies of a file, no model needed); auto: what
    is installed."""

    url: str | None = None
    """For vllm and remote: the server's address, as http://localhost:8000."""

    remote_key: str | None = None
    """The key that the server at --url asks for."""

    engine_options: dict[str, Any] = {}
    """Settings of vLLM's or OpenVINO's own, as tensor_parallel_size=2."""

    adapters: list[str] = []
    """LoRA adapters, as FOLDER or NAME=FOLDER, each served under its own name."""

    script: str | None = None
    """For scripted: a JSON list of raw model replies, played in order, one for each request."""

    served_model_name: str | None = None
    """The name that requests ask for; left out, the name of the model's folder."""

    host: str = "127.0.0.1"
    """The address to listen on; 0.0.0.0 lets other machines in."""

    port: int = Field(default=8000, ge=0, le=65535)
    """The port to listen on; 0 takes one that is free."""

    api_key: list[str] = []
    """Keys one of which requests must send, as Authorization: Bearer KEY."""

    cors_origins: list[str] = []
    """Web pages of these origins may ask; left out, none may."""

    strict: bool = False
    """Hold calls to their tools' schemas also where a call is not required."""

    max_new_tokens: int | None = Field(default=None, ge=1)
    """The longest reply where a request does not say; left out, what the context leaves."""

    temperature: float | None = Field(default=None, ge=0)
    """The temperature where a request does not say; left out, the model's own setting, else 1."""

    max_running: int = Field(default=32, ge=1)
    """How many replies go on together."""

    max_waiting: int = Field(default=256, ge=0)
    """How many wait; further requests get status 429."""

    timeout_s: float = Field(default=600.0, gt=0)
    """The longest that a request may take, waiting included."""

    shutdown_s: float = Field(default=60.0, gt=0)
    """How long running requests may go on when the server is told to stop."""

    max_body_mb: float = Field(default=8.0, gt=0)
    """The largest body of a request."""

    prefix_cache_mb: float = Field(default=512.0, ge=0)
    """How much memory keeps prompts for others that begin alike."""

    torch_dtype: str = "auto"
    """The number format of the weights."""

    record: str | None = None
    """A folder to write every request and reply to, secrets masked; left out, nothing is kept."""

    otlp_endpoint: str | None = None
    """A collector of OpenTelemetry's, as http://localhost:4318: it is sent a span for each request,
    without what was said."""


def run(settings: DeploySettings) -> int:
    """Serves until it is told to stop."""
    from toolgrove.serve.guard import Limits
    from toolgrove.serve.run import bound, serve

    local = settings.host in _LOOPBACK
    if not local and not settings.api_key:
        _log.warning("%s: anyone who reaches this machine may ask; --api_key", settings.host)
    limits = Limits(
        api_keys=tuple(settings.api_key),
        max_body_bytes=round(settings.max_body_mb * _MB),
        timeout_s=settings.timeout_s,
        cors_origins=tuple(settings.cors_origins),
        local=local,
    )
    listening = bound(settings.host, settings.port)
    app = _app(settings, limits)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    print(f"http://{host}:{listening.getsockname()[1]}/v1", file=sys.stderr, flush=True)
    return serve(app, listening, settings.shutdown_s)


def _app(settings: DeploySettings, limits: Limits) -> Any:
    from toolgrove.serve.app import make_app

    if settings.infer_backend == "remote" or (settings.infer_backend == "auto" and settings.url):
        from toolgrove.agent.remote import first_model
        from toolgrove.engine.http import address_of
        from toolgrove.serve.proxy import There, make_proxy

        if settings.adapters:
            raise ConfigError("a remote API has no adapters of ours")
        if settings.url is None:
            raise ConfigError("where is the remote API?", hint="--url http://host:8000/v1")
        address = address_of(settings.url, settings.remote_key)
        name = settings.model or first_model(f"{address.url}/v1", settings.remote_key)
        there = There(address, name)
        _log.info("requests go on to %s, as %s", address.url, name)
        kept = _recorder(settings), settings.served_model_name
        return make_proxy(there, limits, *kept, _traces(settings))
    return make_app(_served(settings), limits, _recorder(settings), _traces(settings))


def _traces(settings: DeploySettings) -> Traces | None:
    if settings.otlp_endpoint is None:
        return None
    from toolgrove.engine.http import address_of

    url = address_of(settings.otlp_endpoint).url
    try:
        from toolgrove.serve.traces import to_collector

        return to_collector(url)
    except ModuleNotFoundError as error:
        hint = "pip install 'toolgrove[otel]'"
        raise ConfigError(f'"{error.name}" is not installed', hint=hint) from error


def _asked(settings: DeploySettings, name: str) -> Backend:
    from toolgrove.engine.backends import Backend

    return Backend(name, settings.url, settings.remote_key, settings.engine_options)


def _served(settings: DeploySettings) -> Any:
    from toolgrove.serve.scheduler import Scheduler
    from toolgrove.serve.served import Served

    backend = _backend(settings)
    folder = _folder(settings, backend)
    told = _told(settings, folder)
    adapters = dict(_named(adapter) for adapter in settings.adapters)
    base = _base(settings, folder, told)
    engine, tokenizer = (
        _scripted(settings, base)
        if backend == "scripted"
        else _engine(settings, backend, folder, adapters)
    )
    if not engine.holds_grammars and backend != "scripted":
        _log.warning("this engine holds no reply to a grammar: tool_choice and --strict are wishes")
    scheduler = Scheduler(engine, settings.max_running, settings.max_waiting)
    served = Served(tokenizer, scheduler, base, _defaults(settings, folder), settings.strict)
    _tell(backend, base)
    for name, path in adapters.items():
        from toolgrove.engine.speech import speech_of

        speech = speech_of(told, [path, *([folder] if folder else [])])
        _tell(backend, served.add(name, path, speech))
    return served


def _backend(settings: DeploySettings) -> str:
    backend = settings.infer_backend
    if backend == "auto" and settings.script is not None:
        backend = "scripted"
    if backend == "scripted" and settings.script is None:
        raise ConfigError("no script to play", hint="--script FILE, a JSON list of replies")
    if backend != "scripted" and settings.script is not None:
        raise ConfigError("--script belongs to --infer_backend scripted")
    return backend


def _folder(settings: DeploySettings, backend: str) -> Path | None:
    if backend == "scripted":
        return text_model(settings.model) if settings.model else None
    from toolgrove.models.load import fetch_model

    model = settings.model
    if model is None and settings.adapters:
        from toolgrove.models.adapters import check_adapter

        config = check_adapter(_named(settings.adapters[0])[1])
        model = config.get("base_model_name_or_path")
    if not model:
        raise ConfigError('"model" is missing', hint="give --model FOLDER")
    return fetch_model(model)


def _told(settings: DeploySettings, folder: Path | None) -> Speech:
    from toolgrove.engine.speech import Speech

    options = settings.template_options
    if settings.enable_thinking is not None:
        options = {**options, "enable_thinking": settings.enable_thinking}
    template, agent = settings.template, settings.agent_template
    if folder is None and template is None:
        raise ConfigError("no dialect named", hint="give --template NAME or --model FOLDER")
    return Speech(folder, template, agent, options, settings.today)


def _base(settings: DeploySettings, folder: Path | None, told: Speech) -> Model:
    from toolgrove.engine.speech import speech_of
    from toolgrove.serve.served import Model

    name = settings.served_model_name or (folder.name if folder else "scripted")
    speech = speech_of(told, [folder] if folder else [])
    speech.dialect()
    return Model(name, speech, root=str(folder or name))


def _named(adapter: str) -> tuple[str, Path]:
    name, equals, path = adapter.partition("=")
    folder = Path(path if equals else adapter).expanduser()
    return (name if equals else folder.name), folder


def _scripted(settings: DeploySettings, base: Model) -> tuple[LiveEngine, Tokenizer]:
    from toolgrove.encoding.byte_level import byte_level_tokenizer
    from toolgrove.encoding.tokenizer import load_tokenizer
    from toolgrove.engine.live_script import ScriptedLive, read_script

    if settings.adapters:
        raise ConfigError("a scripted server has no model that adapters could go on")
    replies = read_script(settings.script or "")
    folder = base.speech.folder
    if folder is not None:
        tokenizer = load_tokenizer(folder)
    else:
        tokenizer = byte_level_tokenizer(base.speech.dialect(), replies)
    return ScriptedLive(replies, tokenizer), tokenizer


def _engine(
    settings: DeploySettings, name: str, folder: Path | None, adapters: dict[str, Path]
) -> tuple[LiveEngine, Tokenizer]:
    from toolgrove.engine.backends import chosen, live_engine

    if folder is None:
        raise ModelError("no model to serve", hint="give --model FOLDER")
    backend = chosen(_asked(settings, name), folder, bool(adapters))
    return live_engine(
        backend, folder, adapters, settings.torch_dtype, round(settings.prefix_cache_mb * _MB)
    )


def _defaults(settings: DeploySettings, folder: Path | None) -> Defaults:
    """The maker's generation settings, where it has any; what the flags say wins."""
    from toolgrove.serve.served import Defaults

    kept: dict[str, Any] = {}
    file = folder / "generation_config.json" if folder else None
    if file is not None and file.is_file():
        try:
            kept = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ModelError(f"not a JSON file: {error}", where=str(file)) from None
    told = settings.temperature
    temperature = kept.get("temperature") if told is None else told
    return Defaults(
        1.0 if temperature is None else float(temperature),
        float(kept.get("top_p") or 1.0),
        int(kept.get("top_k") or 0),
        settings.max_new_tokens,
    )


def _recorder(settings: DeploySettings) -> Recorder | None:
    from toolgrove.serve.record import Recorder

    if settings.record is None:
        return None
    recorder = Recorder(Path(settings.record).expanduser(), settings.api_key)
    _log.warning("every request and reply is written to %s", recorder.file)
    return recorder


def _tell(backend: str, model: Model) -> None:
    dialect = model.speech.dialect()
    _log.info(
        "%s (%s): chat template %s, agent template %s: %s",
        model.name,
        backend,
        dialect.chat_name,
        dialect.agent_name or "none",
        model.speech.why,
    )
