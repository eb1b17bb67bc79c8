"""``toolgrove render``: rows as the text that a model reads."""

from __future__ import annotations

import json
import logging

from pydantic import Field

from toolgrove.cli.inputs import RowsSettings, at, conversations_of, dialect_of

logger = logging.getLogger(__name__)


class RenderSettings(RowsSettings):
    """What to write, and how."""

    prompt: bool = False
    """Add the generation prompt: what the model is given before it answers."""

    as_json: bool = Field(default=False, alias="json")
    """Print a JSON object a row instead of the bare text."""


def run(settings: RenderSettings) -> int:
    """Prints each row's text; what the template leaves out is told on stderr."""
    dialect = dialect_of(settings)
    said = list(conversations_of(settings.dataset))
    for where, talk in said:
        with at(where):
            text = dialect.prompt(talk) if settings.prompt else dialect.text(talk)
        losses = dialect.losses(talk)
        for loss in losses:
            logger.warning("%s: not shown: %s", where, loss)
        if settings.as_json:
            row = {"where": where, "text": text, "losses": losses}
            print(json.dumps(row, ensure_ascii=False))
            continue
        if len(said) > 1:
            print(f"=== {where}")
        print(text, end="" if text.endswith("\n") else "\n")
    return 0
