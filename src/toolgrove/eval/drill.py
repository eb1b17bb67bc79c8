"""Plain requests made up for a tool: its description as the wish, drawn values as the details."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from toolgrove.core.messages import JSON, Conversation, Message, Role, ToolCall
from toolgrove.eval.bfcl import tool
from toolgrove.eval.cases import Case
from toolgrove.eval.labels import Labelled

LONGEST_WISH = 140
LONGEST_VALUE = 40

_REQUESTS = (
    "{wish} {details}.",
    "Please {wish} {details}.",
    "Can you {wish} {details}?",
    "Could you help me {wish} {details}?",
    "I need to {wish} {details}.",
    "I'd like to {wish}. {Details}.",
    "{Wish}: {details}.",
    "How do I {wish} {details}? Do it for me.",
)
_QUESTIONS = (
    "What is the {name}?",
    "Which {name} should I take?",
    "Please tell me the {name}.",
    "I need the {name} for that. What is it?",
)
_DETAILS = ("{name} {value}", "{name} of {value}", "{name}: {value}", "the {name} is {value}")
_NUMBERS = ((1, 20), (2, 100), (10, 999), (1000, 90_000))


@dataclass(frozen=True, slots=True)
class Words:
    """Texts that people gave as arguments, by the words of the arguments' names."""

    by_word: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    any: list[str] = field(default_factory=list[str])

    @classmethod
    def of(cls, rows: Iterable[Labelled]) -> Words:
        """The short texts among the arguments of the rows."""
        words = cls()
        for call in (call for row in rows for call in row.calls):
            for name, value in call.arguments.items():
                if isinstance(value, str) and 0 < len(value) <= LONGEST_VALUE:
                    words.any.append(value)
                    for word in _name_words(name):
                        words.by_word.setdefault(word, []).append(value)
        return words

    def draw(self, name: str, rng: random.Random) -> str | None:
        """A text that suits an argument of that name, or any; None when no text is known."""
        for word in reversed(_name_words(name)):
            if word in self.by_word:
                return rng.choice(self.by_word[word])
        return rng.choice(self.any) if self.any else None


def drill(function: JSON, words: Words, rng: random.Random, options: float) -> Labelled | None:
    """A request for the function and the call that fulfils it.

    ``options``: how often an argument that may be left out is asked for, as a share.
    None when the function has no short description or wants what cannot be drawn (objects).
    """
    wish = _wish(str(function["description"]))
    arguments = _arguments(function["parameters"], words, rng, options)
    if wish is None or arguments is None:
        return None
    case = _case(function, _request(wish, arguments, rng))
    return Labelled(case, (ToolCall(str(function["name"]), arguments),), grounded=True)


def missing(function: JSON, words: Words, rng: random.Random) -> Labelled | None:
    """A request for the function that leaves out what it needs, and the question for that.

    None where ``drill`` would be, and when the function needs nothing.
    """
    wish = _wish(str(function["description"]))
    parameters = function["parameters"]
    arguments = _arguments(parameters, words, rng, 0)
    if wish is None or not arguments:
        return None
    left_out = rng.choice(list(arguments))
    said = {name: value for name, value in arguments.items() if name != left_out}
    question = rng.choice(_QUESTIONS).format(name=" ".join(_name_words(left_out)) or left_out)
    case = _case(function, _request(wish, said, rng))
    return Labelled(case, (), grounded=True, after=(Message(Role.ASSISTANT, question),))


def _case(function: JSON, text: str) -> Case:
    talk = Conversation((Message(Role.USER, text),), (tool(function),))
    return Case(f"drill {function['name']}", "drill", talk, (function,), ())


def _arguments(parameters: JSON, words: Words, rng: random.Random, options: float) -> JSON | None:
    """Drawn arguments; None when a required one cannot be drawn."""
    arguments: JSON = {}
    for name, schema in parameters.get("properties", {}).items():
        required = name in parameters.get("required", ())
        if not required and rng.random() >= options:
            continue
        value = _draw(name, schema, words, rng)
        if value is not None:
            arguments[name] = value
        elif required:
            return None
    return arguments


def _wish(description: str) -> str | None:
    """``Calculates the area. Uses ...`` -> ``calculate the area``."""
    sentence = re.split(r"[.:;]\s|\.$|\n", description.strip(), maxsplit=1)[0]
    first, _, rest = sentence.partition(" ")
    if not rest or len(sentence) > LONGEST_WISH or not sentence.isascii() or not first.isalpha():
        return None
    return f"{_bare(first.lower())} {rest}"


def _bare(verb: str) -> str:
    """``searches`` -> ``search``."""
    for ending, bare in (("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("sses", "ss")):
        if verb.endswith(ending):
            return verb.removesuffix(ending) + bare
    return verb.removesuffix("s") if not verb.endswith("ss") else verb


def _request(wish: str, arguments: Mapping[str, Any], rng: random.Random) -> str:
    style = rng.choice(_DETAILS)
    details = [_detail(name, value, style) for name, value in arguments.items()]
    rng.shuffle(details)
    if not details:
        return f"{wish[0].upper()}{wish[1:]}."
    told = details[0] if len(details) == 1 else f"{', '.join(details[:-1])} and {details[-1]}"
    told = told if style.startswith("the") else f"with {told}"
    return rng.choice(_REQUESTS).format(
        wish=wish, Wish=wish[0].upper() + wish[1:], details=told, Details=told[0].upper() + told[1:]
    )


def _detail(name: str, value: Any, style: str) -> str:
    spoken = " ".join(_name_words(name)) or name
    if isinstance(value, list) and value and isinstance(value[0], str):
        value = ", ".join(value)
    return style.format(name=spoken, value=str(value).lower() if value in (True, False) else value)


def _draw(name: str, schema: Mapping[str, Any], words: Words, rng: random.Random) -> Any:
    """A value for an argument; None when its type is none that can be drawn."""
    if schema.get("enum"):
        return rng.choice(list(schema["enum"]))
    kind = schema.get("type")
    if kind in ("array", "tuple"):
        items = schema.get("items") or {}
        drawn = [_draw(name, items, words, rng) for _ in range(rng.randint(2, 4))]
        return None if None in drawn else drawn
    low, high = rng.choice(_NUMBERS)
    if kind == "integer":
        return rng.randint(low, high)
    if kind == "float":
        return round(rng.uniform(low, high), rng.choice((0, 1, 1, 2)))
    if kind == "boolean":
        return rng.random() < 0.5
    return words.draw(name, rng) if kind == "string" else None


def _name_words(name: str) -> Sequence[str]:
    """``startDate``, ``start_date`` -> ``start``, ``date``."""
    return re.findall(r"[a-z]+|\d+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())
