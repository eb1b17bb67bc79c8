"""``toolgrove infer``: an agent in the terminal, or a model's replies to a data set."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from toolgrove.cli.inputs import RowsSettings, dialect_of, text_model
from toolgrove.core.errors import ConfigError

if TYPE_CHECKING:
    from toolgrove.agent.model import EngineModel, Model
    from toolgrove.agent.session import Limits
    from toolgrove.encoding.tokenizer import Tokenizer
    from toolgrove.engine.base import Engine, Sampling
    from toolgrove.templates.dialect import Dialect


_OWN = "the model's own template"
_log = logging.getLogger(__name__)


class InferSettings(RowsSettings):
    """Which model answers what, with which tools, and how."""

    adapters: list[str] = []
    """Folders of LoRA adapters to put on the model; the first one is used."""

    infer_backend: Literal["auto", "local", "vllm", "openvino", "remote", "scripted"] = "auto"
    """What generates: local (transformers), vllm (here, or the server at --url, fed token ids),
    openvino, remote (the server at --url, in its own dialect), scripted (replies of a file, no
    model needed); auto: what is installed."""

    url: str | None = None
    """An OpenAI-compatible server, such as http://localhost:8000/v1. It writes and reads calls by
    itself; with --agent_template (agentfabric, react_en ...) they are put into its texts here."""

    served_model: str | None = None
    """The model's name on that server."""

    api_key: str | None = None
    """What the server wants to see as a bearer token."""

    engine_options: dict[str, Any] = {}
    """Settings of vLLM's or OpenVINO's own, as tensor_parallel_size=2."""

    script: str | None = None
    """For scripted: a JSON list of raw model replies, played in order."""

    query: str | None = Field(default=None, alias="prompt")
    """Ask this one thing and leave."""

    system: str | None = None
    """System prompt."""

    tools: list[str | dict[str, Any]] = []
    """Tools to run: FILE.py with functions, mcp:COMMAND, mcp:http://..., a file with mcpServers, an
    OpenAPI document (file or openapi:URL); or a list of tools as JSON (file or text), whose results
    you are asked for."""

    allow: list[str] = []
    """Tools that may change things without asking: names or patterns such as "files/*"; * is all.
    Others ask before each call, or are refused where nobody can answer."""

    eval_human: bool = False
    """Talk in the terminal and type the results of tools by hand, whatever could run them."""

    stop_words: list[str] = []
    """Further texts that end a reply, such as Observation:; calls are then read also where no tools
    are given."""

    max_steps: int = Field(default=20, ge=1)
    """How many replies an agent may need for one question."""

    max_seconds: float | None = Field(default=None, gt=0)
    """How long an agent may work on one question."""

    max_total_tokens: int | None = Field(default=None, ge=1)
    """How many tokens an agent may generate for one question."""

    max_repeats: int = Field(default=3, ge=0)
    """How often a call may bring the same result before the agent is warned, then ended; 0: as
    often as it likes."""

    tool_timeout_s: float = Field(default=60.0, gt=0)
    """How long one call of a tool may take."""

    max_new_tokens: int = Field(default=512, ge=1)
    """Longest reply in tokens."""

    temperature: float = Field(default=0.0, ge=0)
    """0 always takes the likeliest token; higher is more varied."""

    top_p: float = Field(default=1.0, gt=0, le=1)
    """Draw from the likeliest tokens that together have this probability."""

    top_k: int = Field(default=0, ge=0)
    """Draw from this many of the likeliest tokens; 0 draws from all."""

    seed: int | None = None
    """Makes drawing repeatable."""

    strict: bool = False
    """Hold calls to their tools' schemas while they are generated (needs the extra grammar)."""

    max_batch_size: int = Field(default=16, ge=1)
    """How many rows of a data set are answered together."""

    result_path: Path | None = None
    """A JSON-lines file: a line for each conversation of a chat, or for each row of a data set, of
    which those that it holds already are not asked again."""

    as_json: bool = Field(default=False, alias="json")
    """Print each message as JSON."""


def run(settings: InferSettings) -> int:
    """Answers the one question, or every row, or whatever is typed."""
    if _backend(settings) == "local":
        _base(settings)  # what cannot be is told before anything is started
    if settings.dataset and (settings.query is not None or settings.eval_human):
        raise ConfigError(
            "a data set is answered without anybody asking or typing",
            hint="leave out the data set, or --prompt and --eval_human",
        )
    if settings.dataset:
        from toolgrove.cli.infer_rows import answer_rows

        return answer_rows(settings, lambda: _load(settings))
    from toolgrove.cli.infer_chat import talk

    return talk(settings, lambda: _load(settings))


def limits_of(settings: InferSettings) -> Limits:
    """How long an agent may work on one question."""
    from toolgrove.agent.session import Limits

    return Limits(
        steps=settings.max_steps,
        tokens=settings.max_total_tokens,
        seconds=settings.max_seconds,
        call_s=settings.tool_timeout_s,
        repeats=settings.max_repeats,
    )


