"""``toolgrove check``: the doctor, which tells of every row what is wrong with it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from toolgrove.cli.check_inputs import Input, inputs_of, verdicts_of
from toolgrove.cli.inputs import DialectSettings, dialect_of, text_model
from toolgrove.core.errors import ConfigError

if TYPE_CHECKING:
    from toolgrove.core.messages import JSON, Conversation
    from toolgrove.data.doctor.against import Against
    from toolgrove.data.doctor.examine import Doctor, Verdict
    from toolgrove.data.doctor.mend import Mender
    from toolgrove.encoding.checkup import Checkup


class CheckSettings(DialectSettings):
    """What to check, and what to do with what is found."""

    dataset: list[str] = []
    """Files, folders, hf:, ms: or pypi: sources, - for stdin; path#20 takes 20 rows."""

    columns: dict[str, str] = {}
    """Columns to rename before reading: {"frage": "query"}."""

    max_length: int | None = Field(default=None, ge=2)
    """Longest sequence in tokens (with --model); left out, what the model takes."""

    loss_scale: str = "default"
    """Which tokens count how much (with --model), as in sft."""

    history: Literal["served", "keep"] = "served"
    """How rows become sequences (with --model), as in sft."""

    against: list[str] = []
    """Evaluation sets that must not be learnt: files or sources, or bfcl."""

    ignore: list[str] = []
    """Codes that are not told."""

    fix: bool = False
    """Repair what is safe, show each change, and write the rows to a new file."""

    output: Path | None = None
    """Where rows are written; left out, with --fix, beside the input as NAME.fixed.jsonl."""

    quarantine: Path | None = None
    """Where rows with errors go, with their findings, instead of to the output."""

    html: Path | None = None
    """Write a report with plots to this file, too."""

    explain: bool = False
    """Say how each file was detected, and what the other readings were."""

    codes: bool = False
    """List the codes of all kinds of finding, and check nothing."""

    as_json: bool = Field(default=False, alias="json")
    """Print {"rows", "findings": [{"file", "line", "path", "code", "severity", ...}]}."""


def run(settings: CheckSettings) -> int:
    """Examines the data; 2 where there are errors: in what is written, with --fix or --output."""
    from toolgrove.cli.check_told import check_codes, codes, progress, summary
    from toolgrove.data.doctor.examine import Doctor
    from toolgrove.data.doctor.html import page
    from toolgrove.data.doctor.tally import Tally

    if settings.codes:
        codes(settings.as_json)
        return 0
    if settings.html is not None and settings.html.is_dir():
        raise ConfigError("a folder", where=f"--html {settings.html}", hint="name a file in it")
    check_codes(settings.ignore)
    checkup = checkup_of(settings)
    doctor = Doctor(
        settings.columns,
        frozenset(settings.ignore),
        (checkup,) if checkup else (),
        _against(settings.against) if settings.against else None,
    )
    tally = Tally()
    with ExitStack() as stack:
        inputs = list(inputs_of(settings.dataset, stack))
        explained = _explained(inputs, settings) if settings.explain else {}
        mender = _mender(settings, doctor, [item.name for item in inputs], stack)
        told = _json_lines() if settings.as_json else None
        for verdict in progress(verdicts_of(doctor, inputs), doctor.counts):
            tally.add(verdict.findings)
            if told is not None:
                told(verdict)
            if mender is not None:
                mender.add(verdict)
        if mender is not None:
            mender.close()
    if settings.html is not None:
        title = f"Check of {', '.join(settings.dataset)}"
        settings.html.parent.mkdir(parents=True, exist_ok=True)
        settings.html.write_text(page(title, tally, doctor.counts), encoding="utf-8")
        print(settings.html, file=sys.stderr)
    if settings.as_json:
        rest = {"rows": doctor.counts.rows, "counts": doctor.counts.as_json(), **explained}
        print(f"], {json.dumps(rest, ensure_ascii=False)[1:]}")
    else:
        summary(tally, doctor.counts, mender.done if mender else None)
    written = mender is not None and (settings.fix or settings.output)
    return 2 if (mender.done.errors if mender and written else tally.errors) else 0


