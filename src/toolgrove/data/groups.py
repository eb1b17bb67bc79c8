"""Rows that belong together: never one to learn from and another to validate with."""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence

from toolgrove.core.errors import ConfigError, DataError
from toolgrove.core.messages import Conversation, Role

_GROUP_COLUMNS = ("group", "conversation_id", "conv_id", "session_id", "question_id")


def group_keys(conv: Conversation, where: str) -> tuple[str, ...]:
    """What a row has in common with others: its place (copies of it), its conversation, and the
    first question, apart from white space and capitals."""
    keys = [f"where {where}"] if where else []
    for name in _GROUP_COLUMNS:
        value = conv.extra.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool):
            keys.append(f"{name} {value}")
    asked = next((m.text for m in conv.messages if m.role is Role.USER and m.text.strip()), None)
    if asked is not None:
        keys.append(f"asks {' '.join(asked.lower().split())}")
    return tuple(keys)


def held_out(keys: Sequence[Sequence[Hashable]], ratio: float, seed: int) -> set[int]:
    """The numbers of the rows to validate with: about ``ratio`` of them, at least one group unless
    ``ratio`` is 0.

    Laws: rows that share a key are all in or all out; the same rows and seed give the same
    numbers. DataError where there are too few groups to have some on both sides.
    """
    if not 0 <= ratio < 1:
        raise ConfigError(f"a split ratio is from 0 to below 1, not {ratio}")
    if ratio == 0:
        return set()
    groups = _groups(keys)
    if len(groups) < 2:
        raise DataError(
            f"{len(keys)} rows of one conversation or question are too few to split"
            if len(keys) > 1
            else f"{len(keys)} rows are too few to split",
            hint="give a validation data set",
        )
    wanted = max(int(len(keys) * ratio), 1)
    order = random.Random(seed).sample(range(len(groups)), len(groups))
    chosen: set[int] = set()
    for number in order:
        if len(chosen) + len(groups[number]) <= wanted:
            chosen.update(groups[number])
        if len(chosen) == wanted:
            break
    return chosen or set(min(groups, key=len))


def _groups(keys: Sequence[Sequence[Hashable]]) -> list[list[int]]:
    """Rows joined by common keys, in the order of each group's first row."""
    parents = list(range(len(keys)))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    first: dict[Hashable, int] = {}
    for row, own in enumerate(keys):
        for key in own:
            known = first.setdefault(key, row)
            one, other = root(known), root(row)
            parents[max(one, other)] = min(one, other)
    groups: dict[int, list[int]] = {}
    for row in range(len(keys)):
        groups.setdefault(root(row), []).append(row)
    return list(groups.values())
