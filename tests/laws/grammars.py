"""What the laws of grammars need: tools, valid calls of them, and replies drawn from a grammar."""

import json
import random

from hypothesis import strategies as st

from toolgrove.core.messages import Tool, ToolCall

_WORDS = [
    "<think>", "</think>", "<tool_call>", "</tool_call>", "Action:", "Action Input:", '"name"',
    "Observation:", "to=functions.", "<|channel|>", "<|end|>", "<|im_end|>", "[TOOL_CALLS]",
    "✿FUNCTION✿:", "<｜tool▁calls▁begin｜>", "<|tool_call_begin|>", "hi", '{"', '":', "你好", "\\n",
    "<|tool_calls_section_begin|>", "<|start|>assistant", "<|tool_call|>", '{"nam', "\\u00e9",
]  # fmt: skip
_CLOSING = ["", "}", "]", '"', "</think>", "<|end|>", ">", "\n", "e"]
_PATIENCE = 80
"""steps after which a walk looks for its end"""


def tool(name, properties, required=(), **more):
    """A tool with these parameters."""
    parameters = {"type": "object", "properties": properties, "required": list(required), **more}
    return Tool({"type": "function", "function": {"name": name, "parameters": parameters}})


_CHOICES = ["a", 'b"c', "你好"]
_VALUES = {
    "string": ({"type": "string"}, st.text(max_size=8)),
    "markup": ({"type": "string"}, st.sampled_from(["</tool_call>", "<think>", '"', "a\nb", "}"])),
    "integer": ({"type": "integer"}, st.integers(-(10**9), 10**9)),
    "number": ({"type": "number"}, st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: x + 0.0)),
    "boolean": ({"type": "boolean"}, st.booleans()),
    "enum": (
        {"type": "string", "enum": ["a", 'b"c', "你好"]},
        st.sampled_from(["a", 'b"c', "你好"]),
    ),
    "null": ({"type": ["string", "null"]}, st.none() | st.text(max_size=3)),
    "list": (
        {"type": "array", "items": {"type": "integer"}, "maxItems": 3},
        st.lists(st.integers(0, 9), max_size=3),
    ),
    "object": (
        {
            "type": "object",
            "properties": {"x": {"type": "integer"}, "y": {"type": "string"}},
            "required": ["x"],
        },
        st.fixed_dictionaries(
            {"x": st.integers(0, 9)}, optional={"y": st.text(max_size=3)}
        ).flatmap(lambda made: st.permutations(sorted(made.items())).map(dict)),
    ),
}
_NAMES = st.sampled_from(["get_weather", "f", "search-web", "a.b", "x1"])


@st.composite
def tools_and_calls(draw):
    """Tools with different names, and one to three calls that are valid for them, the arguments in
    any order."""
    tools, makers = [], []
    for name in draw(st.lists(_NAMES, min_size=1, max_size=3, unique=True)):
        kinds = draw(st.lists(st.sampled_from(sorted(_VALUES)), max_size=4, unique=True))
        required = [kind for kind in kinds if draw(st.booleans())]
        tools.append(tool(name, {kind: _VALUES[kind][0] for kind in kinds}, required))
        makers.append((name, kinds, required))
    calls = []
    for _ in range(draw(st.integers(1, 3))):
        name, kinds, required = draw(st.sampled_from(makers))
        given_kinds = [kind for kind in kinds if kind in required or draw(st.booleans())]
        given_kinds = draw(st.permutations(given_kinds))
        calls.append(ToolCall(name, {kind: draw(_VALUES[kind][1]) for kind in given_kinds}))
    return tuple(tools), tuple(calls)


def is_valid(value, schema):
    """Whether a value fits the few kinds of schema that these laws draw."""
    if "enum" in schema and value not in schema["enum"]:
        return False
    kinds = schema.get("type", [])
    if not any(_is(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        return False
    if isinstance(value, list):
        return len(value) <= schema.get("maxItems", len(value)) and all(
            is_valid(item, schema["items"]) for item in value
        )
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        return set(schema.get("required", ())) <= set(value) <= set(properties) and all(
            is_valid(item, properties[key]) for key, item in value.items()
        )
    return True


def _is(value, kind):
    if kind in ("integer", "number"):
        wanted = int if kind == "integer" else (int, float)
        return isinstance(value, wanted) and not isinstance(value, bool)
    kinds = {"string": str, "boolean": bool, "null": type(None), "array": list, "object": dict}
    return isinstance(value, kinds[kind])


class Walker:
    """Draws replies that a grammar admits, at random, one piece of text after the other."""

    def __init__(self, xgrammar):
        letters = [chr(code) for code in range(32, 127)] + ["\n", "\t", *"é✿｜▁"]
        self.pieces = letters + [word for word in _WORDS if word not in letters] + [""]
        vocabulary = [piece.encode() for piece in self.pieces[:-1]] + [b"</s>"]
        self.xgrammar = xgrammar
        self.info = xgrammar.TokenizerInfo(vocabulary, stop_token_ids=[len(vocabulary) - 1])
        self.compiler = xgrammar.GrammarCompiler(self.info, max_threads=1)

    def draw(self, grammar, seed, longest=600):
        """A whole reply; None when the walk found no end."""
        compiled = self.compiler.compile_structural_tag(json.dumps(grammar))
        matcher = self.xgrammar.GrammarMatcher(compiled)
        mask = self.xgrammar.allocate_token_bitmask(1, len(self.pieces))
        chance, said = random.Random(seed), []
        patience = chance.randrange(_PATIENCE)
        for step in range(longest):
            matcher.fill_next_token_bitmask(mask)
            allowed = [
                piece
                for number, piece in enumerate(self.pieces)
                if int(mask[0, number // 32]) >> (number % 32) & 1
            ]
            if not allowed:
                raise AssertionError(f"a dead end after {''.join(said)!r}")
            piece = _chosen(allowed, chance, step > patience)
            if not piece:
                return "".join(said)
            said.append(piece)
            assert matcher.accept_token(self.pieces.index(piece))
        return None


def _chosen(allowed, chance, ends):
    if ends and chance.random() < 0.9:
        for piece in _CLOSING:
            if piece in allowed:
                return piece
    marks = [piece for piece in allowed if len(piece) > 2]
    if marks and chance.random() < 0.4:
        return chance.choice(marks)
    return chance.choice(allowed)
