"""Laws of grammars in each notation (JSON, Python, tags, Gemma's) over schemas with bounds, unions,
references and free members. They need xgrammar and are skipped without it."""

import json
import random
import re
from decimal import Decimal
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.laws.grammars import Walker, tool
from toolgrove.core.messages import ToolCall
from toolgrove.core.spans import text_of
from toolgrove.templates.base import agent_registry
from toolgrove.templates.number_rules import Bound, integers, multiples, numbers
from toolgrove.templates.readback import same_calls
from toolgrove.templates.rules import Rules, literal
from toolgrove.templates.values import Step, Window

xgrammar = pytest.importorskip("xgrammar", reason="grammars are checked with xgrammar")
admits = pytest.importorskip("xgrammar.testing")._is_grammar_accept_string

AGENTS = [
    "command_r7b", "glm4", "hermes", "hunyuan_hermes", "kimi_k3", "lfm2", "pythonic", "youtu",
    "deepseek_v3_2", "deepseek_v4", "deepseek_v41", "gemma4", "glm4_5", "glm4_7", "hy_v3", "ling3",
    "minicpm5", "minimax_m2", "minimax_m3", "nemotron3", "qwen3_5", "qwen3_6", "qwen3_coder",
    "seed_oss", "spark2_5", "xing4_0",
]  # fmt: skip
NARROWER = {
    "minimax_m3": {
        "nested.any: objects stand as JSON",
        "nested.free: objects with members that it does not name stand as JSON",
        "more: arguments that it does not name are left out",
    }
}
"""what an agent template's grammar leaves out of the tools below"""
FEW = settings(max_examples=10, deadline=None)
TREE = {
    "type": "object",
    "properties": {
        "v": {"type": "integer"},
        "kids": {"type": "array", "items": {"$ref": "#/$defs/T"}},
    },
    "required": ["v"],
}
INNER = {
    "type": "object",
    "properties": {
        "x": {"type": "number", "minimum": 0},
        "y": {"type": ["string", "null"]},
        "z": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2},
    },
    "required": ["x"],
}
TOOLS = (
    tool(
        "weather",
        {
            "city": {"type": "string"},
            "unit": {"type": "string", "enum": ["C", "a b"]},
            "days": {"type": "integer", "minimum": 1, "maximum": 16},
        },
        ["city"],
    ),
    tool("none.at-all", {}),
    tool("many", {key: {"type": "boolean"} for key in "fedcba"}, ["d", "a"]),
    tool(
        "nested",
        {
            "o": INNER,
            "m": {"type": "string", "nullable": True},
            "u": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            "any": {},
            "free": {"type": "object"},
        },
        ["o"],
    ),
    tool(
        "odd",
        {
            "e": {"enum": ["auto", 1, None]},
            "p": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$"},
            "t": {"$ref": "#/$defs/T"},
            "c": {"const": True},
            "l": {"type": "string", "minLength": 2, "maxLength": 4},
        },
        **{"$defs": {"T": TREE}},
    ),
    tool("more", {"a": {"type": "integer"}}, ["a"], additionalProperties={"type": "integer"}),
)
BY_NAME = {each.name: each.parameters for each in TOOLS}
TEXTS = ["", " ", "\n", "a", "</", "<a>", "&", "[1]", "5", "null", '"q"', "'", "\\", "你好", "]]>"]
KINDS = {"string": str, "boolean": bool, "null": type(None), "array": list, "object": dict}


def fits(value, schema, root):
    """Whether a value is valid."""
    if schema is True or not schema:
        return True
    if "$ref" in schema:
        return fits(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        return any(fits(value, option, root) for option in schema["anyOf"])
    listed = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if listed is not None:
        return repr(value) in map(repr, listed)
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    kinds = [*kinds, "null"] if schema.get("nullable") else kinds
    return any(_is(value, kind) for kind in kinds) and _bounded(value, schema, root)


def _is(value, kind):
    if kind in ("integer", "number"):
        wanted = int if kind == "integer" else (int, float)
        return isinstance(value, wanted) and not isinstance(value, bool)
    return isinstance(value, KINDS[kind])


def _bounded(value, schema, root):
    if isinstance(value, str):
        within = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**9)
        return within and bool(re.search(schema.get("pattern", ""), value))
    if isinstance(value, list):
        within = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10**9)
        return within and all(fits(item, schema.get("items"), root) for item in value)
    if isinstance(value, dict):
        named = schema.get("properties", {})
        others = schema.get("additionalProperties", "properties" not in schema)
        return set(schema.get("required", ())) <= set(value) and all(
            fits(item, named[key], root) if key in named else others and fits(item, others, root)
            for key, item in value.items()
        )
    if isinstance(value, bool) or value is None:
        return True
    return schema.get("minimum", value) <= value <= schema.get("maximum", value)


