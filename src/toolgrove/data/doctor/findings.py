"""What the doctor finds: kinds with their stable codes, and findings with their places."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from toolgrove.core.messages import JSON
from toolgrove.core.registry import Registry

if TYPE_CHECKING:
    from toolgrove.data.doctor.examined import Examined


class Severity(StrEnum):
    """How much a finding matters: an error makes the data wrong, a warning is worth a look."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of finding. ``code`` never changes; ``cause`` says what is wrong in general, ``fix``
    the way out where a finding has none of its own."""

    code: str
    severity: Severity
    cause: str
    fix: str


class At(NamedTuple):
    """A place in a row: a message, a call within it, and the keys below.

    Keys of a message begin with ``content`` or ``thinking``, those of a call with ``name`` or
    ``arguments``. Without a message the keys are the row's own.
    """

    message: int | None = None
    call: int | None = None
    keys: tuple[str | int, ...] = ()


class Repair(NamedTuple):
    """One safe change: the value at a place becomes another one, or is taken out."""

    at: At
    old: Any
    new: Any = None
    remove: bool = False


class Spot(NamedTuple):
    """Something found in a row: where, what exactly, the way out, and the change that mends it."""

    at: At
    message: str
    fix: str = ""
    repair: Repair | None = None


class Found(NamedTuple):
    """A spot and its kind."""

    kind: Kind
    spot: Spot


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding as it is told: ``line`` counts from 1 (0: the file as a whole), ``path`` leads from
    the row to the value."""

    file: str
    line: int
    path: str
    kind: Kind
    message: str
    fix: str
    repairable: bool = False

    def as_json(self) -> JSON:
        """The finding as JSON."""
        return {
            "file": self.file,
            "line": self.line,
            "path": self.path,
            "code": self.kind.code,
            "severity": str(self.kind.severity),
            "message": self.message,
            "fix": self.fix,
        }


Find = Callable[["Examined"], Iterable[Spot]]


@dataclass(frozen=True, slots=True)
class Check:
    """A kind of finding and the pure function that finds it in a row that could be read."""

    kind: Kind
    find: Find


checks: Registry[Check] = Registry("check", "toolgrove.data.doctor.checks", "toolgrove.checks")
"""The checks on single rows, by code."""

_kinds: dict[str, Kind] = {}


def kind(code: str, severity: Severity, cause: str, fix: str) -> Kind:
    """Declares a kind of finding."""
    declared = Kind(code, severity, cause, fix)
    if _kinds.setdefault(code, declared) != declared:
        raise ValueError(f"two kinds of finding have the code {code}")
    return declared


def error(code: str, cause: str, fix: str) -> Kind:
    """Declares a kind of error."""
    return kind(code, Severity.ERROR, cause, fix)


def warning(code: str, cause: str, fix: str) -> Kind:
    """Declares a kind of warning."""
    return kind(code, Severity.WARNING, cause, fix)


def check(declared: Kind) -> Callable[[Find], Find]:
    """Decorator that registers a function as the check of a kind."""

    def register(find: Find) -> Find:
        checks.put(declared.code, Check(declared, find), find.__module__)
        return find

    return register


def kinds() -> list[Kind]:
    """All kinds that have been declared so far, by code."""
    checks.names()
    return [_kinds[code] for code in sorted(_kinds)]
