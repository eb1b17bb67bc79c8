"""Training rows: apart from the evaluation, answered rightly, with fair distractors."""

import json
import random

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.eval.orders import Agreeing, case, function
from toolgrove.core.messages import Conversation, Message, Role, ToolCall
from toolgrove.data.formats import conversation
from toolgrove.eval.cases import Case
from toolgrove.eval.drill import Words, drill
from toolgrove.eval.labels import Labelled, label
from toolgrove.eval.numbers import with_other_numbers
from toolgrove.eval.overlap import keys
from toolgrove.eval.practice import PracticeSettings, practice

KINDS = ("integer", "float", "string", "boolean")


def asked(row: dict) -> list[Case]:
    """A training row seen as one case for each request, to compare it with evaluation cases."""
    talk = conversation(row)
    functions = tuple(t.function for t in talk.tools)
    requests = [m for m in talk.messages if m.role is Role.USER]
    return [Case("row", "row", Conversation((m,)), functions, ()) for m in requests]


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=25),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=6),
    st.integers(0, 5),
)
def test_no_row_shares_anything_with_the_evaluation(train, held, seed) -> None:
    evaluation = [case(a, b) for a, b in held]
    settings = PracticeSettings(seed=seed, distractors=[0.2, 0.4, 0.4])
    made = practice([case(a, b) for a, b in train], evaluation, Agreeing(), settings)
    taken = frozenset().union(*(keys(c) for c in evaluation))
    for row in made.rows:
        for request in asked(row):
            assert not keys(request) & taken


def test_rows_hold_the_called_tools_and_distinct_others() -> None:
    cases = [case(n) for n in range(20)]
    settings = PracticeSettings(
        distractors=[0, 0, 0, 1],
        variants=1,
        turns=[0, 1],
        drills=[0, 1],
        in_words=[1],
        answered=0,
        max_characters=9000,
    )
    made = practice(cases, [], Agreeing(), settings)
    assert sum(len(asked(row)) for row in made.rows) == 40 + len(made.rows)  # a drill in each
    for row in made.rows:
        names = [t["function"]["name"] for t in row["tools"]]
        assert len(set(names)) == len(names) == 4
        for message in row["messages"][1::2]:
            (call,) = message["tool_calls"]
            assert call["function"]["name"] in names


def test_requests_for_the_same_function_share_a_row_first() -> None:
    cases = [case(n % 5, text=f"Order {100 + n % 5} pieces, please: {n}.") for n in range(20)]
    settings = PracticeSettings(
        per_function=4, turns=[0, 0, 0, 1], distractors=[1], drills=[1], in_words=[1], variants=0
    )
    made = practice(cases, [], Agreeing(), settings)
    assert sorted(len(row["tools"]) for row in made.rows) == [1] * 5
    assert {len(asked(row)) for row in made.rows} == {4}


@given(st.integers(400, 4000))
def test_no_row_is_longer_than_allowed(longest: int) -> None:
    settings = PracticeSettings(max_characters=longest, turns=[1, 1, 1], drills=[1, 1, 1])
    made = practice([case(n) for n in range(15)], [], Agreeing(), settings)
    assert all(len(json.dumps(row, ensure_ascii=False)) <= longest for row in made.rows)
    assert made.rows or made.left_out["too long"]


def test_each_left_out_case_has_a_reason() -> None:
    cases = [case(1, text="Ordena número 101"), case(2, text="Order some"), case(3), case(3)]
    settings = PracticeSettings(per_function=1, variants=0, turns=[1], drills=[1], distractors=[1])
    made = practice(cases, [case(4)], Agreeing(), settings)
    assert len(made.rows) == 1
    reasons = {"not English": 1, "values not in the question": 1, "enough of this function": 1}
    assert made.left_out == reasons


def test_more_cases_are_taken_of_those_that_give_what_could_be_left_out() -> None:
    plain = [case(1, text=f"Order 101 pieces: {n}.") for n in range(5)]
    noted = [case(1, text=f"Order 101 pieces, with the note x-y-z: {n}.") for n in range(5)]
    settings = PracticeSettings(per_function=2, per_function_with_options=4, turns=[1], drills=[1])
    made = practice([*plain, *noted], [], Agreeing(), settings)
    given = ["x-y-z" in json.dumps(row["messages"]) for row in made.rows]
    assert len(given) == 4
    assert given.count(False) <= 2
    assert made.left_out == {"enough of this function": 6}


def test_same_seed_same_rows() -> None:
    cases = [case(n) for n in range(12)]
    first = practice(cases, [], Agreeing(), PracticeSettings(seed=3))
    assert first == practice(cases, [], Agreeing(), PracticeSettings(seed=3))
    assert first.rows != practice(cases, [], Agreeing(), PracticeSettings(seed=4)).rows


def test_numbers_change_in_question_and_call_alike() -> None:
    other = with_other_numbers(label(case(7)), random.Random(1))
    assert other is not None
    (call,) = other.calls
    assert 100 <= call.arguments["count"] <= 999
    assert call.arguments["count"] != 107
    assert other.case.question == f"Order {call.arguments['count']} pieces for customer 7."


def test_numbers_that_are_no_arguments_stay() -> None:
    row = label(case(7, text="Order 107 pieces of A-107 before 1.107.3."))
    other = with_other_numbers(row, random.Random(1))
    assert other is not None
    assert "A-107 before 1.107.3." in other.case.question
    assert with_other_numbers(label(case(7, text="Order it")), random.Random(1)) is None


@given(st.integers(0, 10_000), st.sampled_from(KINDS))
def test_a_drill_says_every_value_that_its_call_has(seed: int, kind: str) -> None:
    rng = random.Random(seed)
    talk = Conversation((Message(Role.USER, "x"),))
    row = Labelled(Case("x", "x", talk, (), ()), (ToolCall("f", {"note": "by train"}),), True)
    made = drill(function(5, kind), Words.of([row]), rng, 0.5)
    assert made is not None
    assert "order the item number 5 from a shop" in made.case.question.lower()
    for value in made.calls[0].arguments.values():
        said = str(value).lower() if isinstance(value, bool) else str(value)
        assert said in made.case.question.lower()


def test_no_drill_without_a_wish_or_with_objects() -> None:
    words = Words({}, ["word"])
    plain = function(1)
    assert drill({**plain, "description": "Orders"}, words, random.Random(0), 0.5) is None
    parameters = {"type": "dict", "properties": {"o": {"type": "dict"}}, "required": ["o"]}
    assert drill({**plain, "parameters": parameters}, words, random.Random(0), 0.5) is None


def test_rows_are_json() -> None:
    made = practice([case(1)], [], Agreeing(), PracticeSettings())
    assert json.loads(json.dumps(made.rows)) == made.rows
