"""Settings: one declaration that serves Python, recipe files and flags."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from toolgrove.config.names import GONE, canonical
from toolgrove.config.places import Document, Loc, read_document
from toolgrove.core.errors import ConfigError, did_you_mean


class Settings(BaseModel):
    """Base of all settings: unknown keys are errors, docstrings under fields are their help.

    Law: ``load_recipe(dump_recipe(settings, path), type(settings)) == settings``.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        validate_default=True,
        validate_by_name=True,
        validate_by_alias=True,
        protected_namespaces=(),
    )


YAML_BREAKS = "\x85\u2028\u2029\ufeff"
"""Characters that YAML takes for line ends or marks when they stand unescaped."""


class CommandSettings(Settings):
    """Base of what a whole command is told; parts inside it derive from ``Settings``."""

    external_plugins: list[str] = []
    """Python files that register templates and the like, run first; also --plugin."""


S = TypeVar("S", bound=Settings)
Place: TypeAlias = Callable[[Loc], str | None]
"""Tells where the value at a place was written: ``recipe.yaml:4``, ``--lora_rank``."""


def name_of(name: str, field: FieldInfo) -> str:
    """The name that users write for a field: its alias where it has one."""
    return field.alias or name


def names_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of the settings by the names that users write."""
    return {name_of(name, field): field for name, field in model.model_fields.items()}


def load_recipe(path: str | Path, model: type[S], overrides: Mapping[str, Any] | None = None) -> S:
    """Settings from a recipe file; ``overrides`` (flags) win over what the file says.

    Raises ConfigError that names file and line of each problem.
    """
    return resolve(model, read_document(path), overrides or {})


def resolve(model: type[S], recipe: Document | None, flags: Mapping[str, Any]) -> S:
    """Settings out of a recipe, if there is one, and flags, which win.

    Pairs from a flag are added to those of the recipe or the default.
    """
    written = rename(recipe.values, model) if recipe else {}
    held: dict[str, Any] = {name: field.default for name, field in names_of(model).items()}
    held |= written
    pairs: dict[str, dict[str, Any]] = {
        name: {**held[name], **value}
        for name, value in flags.items()
        if isinstance(value, dict) and isinstance(held.get(name), dict)
    }

    def place(loc: Loc) -> str | None:
        if loc and loc[0] in flags:
            return f"--{loc[0]}"
        return recipe.where(_as_written(loc, recipe)) if recipe else None

    try:
        return model.model_validate({**written, **flags, **pairs})
    except ValidationError as error:
        raise explain(error, model, place) from error


def dump_recipe(settings: Settings, path: str | Path) -> Path:
    """Writes the settings, defaults included, as a recipe that gives the same settings again."""
    file = Path(path)
    values = settings.model_dump(mode="json", by_alias=True)
    plain = not any(char in json.dumps(values, ensure_ascii=False) for char in YAML_BREAKS)
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=plain, width=100)
    file.write_text(text, encoding="utf-8")
    return file


def rename(values: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """The same values under the names of today, in nested settings too."""
    known = names_of(model)
    renamed: dict[str, Any] = {}
    for key, value in values.items():
        name = canonical(str(key), known)
        inner = settings_in(known[name].annotation) if name in known else None
        if inner is not None and isinstance(value, Mapping):
            value = rename(cast("Mapping[str, Any]", value), inner)
        if name in renamed:
            raise ConfigError(
                f'"{name}" is given twice, once as "{key}"', hint="keep one of the two"
            )
        renamed[name] = value
    return renamed


def settings_in(annotation: Any) -> type[BaseModel] | None:
    """The settings class that a field holds (alone or as ``... | None``), or None."""
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, BaseModel) else None
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        found = [settings_in(choice) for choice in typing.get_args(annotation)]
        return next((choice for choice in found if choice is not None), None)
    return None


def explain(
    error: ValidationError, model: type[BaseModel], place: Place | None = None
) -> ConfigError:
    """One ConfigError that tells every problem, each with its place."""
    told: list[ConfigError] = []
    for details in error.errors(include_url=False):
        problem = _problem(details, model, place or _nowhere)
        if str(problem) not in {str(other) for other in told}:
            told.append(problem)
    if len(told) == 1:
        return told[0]
    listed = "".join(f"\n  {problem}".replace("\n  hint: ", "; ") for problem in told)
    return ConfigError(f"{len(told)} settings do not fit:{listed}")


def _nowhere(_loc: Loc) -> str | None:
    return None


def _problem(details: ErrorDetails, model: type[BaseModel], place: Place) -> ConfigError:
    loc = details["loc"]
    kind, given = details["type"], details["input"]
    where = place(loc)
    home, name = _home(loc, model)
    if kind == "extra_forbidden":
        return ConfigError(f'unknown key "{name}"', where=where, hint=_near(name, home))
    if kind == "missing":
        hint = f"give --{name}, or {name}: in the recipe"
        return ConfigError(f'"{name}" is missing', where=None, hint=hint)
    context = details.get("ctx", {})
    prefix = "" if where is not None and where.startswith("--") else f"{name}: "
    if kind in ("literal_error", "enum"):
        choices = str(context.get("expected", "")).replace("'", "").replace(" or ", ", ")
        near = did_you_mean(str(given), choices.split(", "))
        hint = f"{near} choices: {choices}" if near else f"choices: {choices}"
        return ConfigError(f"{prefix}{_quoted(given)} is not a choice", where=where, hint=hint)
    wanted = _WANTED.get(kind)
    if wanted is not None:
        return ConfigError(f"{prefix}{_quoted(given)} is not {wanted}", where=where)
    message = details["msg"].removeprefix("Value error, ")
    return ConfigError(f"{prefix}{message}, not {_quoted(given)}" if loc else message, where=where)


_WANTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "date_from_datetime_parsing": "a date like 2026-01-15",
    "dict_type": "a mapping of keys to values",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "a mapping of keys to values",
    "path_type": "a path",
    "string_type": "text",
    "tuple_type": "a list",
}
"""What a value should have been, by the validator's type of problem."""


def _home(loc: Loc, model: type[BaseModel]) -> tuple[type[BaseModel], str]:
    """The settings class in which the last named key of the place stands, and that key."""
    home, name = model, str(loc[0]) if loc else ""
    for key in loc[1:]:
        field = names_of(home).get(name)
        inner = settings_in(field.annotation) if field else None
        if inner is None:
            break
        home, name = inner, str(key)
    return home, name


def _near(name: str, home: type[BaseModel]) -> str:
    known = names_of(home)
    return GONE.get(name) or did_you_mean(name, known) or f"known keys: {', '.join(sorted(known))}"


def _quoted(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _as_written(loc: Loc, recipe: Document) -> Loc:
    """The place with its keys spelled as the file spells them."""
    values: Any = recipe.values
    written: list[Any] = []
    for key in loc:
        if isinstance(values, Mapping):
            spelled = [k for k in cast("Mapping[str, Any]", values) if _same(k, key)]
            key = spelled[0] if spelled else key
            values = cast("Mapping[Any, Any]", values).get(key)
        else:
            values = None
        written.append(key)
    return tuple(written)


def _same(written: str, name: Any) -> bool:
    return written == name or canonical(str(written), (str(name),)) == name
