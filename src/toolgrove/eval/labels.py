"""Turns accepted answers into the one call that a model learns to write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolgrove.core.messages import JSON, Message, ToolCall
from toolgrove.eval.bfcl import LANGUAGES
from toolgrove.eval.bfcl_languages import source_text
from toolgrove.eval.cases import Accepted, Case

LEFT_OUT = ""
"""Among accepted values: the argument may be left out."""

_NUMBER_WORDS = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
)


@dataclass(frozen=True, slots=True)
class Labelled:
    """A case with the calls to learn. ``grounded``: every value can be had from the question.

    ``after``: what follows the calls, or what is said where there are none.
    """

    case: Case
    calls: tuple[ToolCall, ...]
    grounded: bool
    after: tuple[Message, ...] = ()


def label(case: Case) -> Labelled:
    """The calls to learn for a case.

    Of several accepted values the one that stands in the question is taken, else the first. An
    argument that may be left out is left out, unless the question names one of its values.
    Arguments stand in the order in which the tool declares them; those of Java and JavaScript are
    source text.
    """
    text = "\n".join(message.text for message in case.conversation.messages)
    calls: list[ToolCall] = []
    grounded = True
    for wanted in case.gold:
        parameters = _parameters(case, wanted.name)
        arguments = _arguments(wanted, parameters, text)
        properties = parameters.get("properties", {})
        language = LANGUAGES.get(case.category)
        if language is not None:
            arguments = {
                name: source_text(value, properties.get(name, {}), language)
                for name, value in arguments.items()
            }
        calls.append(ToolCall(wanted.name, arguments))
        grounded &= all(
            is_grounded(value, properties.get(name, {}), text) for name, value in arguments.items()
        )
    return Labelled(case, tuple(calls), grounded)


def is_grounded(value: Any, schema: Mapping[str, Any], text: str) -> bool:
    """Whether a reader of the text can know the value: it stands there, or is one of few choices.

    A string also counts when half of its words are in the text ("Los Angeles, CA").
    """
    if value is None or isinstance(value, bool) or value in schema.get("enum", ()):
        return True
    if isinstance(value, (int, float)):
        return _number_stands_in(value, text)
    if isinstance(value, str):
        if value.casefold() in text.casefold():
            return True
        words, known = _words(value), set(_words(text))
        return bool(words) and 2 * sum(word in known for word in words) >= len(words)
    if isinstance(value, Mapping):
        inner = schema.get("properties", {})
        return all(is_grounded(v, inner.get(k, {}), text) for k, v in value.items())
    return all(is_grounded(item, schema.get("items") or {}, text) for item in value)


def _parameters(case: Case, name: str) -> JSON:
    for function in case.functions:
        if function["name"] == name:
            return function["parameters"]
    return {}


def _arguments(wanted: Accepted, parameters: JSON, text: str) -> JSON:
    declared = list(parameters.get("properties", {}))
    required = parameters.get("required", ())
    arguments: JSON = {}
    for name in sorted(wanted.arguments, key=lambda n: _place(n, declared)):
        values = wanted.arguments[name]
        if LEFT_OUT in values and name not in required and not _named(values, text):
            continue
        schema = parameters.get("properties", {}).get(name, {})
        arguments[name] = _value(values, schema, text)
    return arguments


def _place(name: str, declared: Sequence[str]) -> int:
    return declared.index(name) if name in declared else len(declared)


def _named(values: Sequence[Any], text: str) -> bool:
    """Whether the text holds one of the values (true and false cannot be looked for)."""
    low = text.casefold()
    return any(
        str(value).casefold() in low
        for value in values
        if value != LEFT_OUT
        and isinstance(value, (str, int, float))
        and not isinstance(value, bool)
    )


def _value(values: Sequence[Any], schema: Mapping[str, Any], text: str) -> Any:
    """One accepted value as plain JSON."""
    given = [value for value in values if value != LEFT_OUT] or [LEFT_OUT]
    value = _standing_in(given, text)
    kind = schema.get("type")
    if isinstance(value, float) and value.is_integer() and str(value) not in text:
        return int(value) if kind == "float" else value
    return _plain(value, text) if kind in ("dict", "array", "tuple", "HashMap") else value


def _standing_in(values: Sequence[Any], text: str) -> Any:
    """The first value that is in the text letter for letter, else in another case, else any."""
    strings = [value for value in values if isinstance(value, str) and value]
    for value in strings:
        if value in text:
            return value
    for value in strings:
        if value.casefold() in text.casefold():
            return value
    return values[0]


def _plain(value: Any, text: str) -> Any:
    """Objects inside accepted values list the accepted values of each key: choose among those."""
    if isinstance(value, list):
        return [_plain(item, text) if isinstance(item, dict) else item for item in value]
    if not isinstance(value, dict):
        return value
    chosen: JSON = {}
    for name, inner in value.items():
        if not isinstance(inner, list):
            chosen[name] = inner
        elif LEFT_OUT not in inner or _named(inner, text):
            chosen[name] = _value(inner, {"type": "dict"}, text)
    return chosen


def _words(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text.casefold()).split()


def _number_stands_in(value: float, text: str) -> bool:
    plain = text.replace(",", "").casefold()
    written = [f"{value:g}", str(value)]
    if isinstance(value, int) and 0 <= value < len(_NUMBER_WORDS):
        written.append(_NUMBER_WORDS[value])
    if abs(value) <= 1:
        written += [f"{100 * value:g}%", f"{100 * value:g} percent"]
    return any(form in plain for form in written)
