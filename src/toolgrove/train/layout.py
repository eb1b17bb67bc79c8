"""What attends to what in a forest, as triangles and rectangles of queries and keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from toolgrove.encoding.forest import Node


class Triangle(NamedTuple):
    """Tokens ``start`` to ``end`` attend to themselves and to those of them that come before."""

    start: int
    end: int


class Rectangle(NamedTuple):
    """Tokens ``start`` to ``end`` attend to all of the tokens ``first`` to ``last``."""

    start: int
    end: int
    first: int
    last: int


class Share(NamedTuple):
    """The part of a layout whose queries are tokens ``start`` to ``end``."""

    start: int
    end: int
    triangles: Sequence[Triangle]
    rectangles: Sequence[Rectangle]


_PAIRS_PER_TOKEN = 256
"""How many pairs cost about as much as what each token costs besides."""


@dataclass(slots=True)
class Asked:
    """What a model's layers asked of attention: how many did, and their sliding window."""

    layers: int = 0
    window: int | None = None


@dataclass(frozen=True)
class Layout:
    """The nodes of a forest, for attention, which notes in ``asked`` what it was asked for
    and keeps in ``masks`` what it made for each window, in ``cut`` its shares.

    Law: triangles and rectangles hold each pair of a token and one of its ancestors, itself
    included, once, and no other pair; the triangles cover each token once.
    """

    nodes: Sequence[Node]
    asked: Asked = field(default_factory=Asked, compare=False)
    masks: dict[int | None, Any] = field(default_factory=dict[int | None, Any], compare=False)
    cut: dict[int, list[Share]] = field(default_factory=dict[int, list[Share]], compare=False)

    def __len__(self) -> int:
        return self.nodes[-1].end

    @cached_property
    def longest(self) -> int:
        """The length of the longest path in tokens."""
        return max(node.depth + node.end - node.start for node in self.nodes)

    @cached_property
    def triangles(self) -> list[Triangle]:
        """What each node sees of itself."""
        return [Triangle(node.start, node.end) for node in self.nodes]

    @cached_property
    def rectangles(self) -> list[Rectangle]:
        """What the descendants of each node see of it: they stand right behind it."""
        return [
            Rectangle(node.end, node.below, node.start, node.end)
            for node in self.nodes
            if node.below > node.end
        ]

    def shares(self, count: int) -> list[Share]:
        """The layout in shares of about equal cost, by stretches of the tokens that attend.

        Law: triangles and rectangles of all shares together hold the same pairs as the layout's;
        no two shares have a query in common.
        """
        if count not in self.cut:
            places = self._places(count)
            self.cut[count] = [self._between(*ends) for ends in pairwise(places)]
        return self.cut[count]

    def _places(self, count: int) -> list[int]:
        """Where the shares begin, and where the last one ends."""
        seen = (self.positions + 1 + _PAIRS_PER_TOKEN).cumsum(0)
        wanted = seen[-1] * torch.arange(1, count) // count
        return sorted({0, *torch.searchsorted(seen, wanted).tolist(), len(self)})

    def _between(self, first: int, last: int) -> Share:
        triangles: list[Triangle] = []
        rectangles: list[Rectangle] = []
        for start, end in self.triangles:
            begin, stop = max(start, first), min(end, last)
            if begin >= stop:
                continue
            triangles.append(Triangle(begin, stop))
            if begin > start:
                rectangles.append(Rectangle(begin, stop, start, begin))
        for rectangle in self.rectangles:
            begin, stop = max(rectangle.start, first), min(rectangle.end, last)
            if begin < stop:
                rectangles.append(rectangle._replace(start=begin, end=stop))
        return Share(first, last, triangles, rectangles)

    @cached_property
    def subtree_ends(self) -> Tensor:
        """For each token where its node's subtree ends: from there on nobody sees it."""
        lengths = torch.tensor([node.end - node.start for node in self.nodes])
        return torch.tensor([node.below for node in self.nodes]).repeat_interleave(lengths)

    @cached_property
    def positions(self) -> Tensor:
        """For each token its place in its rows."""
        runs = [torch.arange(n.depth, n.depth + n.end - n.start) for n in self.nodes]
        return torch.cat(runs)

    def path(self, number: int) -> Tensor:
        """The places of all tokens on the way to a node, its own included, root first."""
        runs: list[Tensor] = []
        while number >= 0:
            node = self.nodes[number]
            runs.append(torch.arange(node.start, node.end))
            number = node.parent
        return torch.cat(runs[::-1])
