"""The doctor finds every planted fault at its place, and nothing where nothing is wrong."""

from __future__ import annotations

import json
import random
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from scripts.corrupt import CORPUS, EVALUATION, clean_rows, write

from toolgrove.core.errors import DataError
from toolgrove.data.doctor import against
from toolgrove.data.doctor.examine import Doctor, Verdict
from toolgrove.data.doctor.findings import At, Finding, checks, kinds
from toolgrove.data.doctor.places import keys_at, path_of, places_of, value_at
from toolgrove.data.doctor.sketch import Sketches, shingles
from toolgrove.data.formats import conversation

BESIDES = {("unanswered-call", "role-order"), ("repeated-turn", "double-user")}
"""What a planted fault brings with it."""

WEATHER = {
    "name": "weather",
    "description": "Says the weather.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    },
}


def verdict(row: dict[str, Any], **settings: Any) -> Verdict:
    return Doctor(**settings).row(row, ("rows.jsonl", 1))


def found(row: dict[str, Any]) -> list[tuple[str, str]]:
    return [(finding.kind.code, finding.path) for finding in verdict(row).findings]


def calling(arguments: Any, tool: dict[str, Any] = WEATHER) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": "Weather in Ulm?"},
            {"role": "tool_call", "content": {"name": tool["name"], "arguments": arguments}},
        ],
        "tools": [tool],
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], dict[Any, list[Finding]]]:
    folder = tmp_path_factory.mktemp("corpus")
    faults = write(folder, clean_rows(300, random.Random(1)))
    lines = (folder / EVALUATION).read_text().splitlines()
    cases = [(f"case {n}", conversation(json.loads(line))) for n, line in enumerate(lines)]
    doctor = Doctor(against=against.against(cases))
    told: dict[Any, list[Finding]] = defaultdict(list)
    for name in (CORPUS, "empty.jsonl", "not_parquet.parquet", "table.csv"):
        for one in doctor.file(folder / name, name):
            for finding in one.findings:
                told[finding.file, finding.line].append(finding)
    return faults, told


def test_every_planted_fault_is_found_at_its_line(corpus: Any) -> None:
    faults, told = corpus
    assert len({fault.code for fault in faults}) >= 55
    missed = [
        fault
        for fault in faults
        if fault.code not in {finding.kind.code for finding in told[fault.file, fault.line]}
    ]
    assert not missed


def test_nothing_else_is_found(corpus: Any) -> None:
    faults, told = corpus
    planted = {(fault.file, fault.line): fault.code for fault in faults}
    others = {
        (planted.get(place, "a clean row"), finding.kind.code)
        for place, findings in told.items()
        for finding in findings
        if finding.kind.code != planted.get(place)
    }
    assert others <= BESIDES


def test_findings_say_what_where_and_how_to_go_on(corpus: Any) -> None:
    _, told = corpus
    for finding in (finding for findings in told.values() for finding in findings):
        assert finding.line > 0
        assert finding.message
        assert finding.fix
        as_json = finding.as_json()
        assert set(as_json) == {"file", "line", "path", "code", "severity", "message", "fix"}
        assert as_json["severity"] in ("error", "warning")


def test_every_kind_that_needs_no_model_is_planted(corpus: Any) -> None:
    faults, _ = corpus
    known = {kind.code for kind in kinds()} - {
        "over-length",
        "nothing-to-train",
        "lost-in-template",
        "not-written",
    }
    assert known == {fault.code for fault in faults}


def test_codes_are_registered_once_with_their_check() -> None:
    for code in checks.names():
        assert checks.get(code).kind.code == code


@pytest.mark.parametrize(
    ("arguments", "code", "path"),
    [
        ({"city": 5}, "argument-type", ".city"),
        ({"days": 2}, "missing-argument", ""),
        ({"city": "Ulm", "days": "two"}, "argument-type", ".days"),
        ({"city": "Ulm", "town": "Ulm"}, "extra-argument", ".town"),
    ],
)
def test_calls_against_their_schema(arguments: Any, code: str, path: str) -> None:
    assert found(calling(arguments)) == [(code, f"messages[1].content.arguments{path}")]


def test_what_a_schema_leaves_open_is_no_extra_argument() -> None:
    opened = {**WEATHER, "parameters": {**WEATHER["parameters"], "additionalProperties": True}}
    assert found(calling({"city": "Ulm", "town": "Ulm"}, opened)) == []
    assert found(calling({"any": 1}, {"name": "f", "parameters": {}})) == []
    none = {"name": "f", "parameters": {"type": "object", "properties": {}}}
    assert found(calling({"any": 1}, none))[0][0] == "extra-argument"


