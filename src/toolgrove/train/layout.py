"""What attends to what in a forest, as triangles and rectangles of queries and keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
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


@dataclass(slots=True)
class Asked:
    """What a model's layers asked of attention: how many did, and their sliding window."""

    layers: int = 0
    window: int | None = None


@dataclass(frozen=True)
class Layout:
    """The nodes of a forest, for attention, which notes in ``asked`` what it was asked for
    and keeps in ``masks`` what it made for each window.

    Law: triangles and rectangles hold each pair of a token and one of its ancestors, itself
    included, once, and no other pair; the triangles cover each token once.
    """

    nodes: Sequence[Node]
    asked: Asked = field(default_factory=Asked, compare=False)
    masks: dict[int | None, Any] = field(default_factory=dict[int | None, Any], compare=False)

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
