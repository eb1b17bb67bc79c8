"""Values that a JSON Schema allows, as rules of a grammar, in the notation of a wire format."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import JSON
from toolgrove.templates.any_order import Members, Piece, in_any_order, in_order
from toolgrove.templates.notations import CONTROLS, PYTHON_NOTATION, Notation
from toolgrove.templates.number_rules import bound, integers, left_out, multiples, numbers, whole
from toolgrove.templates.options import ANY, Option, options
from toolgrove.templates.patterns import is_whole, needs_escapes, pattern_of
from toolgrove.templates.rules import Letters, Rules, either, literal, one_of

_ALWAYS = ("not", "if")
_NEVER_HELD: Mapping[str, tuple[str, ...]] = {
    ANY: _ALWAYS,
    "string": _ALWAYS,
    "integer": _ALWAYS,
    "number": ("multipleOf", *_ALWAYS),
    "array": ("uniqueItems", "contains", "additionalItems", *_ALWAYS),
    "object": (
        "patternProperties",
        "propertyNames",
        "dependentRequired",
        "dependentSchemas",
        *_ALWAYS,
    ),
}
_DEPTH = 24
_BOUNDS = (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum"))


_BARRED = '"\\\\\\u0000-\\u001f'
"""what stands in a JSON string only behind a backslash, as a character class"""
_ESCAPED = '"\\\\bfnrt'
_HEX = "[0-9a-fA-F]"
_PAIR = f'[dD] [89abAB] {_HEX}{{2}} "\\\\u" [dD] [c-fC-F] {_HEX}{{2}}'
_COUNTED = f'["\\\\/bfnrt] | "u" ([0-9a-cA-CefEF] {_HEX}{{3}} | [dD] [0-7] {_HEX}{{2}} | {_PAIR})'
"""what may stand behind a backslash, where both halves of a pair count as one character"""
_COUNT_FROM = 3
"""how many characters of a string that must be there are counted: each costs a table of tokens"""
_LETTER = re.compile(r"\\u[0-9a-f]{4}|\\.|.", re.DOTALL)


class _Place(NamedTuple):
    """A schema and how deep it stands; its name for notes."""

    schema: Any
    name: str
    depth: int = 0


@dataclass
class Values:
    """Rules for values in one notation. No string in them holds one of the ``marks``.

    ``notes`` gather what the rules leave wider than the schema.
    """

    rules: Rules
    notation: Notation
    root: Mapping[str, Any]
    marks: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list[str])

    def value(self, schema: Any, name: str, depth: int = 0) -> str:
        """The name of a rule for the values of a schema."""
        place = _Place(schema, name, depth)
        if depth > _DEPTH:
            self.note(name, "nested too deep")
            return self.anything()
        words = cast(JSON, schema) if isinstance(schema, Mapping) else {}
        if "$ref" in words and set(words) <= {"$ref", "description"}:
            key = (id(self.root), id(self.notation), self.marks, str(words["$ref"]))
            return self.rules.named(key, lambda: self._body(place))
        return self.rules.rule(self._body(place))

    def option(self, option: Option, name: str, depth: int = 0) -> str:
        """The values of one option, as a rule's body."""
        self.note_unheld(option, name)
        if option.values is not None:
            kept = [self.notation.write(v) for v in option.values if not self._holds_mark(v)]
            if len(kept) < len(option.values):
                self.note(name, "values that hold the end mark are left out of enum")
            return one_of(kept) if kept else self.anything()
        return self._of_kind(option, _Place(option.schema, name, depth))

    def _of_kind(self, option: Option, place: _Place) -> str:
        kind, words = option.kind, self.notation.words
        if kind in ("integer", "number"):
            return self._number(option, place)
        if kind == "boolean":
            return one_of([*words[0], *words[1]])
        if kind == "null":
            return one_of(words[2])
        if kind == "string":
            return self._string(option, place)
        if kind == "array":
            return self._array(place)
        return self._object(place) if kind == "object" else self.anything()

    def note_unheld(self, option: Option, name: str) -> None:
        """Says which words of the schema no rule holds."""
        for word in _NEVER_HELD.get(option.kind, ()):
            if option.schema.get(word):
                self.note(name, f"{word} is not enforced")

    def _holds_mark(self, value: Any) -> bool:
        quotes = () if self.notation.escapes else self.notation.quotes
        if isinstance(value, str) and any(quote in value for quote in quotes):
            return True
        return any(mark in self.notation.write(value) for mark in self.marks)

    def note_count(self, schema: Mapping[str, Any], count: int, name: str) -> None:
        """Says where lists of items that are described one by one have to be whole."""
        if schema.get("items") is not False or schema.get("minItems") != count:
            self.note(name, f"lists of other than {count} items are left out")

    def note(self, name: str, what: str) -> None:
        """Says once what is not held."""
        text = f"{name}: {what}"
        if text not in self.notes:
            self.notes.append(text)

    def anything(self) -> str:
        """Any value."""

        def body() -> str:
            item, comma, space = self.anything(), self.comma, self.space
            entry = f"{self._any_key()} {item}"
            true, false, null = self.notation.words
            return " | ".join(
                [
                    self.string(),
                    numbers(),
                    one_of([*true, *false, *null]),
                    f'"[" {space} ({item} ({comma} {item})*)? {space} "]"',
                    f'"{{" {space} ({entry} ({comma} {entry})*)? {space} "}}"',
                ]
            )

        return self.rules.named((id(self.notation), self.marks, "anything"), body)

    @property
    def space(self) -> str:
        """The white space that may stand around values."""
        body, behind = self.notation.space, self.notation.behind_space
        if not body:
            return ""
        return self.rules.rule(f"{body} (={self.rules.rule(behind)})" if behind else body)

    @property
    def comma(self) -> str:
        """What stands between two values."""
        return f"{self.space} {literal(self.notation.comma)} {self.space}"

    @property
    def colon(self) -> str:
        """What stands behind a key."""
        return f"{self.space} {literal(self.notation.colon)} {self.space}"

    def string(self) -> str:
        """Any string, in its quotes."""
        bodies: list[str] = []
        for quote in self.notation.quotes:
            mark, inner = literal(quote), self._inside(quote)
            bodies.append(f"{mark} {inner} {mark}")
        return self.rules.rule(" | ".join(bodies))

    def _inside(self, quote: str) -> str:
        if not self.notation.escapes:
            return self.rules.text_without([quote, *self.marks])
        if self._counts:
            plain = self.rules.rule(f"[^{_BARRED}]*")
        else:
            barred = [quote, "\\", *self.marks, *self.notation.controls]
            plain = self.rules.text_without(barred)
        escape = self.rules.rule(self.notation.escapes)
        return f'{plain} ("\\\\" {escape} {plain})*'

    @property
    def _counts(self) -> bool:
        """Whether a string is JSON that may hold anything."""
        notation = self.notation
        json = notation.quotes == ('"',) and notation.controls == CONTROLS
        return json and bool(notation.escapes) and not self.marks

    def _any_key(self) -> str:
        bare = self.notation.bare_keys
        key = f"([^{bare}]+ | {self.string()})" if bare else self.string()
        return f"{key} {self.colon}"

    def _body(self, place: _Place) -> str:
        found = options(place.schema, self.root)
        if not found:
            self.note(place.name, "no value is allowed")
            return self.anything()
        return either(self.option(option, place.name, place.depth) for option in found)

    def _number(self, option: Option, place: _Place) -> str:
        schema = option.schema
        low, high = (
            bound(*_limits(schema, word, bar), most=word == "maximum") for word, bar in _BOUNDS
        )
        if option.kind != "integer":
            told = left_out(low, high)
            if told:
                self.note(place.name, told)
            return numbers(low, high)
        least, most = whole(low, most=False), whole(high, most=True)
        step = schema.get("multipleOf")
        if not step:
            return integers(least, most)
        listed = multiples(self.rules, step, least, most) if isinstance(step, int) else None
        if listed is None:
            self.note(place.name, "multipleOf is not enforced")
        return listed or integers(least, most)

    def _string(self, option: Option, place: _Place) -> str:
        schema = option.schema
        if option.plain:
            return self.string()
        quote = self.notation.quotes[0]
        mark, marks = literal(quote), [quote, *self.marks]
        least, most = int(schema.get("minLength") or 0), schema.get("maxLength")
        if schema.get("pattern") and not least and most is None:
            regex = self._pattern(str(schema["pattern"]), marks, place.name)
            if regex is not None:
                return f"{mark} {regex} {mark}"
        elif not schema.get("pattern") and not self.notation.escapes:
            return f"{mark} {self.rules.text_without(marks, least, most)} {mark}"
        elif not schema.get("pattern") and self._counts:
            return f"{mark} {self._counted(least, most, place.name)} {mark}"
        for word in ("pattern", "minLength", "maxLength"):
            if schema.get(word) is not None:
                self.note(place.name, f"{word} is not enforced")
        return self.string()

    def _counted(self, least: int, most: int | None, name: str) -> str:
        """The inside of a JSON string of a length."""
        escape = self.rules.rule(_COUNTED)
        plain = self.rules.rule(f"[^{_BARRED}]*")
        counted = min(least, _COUNT_FROM)
        if least > counted:
            self.note(name, f"of minLength, {counted} characters are enforced")
        if most is not None:
            self.note(name, "maxLength leaves out strings that escapes make longer")
        limit = None if most is None else max(int(most) - counted, 0)
        inside = self.rules.rule(f'{plain} ("\\\\" {escape} {plain})*', limit)
        for _ in range(counted):
            inside = self.rules.rule(f'[^{_BARRED}] {inside} | "\\\\" {escape} {inside}')
        return inside

    def _pattern(self, regex: str, marks: Sequence[str], name: str) -> str | None:
        """A whole text inside quotes that a pattern describes; None where it is none for that."""
        if self._counts and is_whole(regex):
            if needs_escapes(regex):
                self.note(name, "pattern leaves out strings that need escapes")
            return self.rules.rule(f"Regex({literal(regex[1:-1])}, json_string=true)")
        found = pattern_of(regex, marks)
        if found is None or found.before or found.after or self.notation is PYTHON_NOTATION:
            return None
        escaped = ", json_string=true" if self.notation.escapes else ""
        return self.rules.rule(f"Regex({literal(found.regex)}{escaped})")

    def _array(self, place: _Place) -> str:
        schema, space = place.schema, self.space
        fixed = schema.get("prefixItems")
        rest = schema.get("items", True)
        if isinstance(rest, list):
            fixed, rest = cast(list[Any], rest), schema.get("additionalItems", True)
        first = cast(list[Any], fixed) if isinstance(fixed, list) else []
        return f'"[" {space} {self._items(place, first, rest)} {space} "]"'

    def _items(self, place: _Place, first: Sequence[Any], rest: Any) -> str:
        """What stands between the brackets: the ``first`` items, then any number of others."""
        least, most = int(place.schema.get("minItems") or 0), place.schema.get("maxItems")
        count, depth = len(first), place.depth + 1
        behind = '""'
        if rest is not False and (most is None or most > count):
            item = self.value(rest, f"{place.name}[]", depth)
            lead = 0 if count else 1
            high = "" if most is None else int(most) - count - lead
            more = f"({self.comma} {item}){{{max(least - count - lead, 0)},{high}}}"
            behind = more if count else f"{item} {more}"
            behind = behind if count or least else f"({behind})?"
        for number in reversed(range(count)):
            if most is not None and number >= most:
                continue
            item = self.value(first[number], f"{place.name}[{number}]", depth)
            step = f"{self.comma if number else ''} {item} {behind}"
            behind = self.rules.rule(step if number < least else f'{step} | ""')
        return behind

    def _object(self, place: _Place) -> str:
        members, extra = self.members(place.schema, place.name)
        pieces: list[Piece] = []
        if self.notation.sort:
            members.sort(key=lambda member: member.name.lower())
        for name, schema, required in members:
            value = self.value(schema, f"{place.name}.{name}", place.depth + 1)
            key = literal(self.notation.key(name))
            pieces.append(Piece(self.rules.rule(f"{key} {self.colon} {value}"), required))
        more = ""
        if extra is not None:
            value = self.value(extra, f"{place.name}.*", place.depth + 1)
            names = [member.name for member in members]
            key = f"{self._other_key(names)} {self.colon}" if names else self._any_key()
            more = self.rules.rule(f"{key} {value}")
        return f'"{{" {self.space} {self._listed(place, pieces, more)} {self.space} "}}"'

    def _listed(self, place: _Place, pieces: Sequence[Piece], more: str) -> str:
        """The members between the braces."""
        least, most = place.schema.get("minProperties") or 0, place.schema.get("maxProperties")
        members = Members(tuple(pieces), more, self.comma, least=int(least), most=most)
        if self.notation.sort:
            if least or most is not None:
                self.note(place.name, "the number of members is not enforced")
            return in_order(self.rules, members)
        rule, notes = in_any_order(self.rules, members)
        for note in notes:
            self.note(place.name, note)
        return rule

    def _other_key(self, names: Sequence[str]) -> str:
        quote = self.notation.quotes[0]
        if self.notation.bare_keys:
            return self.rules.other_than(names, Letters(self.notation.bare_keys))
        if self._counts:
            written = [_LETTER.findall(dump(name)[1:-1]) for name in names]
            inner = self.rules.other_than(written, Letters(_BARRED, _ESCAPED))
        else:
            inner = self.rules.other_than(names, Letters(_barred([quote, *self.marks])))
        return f"{literal(quote)} {inner} {literal(quote)}"

    def members(self, schema: Mapping[str, Any], name: str) -> _Members:
        """An object's members in their order, and the schema of others (None: there are none)."""
        given = schema.get("properties")
        properties = cast(JSON, given) if isinstance(given, dict) else {}
        needed: list[str] = [str(key) for key in schema.get("required") or ()]
        extra: Any = schema.get("additionalProperties", not isinstance(given, dict))
        if schema.get("patternProperties") and not extra:
            extra = True
        unknown = [key for key in needed if key not in properties]
        if unknown and isinstance(given, dict):
            self.note(name, f"{', '.join(unknown)} is required and not described")
        found = [_Member(key, value, key in needed) for key, value in properties.items()]
        found += [_Member(key, True if extra is False else extra, True) for key in unknown]
        return found, None if extra is False else extra


class _Member(NamedTuple):
    """A member of an object."""

    name: str
    schema: Any
    required: bool


_Members = tuple[list[_Member], Any]


def _barred(marks: Sequence[str]) -> str:
    """The characters that a free key must not hold, for a character class."""
    first = sorted({mark[0] for mark in marks})
    shown = "".join(f"\\{char}" if char in ']\\^-"' else char for char in first)
    return f"{shown}\\\\\\u0000-\\u001f"


def _limits(schema: Mapping[str, Any], word: str, bar: str) -> tuple[float | None, float | None]:
    """A bound that is allowed itself, and one that is not."""
    limit, barred = _number_of(schema.get(word)), _number_of(schema.get(bar))
    return (None, limit) if schema.get(bar) is True else (limit, barred)


def _number_of(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