def test_schemas_with_references_stay_offline() -> None:
    tool = {"name": "f", "parameters": {"$ref": "http://127.0.0.1:9/schema.json"}}
    assert found(calling({}, tool)) == [("tool-schema", "tools[0]")]


def test_python_type_names_are_told_and_still_hold() -> None:
    tool = {
        "name": "f",
        "parameters": {"type": "dict", "properties": {"n": {"type": "int"}}, "required": ["n"]},
    }
    codes = [code for code, _ in found(calling({"n": "x"}, tool))]
    assert sorted(codes) == ["argument-type", "tool-schema"]


OPENAI = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "w", "arguments": '{"c": 1}'}},
                {"id": "b", "type": "function", "function": {"name": "w", "arguments": '{"c": 2}'}},
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "x"},
        {"role": "tool", "tool_call_id": "b", "content": "y"},
        {"role": "assistant", "content": "Done."},
    ]
}
SHAREGPT = {
    "system": "Be brief.",
    "conversations": [
        {"from": "human", "value": "Weather?"},
        {"from": "gpt", "value": "Let me see."},
        {"from": "function_call", "value": '[{"name": "w", "arguments": {"c": 1}}]'},
        {"from": "observation", "value": "x"},
        {"from": "gpt", "value": "Done."},
    ],
}
ANTHROPIC = {
    "messages": [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "a", "name": "w", "input": {"c": 1}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x"}],
        },
    ]
}
EMPTY_FIRST = {
    "messages": [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None},
        {"role": "tool_call", "content": '{"name": "w", "arguments": {"c": 1}}'},
    ]
}


@pytest.mark.parametrize("row", [OPENAI, SHAREGPT, ANTHROPIC, EMPTY_FIRST])
def test_paths_lead_to_what_they_name(row: dict[str, Any]) -> None:
    conv = conversation(row)
    places = places_of(row, conv)
    for index, message in enumerate(conv.messages):
        for number, call in enumerate(message.calls):
            for keys, value in ((("name",), call.name), (("arguments",), call.arguments)):
                held = value_at(row, keys_at(row, places, At(index, number, keys)))
                if keys == ("arguments",) and isinstance(held, str):
                    held = json.loads(held)
                assert held == value
        if message.content and row is not ANTHROPIC:
            keys = keys_at(row, places, At(index, None, ("content",)))
            assert value_at(row, keys) == message.content


def test_paths_through_columns() -> None:
    row = {"query": "Hi\x00 there", "response": "Hello", "history": [["One\x01", "Two"]]}
    assert found(row) == [
        ("control-character", "history[0][0]"),
        ("control-character", "query"),
    ]


def test_odd_keys_are_quoted_in_paths() -> None:
    assert path_of(("messages", 0, "a b", "x")) == 'messages[0]["a b"].x'


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"messages": 5}, "bad-message"),
        ({"messages": [{"content": "x"}]}, "bad-role"),
        ({"messages": [{"role": "tool_call", "content": "no"}]}, "bad-call"),
        ({"query": "x", "response": "y", "tools": 3}, "bad-tools"),
        ({}, "no-conversation"),
        ({"query": "x", "response": "y", "images": ["a"]}, "media-tags"),
    ],
)
def test_rows_that_hold_no_conversation(row: dict[str, Any], fault: str) -> None:
    assert [code for code, _ in found(row)] == [fault]


@pytest.mark.parametrize("text", ["hello", "weather", "x = 1", "user@example.com", "sk-learn", ""])
def test_ordinary_text_is_no_secret(text: str) -> None:
    assert "secret" not in {code for code, _ in found({"query": text or "q", "response": "y z"})}


@pytest.mark.parametrize(
    "text",
    ["sk-" * 40_000, "eyJ" * 40_000, "a://" * 30_000, "\n" * 100_000, "Action:" * 20_000,
     "-----BEGIN " * 15_000, "<|a" + " a" * 50_000, "<think>" * 20_000, "@://" * 30_000],
)  # fmt: skip
def test_no_text_takes_long(text: str) -> None:
    start = time.process_time()
    verdict({"query": "Say it all, please.", "response": text})
    assert time.process_time() - start < 2


def test_deep_values_are_a_finding() -> None:
    deep: Any = 1
    schema: Any = {"type": "integer"}
    for _ in range(700):
        deep = {"a": deep}
        schema = {"type": "object", "properties": {"a": schema}}
    row = calling(deep, {"name": "f", "parameters": schema})
    assert [code for code, _ in found(row)] == ["too-deep"]


