"""Law 9: loss and every gradient of a forest are those of its rows, on models of four shapes."""

import random

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolgrove.core.spans import Kind
from toolgrove.encoding.encoded import Encoded, TokenSpan
from toolgrove.encoding.forest import grow
from toolgrove.models.adapters import Lora, add_adapter
from toolgrove.models.load import load_model
from toolgrove.models.tiny import FAMILIES, tiny_model
from toolgrove.train import attention
from toolgrove.train.attention import Demands, block_mask, by_node
from toolgrove.train.batches import collate, collate_forest
from toolgrove.train.fused import fused_attention
from toolgrove.train.layout import Layout
from toolgrove.train.loss import WeightedLoss
from toolgrove.train.probe import set_to_forests
from toolgrove.train.side_by_side import for_all

LIMIT = 1e-4
EAGER = ("gpt_oss",)


def random_rows(dice, depth=5, most=24):
    """Rows of a random tree; about a third of the tokens is learnt."""
    found = []

    def branch(before, left):
        ids = [*before, *(dice.randrange(3, 512) for _ in range(dice.randint(1, 9)))]
        if left == 1 or dice.random() < 0.15:
            found.append(ids)
            return
        for _ in range(dice.randint(1, 3)):
            branch(ids, left - 1)

    while len(found) < 4:
        branch([], depth)
    return [encoded(ids, dice) for ids in dice.sample(found, min(most, len(found)))]


def encoded(ids, dice):
    weights = [0.0, *(dice.choice([0, 0, 0, 1.0, 0.5]) for _ in ids[1:-1]), 1.0]
    return Encoded(ids, weights, [TokenSpan(0, len(ids), Kind.TEXT, 0)])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    home = tmp_path_factory.mktemp("shapes")
    return {family: tiny_model(home / family, family) for family in FAMILIES}


def prepared(folder, family, lora):
    model = load_model(folder, torch.float32, attention="eager" if family in EAGER else "sdpa")
    if lora:
        model = add_adapter(model, Lora(4, 8, 0.0))
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.05)
    else:
        for weight in model.parameters():
            weight.requires_grad_(True)
    return model.train()


def gradients(model):
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_forest_is_its_rows(folders, family, lora, checkpointing):
    torch.manual_seed(0)
    model = prepared(folders[family], family, lora)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    loss = WeightedLoss(model)
    trees = [random_rows(random.Random(f"{family}{n}")) for n in range(3)]
    apart = []
    for rows in trees:
        total = 0.0
        for row in rows:
            batch = collate([(0, row)])
            value = loss(batch["input_ids"], batch["weights"])
            value.backward()
            total += value.item()
        apart.append((total, gradients(model)))
    longest = max(len(row) for rows in trees for row in rows)
    assert longest > 24, "the windows of the sliding layers would not matter"
    assert set_to_forests(loss, longest) == ""
    for rows, (total, wanted) in zip(trees, apart, strict=True):
        batch = collate_forest(list(enumerate(rows)))
        value = loss(batch["input_ids"], batch["weights"], batch["tree"])
        value.backward()
        assert value.item() == pytest.approx(total, rel=LIMIT)
        found = gradients(model)
        assert found.keys() == wanted.keys()
        for name, gradient in wanted.items():
            off = (found[name] - gradient).norm() / gradient.norm().clamp_min(1e-6)
            assert off < LIMIT, name


def test_bfloat16_is_near(folders):
    model = load_model(folders["llama"], torch.bfloat16)
    loss = WeightedLoss(add_adapter(model, Lora(4, 8, 0.0)), torch.bfloat16)
    rows = random_rows(random.Random(1))
    batch = collate(list(enumerate(rows)))
    apart = loss(batch["input_ids"], batch["weights"]).item()
    assert set_to_forests(loss, 100) == ""
    batch = collate_forest(list(enumerate(rows)))
    value = loss(batch["input_ids"], batch["weights"], batch["tree"])
    value.backward()
    assert value.item() == pytest.approx(apart, rel=0.01)


layouts = st.integers(0, 10**6).map(
    lambda seed: Layout(grow(random_rows(random.Random(seed), depth=4)).nodes)
)


def ancestors(layout):
    """Who sees whom, token by token."""
    sees = torch.zeros(len(layout), len(layout), dtype=torch.bool)
    for number in range(len(layout.nodes)):
        path = layout.path(number)
        sees[path.unsqueeze(1), path] = path.unsqueeze(1) >= path
    return sees


@given(layouts)
def test_triangles_and_rectangles_are_what_is_seen(layout):
    count = torch.zeros(len(layout), len(layout), dtype=torch.int)
    for start, end in layout.triangles:
        count[start:end, start:end] += torch.ones(end - start, end - start).tril().int()
    for start, end, first, last in layout.rectangles:
        count[start:end, first:last] += 1
    assert torch.equal(count, ancestors(layout).int())


