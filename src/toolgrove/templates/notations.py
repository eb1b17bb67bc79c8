"""How wire formats write values, as far as a grammar must know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from toolgrove.core.jsonish import dump

CONTROLS = tuple(chr(code) for code in range(32))
"""the characters that JSON strings hold only as escapes"""


@dataclass(frozen=True)
class Notation:
    """How a wire format writes values: between ``quotes`` strings, with ``escapes`` or without;
    ``words`` for true, false and null; ``write`` for a value that is given, ``key`` for a key.
    ``space``, a rule's body, may stand around all but words, numbers and strings; without it
    ``comma`` and ``colon`` are exactly as they are given."""

    write: Callable[[Any], str]
    key: Callable[[str], str]
    quotes: tuple[str, ...] = ('"',)
    escapes: str = '["\\\\/bfnrt] | "u" [0-9a-fA-F]{4}'
    comma: str = ", "
    colon: str = ": "
    words: tuple[tuple[str, ...], ...] = (("true",), ("false",), ("null",))
    sort: bool = False
    bare_keys: str = ""
    """the characters that quote a key which holds one, as a character class; empty: all keys are
    quoted"""
    space: str = ""
    behind_space: str = ""
    """what may stand behind ``space``, as a rule's body (empty: anything): tokens that go on
    otherwise are ruled out once, not at each step"""
    controls: tuple[str, ...] = CONTROLS
    """the characters that no string holds as they are"""


SPACE = 'Regex("[ ]?|\\n[ \\t]{0,8}")'
"""a space, or a new line with an indent: bounded, so that no model can go on with it for ever"""
JSON_NOTATION = Notation(dump, dump)
LENIENT_JSON = replace(JSON_NOTATION, controls=())
"""for places where a reader takes new lines in strings as they are"""
_SIGNS = '{}\\[\\],:"0-9\\-'
SPACED_JSON = Notation(
    dump,
    dump,
    comma=",",
    colon=":",
    space=SPACE,
    behind_space=f'[{_SIGNS}] | "true" | "false" | "null" | [ \\n] [ \\t\\n{_SIGNS}tfn]',
)
PYTHON_NOTATION = Notation(
    str,
    repr,
    quotes=("'", '"'),
    escapes='[\\\\\'"nrt] | "x" [0-9a-f]{2} | "u" [0-9a-f]{4} | "U" [0-9a-f]{8}',
    words=(("True",), ("False",), ("None",)),
    controls=("\n", "\r", "\0"),
)
