"""The replies that a dialect can read, as a grammar for constrained generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from toolgrove.core.errors import TemplateError, did_you_mean
from toolgrove.core.messages import JSON, Tool, tool_names
from toolgrove.templates.base import AgentTemplate
from toolgrove.templates.expressible import Expressible, expressible
from toolgrove.templates.free_text import with_shared_texts
from toolgrove.templates.grammar import (
    Grammar,
    Opening,
    any_text,
    called,
    choice,
    optional,
    rules_of,
    sequence,
    text_until,
)
from toolgrove.templates.json_calls import arguments_of
from toolgrove.templates.notations import SPACED_JSON
from toolgrove.templates.rules import Rules, literal
from toolgrove.templates.values import Window
from toolgrove.templates.writing import Traits

_SPACE = 'Regex("[ \\t\\r\\n]{0,8}")'
"""white space before what must come: bounded, so that no model goes on with it for ever"""

_AUTO, _REQUIRED, _NONE = "auto", "required", "none"


class Request(NamedTuple):
    """Which replies are asked for.

    ``tool_choice`` is ``auto``, ``required``, ``none``, the name of a tool, or OpenAI's object that
    names one. ``prompt`` is what the reply continues. ``at_once``: a call that is required comes
    before any text. ``schema``: what is no call is one JSON value that is valid for it, with
    thinking before it only where the family thinks or the prompt has opened it.
    """

    tools: tuple[Tool, ...]
    tool_choice: str | Mapping[str, Any] = _AUTO
    parallel: bool = True
    prompt: str = ""
    at_once: bool = False
    schema: JSON | None = None


class Constraint(NamedTuple):
    """A grammar as a structural tag; ``notes`` say what it leaves wider, or out."""

    tag: JSON
    notes: tuple[str, ...]

    @property
    def wider(self) -> tuple[str, ...]:
        """The notes on replies that are admitted and not valid; the others only leave some out."""
        return tuple(note for note in self.notes if "is not enforced" in note)


def constraint(chat: Traits, agent: AgentTemplate | None, request: Request) -> Constraint:
    """The grammar of the replies that this chat and agent template read together."""
    required, tools, parallel = _asked(request)
    if required and agent is None:
        raise TemplateError(
            "this dialect writes no calls, so it cannot require one",
            hint='name an agent template, for example agent="hermes"',
        )
    offered, notes = expressible(tools or request.tools)
    grammar = agent.call_grammar(offered, parallel) if agent is not None and offered else None
    if grammar is None and agent is not None and offered:
        raise TemplateError(
            f"the agent template {type(agent).__name__} has no grammar for its calls",
            hint='choose another one, for example agent="hermes"',
        )
    never = (chat.stop, *chat.other_stops, chat.think.open)
    if grammar is None or agent is None:
        body = any_text(never)
    else:
        opened = [opening.mark for opening in grammar.openings]
        marks = (mark for mark in agent.marks if not any(mark in other for other in opened))
        never = (*never, *grammar.never, *marks)
        body = _body(grammar, required, never) if tools else _text(grammar, never)
        notes = (*notes, *grammar.notes) if tools else ()
        body = _at_once(grammar.openings) if required and request.at_once else body
    ends = [
        mark
        for mark in chat.wrappers
        if mark not in chat.think[:2] and not _may_open_a_call(mark, agent)
    ]
    if request.schema is not None and not required:
        openings = grammar.openings if grammar is not None and tools else ()
        held = _held_schema(request.schema)
        body, more = _json(held.tools[0], openings)
        notes = (*notes, *held.notes, *more)
        body = sequence(optional(choice(ends)), body) if ends else body
    if ends:
        body = sequence(body, optional(choice(ends)))  # such as the mark that closes a message
    unasked = chat.think.unasked or request.schema is None or required
    whole = with_shared_texts(_after_thinking(body, chat, request.prompt, unasked=unasked))
    return Constraint({"type": "structural_tag", "format": whole}, notes)


def _may_open_a_call(mark: str, agent: AgentTemplate | None) -> bool:
    """Whether the agent template waits for more behind the mark: a reply cannot end with it."""
    if agent is None:
        return False
    return agent.scan(Window(mark, 0, 0, final=False, tools=())).begin < len(mark)


def _asked(request: Request) -> tuple[bool, tuple[Tool, ...], bool]:
    """Whether a call is required, of which tools, and whether there may be several."""
    asked, tools = request.tool_choice, request.tools
    if isinstance(asked, Mapping):
        inner: Any = asked.get("function", asked)
        asked = str(cast(Mapping[str, Any], inner).get("name", ""))
    elif asked == _NONE:
        return False, (), False
    elif asked == _AUTO:
        return False, tools, request.parallel
    elif asked == _REQUIRED:
        if not tools:
            raise TemplateError("a call is required and there are no tools", hint="pass tools")
        return True, tools, request.parallel
    named = tuple(tool for tool in tools if tool.name == asked)
    if not named:
        names = tool_names(tools)
        raise TemplateError(
            f'the tool choice is "{asked}" and no tool has that name',
            hint=did_you_mean(asked, names) or "auto, required, none, or a tool's name",
        )
    return True, named[:1], False


def _at_once(openings: Sequence[Opening]) -> JSON:
    """Calls without text before them; white space may stand there, as some families write it."""
    return choice([sequence(_begun(opening), opening.rest) for opening in openings])


def _begun(opening: Opening) -> JSON:
    leads = dict.fromkeys(("", opening.lead))
    return choice([_spaced(lead + opening.mark) for lead in leads])


def _spaced(mark: str) -> JSON:
    """A mark, with white space before it or not."""
    return rules_of(f"root ::= {_SPACE} {literal(mark)}")


def _json(tool: Tool, openings: Sequence[Opening]) -> Constraint:
    """One JSON object like a tool's arguments or, where there are openings, calls instead."""
    rules, notes = Rules(), list[str]()
    root = arguments_of(tool, SPACED_JSON, rules, notes)
    value = rules_of(rules.text(f"{rules.rule(_SPACE)} {root}"))
    return Constraint(choice([value, _at_once(openings)]) if openings else value, tuple(notes))


