"""Requests and replies written to a folder as JSON lines, secrets masked."""

from __future__ import annotations

import json
import os
import queue
import re
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from toolgrove.core.errors import ConfigError
from toolgrove.core.messages import JSON

MASK = "[secret]"
_SECRETS = (
    r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}",
    r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}",
    r"\bhf_[A-Za-z0-9]{20,}",
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    r"\bAIza[A-Za-z0-9_-]{30,}",
    r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
    r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----",
    r"(?<=[Bb]earer )[A-Za-z0-9._~+/=-]{16,}",
)


class Masked(NamedTuple):
    """A value without secrets, and how many there were."""

    value: Any
    count: int


class Recorder:
    """Appends entries to one file of the folder, in a thread of its own.

    What looks like a key or token is masked, ``secrets`` (the server's own keys) always; an entry
    in which something was masked keeps no token ids, since they would spell it out. Only the
    owner of the process may read the file. ConfigError when the folder cannot be written to.
    """

    def __init__(self, folder: Path, secrets: Sequence[str] = ()) -> None:
        own = [re.escape(secret) for secret in secrets if secret]
        self._secret = re.compile("|".join([*own, *_SECRETS]))
        self.file = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise ConfigError(
                f"cannot record: {error.strerror}", where=str(folder), hint="--record DIR"
            ) from error
        self._stream = os.fdopen(handle, "a", encoding="utf-8")
        self._entries: queue.SimpleQueue[JSON | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    def add(self, entry: JSON) -> None:
        """Writes an entry, soon."""
        self._entries.put(entry)

    def close(self) -> None:
        """Writes what is left and closes the file."""
        self._entries.put(None)
        self._thread.join(timeout=30)
        self._stream.close()

    def _write(self) -> None:
        while (entry := self._entries.get()) is not None:
            masked, count = self._masked(entry)
            if count:
                masked |= {"prompt_token_ids": None, "completion_token_ids": None}
            masked["masked"] = count
            self._stream.write(json.dumps(masked, ensure_ascii=False) + "\n")
            self._stream.flush()

    def _masked(self, value: Any) -> Masked:
        if isinstance(value, str):
            return Masked(*self._secret.subn(MASK, value))
        if isinstance(value, dict):
            inside = {key: self._masked(item) for key, item in value.items()}
            made = {key: item.value for key, item in inside.items()}
            return Masked(made, sum(item.count for item in inside.values()))
        if isinstance(value, list) and not (value and isinstance(value[0], int)):
            items = [self._masked(item) for item in value]
            return Masked([item.value for item in items], sum(item.count for item in items))
        return Masked(value, 0)
