"""Encoded data sets on disk: written once, keyed by all that decides them, read again at once."""

from __future__ import annotations

import fcntl
import json
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path
from typing import Any, cast, overload

from toolgrove.core.errors import ConfigError, DataError
from toolgrove.core.messages import JSON
from toolgrove.data.cache import unwritable
from toolgrove.data.load import ColumnCheck
from toolgrove.data.rows import BadLine, Line, Row, row_of
from toolgrove.data.stream import Mixture, stream_lines
from toolgrove.encoding.encoded import Encoded
from toolgrove.encoding.identity import identity
from toolgrove.encoding.job import Job
from toolgrove.encoding.parallel import ROWS_PER_SHARD, Executor, Part
from toolgrove.encoding.shards import Shard, Totals, rejected_file, totals_of

IDENTITY = "cache.json"
DONE = "done.json"
REJECTED = "rejected.jsonl"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Which rows a cache holds, and what became of them."""

    mixture: Mixture
    job: Job

    def identity(self) -> JSON:
        """All that decides the cache's contents, by name."""
        return identity(self.mixture, self.job)

    def key(self) -> str:
        """A name for exactly this content."""
        text = json.dumps(self.identity(), sort_keys=True)
        return blake2b(text.encode(), digest_size=12).hexdigest()


def write_cache(
    folder: Path, recipe: Recipe, run: Executor, tell: Callable[[Totals], None] | None = None
) -> CachedSequences:
    """The cache in the folder, encoded as far as it is not there yet.

    A run that was killed goes on behind its last finished shard. ``tell`` hears the totals so far.
    ConfigError for a folder that holds another content; rows that cannot be used are errors as
    ``Job`` says, skipped ones stand in ``rejected.jsonl``.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_others(folder)
        with _alone(folder):
            wanted = recipe.identity()
            _check(folder, wanted)
            if not (folder / DONE).is_file():
                _fill(folder, recipe, run, tell)
    except PermissionError as error:
        raise unwritable(folder, error) from None
    except (FileExistsError, NotADirectoryError):
        raise ConfigError("a file, not a folder", where=str(folder), hint="name a folder") from None
    return CachedSequences(folder)


def _check(folder: Path, wanted: JSON) -> None:
    """Notes the identity in a new folder, or one in which nothing was finished; refuses a folder of
    another one."""
    file = folder / IDENTITY
    begun = (folder / DONE).is_file() or any(folder.glob("shard-*.arrow"))
    if file.is_file() and begun:
        differs = differences(read_identity(folder), wanted)
        if differs:
            raise ConfigError(
                f"this folder holds rows that were encoded otherwise ({', '.join(differs)})",
                where=str(folder),
                hint="name another --output_dir, or delete this one",
            )
        return
    _write_json(file, wanted)


def _refuse_others(folder: Path) -> None:
    """A folder that was something else before stays as it is."""
    if not (folder / _LOCK).is_file() and any(folder.iterdir()):
        raise ConfigError(
            "a folder with other files", where=str(folder), hint="name a new --output_dir"
        )


def differences(held: JSON, wanted: JSON) -> list[str]:
    """The names of what decides two caches differently."""
    return [name for name in sorted(held | wanted) if held.get(name) != wanted.get(name)]


def read_identity(folder: Path) -> JSON:
    """What decided the cache in the folder; DataError where there is none."""
    return _read_json(folder / IDENTITY)


def _fill(
    folder: Path, recipe: Recipe, run: Executor, tell: Callable[[Totals], None] | None
) -> None:
    for part in folder.glob(".*.part"):
        part.unlink()
    bad: list[BadLine] = []
    skips = recipe.job.on_bad_row == "skip"
    columns = ColumnCheck(recipe.job.columns, recipe.mixture)
    rows = stream_lines(recipe.mixture, bad.append if skips else None)
    totals, counts = Totals(), list[int]()
    for done in run(recipe.job, _parts(folder, rows, columns)):
        totals = totals.plus(done)
        counts.append(done.sequences)
        if tell is not None:
            tell(totals)
    columns.finish()
    _gather_rejected(folder, bad, len(counts))
    totals = totals.plus(Totals(rejected=len(bad)))
    if not totals.sequences:
        raise DataError(
            f"none of the {totals.rows} rows has anything to train"
            + (f", {totals.rejected} were rejected" if totals.rejected else ""),
            where=", ".join(recipe.mixture.specs),
            hint=f"see {folder / REJECTED}" if totals.rejected else "are there assistant turns?",
        )
    _write_json(folder / DONE, {"totals": asdict(totals), "sequences": counts})


def _parts(folder: Path, rows: Iterator[Row | Line], columns: ColumnCheck) -> Iterator[Part]:
    held: list[Row | Line] = []
    number = 0
    for row in rows:
        if columns.waits:
            _see(columns, row)
        held.append(row)
        if len(held) == ROWS_PER_SHARD:
            yield Part(_shard_file(folder, number), held)
            held, number = [], number + 1
    if held:
        yield Part(_shard_file(folder, number), held)


def _see(columns: ColumnCheck, row: Row | Line) -> None:
    with suppress(DataError):  # of a line that holds no row: told when it is encoded
        columns.see(row_of(row))


def _shard_file(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:06d}.arrow"


def _gather_rejected(folder: Path, bad: Sequence[BadLine], shards: int) -> None:
    """One file of all rejected rows: what was left out before encoding, then shard by shard."""
    beside = [rejected_file(_shard_file(folder, number)) for number in range(shards)]
    beside = [file for file in beside if file.is_file()]
    if not bad and not beside:
        return
    with (folder / REJECTED).open("w", encoding="utf-8", errors="backslashreplace") as stream:
        for line in bad:
            error = line.error
            entry = {"where": error.where, "reason": error.what, "hint": error.hint}
            stream.write(json.dumps({**entry, "text": line.text}, ensure_ascii=False) + "\n")
        for file in beside:
            stream.write(file.read_text(encoding="utf-8"))


class CachedSequences(Sequence[Encoded]):
    """The sequences of a finished cache, read from disk when asked for.

    Law: ``list(cache)`` are the sequences that encoding gave, in their order.
    """

    def __init__(self, folder: Path, chosen: Sequence[int] | None = None) -> None:
        done = _read_json(folder / DONE)
        counts = cast(list[int], done["sequences"])
        self.folder = folder
        self.totals = totals_of(done["totals"])
        self._ends = list(accumulate(counts))
        self._chosen = chosen
        self._shard = lru_cache(maxsize=64)(self._open)

    def __len__(self) -> int:
        if self._chosen is not None:
            return len(self._chosen)
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Encoded: ...
    @overload
    def __getitem__(self, index: slice) -> list[Encoded]: ...
    def __getitem__(self, index: int | slice) -> Encoded | list[Encoded]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        number = index % len(self)
        number = number if self._chosen is None else self._chosen[number]
        shard = bisect_right(self._ends, number)
        return self._shard(shard).get(number - (self._ends[shard - 1] if shard else 0))

    def _open(self, number: int) -> Shard:
        return Shard(_shard_file(self.folder, number))

    def lengths(self) -> list[int]:
        """How many tokens each sequence has, without reading the tokens."""
        found = [n for shard in range(len(self._ends)) for n in self._shard(shard).lengths()]
        return found if self._chosen is None else [found[number] for number in self._chosen]

    def groups(self) -> list[list[int]]:
        """What the row of each sequence shares with others, for ``held_out``."""
        found = [g for shard in range(len(self._ends)) for g in self._shard(shard).groups()]
        return found if self._chosen is None else [found[number] for number in self._chosen]

    def only(self, chosen: Sequence[int]) -> CachedSequences:
        """Some of the sequences, by their numbers."""
        numbers = chosen if self._chosen is None else [self._chosen[n] for n in chosen]
        return CachedSequences(self.folder, list(numbers))

    def __reduce__(self) -> tuple[Any, ...]:
        return CachedSequences, (self.folder, self._chosen)


_LOCK = ".lock"


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    """Waits until no other process writes this cache; a killed one holds nothing back."""
    with (folder / _LOCK).open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _read_json(file: Path) -> JSON:
    try:
        return cast(JSON, json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise DataError(
            "no finished cache of encoded rows",
            where=str(file.parent),
            hint="toolgrove encode DATA --model MODEL --output_dir FOLDER writes one",
        ) from None
    except ValueError as error:
        raise DataError(
            f"not JSON: {error}", where=str(file), hint="delete the folder and encode again"
        ) from None


def _write_json(file: Path, value: JSON) -> None:
    part = file.with_name(f".{file.name}.part")
    part.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(file)