def _held_schema(schema: JSON) -> Expressible:
    """The schema, as the one tool's that is given back, as a grammar can hold it."""
    spec: JSON = {"name": "response_format", "parameters": schema}
    return expressible([Tool({"type": "function", "function": spec})])


def _text(grammar: Grammar, never: Sequence[str]) -> JSON:
    """Text that no reader takes for a call."""
    if grammar.text is not None:
        return grammar.text(never)
    return any_text([*(opening.mark for opening in grammar.openings), *never])


def _body(grammar: Grammar, required: bool, never: Sequence[str]) -> JSON:
    """The visible part of a reply that may, or must, call a tool."""
    at_once = [sequence(each.mark, each.rest) for each in grammar.openings if each.first]
    later = [opening for opening in grammar.openings if not opening.first]
    if not required and grammar.text is None:
        return choice([text_until(later, never), *at_once])
    calls = called(later)
    if grammar.text is not None:
        text = grammar.text(never)
    else:
        text = any_text([*(opening.mark for opening in later), *never])
    return choice([sequence(text, calls if required else optional(calls)), *at_once])


def _after_thinking(body: JSON, chat: Traits, prompt: str, *, unasked: bool) -> JSON:
    """The visible part with the thinking before it, which the prompt or, ``unasked``, the reply
    may open."""
    opens, closes, bare, _ = chat.think
    if not opens or not closes:
        return body
    stops = (chat.stop, *chat.other_stops)
    thought = sequence(any_text([closes, *stops]), closes)
    opened = sequence(_spaced(opens), thought)
    if prompt.rstrip().endswith(closes):
        again = opens in chat.wrappers  # a mark that opens thinking wherever it stands
        return sequence(optional(opened), body) if again else body
    tail = prompt.rpartition(opens)[2] if opens in prompt else None
    if tail is not None and not tail.strip():
        return sequence(thought, body)
    if not unasked:
        return body
    ways = [opened, _spaced(closes)] if bare else [opened]
    return sequence(optional(choice(ways)), body)