def valid_value(schema, root, chance, depth=0):
    """A valid value at random."""
    if not schema:
        return chance.choice([*TEXTS, 5, 2.5, True, None, [1, "a"], {"k": [{}]}])
    if "$ref" in schema:
        return valid_value(root["$defs"][schema["$ref"].rpartition("/")[2]], root, chance, depth)
    if "anyOf" in schema:
        return valid_value(chance.choice(schema["anyOf"]), root, chance, depth)
    if "enum" in schema or "const" in schema:
        return chance.choice(schema.get("enum", [schema.get("const")]))
    kind = schema["type"] if isinstance(schema["type"], str) else chance.choice(schema["type"])
    if kind == "string":
        made = "".join(chance.choices(TEXTS, k=chance.randrange(3)))
        return {"pattern": f"AB-{chance.randrange(99)}", "minLength": "<é<"}.get(
            next((word for word in ("pattern", "minLength") if word in schema), ""), made
        )
    if kind == "integer":
        return chance.randint(schema.get("minimum", -(10**9)), schema.get("maximum", 10**12))
    if kind == "number":
        return chance.choice([0, 0.0, 1e-7, 3, 2.5e30, 1e16, chance.uniform(0, 9)])
    if kind in ("boolean", "null"):
        return chance.random() < 0.5 if kind == "boolean" else None
    if kind == "array":
        least = schema.get("minItems", 0)
        count = least if depth > 3 else chance.randint(least, min(schema.get("maxItems", 2), 2))
        return [valid_value(schema.get("items"), root, chance, depth + 1) for _ in range(count)]
    return valid_object(schema, root, chance, depth)


def valid_object(schema, root, chance, depth=0):
    """A valid object at random."""
    named, needed = schema.get("properties", {}), schema.get("required", ())
    made = {
        key: valid_value(inner, root, chance, depth + 1)
        for key, inner in named.items()
        if key in needed or chance.random() < 0.5
    }
    if "properties" not in schema:
        made |= {"k<": chance.choice(TEXTS), "n": [1, 2.5, {"z": None}]}
    if schema.get("additionalProperties") and chance.random() < 0.5:
        made["zz"] = valid_value(schema["additionalProperties"], root, chance, depth + 1)
    return made


def shuffled(call, chance):
    """The call with its arguments in another order."""
    items = list(call.arguments.items())
    chance.shuffle(items)
    return ToolCall(call.name, dict(items))


def calls_in(agent, text):
    """All calls that a reader finds."""
    found, place = [], 0
    while (scan := agent.scan(Window(text, place, place, True, TOOLS))).calls:
        found += scan.calls
        place = scan.end
    return found


@lru_cache
def grammar_of(name):
    """The agent template, its calls as a structural tag, and what the grammar does not hold."""
    agent = agent_registry.get(name)()
    grammar = agent.call_grammar(TOOLS, True)
    mark, rest = grammar.openings[0][:2]
    parts = [{"type": "const_string", "value": mark}, rest]
    tag = {"type": "structural_tag", "format": {"type": "sequence", "elements": parts}}
    return agent, tag, grammar.notes


@pytest.fixture(scope="module")
def walker():
    return Walker(xgrammar)


@pytest.mark.parametrize("name", AGENTS)
@given(seed=st.integers(0, 10**9))
@FEW
def test_admitted_calls_read_back_valid(walker, name, seed):
    agent, tag, _ = grammar_of(name)
    text = walker.draw(tag, seed)
    if text is None:
        return
    calls = calls_in(agent, text)
    assert calls, text
    for call in calls:
        schema = BY_NAME[call.name]
        assert fits(call.arguments, schema, schema), text


@pytest.mark.parametrize("name", AGENTS)
@given(seed=st.integers(0, 10**9))
@FEW
def test_written_calls_are_admitted_in_any_order(name, seed):
    agent, tag, _ = grammar_of(name)
    chance = random.Random(seed)
    calls = []
    for _ in range(chance.choice([1, 1, 2])):
        schema = BY_NAME[tool_name := chance.choice(sorted(BY_NAME))]
        calls.append(shuffled(ToolCall(tool_name, valid_object(schema, schema, chance)), chance))
        if name in NARROWER:
            calls[-1].arguments.pop("zz", None)
    written = text_of(agent.write_calls(calls, Step(TOOLS))).lstrip("\n")
    if same_calls(calls_in(agent, written), calls):
        assert admits(xgrammar.Grammar.from_structural_tag(tag), written), written


