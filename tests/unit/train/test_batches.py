"""Batches: every row once, equally many each epoch, the same each time."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from toolgrove.core.spans import Kind
from toolgrove.encoding.encoded import Encoded, TokenSpan
from toolgrove.encoding.packs import PackPlan, pack
from toolgrove.models.load import load_model
from toolgrove.train.batches import (
    LengthBatches,
    PackBatches,
    Plan,
    Share,
    collate,
    collate_forest,
)
from toolgrove.train.loss import WeightedLoss
from toolgrove.train.probe import set_to_forests


def sequence(length, trained=1):
    weights = [0.0] * (length - trained) + [1.0] * trained
    return Encoded(list(range(length)), weights, [TokenSpan(0, length, Kind.TEXT, 0)])


def batches_of(lengths, plan, epoch=0, share=None):
    batches = LengthBatches(lengths, plan, share)
    batches.set_epoch(epoch)
    return list(batches)


plans = st.one_of(
    st.builds(Plan, rows=st.integers(1, 5), by_length=st.booleans(), seed=st.integers(0, 3)),
    st.builds(Plan, tokens=st.integers(1, 60), by_length=st.booleans(), seed=st.integers(0, 3)),
)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), plans, st.integers(0, 3))
def test_each_row_once_and_as_many_batches_in_every_epoch(lengths, plan, epoch):
    batches = batches_of(lengths, plan, epoch)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert batches == batches_of(lengths, plan, epoch)
    assert len(batches) == len(LengthBatches(lengths, plan))
    if plan.tokens:
        for batch in batches:
            padded = len(batch) * max(lengths[row] for row in batch)
            assert padded <= plan.tokens or len(batch) == 1
    else:
        assert all(len(batch) <= plan.rows for batch in batches)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=40), plans, st.integers(1, 4))
def test_processes_share_the_batches_and_keep_step(lengths, plan, ranks):
    shares = [batches_of(lengths, plan, 1, Share(rank, ranks)) for rank in range(ranks)]
    assert len({len(share) for share in shares}) == 1
    assert len(shares[0]) == len(LengthBatches(lengths, plan, Share(0, ranks)))
    rows = [row for share in shares for batch in share for row in batch]
    assert sorted(rows) == list(range(len(lengths)))


def test_epochs_differ_and_the_longest_comes_first():
    lengths = [(7 * row) % 61 + 1 for row in range(200)]
    first, second = (batches_of(lengths, Plan(rows=4), epoch) for epoch in (0, 1))
    assert first != second
    assert max(lengths[row] for row in first[0]) == max(lengths)


def test_like_lengths_meet():
    lengths = [(7 * row) % 61 + 1 for row in range(400)]
    padded = {
        by_length: sum(
            len(batch) * max(lengths[row] for row in batch)
            for batch in batches_of(lengths, Plan(rows=8, by_length=by_length))
        )
        for by_length in (True, False)
    }
    assert padded[True] < 1.2 * sum(lengths) < padded[False]


def test_collating_pads_on_the_right_with_weight_zero():
    batch = collate([(4, sequence(3)), (9, sequence(5, trained=2))])
    assert batch["input_ids"].tolist() == [[0, 1, 2, 0, 0], [0, 1, 2, 3, 4]]
    assert batch["weights"].tolist() == [[0, 0, 1, 0, 0], [0, 0, 0, 1, 1]]
    assert batch["rows"].tolist() == [4, 9]
    assert int(batch["tokens"]) == 8


def test_no_items_make_an_idle_batch():
    batch = collate([])
    assert batch["input_ids"].shape == (1, 1)
    assert batch["weights"].sum() == 0
    assert batch["rows"].dtype == torch.long


@pytest.mark.parametrize("epoch", [0, 5])
def test_the_order_does_not_depend_on_what_was_asked_before(epoch):
    lengths = list(range(1, 50))
    used = LengthBatches(lengths, Plan(rows=3))
    for before in range(3):
        used.set_epoch(before)
        list(used)
    used.set_epoch(epoch)
    assert list(used) == batches_of(lengths, Plan(rows=3), epoch)


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=40),
    st.integers(1, 60),
    st.integers(0, 2),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_processes_share_the_packs_and_keep_step(lengths, tokens, epoch, turns, ranks):
    plan = PackPlan(tokens=tokens)
    packs = pack([sequence(length) for length in lengths], plan).packs
    shares = [PackBatches(packs, plan, turns, Share(rank, ranks)) for rank in range(ranks)]
    for share in shares:
        share.set_epoch(epoch)
    drawn = [list(share) for share in shares]
    assert {len(share) for share in drawn} == {len(share) for share in shares}
    assert len({len(share) for share in drawn}) == 1
    assert sorted(row for share in drawn for batch in share for row in batch) == list(
        range(len(lengths))
    )


def test_collating_a_forest_counts_its_rows_in_full():
    batch = collate_forest([(4, sequence(3)), (9, sequence(5, trained=2))])
    assert batch["input_ids"].tolist() == [[0, 1, 2, 3, 4]]
    assert batch["tree"]["positions"].tolist() == [0, 1, 2, 3, 4]
    assert batch["tree"]["at"].tolist() == [1, 2, 3]
    assert batch["tree"]["targets"].tolist() == [2, 3, 4]
    assert batch["rows"].tolist() == [4, 9]
    assert [int(batch[name]) for name in ("tokens", "trained", "weight")] == [8, 3, 3]
    apart = collate([(4, sequence(3)), (9, sequence(5, trained=2))])
    assert [int(apart[name]) for name in ("tokens", "trained", "weight")] == [8, 3, 3]


def test_a_forest_with_nothing_to_learn_has_gradients_of_zero(llama):
    loss = WeightedLoss(load_model(llama, torch.float32))
    assert set_to_forests(loss, 1) == ""
    for idle in (collate_forest([]), collate_forest([(0, sequence(9, trained=0))])):
        value = loss(idle["input_ids"], idle["weights"], idle["tree"])
        value.backward()
        assert value.item() == 0
        assert float(idle["weight"]) == 0
        assert all(p.grad is None or not p.grad.any() for p in loss.parameters())
        assert loss.model.model.norm.weight.grad is not None
