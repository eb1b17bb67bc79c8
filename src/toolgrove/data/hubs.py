"""Repositories of the Hugging Face hub, with ModelScope's, as local folders."""

from __future__ import annotations

import importlib
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from toolgrove.core.errors import DataError
from toolgrove.data.cache import cache_folder
from toolgrove.data.rows import KNOWN_SUFFIXES

_PROBE_TIMEOUT_S = 8.0
_WANTED = sorted({"README.md", *(f"*{suffix}" for suffix in KNOWN_SUFFIXES), "*.gz"})


def hugging_face(repo: str, cache_dir: str | Path | None = None) -> Path:
    """The folder with a data set's files; offline, the copy that was fetched before.

    ``cache_dir`` None means the hub's own cache, which other programs share.
    """
    where = f"hf:{repo}"
    try:
        hub: Any = importlib.import_module("huggingface_hub")
        constants: Any = importlib.import_module("huggingface_hub.constants")
    except ImportError:
        raise _missing("huggingface_hub", where) from None
    offline = not _reachable(constants.ENDPOINT)
    cache = None if cache_dir is None else cache_folder(cache_dir, "hf")

    def fetch() -> str:
        folder = hub.snapshot_download(
            repo,
            repo_type="dataset",
            allow_patterns=_WANTED,
            cache_dir=cache,
            local_files_only=offline,
            etag_timeout=_PROBE_TIMEOUT_S,
        )
        return cast(str, folder)

    return _fetched(fetch, where, offline, (OSError, ValueError, _http_error()))


def model_scope(repo: str, cache_dir: str | Path | None = None) -> Path:
    """The folder with a ModelScope data set's files, fetched with the modelscope package."""
    where = f"ms:{repo}"
    try:
        hub: Any = importlib.import_module("modelscope.hub.snapshot_download")
        errors: Any = importlib.import_module("modelscope.hub.errors")
        utils: Any = importlib.import_module("modelscope.hub.utils.utils")
    except ImportError:
        raise _missing("modelscope", where) from None
    if not _reachable(utils.get_endpoint()):
        raise _network_away(where)
    cache = cache_folder(cache_dir, "ms")

    def fetch() -> str:
        return cast(
            str, hub.dataset_snapshot_download(repo, cache_dir=cache, allow_patterns=_WANTED)
        )

    return _fetched(fetch, where, False, (OSError, ValueError, errors.HubError))


def _fetched(
    fetch: Callable[[], str], where: str, offline: bool, failures: tuple[type[Exception], ...]
) -> Path:
    try:
        return Path(fetch())
    except failures as error:
        if offline:
            raise _network_away(where) from None
        said = next((line for line in str(error).splitlines() if line.strip()), "")
        raise DataError(
            f"the hub did not give the data set: {said or type(error).__name__}",
            where=where,
            hint="check the name, and log in for a data set that is private or gated",
        ) from None


def _reachable(endpoint: str) -> bool:
    """Whether anybody answers there: one short question, so that no retries can pile up."""
    request = urllib.request.Request(endpoint, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=_PROBE_TIMEOUT_S).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def _http_error() -> type[Exception]:
    """The base of the errors of the HTTP client that huggingface_hub uses."""
    try:
        client: Any = importlib.import_module("httpx2")
    except ImportError:
        client = importlib.import_module("httpx")
    return cast(type[Exception], client.HTTPError)


def _missing(package: str, where: str) -> DataError:
    return DataError(
        f"this source needs the package {package}", where=where, hint=f"pip install {package}"
    )


def _network_away(where: str) -> DataError:
    return DataError(
        "the hub cannot be reached, and no copy is in the cache",
        where=where,
        hint="check the network, or give a local file or folder",
    )
