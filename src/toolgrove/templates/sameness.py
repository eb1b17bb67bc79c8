"""Whether a folder's own template is a native one: by its text, or by what its renders show."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import UndefinedError

from toolgrove.core.errors import TemplateError
from toolgrove.core.messages import Conversation
from toolgrove.templates import probe
from toolgrove.templates.coverage import Coverage
from toolgrove.templates.jinja import Code, MakersTemplate
from toolgrove.templates.own_folder import OwnTemplate
from toolgrove.templates.sandbox import Sandbox

DATE = date(2001, 2, 3)
"""The day on which probes are rendered."""
Texts = tuple[str, str]
"""A conversation's text and prompt."""
_STUMBLES = (UndefinedError, AttributeError, LookupError, TypeError, ValueError)


@cache
def known_texts() -> dict[str, str]:
    """The native chat template that each maker's own text is, by the text's fingerprint.

    Written by ``scripts/fingerprints.py``.
    """
    file = resources.files("toolgrove.templates") / "fingerprints.json"
    return json.loads(file.read_text(encoding="utf-8"))


def unproven(
    own: OwnTemplate,
    choices: Iterable[Mapping[str, Any]],
    native: Callable[[Mapping[str, Any], Conversation], Texts | None],
) -> list[str]:
    """Why equal renders of all probes, with each choice of options, do not mean that the template
    is the native one: what it refuses alone, then the parts that no probe shows.

    ``native`` gives the native texts with some options; None: it refuses.
    """
    sandbox = Sandbox(DATE)
    coverage = Coverage(sandbox, own.variables)
    code = own.compiled({}, DATE).compiled(sandbox)
    reasons: dict[str, None] = {}
    for options in choices:
        template = own.compiled(options, DATE)
        for conv in probe.detecting():
            try:
                texts = _texts(template, code, conv)
            except TemplateError as error:
                coverage.finished(counts=False)
                if native(options, conv) is not None and not _excused(template, conv, error):
                    reasons[f"it refuses what the native one writes ({error.what})"] = None
            else:
                coverage.finished(counts=texts == native(options, conv))
    return [*reasons, *coverage.missing()]


def _texts(template: MakersTemplate, code: Code, conv: Conversation) -> Texts:
    text, prompt = (
        "".join(template.pieces(code, conv, template.plain_given(conv, generate)))
        for generate in (False, True)
    )
    return text, prompt


def _excused(template: MakersTemplate, conv: Conversation, error: TemplateError) -> bool:
    """Whether a template stumbles, as makers' do, over a content that is null or over arguments
    that are values and not text; never a refusal in its own words."""
    if not isinstance(error.__cause__, _STUMBLES):
        return False
    whole = all(message.content is not None for message in conv.messages)
    asked = probe.with_given(conv) if whole else probe.with_content(conv)
    if asked == conv:
        return False
    try:
        template.render(asked, generate=False)
    except TemplateError as again:
        return not whole and asked != probe.with_given(asked) and _excused(template, asked, again)
    return True
