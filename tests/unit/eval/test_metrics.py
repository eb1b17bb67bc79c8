"""Shares and their intervals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolgrove.eval.metrics import Share, score, wilson


def test_wilson_agrees_with_published_values() -> None:
    # Newcombe (1998), table I: 81/263, 15/148, 0/20, 1/29 by method 3.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=1e-4)


@given(st.integers(0, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_interval_holds_the_share_and_mirrors(counts: tuple[int, int]) -> None:
    hits, cases = counts
    low, high = wilson(hits, cases)
    assert 0 <= low <= Share(hits, cases).value + 1e-12
    assert cases == 0 or Share(hits, cases).value <= high + 1e-12
    mirrored = wilson(cases - hits, cases)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-9)


def test_scores_by_category_and_total(cases, result_of) -> None:
    scores = score([result_of(cases[0], True), result_of(cases[1], False)])
    assert [found.category for found in scores] == ["simple_python", "total"]
    assert scores[0].arguments == (1, 2)
    assert scores[-1].as_json()["format"]["share"] == 0.5


def test_no_cases_know_nothing() -> None:
    (total,) = score([])
    assert total.arguments.interval == (0.0, 1.0)
