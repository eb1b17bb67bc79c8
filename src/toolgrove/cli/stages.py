"""Stages of a longer job that are done once: a later run goes on where an earlier one stopped."""

from __future__ import annotations

import json
import logging
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from toolgrove.core.errors import ConfigError
from toolgrove.core.messages import JSON
from toolgrove.eval.runner import cpu_seconds

FILE = "stages.json"

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Spent:
    """What a stage has taken so far, over all runs."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    done: bool = False


class Stages:
    """The stages of the job in a folder; ``identity`` are the settings that decide its results.

    A folder with stages of another identity is refused.
    """

    def __init__(self, folder: Path, identity: JSON) -> None:
        self._file = folder / FILE
        self._identity: JSON = json.loads(json.dumps(identity))
        self.spent: dict[str, Spent] = {}
        self.peak_memory_mb = 0
        self._interrupted = False
        folder.mkdir(parents=True, exist_ok=True)
        if self._file.exists():
            self._read()

    @contextmanager
    def stage(self, name: str, doing: str) -> Iterator[bool]:
        """Measures a stage and marks it as done when it ends without an error.

        Yields False when an earlier run did it, and says so.
        """
        spent = self.spent.setdefault(name, Spent())
        todo = not spent.done
        _log.info("%s", doing if todo else f"{doing}: done by an earlier run")
        self._interrupted = False
        clock, cpu = time.monotonic(), cpu_seconds()
        try:
            yield todo
            spent.done = not self._interrupted
        finally:
            if todo:
                spent.seconds += time.monotonic() - clock
                spent.cpu_seconds += cpu_seconds() - cpu
            self._write()

    def interrupted(self) -> None:
        """Says that the present stage has ended early, without an error, and is not done."""
        self._interrupted = True

    def as_json(self) -> JSON:
        """What each stage took, and the most memory that one process has held."""
        stages = {name: asdict(spent) for name, spent in self.spent.items()}
        return {"stages": stages, "peak_memory_mb": self.peak_memory_mb}

    def _read(self) -> None:
        try:
            kept = json.loads(self._file.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ConfigError(
                f"not JSON: {error.msg}", where=str(self._file), hint="delete the folder"
            ) from None
        if kept["identity"] != self._identity:
            changed = [
                key
                for key in sorted(self._identity | kept["identity"])
                if self._identity.get(key) != kept["identity"].get(key)
            ]
            raise ConfigError(
                f"this folder holds a run with other settings ({', '.join(changed)})",
                where=str(self._file.parent),
                hint="name another --output_dir, or delete this one",
            )
        self.spent = {name: Spent(**spent) for name, spent in kept["stages"].items()}
        self.peak_memory_mb = kept["peak_memory_mb"]

    def _write(self) -> None:
        each = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        self.peak_memory_mb = max(self.peak_memory_mb, *(used.ru_maxrss // 1024 for used in each))
        part = self._file.with_suffix(".part")
        kept = {"identity": self._identity, **self.as_json()}
        part.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
        part.replace(self._file)
