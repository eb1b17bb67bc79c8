"""Which engine answers: the one that is asked for, else the best that is installed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from toolgrove.core.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from toolgrove.encoding.tokenizer import Tokenizer
    from toolgrove.engine.kept import KeptPrompts
    from toolgrove.engine.live import LiveEngine
    from toolgrove.engine.local import LocalEngine

BackendName: TypeAlias = Literal["auto", "local", "vllm", "openvino", "remote"]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Backend:
    """What generates: ``local`` (transformers), ``vllm`` (in this process, or the server at
    ``url``), ``openvino`` (GGUF files and OpenVINO's format), ``remote`` (the API at ``url``, which
    makes the prompts itself). ``options`` are the engine's own settings."""

    name: str
    url: str | None = None
    key: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        if self.name == "remote" and not self.url:
            raise ConfigError("where is the remote API?", hint="--url http://host:8000")
        if self.name in ("local", "openvino") and self.url:
            raise ConfigError(f"--url does not go with --infer_backend {self.name}")
        if self.name in ("local", "remote") and self.options:
            raise ConfigError(f"--infer_backend {self.name} has no --engine_options")


def chosen(asked: Backend, folder: Path | None, adapters: bool) -> Backend:
    """The backend, with ``auto`` decided and told: an address is a remote API; a GPU with vLLM
    installed, vLLM; weights that OpenVINO loads where it is installed, OpenVINO; else local."""
    from dataclasses import replace

    name = asked.name
    if name != "auto":
        _check_installed(asked)
        return asked
    why = "it is what is installed"
    if asked.url:
        name, why = "remote", "an address is given"
    elif find_spec("vllm") is not None and _has_gpu():
        name, why = "vllm", "it is installed, and there is a GPU"
    elif not adapters and folder is not None and _openvino_loads(folder):
        name, why = "openvino", "it is installed, and the folder has weights for it"
    else:
        name = "local"
    _log.info("infer_backend: %s (%s)", name, why)
    made = replace(asked, name=name)
    _check_installed(made)
    return made


def live_engine(
    backend: Backend,
    folder: Path,
    adapters: Mapping[str, Path],
    dtype: str = "auto",
    prefix_bytes: int = 1 << 29,
) -> tuple[LiveEngine, Tokenizer]:
    """A token engine over a model folder, with its adapters loaded, and the folder's tokenizer.
    ``prefix_bytes``: how much memory the local engine keeps prompts in."""
    from toolgrove.encoding.tokenizer import load_tokenizer

    if backend.name == "local":
        from toolgrove.engine.live_local import LocalLive
        from toolgrove.engine.local import LocalEngine

        local = LocalEngine.load(folder, adapters, dtype=dtype)
        return LocalLive(local, prefix_bytes), local.tok
    tok = load_tokenizer(folder)
    engine = _made(backend, folder, tok, bool(adapters))
    for name, path in adapters.items():
        engine.load_adapter(name, path)
    return engine, tok


def engine(
    backend: Backend, folder: Path, adapters: Mapping[str, Path], dtype: str = "auto"
) -> tuple[LocalEngine | KeptPrompts, Tokenizer]:
    """An engine for lists of prompts; the first of the adapters answers."""
    if backend.name == "local":
        from toolgrove.engine.local import LocalEngine

        local = LocalEngine.load(folder, adapters, dtype=dtype)
        return local, local.tok
    from toolgrove.engine.kept import KeptPrompts

    live, tok = live_engine(backend, folder, adapters, dtype)
    return KeptPrompts(live, next(iter(adapters), None)), tok


def _made(backend: Backend, folder: Path, tok: Tokenizer, adapters: bool) -> LiveEngine:
    if backend.name == "openvino":
        from toolgrove.engine.openvino_live import OpenVinoLive, weights_for

        weights = weights_for(folder)
        if weights is None:
            raise ModelError(
                "OpenVINO loads GGUF files and its own format, and there is neither",
                where=str(folder),
                hint="toolgrove export --to_gguf true --gguf_type f16 writes one",
            )
        from toolgrove.models.load import context_of

        return OpenVinoLive(weights, tok, context_of(folder), backend.options)
    if backend.url:
        from toolgrove.engine.http import address_of
        from toolgrove.engine.vllm_server import VllmServer

        return VllmServer(address_of(backend.url, backend.key), tok)
    from toolgrove.engine.vllm_live import VllmLive

    return VllmLive(folder, tok, backend.options, adapters=adapters)


def _check_installed(backend: Backend) -> None:
    needs = {"local": ("torch", "train"), "openvino": ("openvino_genai", "openvino")}
    package, extra = needs.get(backend.name, ("", ""))
    if backend.name == "vllm" and not backend.url:
        package, extra = "vllm", "vllm"
    if package and find_spec(package) is None:
        raise ConfigError(f'"{package}" is not installed', hint=f"pip install 'toolgrove[{extra}]'")


def _openvino_loads(folder: Path) -> bool:
    from toolgrove.engine.openvino_live import weights_for

    return find_spec("openvino_genai") is not None and weights_for(folder) is not None


def _has_gpu() -> bool:
    if find_spec("torch") is None:
        return False
    from toolgrove.models.device import has_gpu

    return has_gpu()
