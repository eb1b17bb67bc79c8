"""Flags made from a settings class: each field is a flag, its docstring the help."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, StrEnum, auto
from keyword import iskeyword
from typing import Annotated, Any, Literal, NamedTuple, cast

import yaml
from cyclopts import Parameter
from pydantic.fields import FieldInfo

from toolgrove.config.names import canonical
from toolgrove.config.settings import CommandSettings, Settings, names_of, settings_in
from toolgrove.core.errors import ConfigError

YES_OR_NO = frozenset({"true", "false", "yes", "no", "on", "off", "1", "0"})


class Shape(StrEnum):
    """How many words a flag takes."""

    SWITCH = auto()
    ONE = auto()
    MANY = auto()
    PAIRS = auto()


class Flag(NamedTuple):
    """One flag: its shape, the sentence about it, what the help says of its default."""

    shape: Shape
    help: str
    default: str = ""


SHORT = {"-c": "config", "-o": "output"}
"""The flags with a name of one letter."""

CONFIG = Flag(
    Shape.ONE, "A recipe file (YAML): the same keys as these flags. What a flag says wins."
)
"""The flag that every command has beside its settings."""


def flags_of(model: type[Settings]) -> dict[str, Flag]:
    """The flags of a settings class by name; those that all commands have come last."""
    flags = {name: _flag(field) for name, field in names_of(model).items()}
    shared = {name: flags.pop(name) for name in CommandSettings.model_fields if name in flags}
    return {**flags, **shared, "config": CONFIG}


def spell(words: Sequence[str], flags: Mapping[str, Flag]) -> list[str]:
    """The words with every known flag as ``--name=value``, whatever way it was written.

    ``-`` for ``_``, older spellings, switches with and without a value, ``--no-`` switches and
    lists of values after one flag all come out the same. Unknown flags stay as they are; words
    that belong to no flag come last, behind ``--``.
    """
    spelled: list[str] = []
    loose: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            loose += rest
            break
        name, equals, value = word.removeprefix("--").partition("=")
        name = canonical(name, flags, "--{}") if word.startswith("--") else ""
        name = SHORT.get(word, name)
        if name.startswith("no_") and name not in flags and _is_switch(name[3:], flags):
            spelled.append(f"--{name[3:]}=false")
        elif name not in flags:
            (spelled if len(word) > 1 and word.startswith("-") else loose).append(word)
        elif equals:
            spelled.append(f"--{name}={value}")
        else:
            spelled += _with_values(name, flags[name].shape, rest)
    return [*spelled, "--", *loose] if loose else spelled


def function_of(
    model: type[Settings], positional: str | None, act: Callable[[dict[str, Any]], int]
) -> Callable[..., int]:
    """A function whose parameters are the flags, for cyclopts; it hands the given ones to act."""
    parameters = [_parameter(name, flag) for name, flag in flags_of(model).items()]
    if positional is not None:
        kind = inspect.Parameter.VAR_POSITIONAL
        parameters.insert(0, inspect.Parameter("words", kind, annotation=str))

    def command(*words: str, **given: str | list[str] | None) -> int:
        flags = {name.rstrip("_"): value for name, value in given.items() if value is not None}
        if words and positional is not None:
            flags[positional] = [*flags.get(positional, ()), *words]
        return act(read(flags, model))

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def read(given: Mapping[str, Any], model: type[Settings]) -> dict[str, Any]:
    """What was given as words, as values for the settings to validate."""
    fields = names_of(model)
    values: dict[str, Any] = {}
    for name, raw in given.items():
        field = fields.get(name)
        values[name] = _value(name, raw, field.annotation) if field else raw
    return values


def _flag(field: FieldInfo) -> Flag:
    shown = " ".join((field.description or "").split())
    choices = _choices(field.annotation)
    if choices:
        shown += f" One of: {', '.join(choices)}."
    default = field.get_default(call_default_factory=False)
    told = "" if field.is_required() or default in (None, "", (), [], {}) else _plain(default)
    return Flag(shape_of(field.annotation), shown, told)


def shape_of(annotation: Any) -> Shape:
    """The shape of the flag for a field of that type."""
    origins = {typing.get_origin(choice) or choice for choice in _members(annotation)}
    if origins & {dict, Mapping, typing.get_origin(Mapping[str, str])} or settings_in(annotation):
        return Shape.PAIRS
    if origins & {list, tuple, set, frozenset, typing.get_origin(Sequence[str])}:
        return Shape.MANY
    return Shape.SWITCH if origins - {types.NoneType} == {bool} else Shape.ONE


def _members(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def _choices(annotation: Any) -> list[str]:
    found: list[str] = []
    for member in _members(annotation):
        if typing.get_origin(member) is Literal:
            found += [str(choice) for choice in typing.get_args(member)]
        elif isinstance(member, type) and issubclass(member, Enum):
            found += [str(choice.value) for choice in member]
    return found


def _plain(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, Enum):
        return str(default.value)
    if isinstance(default, list | tuple):
        return " ".join(str(item) for item in cast("Sequence[Any]", default))
    if isinstance(default, dict):
        pairs = cast("dict[str, Any]", default)
        return " ".join(f"{key}={_plain(value)}" for key, value in pairs.items())
    return "" if isinstance(default, Settings) else str(default)


def _parameter(name: str, flag: Flag) -> inspect.Parameter:
    several = flag.shape in (Shape.MANY, Shape.PAIRS)
    annotation = Annotated[
        list[str] | None if several else str | None, Parameter(name=f"--{name}", negative=())
    ]
    kind = inspect.Parameter.KEYWORD_ONLY
    identifier = f"{name}_" if iskeyword(name) else name
    return inspect.Parameter(identifier, kind, default=None, annotation=annotation)


def _is_switch(name: str, flags: Mapping[str, Flag]) -> bool:
    return name in flags and flags[name].shape is Shape.SWITCH


def _with_values(name: str, shape: Shape, rest: list[str]) -> list[str]:
    """The flag with the words that belong to it, which are taken off ``rest``."""
    if shape is Shape.SWITCH:
        told = rest.pop(0) if rest and rest[0].lower() in YES_OR_NO else "true"
        return [f"--{name}={told}"]
    if not rest:
        return [f"--{name}"]
    values = [rest.pop(0)] if shape is Shape.ONE or not rest[0].startswith("--") else []
    if shape is Shape.MANY:
        while rest and not _looks_like_flag(rest[0]):
            values.append(rest.pop(0))
    while shape is Shape.PAIRS and rest and "=" in rest[0] and not _looks_like_flag(rest[0]):
        values.append(rest.pop(0))
    return [f"--{name}={value}" for value in values] or [f"--{name}"]


def _looks_like_flag(word: str) -> bool:
    return word in SHORT or (word.startswith("--") and len(word) > 2) or word == "--"


def _value(name: str, raw: Any, annotation: Any) -> Any:
    shape = shape_of(annotation)
    if shape is Shape.PAIRS:
        return _pairs(name, raw)
    if shape is Shape.MANY:
        words = cast("list[str]", raw)
        if len(words) == 1 and words[0].startswith("["):
            return _yaml(name, words[0])
        return words[0] if len(words) == 1 and str in _members(annotation) else words
    word = raw[-1] if isinstance(raw, list) else raw
    if word == "null" and types.NoneType in _members(annotation):
        return None
    return word


def _pairs(name: str, raw: Sequence[str]) -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for word in raw:
        key, equals, value = word.partition("=")
        if word.startswith("{"):
            whole = _yaml(name, word)
            pairs.update(whole if isinstance(whole, dict) else {})
        elif equals:
            pairs[key] = _yaml(name, value)
        else:
            raise ConfigError(f'--{name}: "{word}" is not a pair', hint=f"--{name} key=value")
    return pairs


def _yaml(name: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--{name}: cannot be read: {text}", hint="give JSON") from error
