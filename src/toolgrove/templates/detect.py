"""Which dialect a model folder speaks, found by rendering its own template."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from toolgrove.core.errors import TemplateError
from toolgrove.core.messages import Conversation
from toolgrove.templates import probe
from toolgrove.templates.abilities import exactness
from toolgrove.templates.base import chat_registry
from toolgrove.templates.dialect import JINJA as JINJA
from toolgrove.templates.dialect import Dialect, dialect
from toolgrove.templates.jinja import MakersTemplate, check_options
from toolgrove.templates.own import OwnWriter
from toolgrove.templates.own_folder import OwnTemplate as OwnTemplate
from toolgrove.templates.own_folder import own_template as own_template
from toolgrove.templates.own_traits import known_marks, reading_of
from toolgrove.templates.sameness import DATE, known_texts, unproven

_log = logging.getLogger(__name__)


class Detection(NamedTuple):
    """The chat template that writes what the folder's own Jinja writes, or ``jinja`` where none
    does, and why in one line."""

    name: str
    reason: str


class _Probe(NamedTuple):
    """A conversation with the text and prompt of the folder's own template; None: it raises."""

    conversation: Conversation
    texts: tuple[str, str] | None


def detect(folder: Path) -> Detection:
    """The native chat template that is equal to the folder's own on all probing conversations, with
    its options too; ``jinja`` when it is equal to none.

    A fine-tune with an edited template is never taken for its parent: where the text is not a
    maker's own, the probes must show every part of it, and it may refuse nothing that the native
    one writes. TemplateError when the folder has no chat template or one that renders nothing.
    """
    own = own_template(folder)
    try:
        probes = _probes(own, {})
        rendered = sum(item.texts is not None for item in probes)
        if not rendered:
            own.compiled({}, DATE).render(probes[0].conversation, generate=True)
            raise TemplateError("the folder's own template renders no probe")
    except TemplateError as error:
        hint = error.hint or "name a chat template with --template"
        raise TemplateError(error.what, where=str(folder), hint=hint) from error
    nearest, most = "", -1
    for name in _by_preference():
        equal = _equal(name, {}, probes)
        if equal == len(probes) and _options_agree(name, own):
            return _told(name, own, rendered)
        if equal > most:
            nearest, most = name, equal
    found = own_reading(own)
    near = f"nearest: {nearest}, equal on the first {most} of {len(probes)} probes"
    return Detection(
        JINJA, f"the folder's own template is none of the known ones ({near}); {found}"
    )


def equal_on_probes(own: OwnTemplate) -> str | None:
    """The native chat template that writes all probes alike, with its options too; edits that no
    probe shows are not seen."""
    probes = _probes(own, {})
    if not any(item.texts for item in probes):
        return None
    for name in _by_preference():
        if _equal(name, {}, probes) == len(probes) and _options_agree(name, own):
            return name
    return None


def _told(name: str, own: OwnTemplate, rendered: int) -> Detection:
    """What is made of a native template that is equal on all probes."""
    equal = f"equal to the folder's own template on {rendered} probes"
    if known_texts().get(own.fingerprint) == name:
        return Detection(name, f"the maker's own text, {equal}")
    choices = [{}, *_choices(name, own.compiled({}, DATE))]

    def native(options: Mapping[str, Any], conv: Conversation) -> tuple[str, str] | None:
        return _ours(dialect(name, options=options, today=DATE), conv)

    reasons = unproven(own, choices, native)
    if not reasons:
        return Detection(name, f"{equal}, which show every part of it")
    more = f" and {len(reasons) - 1} more" if reasons[1:] else ""
    return Detection(
        JINJA,
        f"the folder's own template is not that of {name}, whose renders it has on {rendered} "
        f"probes, or not surely: {reasons[0]}{more}; {own_reading(own)}",
    )


def _by_preference() -> list[str]:
    """The chat templates; where several write alike, the one that was compared with its maker's own
    renderings comes before its further names."""
    compared = exactness()
    return sorted(chat_registry.names(), key=lambda name: (name not in compared, name))


def own_reading(own: OwnTemplate) -> str:
    """How the calls of a folder's own template are read, in words."""
    return reading_of(own.compiled({}, DATE), own.stops).reason


