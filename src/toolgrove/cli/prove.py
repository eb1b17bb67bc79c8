"""``toolgrove prove``: shows that training, serving and a model's own template agree."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field

from toolgrove.cli.inputs import DialectSettings, dialect_of, text_model
from toolgrove.core.errors import ConfigError, TemplateError
from toolgrove.core.messages import JSON

if TYPE_CHECKING:
    from toolgrove.cli.endpoint import Server
    from toolgrove.encoding.prove import Finding, Report, Shown
    from toolgrove.templates.detect import OwnTemplate
    from toolgrove.templates.dialect import Dialect

CERTIFICATE = "certificate.json"


class ProveSettings(DialectSettings):
    """What is proven, by how many conversations, and where the certificate goes."""

    url: str | None = None
    """An OpenAI-compatible server to ask as well, such as http://localhost:8000."""

    served_model: str | None = None
    """The model's name on that server; left out, the first one that it lists."""

    api_key: str | None = None
    """What the server wants to see as a bearer token."""

    cases: int = Field(default=1000, ge=1)
    """How many conversations are made up."""

    seed: int = 0
    """Which conversations: the same seed makes the same ones."""

    output: Path | None = None
    """Where the certificate goes; left out, into a run's or checkpoint's own folder."""

    as_json: bool = Field(default=False, alias="json")
    """Print the certificate as JSON."""


class Proven(NamedTuple):
    """What is compared with what, and why the model's own template is left out (None: it is in)."""

    folder: Path
    dialect: Dialect
    own: OwnTemplate | None
    left_out: str | None
    server: Server | None


def run(settings: ProveSettings) -> int:
    """Compares, prints what was found and writes the certificate; TemplateError on a difference.

    Ctrl-C prints what was compared so far and writes nothing.
    """
    from toolgrove.encoding.prove import Report

    proven = _proven(settings)
    report = Report(settings.cases, settings.seed)
    try:
        for latest in _compared(settings, proven):
            report = latest
    except KeyboardInterrupt:
        print(_summary(proven, report))
        return 130
    certificate = _certificate(settings, proven, report)
    file = _place(settings, proven.folder)
    if file is not None:
        _write(file, certificate)
    if settings.as_json:
        print(json.dumps(certificate, ensure_ascii=False))
    else:
        print(_summary(proven, report))
        print(f"certificate: {file or 'not written; --output FILE writes it'}")
    if report.result != "equal":
        raise _disagreement(proven, report)
    return 0


def _proven(settings: ProveSettings) -> Proven:
    from toolgrove.templates.detect import own_template

    if settings.model is None:
        raise ConfigError("no model named", hint="give --model FOLDER")
    folder = text_model(settings.model)
    dialect = _dialect(settings, folder)
    own, left_out = None, None
    if not dialect.native:
        left_out = f"not comparable: {dialect.agent_name} is no part of it"
    else:
        try:
            own = own_template(folder)
        except TemplateError as error:
            left_out = f"not comparable: {error.what}"
    server = None
    if settings.url is not None:
        from toolgrove.cli.endpoint import Server

        server = Server(settings.url, settings.served_model, settings.api_key, dialect.options)
    return Proven(folder, dialect, own, left_out, server)


def _dialect(settings: ProveSettings, folder: Path) -> Dialect:
    """The dialect that the flags name, else that of the run, else the folder's own."""
    from toolgrove.templates.spoken import FILE

    files = [place / FILE for place in (folder, folder.absolute().parent)]
    file = next((file for file in files if file.is_file()), None)
    named = settings.template is not None or settings.agent_template is not None
    if named or file is None:
        return dialect_of(settings)
    return _trained_dialect(file, folder, settings)


def _trained_dialect(file: Path, folder: Path, settings: ProveSettings) -> Dialect:
    """The dialect that a run was trained in, which must still write what it wrote then."""
    from toolgrove.templates.detect import dialect_in
    from toolgrove.templates.dialect import JINJA

    try:
        spoken: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        name, agent = spoken["chat_template"], spoken["agent_template"]
        day, options = date.fromisoformat(spoken["today"]), spoken["options"]
        before = spoken["fingerprint"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"this does not say which dialect a run speaks: {error!r}",
            where=str(file),
            hint="name it with --template and --agent_template",
        ) from error

    for choice in (None,) if name == JINJA else (None, agent):
        made = dialect_in(folder, name, choice, options, day)
        if made.fingerprint() == before:
            same = settings.today in (None, day)
            return made if same else dialect_in(folder, name, choice, options, settings.today)
    raise TemplateError(
        f"the dialect {name} with {agent} no longer writes what this run was trained on",
        where=str(file),
        hint="use the version of Toolgrove that trained it, or train again",
    )


