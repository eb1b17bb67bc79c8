"""A guard against agents that make the same call again and again."""

from __future__ import annotations

from collections import Counter
from enum import Enum, auto

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import JSON


class Verdict(Enum):
    """What to do with a call: run it, answer it with a warning, or end the work."""

    RUN = auto()
    WARN = auto()
    END = auto()


class Repeats:
    """Counts, for one question, how often a call brought the same result.

    A call that brought the same result ``most`` times is not run any more but answered with a
    warning, and when the model makes it once more the work ends. Calls whose results change, as
    when something is waited for, may go on.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._same: Counter[str] = Counter()
        self._last: dict[str, str] = {}
        self._warned: set[str] = set()

    def verdict(self, name: str, arguments: JSON) -> Verdict:
        """What to do with the call that the model makes now."""
        key = _key(name, arguments)
        if not self._most or self._same[key] < self._most:
            return Verdict.RUN
        if key in self._warned:
            return Verdict.END
        self._warned.add(key)
        return Verdict.WARN

    def returned(self, name: str, arguments: JSON, result: str) -> None:
        """Takes note of what a call brought."""
        key = _key(name, arguments)
        if self._last.get(key) != result:
            self._same[key] = 0
        self._same[key] += 1
        self._last[key] = result


def _key(name: str, arguments: JSON) -> str:
    ordered = {key: arguments[key] for key in sorted(arguments)}
    return f"{name} {dump(ordered)}"
