"""Tolerant JSON: what is read, what is refused, where objects end."""

import json

import pytest
from hypothesis import given

from tests.laws.strategies import values
from toolgrove.core.errors import TemplateError
from toolgrove.core.jsonish import BROKEN, INCOMPLETE, dump, loads, object_end


@given(value=values)
def test_what_is_dumped_loads(value):
    assert json.dumps(loads(dump(value))) == json.dumps(value)


@given(value=values)
def test_an_object_ends_where_its_text_ends(value):
    text = dump({"a": value})
    assert object_end(text + "\n</tool_call> more }", 0) == len(text)
    assert object_end(text[:-1], 0) == INCOMPLETE


def test_a_tag_before_the_end_breaks_the_object():
    assert object_end('{"a": {"b": 1}\n</tool_call>', 0) == BROKEN
    assert object_end('{"a": 1]', 0) == BROKEN


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{'a': True, 'b': None}", {"a": True, "b": None}),
        ('{"a": [1, 2,], }', {"a": [1, 2]}),
        ('{"a": {"b": 1}', {"a": {"b": 1}}),
        ('{"a": "x\ny"}', {"a": "x\ny"}),
    ],
)
def test_slips_are_mended(text, value):
    assert loads(text) == value


@pytest.mark.parametrize("text", ["", "nothing", "{1: 2}", "{'a': {1, 2}}", "f(x)"])
def test_what_is_no_value_is_refused(text):
    with pytest.raises(ValueError, match="literal"):
        loads(text)


@pytest.mark.parametrize(
    "text", ['{"a": 1e999}', '{"a": NaN}', "{'a': -1e999}", '{"a": [Infinity]}']
)
def test_numbers_that_json_cannot_carry_are_refused(text):
    with pytest.raises(ValueError, match="JSON"):
        loads(text)


def test_a_value_that_holds_itself_is_refused():
    inside: dict[str, object] = {}
    inside["itself"] = [inside]
    with pytest.raises(TemplateError, match="cannot carry"):
        dump(inside)
