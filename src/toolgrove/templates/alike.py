"""Values of different renders, compared to the last character's origin."""

from __future__ import annotations

from typing import Any, cast

from toolgrove.templates.tracked import TrackedDict, TrackedList, runs_of


def same(one: Any, other: Any) -> bool:
    """Whether two values are alike to the last character's origin."""
    if one is other:
        return True
    if type(one) is not type(other) or isinstance(one, (TrackedDict, TrackedList)):
        return False
    if isinstance(one, str):
        return str.__eq__(one, other) and runs_of(one) == runs_of(other)
    if isinstance(one, dict):
        items, others = cast(dict[Any, Any], one).items(), cast(dict[Any, Any], other).items()
        return same([*items], [*others])
    if isinstance(one, (list, tuple)):
        here, there = cast(list[Any], one), cast(list[Any], other)
        return len(here) == len(there) and all(map(same, here, there))
    return one == other


def is_plain(value: Any) -> bool:
    """Whether a value is all there is to it: it hides no state."""
    if value is None or isinstance(value, (str, int, float)):
        return True
    if isinstance(value, dict):
        return all(map(is_plain, cast(dict[Any, Any], value).values()))
    return isinstance(value, (list, tuple)) and all(map(is_plain, cast(list[Any], value)))
