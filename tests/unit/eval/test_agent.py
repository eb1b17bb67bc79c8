"""The measures of a data set's calls: names, arguments, order, and the published ones."""

import json

import pytest

from toolgrove.core.errors import EvalError
from toolgrove.core.messages import Reply, Tool, ToolCall
from toolgrove.eval.react_metrics import Step, as_published, mended, react_text
from toolgrove.eval.rouge import rouge_l, words
from toolgrove.eval.settings import EvalSettings
from toolgrove.eval.speakers import Said
from toolgrove.eval.suites.agent import Agent, normalized

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "D.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "days": {"type": "integer"},
                    "detail": {"type": "boolean"},
                },
            },
        },
    }
    for name in ("weather", "tides")
]
ULM, LEER = {"city": "Ulm", "days": 3}, {"city": "Leer"}


def calls(*made: tuple[str, dict]) -> list[dict]:
    return [{"name": name, "arguments": given} for name, given in made]


@pytest.fixture
def suite(tmp_path):
    """Two conversations: one with two calls in a step and an answer, one with just an answer."""
    made = [
        {"type": "function", "function": call} for call in calls(("weather", ULM), ("tides", LEER))
    ]
    first = [
        {"role": "user", "content": "Weather in Ulm, tides in Leer?"},
        {"role": "assistant", "content": "", "tool_calls": made},
        {"role": "tool", "content": "sunny"},
        {"role": "tool", "content": "low"},
        {"role": "assistant", "content": "It is sunny, and the tide is low."},
    ]
    second = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Good day."},
    ]
    file = tmp_path / "rows.jsonl"
    rows = [{"messages": messages, "tools": TOOLS} for messages in (first, second)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Agent(EvalSettings(suite=["agent"], dataset=[str(file)]))


def outcome(task, text: str, *made: tuple[str, dict]):
    play = task.begin()
    asked = next(play)
    reply = Reply(None, text, tuple(ToolCall(name, given) for name, given in made))
    with pytest.raises(StopIteration) as end:
        play.send(Said(reply, text, ended=True))
    return asked, end.value.value


def test_each_turn_is_asked_for_after_the_right_ones(suite) -> None:
    assert [task.category for task in suite.tasks] == ["calls", "answers", "answers"]
    asked, found = outcome(suite.tasks[1], "It is sunny, and the tide is low.")
    assert [message.content for message in asked.messages[2:]] == ["sunny", "low"]
    assert found.right
    assert found.marks["Rouge-L"] == 1.0
    assert found.group.endswith("rows.jsonl:1")
    assert found.name == suite.tasks[1].name
    assert len({task.name for task in suite.tasks}) == 3


def test_a_row_that_has_changed_is_another_case(suite, tmp_path) -> None:
    file = tmp_path / "rows.jsonl"
    before = [task.name for task in suite.tasks]
    file.write_text(file.read_text().replace("the tide is low", "the tide is high"))
    after = [task.name for task in Agent(EvalSettings(dataset=[str(file)])).tasks]
    assert [one == two for one, two in zip(before, after, strict=True)] == [True, False, True]


@pytest.mark.parametrize(
    ("made", "marks", "reason"),
    [
        ([("weather", ULM), ("tides", LEER)], (1, 1, 1, 1, 1), ""),
        ([("weather", {"days": 3.0, "city": "Ulm"}), ("tides", LEER)], (1, 1, 1, 1, 1), ""),
        ([("weather", {"days": "3", "city": "Ulm"}), ("tides", LEER)], (1, 1, 1, 1, 1), ""),
        ([("tides", LEER), ("weather", ULM)], (0, 1, 1, 1, 0), "the calls in another order"),
        ([("weather", ULM)], (0, 0.5, 0.5, 0.5, 0), "no call of tides"),
        ([("weather", LEER), ("tides", LEER)], (0, 1, 0.5, 0.5, 1), "days is missing"),
        ([("weather", {**ULM, "days": True}), ("tides", LEER)], (0, 1, 1, 0.5, 1), "days is true"),
        (
            [("weather", {**ULM, "detail": False}), ("tides", LEER)],
            (0, 1, 0.5, 0.5, 1),
            "detail is not wanted",
        ),
        (
            [("weather", ULM), ("tides", LEER), ("tides", LEER)],
            (0, 2 / 3, 2 / 3, 2 / 3, 0),
            "3 calls; wanted: 2",
        ),
        ([], (0, 0, 0, 0, 0), "no call"),
    ],
)
def test_calls_are_held_against_the_right_ones(suite, made, marks, reason) -> None:
    _, found = outcome(suite.tasks[0], "", *made)
    named = [found.marks[name] for name in ("right", "names", "keys", "values", "order")]
    assert named == pytest.approx(list(marks))
    assert reason in found.reason
    assert bool(found.reason) != found.right


def test_a_call_in_the_place_of_an_answer_is_wrong(suite) -> None:
    _, found = outcome(suite.tasks[2], "", ("weather", ULM))
    assert (found.right, found.kind, found.marks["Plan.EM"]) == (False, "plan", 0.0)


def test_values_are_what_the_schema_makes_of_them() -> None:
    tools = [Tool(spec) for spec in TOOLS]
    given = {"detail": "True", "city": "3", "days": "many", "more": [2.0, {"b": 1, "a": 1.5}]}
    assert normalized(ToolCall("weather", given), tools).arguments == {
        "city": "3",
        "days": "many",
        "detail": True,
        "more": [2, {"a": 1.5, "b": 1}],
    }


def test_no_data_is_told(tmp_path) -> None:
    with pytest.raises(EvalError, match="--dataset"):
        Agent(EvalSettings())


def test_rouge_l_of_published_examples() -> None:
    # Lin (2004): "police killed the gunman" against two candidates, F with beta = 1.
    wanted = ["police", "killed", "the", "gunman"]
    assert rouge_l(["police", "kill", "the", "gunman"], wanted) == 0.75
    assert rouge_l(["the", "gunman", "kill", "police"], wanted) == 0.5
    assert rouge_l([], wanted) == rouge_l(wanted, []) == 0.0
    assert words("Rome, 北京2!") == ["rome", "北", "京", "2"]


REACT = "Thought: x\nAction: {}\nAction Input: {}"
FINISH = '{{"return_type": "give_answer", "final_answer": "{}"}}'


@pytest.mark.parametrize(
    ("wanted", "said", "figures"),
    [
        (
            REACT.format("weather", '{"city": "Ulm", "days": 3}'),
            REACT.format("weather", '{"city": "Ulm", "days": 4}'),
            {"Plan.EM": 1, "HalluRate": 0, "Act.EM": 1, "F1": 0.75},
        ),
        (
            REACT.format("weather", '{"city": "Ulm"}'),
            REACT.format("wether", '{"city": "Ulm"}'),
            {"Plan.EM": 1, "HalluRate": 1, "Act.EM": 0, "F1": 0},
        ),
        (
            REACT.format("weather", '{"city": "Ulm"}'),
            REACT.format("weather", "{}"),
            {"Plan.EM": 1, "HalluRate": 0, "Act.EM": 1, "F1": 0},
        ),
        (
            REACT.format("weather", "{broken"),
            REACT.format("weather", "{}"),
            {"Plan.EM": 1, "HalluRate": 0, "Act.EM": 1},
        ),
        (REACT.format("unknown", "{}"), REACT.format("weather", "{}"), {}),
        (
            REACT.format("Finish", FINISH.format("It is sunny.")),
            "It is sunny.",
            {},
        ),
    ],
)
def test_published_figures(wanted, said, figures) -> None:
    names = {"weather", "tides", "Finish"} if figures else {"weather", "tides"}
    assert as_published(wanted, said, names) == pytest.approx(figures)


def test_what_the_published_figures_hide_is_counted() -> None:
    wanted = Step((ToolCall("weather", ULM), ToolCall("tides", LEER)))
    said = Step((ToolCall("weather", LEER), ToolCall("tides", LEER)))
    names = {"weather", "tides"}
    assert as_published(react_text(wanted), react_text(said), names)["F1"] == 1.0
    assert mended(wanted, said, names)["F1"] < 1.0
    gone = Step((ToolCall("gone", {}),))
    assert as_published(react_text(gone), react_text(gone), names) == {}
    assert mended(gone, gone, names) == {"Plan.EM": 1, "HalluRate": 1, "Act.EM": 1, "F1": 1}
    text = mended(Step((), "The city is Rome."), Step((), "the city is rome"), names)
    assert text == {"Plan.EM": 1.0, "Rouge-L": 1.0}
