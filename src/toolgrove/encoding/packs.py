"""Packs: which rows run together as one forest, and in which order packs are learnt."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from toolgrove.encoding.encoded import Encoded
from toolgrove.encoding.forest import Order, sort, walk

KIN = 0.5
"""Rows belong together when they share this part of the shorter one."""

_AT_HAND = 64
"""How many bundles, or packs, are looked through for one that fits."""

_ENDLESS = 1 << 60

_PAIRS_PER_TOKEN = 1024
"""How many pairs of tokens in attention cost about as much as one token everywhere else: 600 in
SmolLM2-135M on a CPU, more in wider models."""


@dataclass(frozen=True, slots=True)
class PackPlan:
    """How packs are made: at most so many tokens after sharing, at most so many rows.

    ``mix`` bounds how many rows of one prefix meet in an optimizer step. Rows are looked at
    ``window`` at a time, which bounds memory; only those of one window share.
    """

    tokens: int | None = None
    rows: int | None = None
    mix: int = 8
    share: bool = True
    seed: int = 42
    window: int = 1 << 16


@dataclass(frozen=True, slots=True)
class Pack:
    """Rows that run as one forest: its tokens, what it costs, how many rows of which prefix."""

    rows: tuple[int, ...]
    tokens: int
    cost: float
    kin: Counter[int]


def cost(tokens: int, pairs: int) -> float:
    """What a batch costs: its tokens, padding included, and the pairs that attend, as tokens."""
    return tokens + pairs / _PAIRS_PER_TOKEN


class Sharing(NamedTuple):
    """Tokens of all rows in full, and of the forests that they are computed as."""

    rows: int
    forests: int

    @property
    def ratio(self) -> float:
        """How many times fewer tokens the forests have."""
        return self.rows / max(self.forests, 1)


class Packing(NamedTuple):
    """Packs, their sharing, and the rows that alone are longer than the plan's tokens."""

    packs: list[Pack]
    sharing: Sharing
    longer: list[int]


class _Bundle(NamedTuple):
    """Neighbouring rows of one prefix, which are computed together.

    ``before`` is how many tokens its first row shares with that of the bundle before it.
    """

    rows: list[int]
    kin: int
    tokens: int
    before: int
    number: int


def pack(rows: Sequence[Encoded], plan: PackPlan) -> Packing:
    """Packs of all rows.

    Laws: each row is in one pack; a pack keeps within the plan's tokens and rows, but for a row
    that alone is longer, which has a pack of its own; a pack has no more than ``mix`` rows of one
    prefix, unless there was no other prefix to fill it with. The same rows and plan give the same
    packs.
    """
    packs: list[Pack] = []
    longer: list[int] = []
    tokens = families = 0
    for first in range(0, len(rows), plan.window):
        ids = [row.ids for row in rows[first : first + plan.window]]
        made = _window(ids, plan, f"{plan.seed}/packs/{first}")
        packs += [_moved(one, first, families) for one in made]
        families = 1 + max(max(one.kin) for one in packs)
        tokens += sum(map(len, ids))
        limit = plan.tokens or max(map(len, ids))
        longer += [first + number for number, row in enumerate(ids) if len(row) > limit]
    return Packing(packs, Sharing(tokens, sum(one.tokens for one in packs)), longer)


def _window(ids: Sequence[Sequence[int]], plan: PackPlan, seed: str) -> list[Pack]:
    rng = random.Random(seed)
    order = walk(ids, rng.shuffle) if plan.share else _by_length(ids, rng)
    bundles = _bundles(ids, order, plan)
    shared = _Shared([bundle.before for bundle in bundles])
    rng.shuffle(bundles)
    return [_pack(ids, chosen, plan) for chosen in _filled(bundles, plan, shared)]


def _moved(one: Pack, rows: int, families: int) -> Pack:
    kin = Counter({name + families: count for name, count in one.kin.items()})
    return replace(one, rows=tuple(row + rows for row in one.rows), kin=kin)


class Slots(NamedTuple):
    """The places of an optimizer step: packs one after the other, on so many processes."""

    turns: int = 1
    ranks: int = 1


def schedule(packs: Sequence[Pack], plan: PackPlan, epoch: int, slots: Slots) -> list[list[int]]:
    """For each process the packs of an epoch, by number; processes without work have -1.

    Laws: each pack comes once; all processes have equally many; a step has no more than ``mix``
    rows of one prefix, as far as other packs are at hand; the costliest pack of all comes in the
    first step of the first epoch, so that a lack of memory shows early. In a step, processes get
    packs that cost about the same.
    """
    rng = random.Random(f"{plan.seed}/order/{epoch}")
    order = list(range(len(packs)))
    rng.shuffle(order)
    if epoch == 0 and packs:
        order.remove(costliest := max(order, key=lambda n: packs[n].cost))
        order.insert(0, costliest)
    lines: list[list[int]] = [[] for _ in range(slots.ranks)]
    while order:
        for line, chosen in zip(lines, _step(packs, order, plan, slots), strict=True):
            line.extend(chosen)
    return lines


