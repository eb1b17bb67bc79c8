"""What a grammar makes of schemas: what it can hold, and what it says of the rest."""

import json

import pytest

from tests.laws.grammars import tool
from toolgrove.core.errors import TemplateError
from toolgrove.core.messages import Tool
from toolgrove.templates.dialect import dialect
from toolgrove.templates.expressible import expressible

TEXT, WHOLE = {"type": "string"}, {"type": "integer"}

HELD = [
    ({"type": "string", "minLength": 2}, ["ab", "你好"], ["a"]),
    ({"type": "string", "pattern": "^a+$"}, ["aa"], ["ab"]),
    ({"type": "string", "format": "date"}, ["2024-01-01"], ["b"]),
    ({"type": "integer", "minimum": 3, "maximum": 9}, [3, 9], [2, 10]),
    ({"type": "integer", "minimum": 3, "exclusiveMinimum": True}, [4], [3]),
    ({"type": "integer", "multipleOf": 2}, [4], [3]),
    ({"type": "number", "minimum": 0.5}, [0.5, 1], [0.4]),
    ({"enum": ["a", 1, None, True]}, ["a", 1, None, True], ["b"]),
    ({"type": "string", "enum": ["a", 1]}, ["a"], [1]),
    ({"type": "string", "enum": ["a"], "nullable": True}, ["a", None], ["b"]),
    ({"type": ["string", "integer"], "enum": ["5", "a"]}, ["5", "a"], [5, "b"]),
    ({"const": {"a": [1, {}]}}, [{"a": [1, {}]}], [{"a": [2, {}]}, {"a": [1]}]),
    ({"type": ["string", "null"]}, ["a", None], [1]),
    ({"type": "string", "nullable": True}, ["a", None], [1]),
    ({"type": "int"}, [1], ["a"]),
    ({"type": "dict"}, [{}], ["a"]),
    ({"anyOf": [TEXT, WHOLE]}, ["a", 1], [True]),
    ({"oneOf": [TEXT, WHOLE]}, ["a", 1], [True]),
    ({"type": "integer", "anyOf": [{"minimum": 5}, {"maximum": 0}]}, [7, -1], [3]),
    ({"allOf": [{"type": "integer", "minimum": 2}, {"maximum": 5}]}, [3], [1, 7]),
    ({"type": "array", "items": WHOLE, "maxItems": 2}, [[1]], [["a"], [1, 2, 3]]),
    ({"type": "array", "items": [TEXT, WHOLE]}, [["a", 1], ["a", 1, {}]], [[1, 1]]),
    ({"type": "array", "prefixItems": [TEXT], "items": False}, [["a"]], [["a", 1]]),
    ({"type": "object", "properties": {"a": WHOLE}, "required": ["z"]}, [{"z": 1}], [{"a": 1}]),
    ({"type": "object", "additionalProperties": WHOLE}, [{"b": 1}], [{"b": "x"}]),
    ({"type": "object"}, [{"a": 1}, {}], [1]),
    ({"minimum": 3}, [5], [1]),
    ({}, [1, {"a": [1]}], []),
]
WIDER = [
    ({"type": "string", "not": {"const": "a"}}, "not", ["b", "a"]),
    ({"type": "array", "items": WHOLE, "uniqueItems": True}, "uniqueItems", [[1, 1]]),
    ({"type": "array", "contains": {"const": 1}}, "contains", [[1], [2]]),
    ({"type": "integer", "if": {"minimum": 5}, "then": {"maximum": 6}}, "if", [9]),
    ({"oneOf": [WHOLE, {"type": "number"}]}, "oneOf", [1, 1.5]),
    ({"type": "number", "multipleOf": 0.5}, "multipleOf", [0.3]),
    ({"type": "string", "pattern": "^(?=a).*$"}, "the pattern", ["b", 'q"']),
    ({"type": "string", "pattern": "a+"}, "the pattern", ["xay"]),
    ({"type": "object", "patternProperties": {"^a": WHOLE}}, "patternProperties", [{"a1": "x"}]),
    ({"type": "any"}, 'the type "any"', [1, "a"]),
    ({"$ref": "http://a/b"}, "the reference", [1]),
    ({"$ref": "#/$defs/Q"}, "the reference", [1]),
    ({"allOf": [TEXT, {"type": "integer"}]}, "a second type", ["a"]),
]


def admitted(schema, *values):
    xgrammar = pytest.importorskip("xgrammar", reason='needs "toolgrove[grammar]"')
    from xgrammar.testing import _is_grammar_accept_string as accepts

    made = xgrammar.Grammar.from_structural_tag(dialect("qwen3").grammar([schema]))
    call = '<tool_call>\n{"name": "f", "arguments": %s}\n</tool_call>'
    return [accepts(made, call % json.dumps(value, ensure_ascii=False)) for value in values]


