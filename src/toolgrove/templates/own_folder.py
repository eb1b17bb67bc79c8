"""A model folder's own chat template, with the tokens that it may print."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple, cast

from toolgrove.core.errors import TemplateError
from toolgrove.templates.jinja import MakersTemplate

_TOKENS = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


class OwnTemplate(NamedTuple):
    """A folder's own chat template: its Jinja source and the special tokens that it may print.

    ``tool_source``: the template that is used in its place where there are tools; ``stops``: the
    tokens that the folder's settings end a turn with.
    """

    source: str
    variables: dict[str, Any]
    tool_source: str | None = None
    stops: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """A number of the template's text; the same for the same text."""
        texts = [text.replace("\r\n", "\n").rstrip("\n") for text in self.sources]
        return hashlib.sha256("\0".join(texts).encode()).hexdigest()

    @property
    def sources(self) -> tuple[str, ...]:
        """Its texts: the second is used where there are tools."""
        return (self.source,) if self.tool_source is None else (self.source, self.tool_source)

    def compiled(self, options: Mapping[str, Any], today: date) -> MakersTemplate:
        """The template, ready to render, with these further variables."""
        variables = {**self.variables, **options}
        return MakersTemplate(self.source, variables, today, self.tool_source)


def own_template(folder: Path) -> OwnTemplate:
    """The folder's own chat template; TemplateError when it has none."""
    config = _json(folder / "tokenizer_config.json")
    kept = {**_json(folder / "special_tokens_map.json"), **config}
    variables = {
        f"{name}_token": token for name in _TOKENS if (token := _text(kept.get(f"{name}_token")))
    }
    sources = _sources(folder, config)
    plain = sources.get("default")
    if not plain:
        raise TemplateError(
            "no chat template in the folder",
            where=str(folder),
            hint="name one with --template (base models have none)",
        )
    stops = (variables.get("eos_token", ""), *_generation_stops(folder, config))
    unique = tuple(dict.fromkeys(stop for stop in stops if stop))
    return OwnTemplate(plain, dict(variables), sources.get("tool_use"), unique)


def _sources(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    """The folder's templates by name, as transformers looks for them: files before settings."""
    given = config.get("chat_template")
    file = folder / "chat_template.jinja"
    sources: dict[str, Any] = {}
    if isinstance(given, list):
        rows = cast(list[Any], given)
        named = [cast(dict[str, Any], row) for row in rows if isinstance(row, dict)]
        sources = {str(row.get("name")): row.get("template") for row in named}
    elif isinstance(given, str):
        sources = {"default": given}
    if file.is_file():
        more = sorted((folder / "additional_chat_templates").glob("*.jinja"))
        sources = {path.stem: path.read_text("utf-8") for path in more}
        sources["default"] = file.read_text("utf-8")
    return {name: source for name, source in sources.items() if isinstance(source, str)}


def _generation_stops(folder: Path, config: dict[str, Any]) -> list[str]:
    """The tokens that the folder's generation settings stop at."""
    given = _json(folder / "generation_config.json").get("eos_token_id")
    ids = cast(list[Any], given) if isinstance(given, list) else [given]
    numbers = {number for number in ids if isinstance(number, int)}
    if not numbers:
        return []
    decoder = cast(dict[str, Any], config.get("added_tokens_decoder") or {})
    known = {number: _text(token) for number, token in decoder.items()}
    if any(str(number) not in known for number in numbers):
        settings = _json(folder / "tokenizer.json")
        added = cast(list[dict[str, Any]], settings.get("added_tokens") or [])
        known |= {str(token.get("id")): _text(token) for token in added}
    return [token for number in sorted(numbers) if (token := known.get(str(number)))]


def _text(token: Any) -> str:
    """A token's text, which settings give as a string or as an object."""
    content = cast(dict[str, Any], token).get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else ""


def _json(file: Path) -> dict[str, Any]:
    """A file's JSON object; empty when there is no such file."""
    if not file.is_file():
        return {}
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TemplateError(f"not a JSON file: {error}", where=str(file)) from error
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}
