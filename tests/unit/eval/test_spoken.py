"""Turns in words that practice rows hold: their shape, their truth to the results, their origin."""

import json
import random
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.eval.orders import Agreeing, case, function
from toolgrove.core.messages import Conversation, Message, Role, ToolCall
from toolgrove.data.formats import conversation
from toolgrove.eval import spoken
from toolgrove.eval.cases import Case
from toolgrove.eval.drill import Words, missing
from toolgrove.eval.labels import Labelled
from toolgrove.eval.practice import PracticeSettings, practice

WORDS = Words({}, ["Lisbon", "two by four"])


def request() -> Labelled:
    return Labelled(case(1), (ToolCall("shop.order_1", {"count": 101}),), True)


@given(st.integers(0, 10_000), st.sampled_from([WORDS, Words()]))
def test_an_answer_says_all_that_the_result_holds(seed: int, words: Words) -> None:
    made = spoken.answered(request(), words, random.Random(seed))
    assert made.calls == request().calls
    result, answer = made.after
    assert (result.role, result.name, answer.role) == (Role.TOOL, "shop.order_1", Role.ASSISTANT)
    told = json.loads(result.text)
    if not {"status", "success", "error"} & told.keys() or len(told) > 1:
        assert all(str(value) in answer.text for value in told.values())
    assert answer.text[0].isupper()
    assert answer.text.endswith(".")


@given(st.integers(0, 10_000))
def test_a_request_that_lacks_something_is_asked_for_it(seed: int) -> None:
    made = missing(function(5), WORDS, random.Random(seed))
    assert made is not None
    assert not made.calls
    (asked,) = made.after
    assert "count" in asked.text
    assert "count" not in made.case.question
    assert missing({**function(5), "parameters": {"type": "dict"}}, WORDS, random.Random()) is None


def test_where_no_tool_fits_nothing_is_called() -> None:
    made = spoken.unfit(request(), random.Random(0))
    assert made.case == request().case
    assert not made.calls
    assert [message.role for message in made.after] == [Role.ASSISTANT]


def test_small_talk_is_none_of_the_evaluation() -> None:
    text = files("toolgrove.eval").joinpath("behaviour.json").read_text(encoding="utf-8")
    asked = [message["content"] for one in json.loads(text)["cases"] for message in one["messages"]]
    known = {words.lower().strip(".!?") for words in asked}
    for seed in range(300):
        made = spoken.small_talk(random.Random(seed))
        assert made.case.question.lower().strip(".!?") not in known


@pytest.mark.parametrize("seed", range(5))
def test_rows_hold_turns_in_words_where_they_are_wanted(seed: int) -> None:
    settings = PracticeSettings(
        seed=seed, in_words=[0, 0, 1], answered=1, drills=[1], max_characters=9000
    )
    rows = practice([case(n) for n in range(12)], [], Agreeing(), settings).rows
    for row in rows:
        talk = conversation(row)
        offered = {one.name for one in talk.tools}
        before = Message(Role.SYSTEM, "")
        for message in talk.messages:
            assert {call.name for call in message.calls} <= offered
            follows = {Role.ASSISTANT: (Role.USER, Role.TOOL), Role.TOOL: (Role.ASSISTANT,)}
            assert before.role in follows.get(message.role, (Role.SYSTEM, Role.ASSISTANT))
            before = message
        assert not before.calls  # each call has its result and answer
        for user, reply in zip(talk.messages, talk.messages[1:], strict=False):
            if user.role is Role.USER and not reply.calls:
                assert not any(f"number {name[-1]}." in user.text for name in offered)
    told = [m for row in rows for m in conversation(row).messages if m.role is Role.ASSISTANT]
    assert sum(not m.calls for m in told) > len(rows)


def test_without_them_rows_hold_calls_only() -> None:
    settings = PracticeSettings(in_words=[1], answered=0)
    rows = practice([case(n) for n in range(12)], [], Agreeing(), settings).rows
    told = [m for row in rows for m in conversation(row).messages]
    assert {m.role for m in told} == {Role.USER, Role.ASSISTANT}
    assert all(m.calls for m in told if m.role is Role.ASSISTANT)


def misfit(number: int) -> Case:
    talk = Conversation((Message(Role.USER, f"Where is the lake {number}?"),))
    return Case(f"misfit_{number}", "live_irrelevance", talk, (function(50 + number % 9),), ())


def test_cases_without_a_fitting_tool_are_answered_in_words() -> None:
    settings = PracticeSettings(irrelevant=4, in_words=[1], max_characters=9000)
    cases = [*[case(n) for n in range(5)], *[misfit(n) for n in range(18)]]
    made = practice(cases, [], Agreeing(), settings)
    about_lakes: list[dict] = []
    for row in made.rows:
        talk = conversation(row)
        for user, reply in zip(talk.messages, talk.messages[1:], strict=False):
            if "Where is the lake" in user.text:
                assert not reply.calls
                assert reply.text
                about_lakes.append(row)
    assert len(about_lakes) == 4
    own = [
        {t["function"]["name"] for t in row["tools"] if "_5" in t["function"]["name"]}
        for row in about_lakes
    ]
    assert all(own)
    assert made.left_out == {"enough where no tool fits": 14}


def test_misfits_that_the_evaluation_holds_are_left_out() -> None:
    made = practice([misfit(n) for n in range(9)], [misfit(3)], Agreeing(), PracticeSettings())
    assert len(made.rows) == 8
    assert "lake 3" not in json.dumps(made.rows)
    assert made.left_out == {"overlap": 1}
