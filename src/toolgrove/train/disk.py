"""A full disk, which libraries report in several ways, as one error."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolgrove.core.errors import ModelError

_NO_ROOM = ("No space left on device", "PytorchStreamWriter failed writing", "unexpected pos")


@contextmanager
def telling_full_disk(run: Path) -> Iterator[None]:
    """Turns the several ways in which libraries report a full disk into one clear error."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if not _is_full(error):
            raise
        free = shutil.disk_usage(run).free // 2**20 if run.exists() else 0
        raise ModelError(
            f"no room on the disk ({free} MB left)",
            where=str(run),
            hint="make room, then go on with --resume true; --save_total_limit 1 keeps one"
            " checkpoint only",
        ) from error


def _is_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind this error, or behind one that it came from."""
    if error is None:
        return False
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return any(sign in str(error) for sign in _NO_ROOM) or _is_full(error.__context__)