def _json_lines() -> Callable[[Verdict], None]:
    """Prints the findings one by one, as they come: their number has no bound."""
    print('{"findings": [', end="")
    first = True

    def tell(verdict: Verdict) -> None:
        nonlocal first
        for finding in verdict.findings:
            print("" if first else ",")
            print(json.dumps(finding.as_json(), ensure_ascii=False), end="")
            first = False

    return tell


def checkup_of(settings: CheckSettings) -> Checkup | None:
    """What examines rows with the model's tokenizer, where a model is named."""
    if settings.model is None:
        for name in ("template", "agent_template", "max_length"):
            if getattr(settings, name) is not None:
                raise ConfigError(f"--{name} needs a tokenizer", hint="give --model FOLDER, too")
        return None
    from toolgrove.encoding.checkup import Checkup
    from toolgrove.encoding.encode import EncodeSettings, History
    from toolgrove.encoding.loss import parse_loss_scale
    from toolgrove.encoding.tokenizer import load_tokenizer

    folder = text_model(settings.model)
    encoding = EncodeSettings(
        parse_loss_scale(settings.loss_scale),
        History(settings.history),
        settings.max_length or _longest(folder),
    )
    return Checkup(dialect_of(settings), load_tokenizer(folder), encoding)


def _longest(folder: Path) -> int | None:
    """How many tokens the model takes, where its folder says so."""
    from toolgrove.models.load import declared_context

    return declared_context(folder) if (folder / "config.json").is_file() else None


def _against(specs: list[str]) -> Against:
    from toolgrove.data.doctor.against import against

    return against(case for spec in specs for case in _cases(spec))


def _cases(spec: str) -> Iterator[tuple[str, Conversation]]:
    """The conversations of an evaluation set with their names."""
    if spec == "bfcl":
        from toolgrove.eval.bfcl import CATEGORIES, load_cases, wheel

        folder = wheel()
        for category in CATEGORIES:
            yield from ((case.name, case.conversation) for case in load_cases(folder, category))
        return
    from toolgrove.cli.inputs import conversations_of

    for said in conversations_of([spec]):
        yield said.where, said.conversation


def _mender(
    settings: CheckSettings, doctor: Doctor, names: list[str], stack: ExitStack
) -> Mender | None:
    if not (settings.fix or settings.output or settings.quarantine):
        return None
    from toolgrove.cli.check_told import changes
    from toolgrove.data.doctor.mend import Mender, Targets

    output: Callable[[str], Path] | None = None
    if settings.output is not None:
        output = _always(settings.output)
    elif settings.fix:
        output = _beside
    mender = Mender(doctor, Targets(output, settings.quarantine, settings.fix), changes)
    mender.refuse_overwriting(names)
    stack.callback(mender.drop)
    return mender


def _always(file: Path) -> Callable[[str], Path]:
    return lambda _: file


def _beside(name: str) -> Path:
    """``data/train.jsonl.gz`` → ``data/train.fixed.jsonl``."""
    from toolgrove.data.rows import suffix_of

    file = Path(name)
    stem = file.name.partition(suffix_of(file))[0] if suffix_of(file) else file.name
    return file.with_name(f"{stem}.fixed.jsonl")


def _explained(inputs: list[Input], settings: CheckSettings) -> JSON:
    """How each file was detected: printed, or for --json given back."""
    from toolgrove.cli.check_told import explained

    told = [(item, list(explained(item.file, settings.columns))) for item in inputs]
    if settings.as_json:
        return {"explained": [{"file": item.name, "readings": ways} for item, ways in told]}
    for item, ways in told:
        for way in ways:
            print(f"{item.name}: {way}")
    return {}