def _step(packs: Sequence[Pack], order: list[int], plan: PackPlan, slots: Slots) -> list[list[int]]:
    """Takes the packs of a step out of ``order`` and deals them out, the costliest first."""
    kin: Counter[int] = Counter()
    chosen: list[int] = []
    while order and len(chosen) < slots.turns * slots.ranks:
        near = range(min(_AT_HAND, len(order)))
        place = min(near, key=lambda i: _beyond(packs[order[i]].kin, kin, plan.mix))
        number = order.pop(place)
        kin += packs[number].kin
        chosen.append(number)
    turns = -(-len(chosen) // slots.ranks)
    dealt: list[list[int]] = [[] for _ in range(slots.ranks)]
    for number in sorted(chosen, key=lambda n: -packs[n].cost):
        free = [line for line in dealt if len(line) < turns]
        min(free, key=lambda line: sum(packs[n].cost for n in line)).append(number)
    return [line + [-1] * (turns - len(line)) for line in dealt]


def _beyond(new: Counter[int], kin: Counter[int], mix: int) -> int:
    """How many rows of a prefix too many a step would have with a new pack."""
    return sum(max(0, kin[name] + count - mix) for name, count in new.items() if kin[name])


def _by_length(ids: Sequence[Sequence[int]], rng: random.Random) -> Order:
    """Rows that share nothing: those of like length are neighbours."""
    order = list(range(len(ids)))
    rng.shuffle(order)
    order.sort(key=lambda row: len(ids[row]))
    return Order(order, [0] * len(order))


def _bundles(ids: Sequence[Sequence[int]], order: Order, plan: PackPlan) -> list[_Bundle]:
    """The order cut where neighbours are no kin, and where a bundle is as large as it may be."""
    most = min(plan.mix, plan.rows or plan.mix)
    bundles: list[_Bundle] = []
    rows, tokens, kin, before, least = list[int](), 0, 0, 0, 0
    for number, near in zip(*order, strict=True):
        length = len(ids[number])
        apart = bool(rows) and near < KIN * min(length, len(ids[rows[-1]]))
        over = bool(plan.tokens) and tokens + length - near > (plan.tokens or 0)
        least = min(least, near) if rows else near
        if rows and (apart or over or len(rows) >= most):
            bundles.append(_Bundle(rows, kin, tokens, before, len(bundles)))
            rows, tokens, before, kin = [], 0, least, kin + apart
            least = length
        tokens += length - near if rows else length
        rows.append(number)
    return [*bundles, _Bundle(rows, kin, tokens, before, len(bundles))] if rows else bundles


class _Shared:
    """How many tokens the first rows of two bundles share: the least of what neighbours share."""

    def __init__(self, near: list[int]) -> None:
        self._least = [near]  # self._least[k][i]: the least of 2**k neighbours from i on
        width = 1
        while 2 * width <= len(near):
            row = self._least[-1]
            self._least.append([min(pair) for pair in zip(row, row[width:], strict=False)])
            width *= 2

    def __call__(self, one: _Bundle, other: _Bundle) -> int:
        first, last = sorted((one.number, other.number))
        level = (last - first).bit_length() - 1
        row = self._least[level]
        return min(row[first + 1], row[last + 1 - (1 << level)])


def _filled(bundles: Sequence[_Bundle], plan: PackPlan, shared: _Shared) -> Iterator[list[_Bundle]]:
    """Bundles put together until a pack is full."""
    waiting = list(reversed(bundles))
    while waiting:
        chosen = [waiting.pop()]
        free = [(plan.tokens or _ENDLESS) - chosen[0].tokens]
        free.append((plan.rows or _ENDLESS) - len(chosen[0].rows))
        while (found := _next(waiting, chosen, free, plan.share and shared)) is not None:
            place, more = found
            chosen.append(waiting.pop(place))
            free = [free[0] - more, free[1] - len(chosen[-1].rows)]
        yield chosen


def _next(
    waiting: Sequence[_Bundle],
    chosen: Sequence[_Bundle],
    free: Sequence[int],
    shared: _Shared | Literal[False],
) -> tuple[int, int] | None:
    """Which of the bundles at hand fits next, and how many tokens it adds: others' kin first."""
    if min(free) <= 0:
        return None
    at_hand = range(len(waiting) - 1, max(len(waiting) - 1 - _AT_HAND, -1), -1)
    kin = {bundle.kin for bundle in chosen}
    others = [place for place in at_hand if waiting[place].kin not in kin]
    for place in others or at_hand:
        bundle = waiting[place]
        saved = max(shared(bundle, other) for other in chosen) if shared else 0
        if bundle.tokens - saved <= free[0] and len(bundle.rows) <= free[1]:
            return place, bundle.tokens - saved
    return None


def _pack(ids: Sequence[Sequence[int]], bundles: Sequence[_Bundle], plan: PackPlan) -> Pack:
    rows = tuple(number for bundle in bundles for number in bundle.rows)
    shared = sort([ids[number] for number in rows])
    near = shared.shared if plan.share else [0] * len(rows)
    tokens = area = 0
    for place, before in zip(shared.rows, near, strict=True):
        length = len(ids[rows[place]])
        tokens += length - before
        area += (length * (length + 1) - before * (before + 1)) // 2
    kin = Counter({b.kin: 0 for b in bundles})
    for bundle in bundles:
        kin[bundle.kin] += len(bundle.rows)
    return Pack(rows, tokens, cost(tokens, area), kin)
