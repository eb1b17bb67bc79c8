"""MiniMax-M3's elements: the schema that a reader sees of one, and calls in them as a grammar."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import JSON
from toolgrove.templates.any_order import Members, Piece, in_any_order
from toolgrove.templates.options import ANY, Option, options, plain_kind
from toolgrove.templates.rules import literal
from toolgrove.templates.tag_rules import CallRules, TagForm
from toolgrove.templates.typed import schema_types

NS = "]<]minimax[>["
"""what stands before every tag"""
ITEM = "item"
"""the element of a list's item"""
OPEN = f"{NS}<tool_call>"
CLOSE = f"{NS}</tool_call>"
INVOKE_OPENS = f'{NS}<invoke name="'
_ARRAY, _OBJECT = frozenset({"array"}), frozenset({"object"})
FORM = TagForm(
    mark=OPEN,
    head=f"{OPEN}\n{INVOKE_OPENS}",
    named='">',
    key=f"{NS}<",
    value=">",
    ended=f"{NS}</",
    close=f"{NS}</invoke>\n",
    next=INVOKE_OPENS,
    tail=CLOSE,
    barred=(NS,),
)


def member_schema(schema: Any, root: Mapping[str, Any], key: str) -> Any:
    """What a schema says of an object's member; None when it does not say."""
    if plain_kind(schema) == "object":
        return _joined([_member(schema, key)])
    found = [
        _member(option.schema, key)
        for option in options(schema, root)
        if option.kind in ("object", ANY)
    ]
    return _joined(found)


def item_schema(schema: Any, root: Mapping[str, Any]) -> Any:
    """What a schema says of a list's items, all alike; None when it does not say."""
    found: list[Any] = []
    for option in options(schema, root):
        if option.kind in ("array", ANY):
            fixed = _fixed(option.schema)
            found += [option.schema.get("items")] if fixed is None else fixed
    return _joined(found)


class ElementRules(CallRules):
    """The calls of one tool: lists and objects as elements or as JSON in one element.

    What a schema leaves free to name cannot stand in tags, since the closing tag repeats the name:
    it stands as JSON inside an argument, and is left out as an argument of its own.
    """

    def _argument(self, name: str, schema: Any) -> str:
        where = f"{self._tool.name}.{name}"
        if not _can_be_tag(name):
            self._base.note(where, "its name cannot be read back")
        seen = member_schema(self._root, self._root, name)
        return self._rules.rule(self._element(name, schema, seen, where))

    def _others(self, names: Iterable[str], schema: Any) -> None:
        self._base.note(self._tool.name, "arguments that it does not name are left out")

    def _element(self, key: str, schema: Any, seen: Any, where: str) -> str:
        """A value between its tags; ``seen`` is the schema that a reader takes it by."""
        content = self._content(schema, seen, where)
        return f"{literal(f'{NS}<{key}>')} {content} {literal(f'{NS}</{key}>')}"

    def _content(self, schema: Any, seen: Any, where: str) -> str:
        key = ("content", id(self._root), dump(schema), dump(seen))
        return self._rules.named(key, lambda: self._contents(schema, seen, where))

    def _contents(self, schema: Any, seen: Any, where: str) -> str:
        types = schema_types(seen, self._root)
        found = options(schema, self._root)
        strings, others = self._texts(found, types, where)
        bodies = [body for body in (strings, others) if body is not None]
        for option in found:
            if option.values is not None:
                if option.kind in ("array", "object"):
                    self._base.note(where, "lists and objects of its enum stand as JSON")
            elif option.kind in ("array", ANY) and (types is None or "array" in types):
                bodies += self._items(option, seen, where, empty=types == _ARRAY)
            if option.kind == ANY:
                self._base.note(where, "objects stand as JSON")
            elif option.kind == "object" and option.values is None:
                bodies += self._members(option, seen, where, types)
        if not bodies:
            self._base.note(where, "no value is allowed")
        return " | ".join(bodies) or '""'

    def _items(self, option: Option, seen: Any, where: str, empty: bool) -> list[str]:
        """The items of a list; ``empty``: nothing stands for the empty list."""
        schema, fixed = option.schema, _fixed(option.schema)
        inner = item_schema(seen, self._root)
        if fixed is not None:
            self._base.note_count(schema, len(fixed), where)
            items = [
                self._element(ITEM, item, inner, f"{where}[{number}]")
                for number, item in enumerate(fixed)
            ]
            return [" ".join(items)] if items else []
        least, most = int(schema.get("minItems") or 0), schema.get("maxItems")
        found = ['""'] if empty and not least else []
        if most is None or most > 0:
            name = where if option.kind == ANY else f"{where}[]"
            item = self._rules.rule(self._element(ITEM, schema.get("items", True), inner, name))
            found.append(f"{item}{{{max(least, 1)},{'' if most is None else int(most)}}}")
        return found

    def _members(
        self, option: Option, seen: Any, where: str, types: frozenset[str] | None
    ) -> list[str]:
        """The members of an object, in any order, as elements."""
        members, extra = self._base.members(option.schema, where)
        if extra is not None:
            self._base.note(where, "objects with members that it does not name stand as JSON")
        as_list = types is None or "array" in types
        named = {member.name for member in members}
        if as_list and ITEM in named:
            self._base.note(where, f"objects with a member {ITEM} stand as JSON")
            return []
        pieces: list[Piece] = []
        for name, schema, required in members:
            if not _can_be_tag(name):
                if required:
                    return []
                continue
            below = member_schema(seen, self._root, name)
            element = self._element(name, schema, below, f"{where}.{name}")
            pieces.append(Piece(self._rules.rule(element), required))
        empty = '""' if types == _OBJECT else None
        if not pieces:
            return [] if empty is None else [empty]
        rule, notes = in_any_order(self._rules, Members(tuple(pieces), empty=empty))
        for note in notes:
            self._base.note(where, note)
        return [rule]


def _can_be_tag(name: str) -> bool:
    return ">" not in name and not name.startswith("/")


def _fixed(schema: Mapping[str, Any]) -> list[Any] | None:
    """The schemas of a list's items one by one; None where all share one."""
    for word in ("prefixItems", "items"):
        if isinstance(schema.get(word), list):
            return cast(list[Any], schema[word])
    return None


def _joined(schemas: Iterable[Any]) -> Any:
    """The schema of what one of these allows; None when one of them does not say."""
    kept: list[Any] = []
    for schema in schemas:
        if not isinstance(schema, dict):
            return None
        if schema not in kept:
            kept.append(schema)
    return kept[0] if len(kept) == 1 else {"anyOf": kept} if kept else None


def _member(schema: Mapping[str, Any], key: str) -> Any:
    entry = _entry(schema.get("properties"), key)
    return schema.get("additionalProperties") if entry is None else entry


def _entry(value: Any, key: str) -> Any:
    return cast(JSON, value).get(key) if isinstance(value, dict) else None