def _load(settings: InferSettings) -> Model:
    """What answers."""
    backend = _backend(settings)
    sampling = _sampling(settings)
    if backend == "remote":
        from toolgrove.agent.remote import RemoteModel, first_model

        url = settings.url or ""
        name = settings.served_model or first_model(url, settings.api_key)
        agent = settings.agent_template
        return RemoteModel(url, name, settings.api_key, sampling, agent)
    if backend == "scripted":
        return _scripted(settings, sampling)
    return _of_model(settings, sampling, backend)


def _backend(settings: InferSettings) -> str:
    backend = settings.infer_backend
    if backend == "auto":
        backend = "scripted" if settings.script else "remote" if settings.url else "auto"
    if backend == "remote" and settings.url is None:
        raise ConfigError("no server to ask", hint="--url http://localhost:8000/v1")
    if backend == "scripted" and settings.script is None:
        raise ConfigError("no script to play", hint="--script FILE, a JSON list of replies")
    for name, value, fits in (
        ("url", settings.url, backend in ("remote", "vllm")),
        ("script", settings.script, backend == "scripted"),
        ("model", settings.model, backend != "remote"),
        ("template", settings.template, backend != "remote"),
        ("adapters", settings.adapters or None, backend in ("auto", "local", "vllm")),
    ):
        if value is not None and not fits:
            raise ConfigError(f"--{name} has no meaning with --infer_backend {backend}")
    if backend == "local" and find_spec("torch") is None:
        raise ConfigError('"torch" is not installed', hint="pip install 'toolgrove[train]'")
    return backend


def _sampling(settings: InferSettings) -> Sampling:
    from toolgrove.engine.base import Sampling

    return Sampling(
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        top_k=settings.top_k,
        seed=settings.seed,
        stop=tuple(settings.stop_words),
    )


def _scripted(settings: InferSettings, sampling: Sampling) -> EngineModel:
    from toolgrove.agent.model import EngineModel
    from toolgrove.encoding.byte_level import byte_level_tokenizer
    from toolgrove.encoding.tokenizer import load_tokenizer
    from toolgrove.engine.kept import KeptPrompts
    from toolgrove.engine.live_script import ScriptedLive, read_script

    dialect = dialect_of(settings)
    replies = read_script(settings.script or "")
    if settings.model is not None:
        tokenizer = load_tokenizer(text_model(settings.model))
    else:
        tokenizer = byte_level_tokenizer(dialect, replies)
    engine = KeptPrompts(ScriptedLive(replies, tokenizer))
    return EngineModel(engine, dialect, tokenizer, sampling, unlisted=bool(settings.stop_words))


def _of_model(settings: InferSettings, sampling: Sampling, name: str) -> EngineModel:
    """A model of this machine, in the engine of that name or, ``auto``, the best there is."""
    base = _base(settings)
    from toolgrove.agent.model import EngineModel
    from toolgrove.engine.backends import Backend, chosen, engine
    from toolgrove.models.load import fetch_model

    folder = fetch_model(base)
    adapters = {Path(path).name: Path(path) for path in settings.adapters}
    asked = Backend(name, settings.url, settings.api_key, settings.engine_options)
    backend = chosen(asked, folder, bool(adapters))
    dialect = _dialect(settings, folder)
    if backend.name == "local":
        made, tok = _local(folder, adapters)
    else:
        made, tok = engine(backend, folder, adapters)
    return EngineModel(
        made,
        dialect,
        tok,
        sampling,
        unlisted=bool(settings.stop_words),
        strict=settings.strict,
    )


def _local(folder: Path, adapters: Mapping[str, Path]) -> tuple[Engine, Tokenizer]:
    """Transformers, which keeps what it has computed of a conversation for the next question."""
    from toolgrove.engine.kept import KeptPrompts
    from toolgrove.engine.live_local import LocalLive
    from toolgrove.engine.local import LocalEngine
    from toolgrove.models.prompted import is_prompted

    engine = LocalEngine.load(folder, adapters=adapters)
    if is_prompted(engine.model):  # a learnt prompt cannot be kept by its tokens
        return engine, engine.tok
    return KeptPrompts(LocalLive(engine), next(iter(adapters), None)), engine.tok


def _base(settings: InferSettings) -> str:
    """The model, or the one that the adapter was trained on."""
    model = settings.model
    if model is None and settings.adapters:
        from toolgrove.models.adapters import check_adapter

        model = check_adapter(Path(settings.adapters[0])).get("base_model_name_or_path")
    if not model:
        raise ConfigError('"model" is missing', hint="give --model FOLDER")
    return model


def _dialect(settings: InferSettings, folder: Path) -> Dialect:
    """The dialect that the flags name; else as trained; else the model's own, with the agent
    template of its family where its own cannot show tools."""
    if settings.template is not None or settings.agent_template is not None:
        return dialect_of(settings.model_copy(update={"model": str(folder)}))
    from toolgrove.engine.speech import Speech, speech_of

    options = settings.template_options
    if settings.enable_thinking is not None:
        options = {**options, "enable_thinking": settings.enable_thinking}
    told = Speech(folder, None, None, options, settings.today)
    speech = speech_of(told, [*map(Path, settings.adapters), folder])
    if not speech.why.startswith(_OWN):
        _log.info("%s", speech.why)
    elif speech.agent is not None:
        _log.info("agent template %s: %s", speech.agent, speech.why)
    return speech.dialect()
