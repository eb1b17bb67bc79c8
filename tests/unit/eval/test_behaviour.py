"""The rules of the behaviour suite, and its cases held against them."""

import json
from collections import Counter

import pytest

from toolgrove.core.messages import Reply, ToolCall
from toolgrove.eval.play import play_alone
from toolgrove.eval.settings import EvalSettings
from toolgrove.eval.speakers import Said
from toolgrove.eval.suites.behaviour import CASES, JUDGES, Behaviour, load_behaviour, play

BY_NAME = {case.name: case for case in load_behaviour()}


def say(text: str = "", *calls: ToolCall, ended: bool = True) -> Said:
    return Said(Reply(None, text, calls), text, ended)


class Listed:
    """Answers with what it is given, one after the other."""

    def __init__(self, replies) -> None:
        self.replies = iter(replies)

    def answer(self, asked) -> list[Said]:
        return [next(self.replies) for _ in asked]


def judged(name: str, *replies: Said):
    return play_alone(play(BY_NAME[name]), Listed(replies))


def right_replies(case) -> list[Said]:
    """What a good model says to a case."""
    if case.category == "never_calling":
        given = {key: accepted[0] for key, accepted in case.rules.arguments.items()}
        return [say("", ToolCall(case.rules.call, given))]
    if case.category == "repeated_call":
        (name,) = case.rules.results
        return [say("", ToolCall(name, {"a": 1})), say("There it is.")]
    if case.category == "missing_parameter":
        return [say("Which one, please?")]
    return [say(case.rules.says[0] if case.rules.says else "I cannot do that with these tools.")]


@pytest.mark.parametrize("name", BY_NAME)
def test_a_good_model_is_right(name) -> None:
    found = judged(name, *right_replies(BY_NAME[name]))
    assert found.right, found.reason
    assert found.expected


@pytest.mark.parametrize("name", BY_NAME)
def test_a_model_that_only_calls_or_says_nothing_is_wrong(name) -> None:
    tools = BY_NAME[name].conversation.tools
    call = ToolCall(tools[0].name if tools else "f", {"x": "y"})
    assert not judged(name, *[say("", call)] * BY_NAME[name].rules.steps).right
    assert not judged(name, say("")).right
    assert not judged(name, say("Yes?", ended=False)).right


@pytest.mark.parametrize(
    ("name", "replies", "reason"),
    [
        ("repeated_call_0", [say("", ToolCall("get_weather", {"city": "Rome"}))] * 4, "once more"),
        ("repeated_call_0", [say("It is warm.")], "no call at all"),
        ("never_calling_0", [say("", ToolCall("get_weather", {"city": "Bergen"}))], '"Bergen"'),
        ("never_calling_0", [say("", ToolCall("stock_price", {}))], "wanted: get_weather"),
        ("over_calling_0", [say('Hi <tool_call>{"name": "x"')], "in the text"),
        ("stops_after_answer_0", [say("27 degrees.\nObservation: sunny")], "in the text"),
        ("general_chat_0", [say("London.")], "none of Paris"),
        ("missing_parameter_0", [say("Done, a table is booked.")], "asked nothing"),
    ],
)
def test_what_is_wrong_is_told(name, replies, reason) -> None:
    found = judged(name, *replies)
    assert reason in found.reason
    assert found.kind == BY_NAME[name].category


def test_results_come_back_and_different_calls_are_not_repeated() -> None:
    game = play(BY_NAME["repeated_call_7"])
    next(game)
    asked = game.send(say("", ToolCall("get_weather", {"city": "Atlantis"})))
    assert asked.messages[-1].content == '{"error": "no such city"}'
    asked = game.send(say("", ToolCall("other", {})))
    assert "no such tool" in asked.messages[-1].content
    with pytest.raises(StopIteration) as end:
        game.send(say("There is no such city."))
    assert end.value.value.right


def test_every_category_has_ten_cases_or_more_and_every_case_is_whole() -> None:
    counts = Counter(case.category for case in BY_NAME.values())
    assert counts.keys() == JUDGES.keys()
    assert min(counts.values()) >= 10
    assert len(BY_NAME) == len(json.loads(CASES.read_text(encoding="utf-8"))["cases"])
    assert len(Behaviour(EvalSettings()).tasks) == len(BY_NAME)
    assert len(Behaviour(EvalSettings(limit=3)).tasks) == 3 * len(JUDGES)