@pytest.mark.parametrize(("schema", "good", "bad"), HELD)
def test_what_a_grammar_holds(schema, good, bad):
    f = tool("f", {"x": schema}, ["x"])
    assert expressible([f]).notes == ()
    assert all(admitted(f, *({"x": value} for value in good)))
    assert not any(admitted(f, *({"x": value} for value in bad)))


@pytest.mark.parametrize(("schema", "said", "good"), WIDER)
def test_what_it_cannot_hold_is_said_and_left_wider(schema, said, good):
    f = tool("f", {"x": schema}, ["x"])
    note = dialect("qwen3").grammar_notes([f])[0]
    assert note.startswith(f'tool "f": {said}')
    assert "/x" in note
    assert all(admitted(f, *({"x": value} for value in good)))
    with pytest.raises(TemplateError, match="is not enforced"):
        dialect("qwen3").grammar([f], strict=True)


WIDE = {f"k{number}": WHOLE for number in range(9)}
NOTED = [
    ("qwen3", {"type": "array", "uniqueItems": True}, 'tool "f": uniqueItems at /x'),
    ("qwen3", {"type": "string", "maxLength": 9}, "f.x: maxLength leaves out strings"),
    ("qwen3", {"anyOf": [{"minLength": 9}, WHOLE]}, "f.x: of minLength, 3 characters are"),
    ("qwen3", {"type": "string", "pattern": "^[^a]+$"}, "f.x: pattern leaves out strings that"),
    ("qwen3", {"type": "object", "properties": WIDE}, "f.x: 9 members are too many for any order"),
    ("qwen3", {"type": "number", "minimum": 1e-9}, "f.x: numbers nearer to 0 than 0.0001 are left"),
    ("qwen3", {"type": "object", "minProperties": 2}, "f.x: minProperties counts names that are"),
    ("qwen3_coder", {"type": "array", "uniqueItems": True}, 'tool "f": uniqueItems at /x'),
    ("qwen3_coder", {"anyOf": [TEXT, {**WHOLE, "minimum": 0}]}, "f.x: strings that begin like"),
    ("qwen3_coder", {"enum": ["5", "a"], "type": ["string", "integer"]}, "f.x: values that do not"),
    ("qwen3_coder", {"type": "object", "minProperties": 2}, "f.x: minProperties counts names that"),
    ("qwen3_coder", {"type": "integer", "multipleOf": 99}, "f.x: multipleOf is not enforced"),
    ("gemma4", {"type": "object", "minProperties": 1}, "f.x: the number of members is not"),
    ("minimax_m3", {"type": "array", "prefixItems": [TEXT]}, "f.x: lists of other than 1 items"),
    ("minimax_m3", {"type": "object"}, "f.x: objects with members that it does not name"),
]


@pytest.mark.parametrize(("chat", "schema", "said"), NOTED)
def test_strict_refuses_what_a_grammar_does_not_hold_exactly(chat, schema, said):
    f, d = tool("f", {"x": schema}, ["x"]), dialect(chat)
    assert any(said in note for note in d.grammar_notes([f]))
    d.grammar([f])
    with pytest.raises(TemplateError) as refused:
        d.grammar([f], strict=True)
    assert said.split(":")[0] in refused.value.what


@pytest.mark.parametrize("chat", ["qwen3", "llama3_1", "qwen3_coder", "gemma4", "minimax_m3"])
def test_strict_takes_what_is_held_exactly(chat):
    held = {"a": TEXT, "b": {**WHOLE, "minimum": 3}, "c": {"type": "array", "items": TEXT}}
    f, d = tool("f", {**held, "d": {"enum": ["x", "y"]}}, ["a"]), dialect(chat)
    assert d.grammar_notes([f]) == []
    assert d.grammar([f], strict=True) == d.grammar([f])


def test_lengths_hold_exactly_in_tags():
    f = tool("f", {"x": {"type": "string", "maxLength": 9}})
    assert dialect("qwen3_coder").grammar_notes([f]) == []


def test_references_stay():
    tree = {
        "type": "object",
        "properties": {"c": {"type": "array", "items": {"$ref": "#/$defs/T"}}},
    }
    f = tool("f", {"x": {"$ref": "#/$defs/T"}}, **{"$defs": {"T": tree}})
    assert expressible([f]).notes == ()
    assert admitted(f, {"x": {"c": [{}]}}, {"x": {"c": [1]}}) == [True, False]


def test_a_choice_of_what_is_required():
    f = tool("f", {"a": WHOLE, "b": WHOLE}, anyOf=[{"required": ["a"]}, {"required": ["b"]}])
    assert expressible([f]).notes == ()
    assert admitted(f, {"a": 1}, {"b": 1}, {}) == [True, True, False]


def test_arguments_are_always_an_object():
    for parameters in ({}, {"type": "object"}, {"type": "object", "properties": {}}):
        f = Tool({"type": "function", "function": {"name": "f", "parameters": parameters}})
        assert admitted(f, {}, [1]) == [True, False]
    f = Tool({"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}})
    assert "type array" in expressible([f]).notes[0]
    assert admitted(f, {"a": 1}, [1]) == [True, False]
