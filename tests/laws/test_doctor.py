"""Laws of the doctor: no row stops it, it never changes its input, repairs make nothing worse."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from toolgrove.data.doctor.examine import Doctor
from toolgrove.data.doctor.findings import Severity

LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from(["f", "F", "g", "get_it", "Get-It", ""])
KEYS = st.sampled_from(["a", "b", "x y", ""])
ARGUMENTS = st.dictionaries(KEYS, VALUES, max_size=3)
CALLS = st.fixed_dictionaries(
    {"name": NAMES},
    optional={"arguments": ARGUMENTS | ARGUMENTS.map(json.dumps) | VALUES, "id": VALUES},
)
OPENAI = CALLS.map(lambda call: {"id": call.get("id"), "type": "function", "function": call})
ROLES = st.sampled_from(
    ["system", "user", "assistant", "tool_call", "tool_response", "tool", "human", "gpt", "?"]
)
MESSAGES = st.fixed_dictionaries(
    {"role": ROLES, "content": st.text(max_size=12) | CALLS | CALLS.map(json.dumps) | VALUES},
    optional={
        "tool_calls": st.lists(OPENAI, max_size=2) | VALUES,
        "tool_call_id": VALUES,
        "loss": VALUES,
        "name": VALUES,
    },
)
SCHEMAS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["object", "dict", "string", 5]),
        "properties": st.dictionaries(
            KEYS,
            st.sampled_from(["integer", "string", "boolean", "array", "int"]).map(
                lambda kind: {"type": kind}
            )
            | VALUES,
            max_size=3,
        )
        | VALUES,
        "required": st.lists(KEYS, max_size=2) | VALUES,
    },
)
TOOLS = st.fixed_dictionaries({"name": NAMES}, optional={"parameters": SCHEMAS | VALUES})
ROWS = st.fixed_dictionaries(
    {},
    optional={
        "messages": st.lists(MESSAGES, max_size=6) | VALUES,
        "conversations": st.lists(MESSAGES, max_size=3) | VALUES,
        "tools": st.lists(TOOLS, max_size=3) | VALUES,
        "system": VALUES,
        "query": VALUES,
        "response": VALUES,
        "images": VALUES,
        "label": VALUES,
        "rejected_response": VALUES,
        "id": VALUES,
    },
)


@given(st.lists(ROWS, max_size=3))
def test_no_row_stops_the_doctor(rows: list[dict[str, Any]]) -> None:
    doctor = Doctor()
    for number, row in enumerate(rows, start=1):
        before = copy.deepcopy(row)
        verdict = doctor.row(row, ("rows.jsonl", number))
        for finding in verdict.findings:
            json.dumps(finding.as_json())
            assert finding.message
            assert finding.fix
        mended = doctor.repaired(verdict)
        assert row == before
        assert bool(mended.changes) == (mended.row != before)
        assert doctor.repaired(verdict._replace(row=mended.row)).changes == []
    assert doctor.counts.rows == len(rows)


@given(ROWS)
def test_repairs_add_no_errors(row: dict[str, Any]) -> None:
    doctor = Doctor()
    verdict = doctor.row(row, ("rows.jsonl", 1))

    def errors(findings: list[Any]) -> int:
        return sum(finding.kind.severity is Severity.ERROR for finding in findings)

    assert errors(doctor.repaired(verdict).left) <= errors(verdict.findings)