def _compared(settings: ProveSettings, proven: Proven) -> Iterator[Report]:
    """The growing report, with a progress bar on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from toolgrove.encoding.compare import Subject
    from toolgrove.encoding.prove import prove
    from toolgrove.encoding.tokenizer import load_tokenizer

    dialect = proven.dialect
    own = proven.own.compiled(dialect.options, dialect.today) if proven.own else None
    subject = Subject(dialect, load_tokenizer(proven.folder), own, proven.server)
    columns = ("comparing", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("comparing", total=settings.cases)
        for report in prove(subject, settings.cases, settings.seed):
            progress.advance(task)
            yield report


def _certificate(settings: ProveSettings, proven: Proven, report: Report) -> JSON:
    """What was compared with what, in which versions, and how it ended."""
    from importlib.metadata import version

    import toolgrove

    dialect, own = proven.dialect, proven.own
    packages = {name: version(name) for name in ("jinja2", "tokenizers")}
    server = proven.server
    return {
        "model": settings.model,
        "dialect": {
            "chat_template": dialect.chat_name,
            "agent_template": dialect.agent_name,
            "native": dialect.native,
            "options": dict(dialect.options),
            "today": dialect.today.isoformat(),
            "fingerprint": dialect.fingerprint(),
        },
        "own_template": {"sha256": _hash(own.source.encode())} if own else proven.left_out,
        "tokenizer": {"sha256": _hash((proven.folder / "tokenizer.json").read_bytes())},
        "server": server
        and {
            "url": server.url,
            "model": server.model,
            "compared": "token ids" if server.tells_ids else "token counts",
        },
        "versions": {
            "toolgrove": toolgrove.__version__,
            "python": platform.python_version(),
            **packages,
        },
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **report.as_json(),
    }


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _place(settings: ProveSettings, folder: Path) -> Path | None:
    """Where the certificate goes; None where it is only printed."""
    from toolgrove.train.run import is_run_or_checkpoint

    if settings.output is not None:
        return settings.output
    own = is_run_or_checkpoint(folder) and os.access(folder, os.W_OK)
    return folder / CERTIFICATE if own else None


def _write(file: Path, certificate: JSON) -> None:
    if file.is_dir():
        raise ConfigError("--output is a folder", where=str(file), hint="name a file in it")
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(certificate, indent=2, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")


def _summary(proven: Proven, report: Report) -> str:
    """The report for people."""
    from toolgrove.encoding.compare import MAKERS

    tally = report.tally
    dialect = proven.dialect
    agent = "its own calls" if dialect.native else f"calls as {dialect.agent_name}"
    lines = [
        f"{dialect.chat_name}, {agent}: {report.done} of {report.cases} conversations, "
        f"{tally.turns} trained turns, seed {report.seed}"
    ]
    for name, count in tally.prompts.items():
        lines.append(f"  with {name}: {count} comparisons, {tally.tokens[name]:,} tokens")
    if proven.left_out:
        lines.append(f"  with {MAKERS}: {proven.left_out}")
    lines += [f"  {count} times {what}" for what, count in tally.notes.most_common()]
    lines += [f"  skipped {count}: {what}" for what, count in tally.skipped.most_common(_REASONS)]
    if len(tally.skipped) > _REASONS:
        lines.append(f"  and for {len(tally.skipped) - _REASONS} more reasons")
    if report.finding is not None:
        lines += _told(report.finding)
    lines.append(f"result: {_RESULTS[report.result]}")
    return "\n".join(lines)


_REASONS = 8
_RESULTS = {
    "equal": "no difference",
    "different": "different",
    "stopped": "no difference so far; stopped before the end",
    "nothing compared": "nothing could be compared",
}


def _told(finding: Finding) -> list[str]:
    """A difference: where it is, both sides, and the conversation that shows it."""
    place = "" if finding.position is None else f", token {finding.position} ({finding.kind})"
    lines = [f"first difference: {finding.what}{place}"]
    for shown in (finding.ours, finding.theirs):
        lines += _side(shown) if finding.position is not None else [f"  {shown.name}"]
    row = json.dumps(finding.as_json()["conversation"], ensure_ascii=False)
    return [*lines, f"  smallest conversation (found in case {finding.case}): {row}"]


def _side(shown: Shown) -> list[str]:
    token = "(the end)" if shown.token is None else f"{shown.token} {shown.text!r}"
    around = f"    …{shown.before!r} ⟦{shown.text!r}⟧ {shown.after!r}…"
    return [f"  {shown.name}: {token}", around, f"    ids {shown.ids}"]


def _disagreement(proven: Proven, report: Report) -> TemplateError:
    where = str(proven.folder)
    finding = report.finding
    if finding is None:
        return TemplateError(
            "nothing could be compared: every conversation was refused",
            where=where,
            hint="is this the model's own chat template? see: toolgrove templates",
        )
    sides = f"{finding.ours.name} and {finding.theirs.name.partition(',')[0]}"
    return TemplateError(
        f"{sides} differ in {report.different} of {report.done} conversations, "
        f"first in {finding.what}",
        where=where,
        hint="train and serve with the same template and options, "
        "or name the dialect with --template, --agent_template and --option",
    )
