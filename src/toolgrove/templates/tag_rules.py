"""Calls with one pair of tags for each argument, as a grammar."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolgrove.core.messages import JSON, Tool
from toolgrove.templates.any_order import Members, Piece, in_any_order
from toolgrove.templates.grammar import Grammar, Opening
from toolgrove.templates.notations import JSON_NOTATION, LENIENT_JSON, PYTHON_NOTATION, Notation
from toolgrove.templates.options import ANY, Option, options
from toolgrove.templates.patterns import pattern_of
from toolgrove.templates.rules import Letters, Rules, either, literal, one_of
from toolgrove.templates.typed import argument_types, read_value
from toolgrove.templates.value_rules import Values

_KEY_BARRED = '<>\\"\\u0000-\\u001f'
_STARTS: Mapping[str, str] = {
    "integer": "-0123456789",
    "number": "-0123456789",
    "boolean": "tf",
    "null": "n",
    "array": "[",
    "object": "{",
}
_JSON_SPACE = " \t\n\r"


@dataclass(frozen=True)
class TagForm:
    """The texts around a call's parts, exactly as they are written.

    ``mark`` opens the calls, ``head`` is all from it up to the first tool's name, ``next`` all
    between a call's last mark and the next one's name, ``tail`` stands behind the last call.
    """

    mark: str
    head: str
    named: str
    key: str
    value: str
    ended: str
    close: str
    next: str
    tail: str = ""
    after: str = ""
    """what may stand behind all"""
    value_of_others: str | Mapping[str, str] | None = None
    """in the place of ``value`` before what is no string (None: the same), or for each JSON type"""
    number: str = ""
    """a rule's body for what stands between a tool's name and ``named``, for calls with a number"""
    escape: Callable[[str], str] = str
    """how names and keys are written"""
    whole: tuple[str, str] | None = None
    """what may stand around all arguments as one JSON object"""
    bare: str = ""
    """in the place of arguments where there are none"""
    barred: tuple[str, ...] = ()
    """what no value may hold: marks that would end it"""
    section: tuple[str, str] | None = None
    """what opens and closes a section for values with one of ``in_section``"""
    in_section: tuple[str, ...] = ()
    python: bool = False
    """whether values that are no strings may stand as Python prints them"""
    python_words: bool = False
    """whether true, false and null may"""


def tagged_calls(
    tools: Sequence[Tool],
    parallel: bool,
    form: TagForm,
    call_rules: type[CallRules] | None = None,
) -> Grammar:
    """One call or several, their arguments valid against each tool's schema.

    A string stands as it is and holds no mark that would end it; other values are JSON as it is
    written. Arguments stand in any order, each once.
    ``call_rules`` (None: ``CallRules``) makes the rules of one tool's calls.
    """
    rules, notes = Rules(), list[str]()
    made_by = call_rules or CallRules
    calls = [made_by(rules, form, tool, notes).body() for tool in tools]
    one = rules.rule(" | ".join(calls))
    more = f"({literal(form.next)} {one})*" if parallel else '""'
    head, tail = literal(form.head.removeprefix(form.mark)), literal(form.tail)
    text = rules.text(f"{head} {one} {more} {tail} {literal(form.after)}?")
    rest: JSON = {"type": "grammar", "grammar": text}
    return Grammar((Opening(form.mark, rest),), notes=tuple(notes))


class CallRules:
    """The calls of one tool."""

    def __init__(self, rules: Rules, form: TagForm, tool: Tool, notes: list[str]) -> None:
        self._rules = rules
        self._form = form
        self._tool = tool
        self._root = tool.parameters
        self._notes = notes
        self._base = self._values(JSON_NOTATION, form.barred)

    def body(self) -> str:
        """From the name to the closing mark."""
        schema = self._root or {"type": "object", "properties": {}}
        found = [option for option in options(schema, self._root) if option.kind == "object"]
        listed = [self._arguments(option) for option in found or [Option("object", {})]]
        form, written = self._form, self._form.escape(self._tool.name)
        mark = self._rules.mark
        name = f"{literal(written)} {form.number} {mark(form.named)}"
        return f"{name} {either(listed)} {mark(form.close)}"

    def _values(self, notation: Notation, barred: tuple[str, ...]) -> Values:
        return Values(self._rules, notation, self._root, barred, self._notes)

    def _arguments(self, option: Option) -> str:
        self._base.note_unheld(option, self._tool.name)
        members, extra = self._base.members(option.schema, self._tool.name)
        pieces = tuple(Piece(self._argument(m.name, m.schema), m.required) for m in members)
        more = None if extra is None else self._others([m.name for m in members], extra)
        least, most = option.schema.get("minProperties") or 0, option.schema.get("maxProperties")
        bare = literal(self._form.bare)
        found = Members(pieces, more or "", empty=bare, least=int(least), most=most)
        rule, notes = in_any_order(self._rules, found)
        for note in notes:
            self._base.note(self._tool.name, note)
        whole = self._form.whole
        if whole is None:
            return rule
        json = self._values(JSON_NOTATION, ()).option(option, self._tool.name)
        return f"({rule} | {literal(whole[0])} {json} {literal(whole[1])})"

    def _argument(self, name: str, schema: Any) -> str:
        """One argument with its tags, as a rule."""
        types = argument_types([self._tool], self._tool.name, name)
        form, where = self._form, f"{self._tool.name}.{name}"
        if any(char in name for char in '<>"\n'):
            self._base.note(where, "its name cannot be read back")
        key = f"{self._rules.mark(form.key)} {literal(form.escape(name))}"
        return self._rules.rule(self._between(key, schema, types, where))

    def _others(self, names: Sequence[str], schema: Any) -> str | None:
        """An argument that the schema does not name; None: there can be none."""
        types = argument_types([self._tool], self._tool.name, "")
        other = self._rules.other_than(names, Letters(_KEY_BARRED))
        key = f"{self._rules.mark(self._form.key)} {other}"
        return self._rules.rule(self._between(key, schema, types, f"{self._tool.name}.*"))

    def _between(self, key: str, schema: Any, types: frozenset[str] | None, where: str) -> str:
        form = self._form
        strings, others = self._texts(options(schema, self._root), types, where)
        mark, bodies = self._rules.mark, list[str]()
        ended = mark(form.ended)
        if strings is not None:
            bodies.append(f"{key} {mark(form.value)} {strings} {ended}")
        if isinstance(form.value_of_others, Mapping):
            marked = self._by_kind(schema, where, form.value_of_others)
            bodies += [f"{key} {mark(value)} {text} {ended}" for value, text in marked]
        elif others is not None:
            value = mark(form.value_of_others or form.value)
            bodies.append(f"{key} {value} {others} {ended}")
        if not bodies:
            self._base.note(where, "no value is allowed")
            bodies.append(f"{key} {mark(form.value)} {ended}")
        return " | ".join(bodies)

    def _texts(
        self, found: Sequence[Option], types: frozenset[str] | None, where: str
    ) -> tuple[str | None, str | None]:
        """The strings that stand for values of these options, and what stands for others; None:
        there are none. ``types``: those by which they are read."""
        strings = [o for o in found if o.kind in ("string", ANY)]
        others = [o for o in found if o.kind != "string" and (o.kind != ANY or self._marked)]
        mixed = not self._marked and (types is None or "string" in types)
        texts = [self._string(option, types, found, where) for option in strings]
        values = [text for o in others for text in self._other(o, where, mixed)]
        return (either(texts) if texts else None, either(values) if values else None)

    def _by_kind(
        self, schema: Any, where: str, marks: Mapping[str, str]
    ) -> Iterator[tuple[str, str]]:
        """What stands before values of each JSON type but strings, and the values."""
        for option in options(schema, self._root):
            kinds = [option.kind] if option.kind != ANY else [*marks]
            for kind in kinds:
                if kind != "string":
                    one = option if option.kind == kind else Option(kind, {})
                    yield marks[kind], either(self._other(one, where, mixed=False))

    @property
    def _marked(self) -> bool:
        """Whether a value is marked as a string or none."""
        return self._form.value_of_others is not None

    def _in_sections(self, write: Callable[[tuple[str, ...]], str], plain: tuple[str, ...]) -> str:
        """A value that holds none of the ``plain`` marks or stands in a section."""
        section = self._form.section
        if section is None:
            return write(plain)
        inside = write((section[1] + self._form.ended,))
        return f"({write(plain)} | {literal(section[0])} {inside} {literal(section[1])})"

    def _string(
        self, option: Option, types: frozenset[str] | None, found: Sequence[Option], where: str
    ) -> str:
        """A string as it is, where it is not read as another value that the schema does not
        allow."""
        unsafe = [] if self._marked else _unsafe(types, found)
        plain = (*self._form.in_section, *self._form.barred)
        first = "".join(sorted({c for kind in unsafe for c in _STARTS[kind]}))
        first += _JSON_SPACE if first else ""
        if option.values is not None:
            return self._listed(option, types if unsafe else frozenset({"string"}), where)
        if first:
            self._base.note(where, "strings that begin like other JSON values are left out")
        self._base.note_unheld(option, where)
        return self._in_sections(lambda marks: self._text(option, marks, first, where), plain)

    def _listed(self, option: Option, types: frozenset[str] | None, where: str) -> str:
        """Strings that the schema lists."""
        values = [str(value) for value in option.values or ()]
        readable = [text for text in values if read_value(text, types) == text]

        def write(marks: tuple[str, ...]) -> str:
            kept = [text for text in readable if not any(mark in text for mark in marks)]
            return one_of(kept) if kept else '""'

        texts = [text for text in readable if not any(m in text for m in self._form.barred)]
        if len(texts) < len(values):
            self._base.note(where, "values that do not read back are left out of enum")
        if self._form.section is None or not any(
            mark in text for text in texts for mark in self._form.in_section
        ):
            return write(self._form.barred)
        return self._in_sections(write, (*self._form.in_section, *self._form.barred))

    def _text(self, option: Option, marks: tuple[str, ...], first: str, where: str) -> str:
        schema = option.schema
        least, most = schema.get("minLength") or 0, schema.get("maxLength")
        if not schema.get("pattern"):
            return self._rules.text_without(marks, int(least), most, first)
        pattern = pattern_of(str(schema["pattern"]), marks)
        if pattern is None or least or most is not None or first:
            self._base.note(where, "pattern, with its lengths, is not enforced")
            return self._rules.text_without(marks, 0, None, first)
        free = self._rules.text_without(marks)
        inner = self._rules.rule(f"Regex({literal(pattern.regex)})")
        return " ".join([free] * pattern.before + [inner] + [free] * pattern.after)

    def _other(self, option: Option, where: str, mixed: bool) -> list[str]:
        """A value that is no string, in all its notations."""
        form, kind = self._form, option.kind
        python = form.python and not mixed
        if kind in ("boolean", "null", "integer", "number") or option.values is not None:
            found = [self._base.option(option, where)]
            if python or (form.python_words and not mixed):
                found.append(self._values(PYTHON_NOTATION, form.barred).option(option, where))
            return found
        json = JSON_NOTATION if mixed else LENIENT_JSON  # what may be a string is read strictly
        notations = [json, PYTHON_NOTATION] if python else [json]
        return [
            self._in_sections(
                lambda marks, used=notation: self._values(used, marks).option(option, where),
                form.barred,
            )
            for notation in notations
        ]


def _unsafe(types: frozenset[str] | None, found: Sequence[Option]) -> list[str]:
    """The kinds of JSON as which a text may be read and that the schema does not allow as such."""
    if types == frozenset({"string"}):
        return []
    read = set(_STARTS) if types is None else types & set(_STARTS)
    plain = {option.kind for option in found if option.plain}
    if "number" in plain:
        plain.add("integer")
    return [] if ANY in plain else sorted(read - plain)
