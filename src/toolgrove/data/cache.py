"""The folder that keeps what was downloaded."""

from __future__ import annotations

import os
from pathlib import Path

from toolgrove.core.errors import DataError


def cache_folder(chosen: str | Path | None, *parts: str) -> Path:
    """A folder below the cache, made if need be.

    ``chosen`` None means the user's cache: ``$XDG_CACHE_HOME/toolgrove`` or ``~/.cache/toolgrove``.
    """
    if chosen is None:
        home = os.environ.get("XDG_CACHE_HOME")
        root = (Path(home) if home else Path.home() / ".cache") / "toolgrove"
    else:
        root = Path(chosen).expanduser()
    folder = root.joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from None
    return folder


def unwritable(place: Path, error: OSError) -> DataError:
    """The error for a folder that cannot be written to, with the cause in the system's words."""
    return DataError(
        f"cannot write: {error.strerror or error}",
        where=str(place),
        hint="make room there, or choose another cache folder (TOOLGROVE_CACHE=/path)",
    )
