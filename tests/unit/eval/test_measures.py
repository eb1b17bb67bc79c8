"""Means and their intervals, and the comparison of two runs."""

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolgrove.core.errors import EvalError
from toolgrove.eval.compare import compare, mcnemar
from toolgrove.eval.measures import WHOLE, bootstrap, measure, score, wilson


def test_wilson_agrees_with_published_values() -> None:
    # Newcombe (1998), table I: 81/263, 15/148, 0/20, 1/29 by method 3.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=1e-4)


@given(st.integers(0, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_intervals_hold_the_share_and_mirror(counts: tuple[int, int]) -> None:
    hits, cases = counts
    found = measure([1.0] * hits + [0.0] * (cases - hits))
    mirrored = measure([0.0] * hits + [1.0] * (cases - hits))
    assert 0 <= found.low <= found.value + 1e-12
    assert cases == 0 or found.value <= found.high + 1e-12 <= 1 + 1e-12
    if cases:
        step = 1 / cases + 1e-9
        assert mirrored[1:3] == pytest.approx((1 - found.high, 1 - found.low), abs=step)


def test_the_exact_bootstrap_is_what_drawing_gives() -> None:
    values = [1.0] * 60 + [0.0] * 40
    rng = random.Random(1)
    means = sorted(statistics.fmean(rng.choices(values, k=100)) for _ in range(4000))
    assert bootstrap(values) == pytest.approx((means[100], means[3900]), abs=0.011)
    # one group for each value is no grouping, though marks of one half take the drawing way
    halves = bootstrap([v / 2 for v in values], [str(n) for n in range(100)])
    assert [2 * end for end in halves] == pytest.approx(bootstrap(values), abs=0.021)


def test_turns_of_a_conversation_are_drawn_together() -> None:
    values = ([1.0] * 10 + [0.0] * 10) * 5
    groups = [str(index // 10) for index in range(100)]
    alone, together = bootstrap(values), bootstrap(values, groups)
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_scores_by_category_suite_and_conversation(outcome_of) -> None:
    outcomes = [
        outcome_of("a", True),
        outcome_of("b", False),
        outcome_of("c", True, suite="agent", category="calls", group="row 1"),
        outcome_of("d", False, suite="agent", category="answers", group="row 1"),
        outcome_of("e", True, suite="agent", category="calls", group="row 2"),
    ]
    scores = score(outcomes)
    names = [f"{found.suite} {found.category}" for found in scores]
    assert names == [
        *("bfcl simple_python", "bfcl total", "agent calls", "agent answers", "agent total")
    ]
    assert scores[0]["right"].value == 0.5
    assert scores[0].as_json()["format"]["share"] == 1.0
    assert WHOLE not in scores[0].marks
    assert scores[-1][WHOLE].value == 0.5
    with pytest.raises(EvalError, match="not measured"):
        scores[0]["speed"]


def test_mcnemar_agrees_with_the_binomial_test() -> None:
    # scipy.stats.binomtest(5, 20).pvalue, binomtest(0, 6).pvalue
    assert mcnemar(5, 15) == pytest.approx(0.04138946533203125)
    assert mcnemar(15, 5) == mcnemar(5, 15)
    assert mcnemar(0, 6) == pytest.approx(0.03125)
    assert mcnemar(3, 3) == mcnemar(0, 0) == 1.0


def test_two_runs_are_paired_by_case(outcome_of) -> None:
    first = [outcome_of(str(n), n < 10) for n in range(30)]
    second = [outcome_of(str(n), n < 20) for n in range(29)]
    found = compare(("a", "b"), first, list(reversed(second)))
    assert found.only == (1, 0)
    right = found.differences[0]
    assert (right.mark, right.cases, right.gained, right.lost) == ("right", 29, 10, 0)
    assert right.p == pytest.approx(2 / 2**10)
    assert right.interval.low > 0 < right.second - right.first < right.interval.high
    same = next(d for d in found.differences if d.mark == "format")
    assert (same.p, same.interval) == (1.0, (0.0, 0.0))
    with pytest.raises(EvalError, match="no case in common"):
        compare(("a", "b"), first, [outcome_of("other", True)])


def test_grouped_marks_are_permuted_by_group(outcome_of) -> None:
    def run(right) -> list:
        return [
            outcome_of(f"{g} {n}", right(g), group=f"row {g}", suite="agent")
            for g in range(6)
            for n in range(8)
        ]

    found = compare(("a", "b"), run(lambda g: g == 0), run(lambda g: g < 3)).differences[0]
    assert (found.gained, found.lost) == (16, 0)
    assert found.p == 0.5  # two conversations changed: four ways to swap them, two as far apart
