"""Rows that begin alike, merged into prefix trees: one sequence holds them all."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from toolgrove.encoding.encoded import Encoded


class Node(NamedTuple):
    """Tokens ``start`` to ``end`` (exclusive) of the sequence, shared by the same rows.

    ``parent`` is the number of the node before it on its path (-1: none), ``depth`` how many
    tokens its path has before it, ``below`` where its subtree ends: a node and all that descends
    from it are one stretch of the sequence, ``start`` to ``below``.
    """

    start: int
    end: int
    parent: int
    depth: int
    below: int


class Target(NamedTuple):
    """What is learnt at one place: that token ``id`` follows the token at ``at``."""

    at: int
    id: int
    weight: float


@dataclass(frozen=True, slots=True)
class Forest:
    """Rows as one sequence in which a shared prefix stands once.

    Laws: the tokens on the path to a row's last token are the row; a token's position is its
    place in its row; each node comes right before its subtree, parents before children; the
    weights of rows that learn the same token at the same place are added up in one target.
    """

    ids: list[int]
    positions: list[int]
    nodes: list[Node]
    targets: list[Target]

    def __len__(self) -> int:
        return len(self.ids)


class Group(NamedTuple):
    """Rows ``first`` to ``last`` (exclusive) of a sorted list of rows."""

    first: int
    last: int


class Order(NamedTuple):
    """Rows by number, in the order of a walk through their trie.

    ``shared[i]`` is how many tokens ``rows[i]`` begins with as ``rows[i - 1]`` does, 0 for the
    first. No earlier row shares more with it.
    """

    rows: list[int]
    shared: list[int]


def sort(rows: Sequence[Sequence[int]]) -> Order:
    """The rows sorted by their tokens: a walk through the trie, smallest token first."""
    keys = [_sortable(ids) for ids in rows]
    numbers = sorted(range(len(rows)), key=keys.__getitem__)
    pairs = pairwise(numbers)
    return Order(numbers, [0, *(common(rows[a], rows[b]) for a, b in pairs)][: len(numbers)])


def walk(rows: Sequence[Sequence[int]], mix: Callable[[list[Group]], None]) -> Order:
    """The rows as their trie is walked, the branches of each node in the order ``mix`` gives."""
    numbers, near = sort(rows)
    order, shared = list[int](), list[int]()
    stack = [(Group(0, len(numbers)), 0)] if numbers else []
    while stack:
        group, before = stack.pop()
        if group.last - group.first == 1:
            order.append(numbers[group.first])
            shared.append(before)
            continue
        depth = min(near[group.first + 1 : group.last])
        parts = _split(group, near, depth)
        mix(parts)
        first, *others = parts
        stack += [(part, depth) for part in reversed(others)]
        stack.append((first, before))
    return Order(order, shared)


def grow(rows: Sequence[Encoded], *, share: bool = True) -> Forest:
    """The rows as a forest; without ``share`` each row is a tree of its own."""
    order = sort([row.ids for row in rows])
    near = order.shared if share else [0] * len(rows)
    members = [rows[number] for number in order.rows]
    trained = [[t for t, weight in enumerate(row.weights) if weight > 0] for row in members]
    forest = Forest([], [], [], [])
    everything = Group(0, len(members))
    stack = [(group, -1) for group in reversed(_split(everything, near, 0))] if rows else []
    while stack:
        group, parent = stack.pop()
        end = min(near[group.first + 1 : group.last], default=len(members[group.first]))
        node = _node(forest, parent, end)
        inside = slice(group.first, group.last)
        forest.targets.extend(_targets(members[inside], trained[inside], node, forest.nodes))
        forest.ids.extend(members[group.first].ids[node.depth : end])
        forest.positions.extend(range(node.depth, end))
        number = len(forest.nodes)
        forest.nodes.append(node)
        parts = _split(group, near, end)
        stack += [(p, number) for p in reversed(parts) if len(members[p.first]) > end]
    _set_ends(forest.nodes)
    return forest


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


def _sortable(ids: Sequence[int]) -> bytes:
    """Bytes that sort as the ids do."""
    packed = array("I", ids)
    if sys.byteorder == "little":
        packed.byteswap()
    return packed.tobytes()


def _split(group: Group, near: Sequence[int], depth: int) -> list[Group]:
    """The group cut wherever neighbours share no more than ``depth`` tokens."""
    cuts = [i for i in range(group.first + 1, group.last) if near[i] <= depth]
    return [Group(*ends) for ends in zip([group.first, *cuts], [*cuts, group.last], strict=True)]


def _node(forest: Forest, parent: int, depth_end: int) -> Node:
    """A node for the end of the sequence whose path, with its own tokens, is that long."""
    depth = 0
    if parent >= 0:
        above = forest.nodes[parent]
        depth = above.depth + above.end - above.start
    start = len(forest.ids)
    end = start + depth_end - depth
    return Node(start, end, parent, depth, end)


def _targets(
    rows: Sequence[Encoded], trained: Sequence[list[int]], node: Node, nodes: Sequence[Node]
) -> Iterator[Target]:
    """What the node's tokens teach, for all the rows through it."""
    weights: dict[int, float] = {}
    end = node.depth + node.end - node.start
    for row, places in zip(rows, trained, strict=True):
        for t in places[bisect_left(places, node.depth) : bisect_left(places, end)]:
            weights[t] = weights.get(t, 0.0) + row.weights[t]
    for t, weight in sorted(weights.items()):
        inside = t - node.depth
        at = node.start + inside - 1 if inside else nodes[node.parent].end - 1
        yield Target(at, rows[0].ids[t], weight)


def _set_ends(nodes: list[Node]) -> None:
    """Gives every node the end of its subtree; children come after their parents."""
    for number in reversed(range(len(nodes))):
        node = nodes[number]
        if node.parent >= 0 and nodes[node.parent].below < node.below:
            nodes[node.parent] = nodes[node.parent]._replace(below=node.below)
