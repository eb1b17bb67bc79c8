"""What comes in through stdin, as a file with its places told as stdin's."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolgrove.core.errors import DataError

NAME = "stdin"
_PIECE = 1 << 20


@contextmanager
def stdin_file(lines: bool = True) -> Iterator[Path]:
    """All that stdin sends, in a file that is gone afterwards: a JSON list, else lines of JSON.

    Not ``lines``: an object may stand on several lines. DataErrors raised inside tell their places
    as ``stdin:17``.
    """
    with tempfile.TemporaryDirectory() as folder:
        head = sys.stdin.buffer.read(4096)
        opens_list = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
        file = Path(folder) / f"{NAME}{'.json' if opens_list or not lines else '.jsonl'}"
        with file.open("wb") as stream:
            stream.write(head)
            while more := sys.stdin.buffer.read(_PIECE):
                stream.write(more)
        try:
            yield file
        except DataError as error:
            raise named(error, file) from None


def named(error: DataError, file: Path) -> DataError:
    """The error with stdin in place of the file."""
    where = (error.where or "").replace(str(file), NAME)
    return DataError(error.what, where=where or None, hint=error.hint)