def test_ignored_codes_are_not_told() -> None:
    row = calling({"city": 5})
    assert verdict(row, ignore=frozenset({"argument-type"})).findings == []


# Repairs


def mended(row: dict[str, Any]) -> dict[str, Any]:
    doctor = Doctor()
    return doctor.repaired(doctor.row(row, ("rows.jsonl", 1))).row


@pytest.mark.parametrize(
    ("kind", "value", "repaired"),
    [
        ("integer", "5", 5),
        ("integer", "05", "05"),
        ("integer", "5.0", "5.0"),
        ("number", "2.5", 2.5),
        ("boolean", "true", True),
        ("boolean", "True", "True"),
        ("string", 20240101, "20240101"),
        ("string", 2.5, 2.5),
        ("array", "[1, 2]", [1, 2]),
        ("object", '{"a": 1}', {"a": 1}),
        ("array", "one, two", "one, two"),
    ],
)
def test_types_are_repaired_where_only_one_value_is_possible(
    kind: str, value: Any, repaired: Any
) -> None:
    tool = {"name": "f", "parameters": {"type": "object", "properties": {"x": {"type": kind}}}}
    row = calling({"x": value}, tool)
    after = mended(row)["messages"][1]["content"]["arguments"]["x"]
    assert (type(after), after) == (type(repaired), repaired)


def test_repairs_inside_json_text_keep_it_text() -> None:
    row = calling({"city": "Ulm", "days": "3", "none": None})
    row["messages"][1]["content"] = json.dumps(row["messages"][1]["content"])
    after = mended(row)
    assert json.loads(after["messages"][1]["content"]) == {
        "name": "weather",
        "arguments": {"city": "Ulm", "days": 3},
    }
    assert Doctor().row(after, ("rows.jsonl", 1)).findings == []


def test_names_are_repaired_when_only_their_spelling_differs() -> None:
    row = calling({"city": "Ulm"})
    row["messages"][1]["content"]["name"] = "Weather"
    assert mended(row)["messages"][1]["content"]["name"] == "weather"
    row["messages"][1]["content"]["name"] = "wether"
    assert mended(row) == row


def test_copies_and_control_characters_go() -> None:
    row = {
        "messages": [
            {"role": "user", "content": "Hi\x08 you"},
            {"role": "user", "content": "Go on"},
            {"role": "user", "content": "Go on"},
            {"role": "assistant", "content": "Well"},
        ],
        "other": 1,
    }
    after = mended(row)
    assert [message["content"] for message in after["messages"]] == ["Hi you", "Go on", "Well"]
    assert after["other"] == 1
    assert row["messages"][0]["content"] == "Hi\x08 you"


def test_what_is_not_safe_stays() -> None:
    row = calling({"city": "Ulm", "town": "Ulm", "days": "three"})
    assert mended(row) == row


# Across rows


def test_sketches_find_what_is_alike_and_nothing_else() -> None:
    rng = random.Random(3)
    texts = [" ".join(f"w{rng.randrange(5000)}" for _ in range(60)) for _ in range(800)]
    sketches = Sketches(0.8)
    assert all(sketches.nearest(shingles([text])) is None for text in texts)
    for number in range(0, 800, 20):
        words = texts[number].split()
        words[rng.randrange(60)] = "other"
        near = sketches.nearest(shingles([" ".join(words)]), remember=False)
        assert near is not None
        assert near[0] == number
        assert near[1] > 0.9


def test_case_and_punctuation_do_not_tell_texts_apart() -> None:
    assert shingles(["What is THIS, then?"]) == shingles(["what is this then"])
    assert shingles(["今天天气"]) == shingles(["今天，天气"])


def test_common_greetings_are_no_overlap() -> None:
    cases = [("case", conversation({"query": "hello", "response": "hi"}))]
    doctor = Doctor(against=against.against(cases))
    row = {"query": "Hello!", "response": "Hi, what can I do?"}
    assert doctor.row(row, ("rows.jsonl", 1)).findings == []


def test_a_failing_file_ends_with_a_finding(tmp_path: Path) -> None:
    told = list(Doctor().file(tmp_path / "none.jsonl"))
    assert [one.findings[0].kind.code for one in told] == ["unreadable-file"]
    with pytest.raises(DataError):
        conversation({"messages": 5})


