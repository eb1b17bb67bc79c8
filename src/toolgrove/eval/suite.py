"""The contract of a suite: what it measures is a list of tasks, each of which can be played."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from toolgrove.core.registry import Registry
from toolgrove.eval.play import Play

if TYPE_CHECKING:
    from toolgrove.eval.settings import EvalSettings


@dataclass(frozen=True, slots=True)
class Task:
    """One case of a suite. ``size`` is about how long its prompts are, in characters; ``live``
    the most such cases that should be played at once (None: as many as you like)."""

    suite: str
    category: str
    name: str
    size: int
    begin: Callable[[], Play]
    live: int | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells the case from all others; that of its outcome."""
        return (self.suite, self.category, self.name)


class Prepared(Protocol):
    """A suite ready to be played."""

    @property
    def tasks(self) -> Sequence[Task]:
        """The cases, as the settings choose them, in the order in which they are reported."""
        ...

    def close(self) -> None:
        """Ends what the suite started."""
        ...


Suite: TypeAlias = "Callable[[EvalSettings], Prepared]"

suites: Registry[Suite] = Registry("suite", "toolgrove.eval.suites", "toolgrove.suites")