def own_dialect(
    own: OwnTemplate, options: Mapping[str, Any] | None = None, today: date | None = None
) -> Dialect:
    """The dialect that writes with a folder's own template and reads what fits it.

    ``options`` are the template's own variables; TemplateError for one that it does not look at.
    """
    return _own_dialect(own, options, today)[0]


def _own_dialect(
    own: OwnTemplate, options: Mapping[str, Any] | None, today: date | None
) -> tuple[Dialect, str]:
    """The dialect, and how its calls are read, in words."""
    given = {key: value for key, value in (options or {}).items() if value is not None}
    day = today or date.today()
    template = own.compiled(given, day)
    check_options(template, given)
    reading = reading_of(template, own.stops)
    made = Dialect(
        chat_name=JINJA,
        agent_name=reading.agent_name,
        chat=reading.traits,
        agent=reading.agent,
        native=True,
        today=day,
        writer=OwnWriter(template, known_marks(reading.traits)),
        options=dict(options or {}),
    )
    return made, reading.reason


def dialect_in(
    folder: Path,
    template: str | None,
    agent: str | None,
    options: Mapping[str, Any] | None = None,
    today: date | None = None,
) -> Dialect:
    """The dialect of the chat template of that name, else of the one that the folder speaks.

    ``template`` may be ``jinja``: the folder's own, whatever it is. ``agent`` None: exactly the
    maker's own template; else that agent template on its turns, which a template that is not known
    does not allow. Why the folder's own is taken, and what that leaves unread, is logged.
    """
    found = Detection(template, "it was named") if template else detect(folder)
    if found.name != JINJA:
        return dialect(found.name, agent, options, today)
    if agent is not None:
        raise TemplateError(
            f'agent template "{agent}" needs a known chat template, and this is the folder\'s own',
            where=str(folder),
            hint="name the nearest chat template with --template, or leave --agent_template out: "
            + found.reason,
        )
    made, reading = _own_dialect(own_template(folder), options, today)
    if template is None:
        _log.warning("%s: %s", folder.name, found.reason)
    elif made.agent is None:
        _log.warning("%s: the folder's own template: %s", folder.name, reading)
    return made


def _probes(own: OwnTemplate, options: Mapping[str, Any]) -> list[_Probe]:
    template = own.compiled(options, DATE)
    return [_Probe(conv, _both(template, conv)) for conv in probe.detecting()]


def _equal(name: str, options: Mapping[str, Any], probes: Sequence[_Probe]) -> int:
    """How many of the probes, from the first on, a native dialect writes alike."""
    candidate = dialect(name, options=options, today=DATE)
    for index, item in enumerate(probes):
        if item.texts is not None and item.texts != _ours(candidate, item.conversation):
            return index
    return len(probes)


def _options_agree(name: str, own: OwnTemplate) -> bool:
    """Whether the native dialect writes alike with its options given, too."""
    for options in _choices(name, own.compiled({}, DATE)):
        probes = _probes(own, options)
        if _equal(name, options, probes) < len(probes):
            return False
    return True


def _choices(name: str, template: MakersTemplate) -> list[dict[str, Any]]:
    """Options to try: each switch turned, and each string that the template compares an option
    with, beside all switches off and on."""
    preset = chat_registry.get(name)
    defaults = {field.name: field.default for field in dataclasses.fields(preset.template)}
    known = {key: preset.defaults.get(key, defaults[key]) for key in defaults}
    seen = {key: value for key, value in known.items() if key in template.names}
    switches = [key for key, value in seen.items() if value is None or isinstance(value, bool)]
    words = [(key, word) for key in seen for word in sorted(template.compared(key))]
    switches = [key for key in switches if not template.compared(key)]
    choices: list[dict[str, Any]] = [
        {key: turned} for key in switches for turned in (True, False) if turned is not seen[key]
    ]
    for key, word in words:
        sets = {True, False} if switches else {True}
        choices += [{**dict.fromkeys(switches, turned), key: word} for turned in sorted(sets)]
    return choices


def _both(own: MakersTemplate, conv: Conversation) -> tuple[str, str] | None:
    try:
        return own.render(conv, generate=False), own.render(conv, generate=True)
    except TemplateError:
        return None


def _ours(candidate: Dialect, conv: Conversation) -> tuple[str, str] | None:
    try:
        return candidate.text(conv), candidate.prompt(conv)
    except TemplateError:
        return None
