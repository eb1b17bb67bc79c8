"""Drawing cases, judging replies, telling overlap, choosing labels."""

from dataclasses import replace

import pytest

from toolgrove.core.errors import EvalError
from toolgrove.core.messages import Conversation, Message, Reply, Role, ToolCall
from toolgrove.eval.bfcl import load_checker, tool
from toolgrove.eval.cases import Accepted, Case, judge, sample, verdict
from toolgrove.eval.labels import is_grounded, label
from toolgrove.eval.overlap import part

RIGHT = ToolCall("geometry.area", {"width": 3, "height": 4})


def case(text: str, *functions: dict, gold: tuple[Accepted, ...] = (), name: str = "x") -> Case:
    talk = Conversation((Message(Role.USER, text),), tuple(tool(f) for f in functions))
    return Case(name, "made", talk, functions, gold)


def function(name: str, description: str, **properties: dict) -> dict:
    parameters = {"type": "dict", "properties": properties, "required": ["a"]}
    return {"name": name, "description": description, "parameters": parameters}


def test_sample_is_fixed_by_its_seed(cases) -> None:
    many = [case(str(n)) for n in range(50)]
    drawn = sample(many, 20, seed=3)
    assert drawn == sample(many, 20, seed=3) != sample(many, 20, seed=4)
    assert [int(c.question) for c in drawn] == sorted(int(c.question) for c in drawn)
    assert sample(many, None, 1) == many
    with pytest.raises(EvalError, match="2 cases"):
        sample(cases, 3, 1)


@pytest.mark.parametrize(
    ("reply", "ended", "expected"),
    [
        (Reply(None, "", (RIGHT,)), True, (True, True, True)),
        (Reply(None, "", (RIGHT,)), False, (False, False, False)),
        (Reply(None, "", (RIGHT,), complete=False), True, (False, False, False)),
        (Reply(None, "The area is 12."), True, (False, False, False)),
        (Reply(None, "", (RIGHT, RIGHT)), True, (True, False, False)),
        (Reply(None, "", (ToolCall("area", {}),)), True, (True, False, False)),
        (Reply(None, "", (ToolCall(RIGHT.name, {"width": 7}),)), True, (True, True, False)),
    ],
)
def test_each_judgement_needs_the_one_before(wheel, cases, reply, ended, expected) -> None:
    formatted, called, verdict = judge(cases[0], reply, ended=ended, checker=load_checker(wheel))
    assert (formatted, called, verdict.right) == expected
    assert verdict.right or verdict.reason


def test_where_no_tool_fits_silence_is_right(wheel) -> None:
    idle = case("Sing!", function("f", "F."))
    checker = load_checker(wheel)
    assert judge(idle, Reply(None, "La."), ended=True, checker=checker)[2].right
    assert not judge(idle, Reply(None, "", (RIGHT,)), ended=True, checker=checker)[2].right
    assert verdict(idle, (), checker).right
    assert not verdict(idle, (RIGHT,), checker).right


def test_where_any_call_will_do_silence_is_wrong(wheel) -> None:
    eager = replace(case("Sing!", function("f", "F.")), any_call=True)
    checker = load_checker(wheel)
    for calls, right in (((RIGHT,), True), ((), False)):
        reply = Reply(None, "", calls)
        assert judge(eager, reply, ended=True, checker=checker)[2].right is right
        assert verdict(eager, calls, checker).right is right


def test_overlap_by_name_description_or_question() -> None:
    held = [case("How far?", function("Dist.ance", "Tells how far."), name="held")]
    rows = [
        case("Another", function("dist.ANCE", "New."), name="name"),
        case("Another", function("new", "tells  how\nfar."), name="description"),
        case("how FAR?", function("new", "New."), name="question"),
        case("Another", function("new", "New."), function("dist.ance", "X."), name="distractor"),
        case("Another", function("new", ""), name="apart"),
    ]
    parted = part(rows, held)
    assert [c.name for c in parted.apart] == ["apart"]
    assert len(parted.overlapping) == 4


def test_labels_take_what_the_question_says() -> None:
    f = function(
        "f",
        "F.",
        a={"type": "string"},
        b={"type": "float"},
        c={"type": "string"},
        d={"type": "integer"},
        e={"type": "dict", "properties": {}},
    )
    gold = Accepted(
        "f",
        {
            "e": [{"x": ["", 7], "y": ["Rome", "roma"]}],
            "d": ["", 30],
            "c": ["", "metric"],
            "b": [4.0],
            "a": ["New York City", "NYC"],
        },
    )
    found = label(case("NYC, 4 nights, roma, metric please", f, gold=(gold,)))
    assert found.calls == (ToolCall("f", {"a": "NYC", "b": 4, "c": "metric", "e": {"y": "roma"}}),)
    assert list(found.calls[0].arguments) == ["a", "b", "c", "e"]
    assert isinstance(found.calls[0].arguments["b"], int)
    assert found.grounded


def test_grounded_values() -> None:
    text = "Pay 1,250 at five percent, 10% off, in Los Angeles"
    assert is_grounded(1250, {}, text)
    assert is_grounded(5, {}, text)
    assert is_grounded(0.1, {}, text)
    assert is_grounded("Los Angeles, CA", {}, text)
    assert is_grounded("red", {"enum": ["red"]}, text)
    assert is_grounded([5, True, None], {}, text)
    assert not is_grounded("San Francisco, CA", {}, text)
    assert not is_grounded([77], {}, text)
    assert not is_grounded({"k": "Berlin"}, {}, text)