@given(layouts, st.integers(1, 5))
def test_shares_are_the_layout_cut_by_queries(layout, count):
    shares = layout.shares(count)
    assert len(shares) <= count
    ends = [place for share in shares for place in (share.start, share.end)]
    assert ends == sorted(ends)
    assert (ends[0], ends[-1]) == (0, len(layout))
    seen = torch.zeros(len(layout), len(layout), dtype=torch.int)
    for share in shares:
        for start, end in share.triangles:
            assert share.start <= start < end <= share.end
            seen[start:end, start:end] += torch.ones(end - start, end - start).tril().int()
        for start, end, first, last in share.rectangles:
            assert share.start <= start < end <= share.end
            seen[start:end, first:last] += 1
    assert torch.equal(seen, ancestors(layout).int())


@given(layouts)
def test_the_mask_for_flex_attention_is_what_is_seen(layout):
    mask = block_mask(layout, None, torch.device("cpu"))
    place = torch.arange(len(layout))
    seen = mask.mask_mod(place, place, place.unsqueeze(1), place.unsqueeze(0))
    assert torch.equal(seen, ancestors(layout))
    near = block_mask(layout, 5, torch.device("cpu")).mask_mod(
        place, place, place.unsqueeze(1), place.unsqueeze(0)
    )
    ahead = layout.positions.unsqueeze(1) - layout.positions
    assert torch.equal(near, ancestors(layout) & (ahead < 5))


def states(layout, dice, heads=6, key_heads=2, size=8):
    def drawn(count):
        state = torch.randn(1, count, len(layout), size, generator=dice)
        return state.requires_grad_()

    return [drawn(heads), drawn(key_heads), drawn(key_heads)]


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@given(layouts, st.booleans())
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.usefixtures("threads")
def test_all_ways_lead_to_the_same(layout, with_sinks):
    dice = torch.Generator().manual_seed(len(layout))
    q, k, v = states(layout, dice)
    sinks = torch.randn(6, generator=dice).requires_grad_() if with_sinks else None
    inputs = [q, k, v, *([sinks] if with_sinks else [])]
    weigh = torch.randn(1, len(layout), 6, 8, generator=dice)
    fused = fused_attention(q, k, v, sinks, (layout, 0.3))
    plain = by_node(q, k, v, layout, Demands(0.3, sinks=sinks))
    assert torch.allclose(fused, plain, atol=1e-5)
    pairs = [torch.autograd.grad((out * weigh).sum(), inputs) for out in (fused, plain)]
    for one, other in zip(*pairs, strict=True):
        assert (one - other).norm() <= 1e-4 * other.norm().clamp_min(1e-3)


@given(layouts)
@settings(max_examples=15)
def test_gradients_of_sharp_attention_are_near_in_bfloat16(layout):
    dice = torch.Generator().manual_seed(len(layout))
    q, k, v = (state.detach().bfloat16() for state in states(layout, dice))
    q *= 12  # normalizers of about 30, which bfloat16 itself would be off by 6 %
    weigh = torch.randn(1, len(layout), 6, 8, generator=dice).bfloat16()
    found = []
    for dtype in (torch.bfloat16, torch.float32):
        inputs = [state.to(dtype).requires_grad_() for state in (q, k, v)]
        out = fused_attention(*inputs, None, (layout, 0.3))
        found.append(torch.autograd.grad((out * weigh.to(dtype)).sum(), inputs))
    for rough, exact in zip(*found, strict=True):
        assert (rough.float() - exact).norm() < 0.02 * exact.norm()


@given(layouts)
@settings(max_examples=5)
def test_flex_attention_computes_the_same(layout):
    from torch.nn.attention.flex_attention import flex_attention

    dice = torch.Generator().manual_seed(len(layout))
    q, k, v = (state.detach() for state in states(layout, dice))
    mask = block_mask(layout, 7, torch.device("cpu"))
    flex = flex_attention(q, k, v, block_mask=mask, scale=0.3, enable_gqa=True)
    assert torch.allclose(
        flex.transpose(1, 2), by_node(q, k, v, layout, Demands(0.3, window=7)), atol=1e-5
    )


def test_a_layout_is_needed():
    with pytest.raises(RuntimeError, match="without a forest"):
        attention.tree_attention(None, *[torch.zeros(1, 1, 1, 1)] * 3, None)


def test_work_side_by_side_leaves_the_process_its_threads():
    before = torch.get_num_threads()
    assert for_all(lambda _: torch.get_num_threads(), range(3)) == [1, 1, 1]
    assert torch.get_num_threads() == before
    assert for_all(lambda n: torch.ones(n, requires_grad=True).sum().requires_grad, [1, 2]) == [
        False,
        False,
    ]
    with pytest.raises(ZeroDivisionError):
        for_all(lambda n: 1 / n, [1, 0])
