"""What ms-swift makes of rows: the same messages here, wherever its output is not doubted.

Listed differences are louder or keep more: see "Rows" in docs/ms-swift.md.
"""

import json
from pathlib import Path

import pytest
from scripts.exactness import lines

import toolgrove as tg
from toolgrove.core.errors import DataError, ToolgroveError
from toolgrove.core.messages import Role
from toolgrove.data.canonical import openai_messages
from toolgrove.data.formats import conversation
from toolgrove.data.load import rename_columns
from toolgrove.data.samples import feedback, preference, sample
from toolgrove.data.target import targets, written
from toolgrove.encoding.transcript import text_target

SHARED = Path(__file__).parents[3] / "shared"
FILE = SHARED / "goldens" / "ms-swift" / "goldens" / "dataset.jsonl.gz"
CASES = {case["case_id"]: case for case in lines(FILE)} if FILE.exists() else {}
needs_goldens = pytest.mark.skipif(not CASES, reason="the whole set is not beside this checkout")

BAD_ROWS = {
    "d27_bad_rows": {1: "no messages", 2: 'unknown role "moderator"', 3: "found null", 4: "null"},
    "d28_bad_rows_strict": {1: 'unknown role "moderator"'},
}
"""Rows that ms-swift leaves out (or fails on without a place): an error here, by row and reason."""
CONFLICT = "d13_qr_alias_conflict"
SOLUTION = ("d22_grpo_query_solution", "d39_grpo_query_solution_kept")
PREFERENCE = "d17_dpo_string"
BY_ID = "d30_openai_tool_calls"
EQUAL = sorted(set(CASES) - {*BAD_ROWS, CONFLICT, *SOLUTION, PREFERENCE, BY_ID})
KEPT_COLUMNS = ("channel", "margin", "chat_template_kwargs", "label", "rejected_response")


def converted(case, row):
    return conversation(rename_columns(row, case["options"].get("columns", {})))


def said(conv):
    """The messages with what ms-swift keeps of them."""
    return [
        {key: value for key, value in message.items() if key in ("role", "content", "tool_calls")}
        | {key: message[key] for key in ("loss", "loss_scale") if key in message}
        | ({"name": message["name"]} if message["role"] == "tool" and "name" in message else {})
        for message in openai_messages(conv.without_given().messages)
    ]


def without_ids(messages):
    return json.loads(
        json.dumps(messages),
        object_hook=lambda o: {key: value for key, value in o.items() if key != "id"},
    )


@needs_goldens
@pytest.mark.parametrize("name", EQUAL or ["none"])
def test_messages_tools_and_media_are_equal(name):
    case = CASES[name]
    assert len(case["input_rows"]) == len(case["output_rows"])
    for given, golden in zip(case["input_rows"], case["output_rows"], strict=True):
        ours, theirs = converted(case, given), conversation(without_paths(golden))
        assert without_ids(said(ours)) == without_ids(said(theirs))
        assert ours.tools == theirs.tools
        assert (ours.images, ours.videos, ours.audios) == (
            theirs.images,
            theirs.videos,
            theirs.audios,
        )
        for column in KEPT_COLUMNS:
            assert ours.extra.get(column) == theirs.extra.get(column)


def without_paths(row):
    """ms-swift writes {"bytes": null, "path": "a.png"} for what was "a.png"."""
    listed = {
        name: [item["path"] if isinstance(item, dict) else item for item in row[name]]
        for name in ("images", "videos", "audios")
        if row.get(name)
    }
    return {**row, **listed}


@needs_goldens
@pytest.mark.parametrize("name", sorted(BAD_ROWS))
def test_rows_that_it_leaves_out_are_errors(name):
    case = CASES[name]
    for index, row in enumerate(case["input_rows"]):
        reason = BAD_ROWS[name].get(index)
        if reason is None:
            assert converted(case, row).messages
            continue
        with pytest.raises(DataError, match=reason):
            converted(case, row)


@needs_goldens
def test_two_columns_for_one_meaning_are_an_error():
    with pytest.raises(DataError, match="could each be") as caught:
        converted(CASES[CONFLICT], CASES[CONFLICT]["input_rows"][0])
    assert "--columns" in str(caught.value)


@needs_goldens
@pytest.mark.parametrize("name", SOLUTION)
def test_a_solution_is_no_answer(name):
    found = sample(CASES[name]["input_rows"][0])
    assert [m.role for m in found.conversation.messages] == [Role.USER]
    assert found.columns == {"solution": "144"}


@needs_goldens
def test_preferences():
    kept, same, without = CASES[PREFERENCE]["input_rows"]
    found = preference(kept)
    assert [m.content for m in (*found.chosen, *found.rejected)] == ["4", "5"]
    with pytest.raises(DataError, match="the rejected answer is the chosen one"):
        preference(same)
    with pytest.raises(DataError, match="no rejected answer"):
        preference(without)
    trajectory = preference(CASES["d19_dpo_rejected_messages"]["input_rows"][0])
    assert trajectory.chosen[0].calls[0].name == "soil_moisture"
    assert trajectory.rejected[0].content == "I guess 20%."


@needs_goldens
def test_feedback():
    assert [feedback(row).good for row in CASES["d20_kto"]["input_rows"]] == [False, True]


@needs_goldens
def test_results_stay_in_the_rows_order():
    case = CASES[BY_ID]
    ours, theirs = (conversation(case[key][0]) for key in ("input_rows", "output_rows"))
    assert [m.content for m in ours.messages if m.role is Role.TOOL] == ["hub", "lost"]
    assert [m.content for m in theirs.messages if m.role is Role.TOOL] == ["lost", "hub"]
    assert ours.messages[1].calls == theirs.messages[1].calls


@needs_goldens
def test_objects_stay_as_they_are_given():
    conv = conversation(CASES["d35_objects_bbox"]["input_rows"][0])
    given = {"bbox": [[100, 80, 40, 20]], "ref": ["mug"], "width": [640]}
    assert conv.extra["objects"] == given


@needs_goldens
def test_no_column_is_lost():
    row = CASES["d36_channel_margin_kwargs"]["input_rows"][0]
    assert conversation(row).extra["foo"] == 1


SCENARIOS = FILE.parents[1] / "scenarios.jsonl"
CARRIED = {
    "canonical": 32,
    "openai": 32,
    "sharegpt": 32,
    "trl": 32,
    "llamafactory": 20,
    "hermes": 28,
    "agentfabric": 24,
    "react_en": 23,
}
"""How many of the 32 scenarios each target carries at least; the others are refused."""


@needs_goldens
@pytest.mark.parametrize("name", CARRIED)
def test_what_is_converted_reads_the_same_to_a_model(name):
    target = targets.get(name) if name in targets.names() else text_target(name)
    hermes = tg.dialect("qwen3", agent="hermes")
    carried = 0
    for scenario in lines(SCENARIOS):
        try:
            row = written(sample(scenario["row"]), target)
        except ToolgroveError:
            continue
        carried += 1
        given = hermes.text(conversation(scenario["row"]))
        assert hermes.text(conversation(json.loads(json.dumps(row)))) == given
    assert carried >= CARRIED[name]
