"""A forest is its rows, packs hold each row once, and steps keep prefixes apart."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from toolgrove.core.spans import Kind
from toolgrove.encoding.encoded import Encoded, TokenSpan
from toolgrove.encoding.forest import common, grow, sort, walk
from toolgrove.encoding.packs import PackPlan, Slots, pack, schedule


@st.composite
def rows(draw, most=24):
    """Rows that branch: each goes on from some place of a row before it."""
    ids: list[list[int]] = []
    for _ in range(draw(st.integers(1, most))):
        parent = draw(st.sampled_from(ids)) if ids else []
        kept = parent[: draw(st.integers(0, len(parent)))]
        ids.append([*kept, *draw(st.lists(st.integers(0, 3), min_size=not kept, max_size=9))])
    return [encoded(row, draw) for row in ids]


def encoded(ids, draw):
    weight = st.sampled_from([0.0, 0.0, 0.5, 1.0])
    weights = [0.0, *(draw(weight) for _ in ids[1:])]
    return Encoded(ids, weights, [TokenSpan(0, len(ids), Kind.TEXT, 0)])


def path(forest, number):
    places = []
    while number >= 0:
        node = forest.nodes[number]
        places = [*range(node.start, node.end), *places]
        number = node.parent
    return places


def learnt_by_rows(given_rows):
    """How much each token weighs after each beginning."""
    learnt = Counter()
    for row in given_rows:
        for t, weight in enumerate(row.weights):
            if weight:
                learnt[tuple(row.ids[:t]), row.ids[t]] += weight
    return learnt


def learnt_by_forest(forest):
    learnt = Counter()
    owners = [n for n, node in enumerate(forest.nodes) for _ in range(node.start, node.end)]
    for target in forest.targets:
        places = path(forest, owners[target.at])
        before = places[: places.index(target.at) + 1]
        learnt[tuple(forest.ids[place] for place in before), target.id] += target.weight
    return learnt


@given(rows(), st.booleans())
def test_a_forest_is_its_rows(given_rows, share):
    forest = grow(given_rows, share=share)
    paths = [path(forest, n) for n in range(len(forest.nodes))]
    texts = Counter(tuple(forest.ids[place] for place in places) for places in paths)
    for row in given_rows:
        assert texts[tuple(row.ids)]
    for places in paths:
        assert [forest.positions[place] for place in places] == list(range(len(places)))
    assert learnt_by_forest(forest) == learnt_by_rows(given_rows)
    if not share:
        assert len(forest) == sum(map(len, given_rows))


@given(rows())
def test_nothing_stands_twice_in_a_forest(given_rows):
    forest = grow(given_rows)
    beginnings = {tuple(row.ids[: n + 1]) for row in given_rows for n in range(len(row))}
    assert len(forest) == len(beginnings)


@given(rows())
def test_nodes_lie_as_they_say(given_rows):
    nodes = grow(given_rows).nodes
    assert [node.start for node in nodes[1:]] == [node.end for node in nodes[:-1]]
    for number, node in enumerate(nodes):
        assert node.start < node.end <= node.below
        assert node.parent < number
        if node.parent >= 0:
            above = nodes[node.parent]
            assert node.depth == above.depth + above.end - above.start
            assert node.below <= above.below
        inside = {n for n, other in enumerate(nodes) if node.end <= other.start < node.below}
        below = {n for n in range(len(nodes)) if number in ancestors(nodes, n)}
        assert inside == below


def ancestors(nodes, number):
    found = set()
    while (number := nodes[number].parent) >= 0:
        found.add(number)
    return found


@given(rows(), st.randoms(use_true_random=False))
def test_walks_tell_what_neighbours_share(given_rows, dice):
    ids = [row.ids for row in given_rows]
    for order in (sort(ids), walk(ids, dice.shuffle)):
        assert sorted(order.rows) == list(range(len(ids)))
        for place, (number, shared) in enumerate(zip(*order, strict=True)):
            before = [common(ids[number], ids[other]) for other in order.rows[:place]]
            assert shared == max(before, default=0)
            assert not before or shared == before[-1]


plans = st.builds(
    PackPlan,
    tokens=st.none() | st.integers(5, 60),
    rows=st.none() | st.integers(1, 6),
    mix=st.integers(1, 4),
    share=st.booleans(),
    seed=st.integers(0, 2),
    window=st.sampled_from([3, 1000]),
)


@given(rows(), plans)
def test_packs_keep_their_plan(given_rows, plan):
    made = pack(given_rows, plan)
    assert made == pack(given_rows, plan)
    assert sorted(row for p in made.packs for row in p.rows) == list(range(len(given_rows)))
    for p in made.packs:
        forest = grow([given_rows[row] for row in p.rows], share=plan.share)
        assert p.tokens == len(forest)
        assert len(p.rows) == 1 or p.tokens <= (plan.tokens or p.tokens)
        assert len(p.rows) <= (plan.rows or len(p.rows))
        assert sum(p.kin.values()) == len(p.rows)
    longer = [n for n, row in enumerate(given_rows) if plan.tokens and len(row) > plan.tokens]
    assert made.longer == longer
    assert made.sharing == (sum(map(len, given_rows)), sum(p.tokens for p in made.packs))


@given(rows(), plans, st.integers(0, 3), st.integers(1, 3), st.integers(1, 3))
def test_each_pack_once_and_all_processes_keep_step(given_rows, plan, epoch, turns, ranks):
    packs = pack(given_rows, plan).packs
    lines = schedule(packs, plan, epoch, Slots(turns, ranks))
    assert len(lines) == ranks
    assert len({len(line) for line in lines}) == 1
    assert sorted(n for line in lines for n in line if n >= 0) == list(range(len(packs)))
    if epoch == 0:
        costliest = max(pack.cost for pack in packs)
        first = [n for line in lines for n in line[:turns] if n >= 0]
        assert max(packs[n].cost for n in first) == costliest


def test_a_step_holds_few_rows_of_one_prefix():
    groups = [[[group, 9, 8, 7, number] for number in range(12)] for group in range(80)]
    many = [encoded_plain(ids) for group in groups for ids in group]
    plan = PackPlan(tokens=24, mix=3)
    packs = pack(many, plan).packs
    for epoch in range(3):
        (line,) = schedule(packs, plan, epoch, Slots(turns=4))
        for start in range(0, int(len(line) * 0.9), 4):
            kin = sum((packs[n].kin for n in line[start : start + 4]), Counter())
            assert max(kin.values()) <= plan.mix
    orders = [schedule(packs, plan, epoch, Slots()) for epoch in range(3)]
    assert orders[0] != orders[1] != orders[2]


def encoded_plain(ids):
    return Encoded(ids, [0.0] * (len(ids) - 1) + [1.0], [TokenSpan(0, len(ids), Kind.TEXT, 0)])


def test_sharing_stays_high_and_costs_are_dealt_out_evenly():
    talks = [[group] * 40 + [group, number, 5] for group in range(30) for number in range(8)]
    many = [encoded_plain(ids) for ids in talks]
    made = pack(many, PackPlan(tokens=130, mix=8))
    assert made.sharing.ratio > 0.95 * sum(map(len, talks)) / len(grow(many))
    lines = schedule(made.packs, PackPlan(mix=8), 0, Slots(turns=2, ranks=2))
    for start in range(0, len(lines[0]) - 2, 2):
        costs = [sum(made.packs[n].cost for n in line[start : start + 2]) for line in lines]
        assert max(costs) < 1.25 * min(costs)
