"""Calls whose arguments are one JSON object, as a grammar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from toolgrove.core.messages import JSON, Tool
from toolgrove.templates.grammar import rules_of
from toolgrove.templates.notations import SPACED_JSON, Notation
from toolgrove.templates.options import Option, options
from toolgrove.templates.rules import Rules
from toolgrove.templates.value_rules import Values


class CallForm(NamedTuple):
    """What stands around calls, as bodies of rules: ``call`` puts a tool's arguments, a rule, into
    a call, ``first`` into the first one (None: the same); the others stand before the first,
    between two, and behind the last one."""

    call: Callable[[Tool, str], str]
    between: str = ""
    before: str = ""
    behind: str = ""
    first: Callable[[Tool, str], str] | None = None


class Calls(NamedTuple):
    """Calls as a format of structural tags, and what they leave wider or out."""

    content: JSON
    notes: tuple[str, ...]


def json_calls(tools: Sequence[Tool], parallel: bool, form: CallForm) -> Calls:
    """One call of any of the tools or, where ``parallel``, several, with valid arguments: keys in
    any order, each once, with the white space of ``SPACED_JSON``."""
    rules, notes = Rules(), list[str]()
    given = [(tool, spaced_json(tool, rules, notes)) for tool in tools]
    root = form_of_calls(given, parallel, form, rules)
    return Calls(rules_of(rules.text(root)), tuple(notes))


def form_of_calls(
    given: Sequence[tuple[Tool, str]], parallel: bool, form: CallForm, rules: Rules
) -> str:
    """The body of a rule for one or several calls of the tools, whose arguments are ``given`` as
    rules."""
    one, first = (
        rules.rule(" | ".join(call(*each) for each in given))
        for call in (form.call, form.first or form.call)
    )
    more = f"({form.between} {one})*" if parallel else ""
    return f"{form.before} {first} {more} {form.behind}"


def spaced_json(tool: Tool, rules: Rules, notes: list[str]) -> str:
    """The name of a rule for the arguments of a tool as JSON."""
    return arguments_of(tool, SPACED_JSON, rules, notes)


def arguments_of(tool: Tool, notation: Notation, rules: Rules, notes: list[str]) -> str:
    """The name of a rule for the arguments of a tool, one object."""
    root = tool.parameters
    values = Values(rules, notation, root, notes=notes)
    found = [option for option in options(objects(root), root) if option.kind == "object"]
    bodies = [values.option(option, tool.name) for option in found or [_NO_ARGUMENTS]]
    return rules.rule(" | ".join(bodies))


def objects(parameters: JSON) -> JSON:
    """The schema of a tool's arguments; a tool without any takes the empty object."""
    return parameters or {"type": "object", "properties": {}}


_NO_ARGUMENTS = Option("object", {"type": "object", "properties": {}})
