"""A model folder uploaded to a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from toolgrove.core.errors import ModelError


class Hub(NamedTuple):
    """Where to upload to: ``hf`` (Hugging Face) or ``ms`` (ModelScope), as whom, seen by whom."""

    name: str
    token: str | None = None
    private: bool = False


def push(folder: Path, repo: str, hub: Hub) -> str:
    """Uploads the folder as ``repo`` (owner/name), made if need be; returns its address."""
    return _to_hf(folder, repo, hub) if hub.name == "hf" else _to_ms(folder, repo, hub)


def _to_hf(folder: Path, repo: str, hub: Hub) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    api = HfApi(token=hub.token)
    try:
        url = api.create_repo(repo, private=hub.private, exist_ok=True)
        api.upload_folder(folder_path=folder, repo_id=repo)
    except (HFValidationError, HfHubHTTPError, OSError) as error:
        raise _refused(
            repo, "hf", error, "check the name; `hf auth login`, or --hub_token"
        ) from error
    return str(url)


def _to_ms(folder: Path, repo: str, hub: Hub) -> str:
    try:
        from modelscope.hub.api import HubApi  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ModelError(
            "uploading to ModelScope needs the package modelscope",
            hint="pip install modelscope, or --use_hf for Hugging Face",
        ) from error
    api: Any = HubApi()
    try:
        if hub.token:
            api.login(hub.token)
        api.create_repo(
            repo,
            repo_type="model",
            visibility="private" if hub.private else "public",
            exist_ok=True,
        )
        api.upload_folder(repo_id=repo, folder_path=str(folder), repo_type="model")
    except (ValueError, OSError, RuntimeError) as error:
        raise _refused(repo, "ms", error, "check the name and --hub_token") from error
    return f"https://modelscope.cn/models/{repo}"


def _refused(repo: str, hub: str, error: Exception, hint: str) -> ModelError:
    first = str(error).strip().partition("\n")[0] or type(error).__name__
    return ModelError(f"the upload failed: {first}", where=f"{hub}:{repo}", hint=hint)