def answered(answer: dict[str, Any], **columns: Any) -> dict[str, Any]:
    asked = {"role": "user", "content": "Which way is the lake?"}
    return {"messages": [asked, {"role": "assistant", **answer}], **columns}


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"content": "None"}, "null-text"),
        ({"content": " nan\n"}, "null-text"),
        ({"content": "It prints None."}, ""),
        ({"content": None}, "empty-answer"),
        ({"content": "<think>\nHm.\n</think>\n\n"}, "empty-answer"),
        ({"content": "<think>\nHm.\n</think>\n\nWest."}, ""),
        ({"content": "West.", "reasoning_content": "<think>Hm.</think>"}, "thinking-tags"),
        ({"content": "West.", "reasoning_content": "<tool_call>{}"}, "call-in-text"),
        ({"content": '{"name": "weather", "arguments": {"city": "Ulm"}}'}, "call-in-text"),
        ({"content": '```json\n[{"name": "weather", "arguments": {}}]\n```'}, "call-in-text"),
        ({"content": '{"name": "Ann", "age": 3}'}, ""),
        ({"content": '{"name": "weather"}'}, ""),
        ({"content": "First.\\n\\nThen west.\\n"}, "escaped-text"),
        ({"content": "\\u897f\\u8fb9"}, "escaped-text"),
        ({"content": "Let \\nabla f = \\nu; \\neq stays."}, ""),
        ({"content": 'printf("a\\nB\\n");'}, ""),
        ({"content": "你好，世界".encode().decode("latin-1")}, "broken-text"),
        ({"content": "Привет".encode().decode("latin-1")}, "broken-text"),
        ({"content": "20 Â°C"}, "broken-text"),
        ({"content": "Il va à\u00a0«\u00a0l’Âge d’or\u00a0»…"}, ""),
        ({"content": "West.", "tool_call": {"name": "weather"}}, "unread-key"),
        ({"content": "West.", "weight": 0}, "unread-key"),
        ({"content": "West.", "id": "m1", "refusal": None, "annotations": []}, ""),
    ],
)
def test_what_answers_really_come_with(answer: dict[str, Any], code: str) -> None:
    codes = [code for code, _ in found(answered(answer, tools=[WEATHER]))]
    assert (code in codes) if code else codes == []


def test_a_call_in_a_message_that_is_not_the_assistants_is_never_lost_unsaid() -> None:
    row = answered({"content": "West."})
    row["messages"][0]["tool_calls"] = [{"function": {"name": "weather", "arguments": "{}"}}]
    assert found(row) == [("bad-call", "messages[0].tool_calls")]


@pytest.mark.parametrize("text", ['{"city": "Ulm", "city": "Bonn"}', "{'city': 1, 'city': 2}"])
def test_an_argument_that_stands_twice_in_json_text_is_an_error(text: str) -> None:
    row = calling({})
    row["messages"][1]["content"]["arguments"] = text
    [(code, path)] = found(row)
    assert path == "messages[1].content.arguments"
    assert code == ("duplicate-key" if '"' in text else "bad-call")


def test_arguments_at_the_top_of_a_schema_are_told_and_still_held_against() -> None:
    tool = {"name": "go", "parameters": {"city": {"type": "string"}, "days": {"type": "integer"}}}
    codes = [code for code, _ in found(calling({"city": "Ulm", "days": "3"}, tool))]
    assert codes == ["argument-type", "tool-schema"]


def test_nullable_allows_null() -> None:
    nullable = {"type": "string", "enum": ["a"], "nullable": True}
    tool = {"name": "go", "parameters": {"type": "object", "properties": {"kind": nullable}}}
    assert found(calling({"kind": None}, tool)) == []
    assert [code for code, _ in found(calling({"kind": 5}, tool))] == ["argument-type"]


def test_a_greeting_before_the_question_is_a_warning_and_a_call_there_an_error() -> None:
    greeting = {"role": "assistant", "content": "At your service."}
    row = answered({"content": "West."})
    assert found({"messages": [greeting, *row["messages"]]}) == [("assistant-first", "messages[0]")]


def test_answers_to_different_questions_are_a_bad_preference() -> None:
    other = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "He."}]
    row = {"chosen": answered({"content": "West."})["messages"], "rejected": other}
    assert [code for code, _ in found(row)] == ["bad-preference"]


@pytest.mark.parametrize(
    ("label", "codes"),
    [(True, []), (None, []), (1, ["label-type"]), ("False", ["label-type"]), ("spam", [])],
)
def test_labels_that_are_nearly_verdicts(label: Any, codes: list[str]) -> None:
    told = verdict(answered({"content": "West."}, label=label)).findings
    assert [finding.kind.code for finding in told] == codes