@pytest.mark.parametrize("name", AGENTS)
def test_what_is_not_held_is_said(name):
    _, _, notes = grammar_of(name)
    wider = {
        "odd.p: pattern, with its lengths, is not enforced",
        "odd.l: minLength is not enforced",
        "odd.l: maxLength is not enforced",
        "odd.l: maxLength leaves out strings that escapes make longer",
    }
    assert set(notes) - wider == NARROWER.get(name, set())
    limited = tool("f", {"a": {"type": "array", "uniqueItems": True}, "b": {"multipleOf": 5}})
    grammar = agent_registry.get(name)().call_grammar((limited,), True)
    assert {
        "f.a: uniqueItems is not enforced",
        "f.b: multipleOf is not enforced",
    } <= set(grammar.notes)


@given(
    low=st.none() | st.integers(-2000, 2000),
    span=st.none() | st.integers(0, 3000),
    numbers_tried=st.lists(st.integers(-5000, 5000), min_size=8, max_size=8),
)
@settings(max_examples=40, deadline=None)
def test_whole_numbers_between_bounds(low, span, numbers_tried):
    high = None if low is None or span is None else low + span
    grammar = xgrammar.Grammar.from_ebnf(Rules().text(integers(low, high)))
    edges = [bound for bound in (low, high) if bound is not None]
    for number in [*numbers_tried, *edges, *(edge + 1 for edge in edges)]:
        inside = (low is None or low <= number) and (high is None or number <= high)
        assert admits(grammar, str(number)) is inside


@given(
    number=st.floats(allow_nan=False, allow_infinity=False),
    low=st.none() | st.integers(-9, 9),
)
@settings(max_examples=40, deadline=None)
def test_numbers_as_python_prints_them(number, low):
    bound = None if low is None else Bound(Decimal(low))
    grammar = xgrammar.Grammar.from_ebnf(Rules().text(numbers(bound)))
    assert admits(grammar, json.dumps(number)) is (low is None or number >= low)


@given(
    low=st.none() | st.decimals(-3, 3, places=2),
    span=st.none() | st.decimals(0, 3, places=2),
    opens=st.tuples(st.booleans(), st.booleans()),
    tried=st.lists(st.decimals(-4, 6, places=3), min_size=8, max_size=8),
)
@settings(max_examples=60, deadline=None)
def test_numbers_between_decimal_bounds(low, span, opens, tried):
    high = None if low is None or span is None else low + span
    pairs = zip((low, high), opens, strict=True)
    ends = [None if value is None else Bound(value, is_open) for value, is_open in pairs]
    if low is not None and high == low and any(opens):
        return
    grammar = xgrammar.Grammar.from_ebnf(Rules().text(numbers(*ends)))
    for value in [*tried, *(end.value for end in ends if end), Decimal("0.5"), Decimal(0)]:
        above = low is None or value > low or (value == low and not opens[0])
        below = high is None or value < high or (value == high and not opens[1])
        text = json.dumps(float(value))
        assert admits(grammar, text) is (above and below), (text, low, high, opens)


@given(step=st.integers(1, 20), low=st.sampled_from([None, 0]), tried=st.integers(-500, 500))
@settings(max_examples=40, deadline=None)
def test_multiples(step, low, tried):
    rules = Rules()
    grammar = xgrammar.Grammar.from_ebnf(rules.text(multiples(rules, step, low, None)))
    assert admits(grammar, str(tried)) is (tried % step == 0 and (low is None or tried >= 0))


@given(
    pieces=st.lists(
        st.sampled_from(["<", "/", "p", ">", "a", "é", "</p>", "</p", "-"]), max_size=7
    ),
    least=st.integers(0, 3),
    span=st.none() | st.integers(0, 3),
    first=st.sampled_from(["", "-", "a-"]),
)
@settings(max_examples=60, deadline=None)
def test_text_without_marks(pieces, least, span, first):
    text, marks, most = "".join(pieces), ("</p>", "<a"), None if span is None else least + span
    rules = Rules()
    body = rules.text_without(marks, least, most, first)
    grammar = xgrammar.Grammar.from_ebnf(rules.text(f"{literal('(')} {body} {literal(')')}"))
    long_enough = least <= len(text) and (most is None or len(text) <= most)
    clean = not any(mark in text for mark in marks) and not (text and text[0] in first)
    assert admits(grammar, f"({text})") is (long_enough and clean)
