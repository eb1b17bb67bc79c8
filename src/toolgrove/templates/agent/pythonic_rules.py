"""Calls as Python writes them, as rules of a grammar."""

from __future__ import annotations

from collections.abc import Sequence
from keyword import kwlist

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Tool
from toolgrove.templates.agent.pythonic import is_keyword_name, is_tool_name, literal_text
from toolgrove.templates.any_order import Members, Piece, in_any_order
from toolgrove.templates.json_calls import objects
from toolgrove.templates.notations import SPACE, Notation
from toolgrove.templates.options import Option, options
from toolgrove.templates.rules import Letters, Rules, literal
from toolgrove.templates.value_rules import Values

_HEX = "[0-9a-fA-F]"
_LITERALS = Notation(
    literal_text,
    dump,
    escapes=f'["\\\\bfnrt] | "u" ([0-9a-cA-CefEF] {_HEX}{{3}} | [dD] [0-7] {_HEX}{{2}})',
    comma=",",
    colon=":",
    words=(("True", "true"), ("False", "false"), ("None", "null")),
    space=SPACE,
)
_NAMES = Letters(only="A-Za-z0-9_", first="A-Za-z_")


def python_list(tools: Sequence[Tool], parallel: bool, rules: Rules, notes: list[str]) -> str:
    """What stands between the brackets of a list of calls, as a rule's body."""
    made = [Values(rules, _LITERALS, tool.parameters, notes=notes) for tool in tools]
    calls = [_call(tool, values) for tool, values in zip(tools, made, strict=True)]
    one = rules.rule(" | ".join(calls))
    more = f"({made[0].comma} {one})*" if parallel else ""
    return f"{made[0].space} {one} {more} {made[0].space}"


def _call(tool: Tool, values: Values) -> str:
    """One call with its arguments."""
    if not is_tool_name(tool.name):
        values.note(tool.name, "its name cannot be read back")
    root = tool.parameters
    found = [option for option in options(objects(root), root) if option.kind == "object"]
    listed = [body for o in found for body in _arguments(o, tool.name, values)]
    inside = values.rules.rule(" | ".join(listed) or '""')
    return f'{literal(tool.name + "(")} {values.space} {inside} {values.space} ")"'


def _arguments(option: Option, name: str, values: Values) -> list[str]:
    """The arguments by their names, or in ``**{...}`` where a name is none that Python takes."""
    members, extra = values.members(option.schema, name)
    plain = [member for member in members if is_keyword_name(member.name)]
    odd = [member for member in members if not is_keyword_name(member.name)]
    bodies: list[str] = []
    if odd or extra is not None:
        bodies.append(f'"**" {values.option(option, name)}')
    if not any(member.required for member in odd):
        values.note_unheld(option, name)
        pieces: list[Piece] = []
        for member in plain:
            value = values.value(member.schema, f"{name}.{member.name}")
            rule = values.rules.rule(f"{literal(f'{member.name}=')} {value}")
            pieces.append(Piece(rule, member.required))
        more = ""
        if extra is not None:
            free = values.rules.other_than([*(m.name for m in members), *kwlist], _NAMES)
            more = values.rules.rule(f'{free} "=" {values.value(extra, f"{name}.*")}')
        schema = option.schema
        least, most = int(schema.get("minProperties") or 0), schema.get("maxProperties")
        found = Members(tuple(pieces), more, values.comma, least=least, most=most)
        rule, notes = in_any_order(values.rules, found)
        for note in notes:
            values.note(name, note)
        bodies.append(rule)
    return bodies
