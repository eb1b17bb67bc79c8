"""The benchmark's cases and checker, on a stand-in of its wheel and on the real one."""

import sys
from datetime import date

import pytest

from toolgrove.core.errors import DataError, EvalError
from toolgrove.core.messages import ToolCall
from toolgrove.eval.bfcl import json_schema, load_cases, load_checker, wheel
from toolgrove.eval.bfcl_turns import MULTI_TURN, load_turns
from toolgrove.eval.cases import Case
from toolgrove.eval.gold import GoldSpeaker, gold_of_turns
from toolgrove.eval.labels import label
from toolgrove.eval.play import play_alone
from toolgrove.eval.suites.bfcl import play_turns
from toolgrove.eval.worlds import Worlds
from toolgrove.templates.dialect import dialect


def test_cases_have_question_tools_and_accepted_values(cases) -> None:
    first = cases[0]
    assert first.question == "Area of 3 by 4?"
    assert first.conversation.tools[0].name == "geometry.area"
    assert first.gold[0].arguments["unit"] == ["", "m"]


def test_schemas_become_json_schema(cases) -> None:
    parameters = cases[0].conversation.tools[0].parameters
    assert parameters["type"] == "object"
    assert parameters["properties"]["width"] == {"type": "number", "description": "Width."}
    assert parameters["properties"]["unit"]["enum"] == ["m", "cm"]
    nested = {"type": "tuple", "items": {"type": "dict", "properties": {"type": {"type": "any"}}}}
    assert json_schema(nested) == {
        "type": "array",
        "items": {"type": "object", "properties": {"type": {"type": "string"}}},
    }


def test_written_calls_are_read_and_others_left_out(wheel, caplog) -> None:
    with caplog.at_level("INFO", logger="toolgrove"):
        (case,) = load_cases(wheel, "exec_simple")
    assert case.gold[0].arguments == {"pair": [[1, 2]]}
    assert "exec_simple_1" in caplog.text


def test_unknown_category_names_the_nearest(wheel) -> None:
    with pytest.raises(EvalError, match="simple_python"):
        load_cases(wheel, "simple_pyton")


def test_missing_file_is_told(wheel) -> None:
    with pytest.raises(DataError, match="missing") as error:
        load_cases(wheel, "multiple")
    assert "BFCL_v4_multiple.json" in str(error.value.where)


def test_checker_judges_and_leaves_nothing_behind(wheel, cases) -> None:
    modules, path = set(sys.modules), list(sys.path)
    checker = load_checker(wheel)
    assert not [name for name in set(sys.modules) - modules if name.startswith("bfcl")]
    assert sys.path == path
    right = ToolCall("geometry.area", {"width": 3, "height": 4})
    assert checker.check(cases[0], [right]).right
    wrong = checker.check(cases[0], [ToolCall("geometry.area", {"width": 9, "height": 4})])
    assert (wrong.right, wrong.reason, wrong.kind) == (False, "wrong width", "value")


def test_a_value_that_trips_the_checker_is_wrong(wheel, cases) -> None:
    call = ToolCall("geometry.area", {"width": "three", "height": 4})
    verdict = load_checker(wheel).check(cases[0], [call])
    assert not verdict.right
    assert verdict.reason.startswith("TypeError")


def test_an_installed_benchmark_stays_as_it_was(wheel, monkeypatch) -> None:
    theirs = object()
    monkeypatch.setitem(sys.modules, "bfcl_eval", theirs)
    load_checker(wheel)
    assert sys.modules["bfcl_eval"] is theirs


def test_broken_wheel_is_told(tmp_path) -> None:
    with pytest.raises(EvalError, match="cannot be loaded"):
        load_checker(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("category", "count"),
    [("simple_python", 400), ("multiple", 200), ("parallel", 200), ("simple_javascript", 50)],
)
def test_real_checker_accepts_labels_made_from_its_answers(category: str, count: int) -> None:
    folder = wheel()
    checker = load_checker(folder)
    cases = load_cases(folder, category)
    assert len(cases) == count

    def accepted(case: Case) -> bool:
        return checker.check(case, label(case).calls).right

    assert sum(map(accepted, cases)) >= count - 4


@pytest.mark.slow
@pytest.mark.parametrize("category", MULTI_TURN)
def test_right_conversations_are_right_in_the_real_worlds(category: str) -> None:
    """Written and read in a dialect, run in the worlds, twice each: nothing stays behind."""
    folder = wheel()
    worlds = Worlds(folder)
    cases = load_turns(folder, category)
    assert len(cases) == 200
    for case in cases[:10] * 2:
        speaker = GoldSpeaker(dialect("qwen3", today=date(2026, 1, 15)), gold_of_turns(case))
        found = play_alone(play_turns(case, worlds), speaker)
        assert found.right, found.reason
    worlds.close()


@pytest.mark.slow
def test_a_function_that_is_kept_back_comes_with_its_turn() -> None:
    case = load_turns(wheel(), "multi_turn_miss_func")[0]
    ((turn, (late,)),) = case.added.items()
    assert late.name not in {tool.name for tool in case.tools}
    assert "updated some more functions" in case.turns[turn][0].text


@pytest.mark.slow
def test_java_and_javascript_arguments_are_shown_as_source_text() -> None:
    case = load_cases(wheel(), "simple_java")[1]
    shown = case.conversation.tools[0].parameters["properties"]
    assert {schema["type"] for schema in shown.values()} == {"string"}
    assert "This is Java boolean type parameter" in shown["useShortName"]["description"]
    assert case.functions[0]["parameters"]["properties"]["useShortName"]["type"] == "boolean"
