"""``toolgrove check``: the doctor, which tells of every row what is wrong with it."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field

from toolgrove.cli.inputs import SEED, DialectSettings, dialect_of, text_model
from toolgrove.core.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from toolgrove.core.messages import JSON, Conversation
    from toolgrove.data.doctor.against import Against
    from toolgrove.data.doctor.examine import Doctor, Verdict
    from toolgrove.data.doctor.mend import Mender
    from toolgrove.data.rows import BadLine
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


class _Input(NamedTuple):
    """A file to examine, what it is called, and which of its rows (None: all)."""

    file: Path
    name: str
    chosen: frozenset[int] | None = None


def run(settings: CheckSettings) -> int:
    """Examines the data; 2 where there are errors, with --fix or --quarantine where errors stay."""
    from toolgrove.cli.check_told import codes, progress, summary
    from toolgrove.data.doctor.examine import Doctor
    from toolgrove.data.doctor.html import page
    from toolgrove.data.doctor.tally import Tally

    if settings.codes:
        codes(settings.as_json)
        return 0
    _check_ignored(settings.ignore)
    checkup = _checkup(settings)
    doctor = Doctor(
        settings.columns,
        frozenset(settings.ignore),
        (checkup,) if checkup else (),
        _against(settings.against) if settings.against else None,
    )
    tally = Tally()
    with ExitStack() as stack:
        inputs = list(_inputs(settings.dataset, stack))
        explained = _explained(inputs, settings) if settings.explain else {}
        mender = _mender(settings, doctor, [item.name for item in inputs], stack)
        told = _json_lines() if settings.as_json else None
        for verdict in progress(_verdicts(doctor, inputs), doctor.counts):
            tally.add(verdict.findings)
            if told is not None:
                told(verdict)
            if mender is not None:
                mender.add(verdict)
        if mender is not None:
            mender.close()
    if settings.html is not None:
        title = f"Check of {', '.join(settings.dataset)}"
        settings.html.write_text(page(title, tally, doctor.counts), encoding="utf-8")
        print(settings.html, file=sys.stderr)
    if settings.as_json:
        rest = {"rows": doctor.counts.rows, "counts": doctor.counts.as_json(), **explained}
        print(f"], {json.dumps(rest, ensure_ascii=False)[1:]}")
    else:
        summary(tally, doctor.counts, mender.done if mender else None)
    return 2 if (mender.done.errors if mender else tally.errors) else 0


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


def _verdicts(doctor: Doctor, inputs: list[_Input]) -> Iterator[Verdict]:
    for item in inputs:
        yield from doctor.file(item.file, item.name, item.chosen)


def _inputs(specs: list[str], stack: ExitStack) -> Iterator[_Input]:
    from toolgrove.data.sources import parse_source, source_files

    if not specs:
        raise ConfigError("no rows", hint="name a file, or - to read from stdin")
    for spec in specs:
        if spec == "-":
            yield _Input(stack.enter_context(_stdin()), "stdin")
            continue
        source = parse_source(spec)
        files = source_files(source)
        if source.count is None:
            yield from (_Input(file, str(file)) for file in files)
        else:
            yield from _sampled(files, source.count)


def _sampled(files: list[Path], count: int) -> Iterator[_Input]:
    """The files with the rows that ``#count`` draws from all of them together."""
    from toolgrove.data.rows import read_rows
    from toolgrove.data.sources import sample

    totals = [sum(1 for _ in read_rows(file, _pass_over)) for file in files]
    chosen = set(sample(range(sum(totals)), count, SEED))
    start = 0
    for file, total in zip(files, totals, strict=True):
        rows = frozenset(n - start for n in chosen if start <= n < start + total)
        yield _Input(file, str(file), rows)
        start += total


def _pass_over(_: BadLine) -> None:
    """A line that holds no row is told when the file is examined."""


@contextmanager
def _stdin() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        head = sys.stdin.buffer.read(4096)
        suffix = ".json" if head.lstrip()[:1] == b"[" else ".jsonl"
        file = Path(folder) / f"stdin{suffix}"
        with file.open("wb") as stream:
            stream.write(head)
            while more := sys.stdin.buffer.read(1 << 20):
                stream.write(more)
        yield file


def _checkup(settings: CheckSettings) -> Checkup | None:
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
    file = folder / "config.json"
    if not file.is_file():
        return None
    config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    longest = config.get("text_config", config).get("max_position_embeddings")
    return longest if isinstance(longest, int) else None


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


def _check_ignored(ignored: list[str]) -> None:
    from toolgrove.cli.check_told import all_kinds

    known = [kind.code for kind in all_kinds()]
    for code in ignored:
        if code not in known:
            near = did_you_mean(code, known)
            hint = "toolgrove check --codes lists them"
            what = f'no finding has the code "{code}"'
            raise ConfigError(what, hint=f"{near} {hint}" if near else hint)


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


def _explained(inputs: list[_Input], settings: CheckSettings) -> JSON:
    """How each file was detected: printed, or for --json given back."""
    from toolgrove.cli.check_told import explained

    told = [(item, list(explained(item.file, settings.columns))) for item in inputs]
    if settings.as_json:
        return {"explained": [{"file": item.name, "readings": ways} for item, ways in told]}
    for item, ways in told:
        for way in ways:
            print(f"{item.name}: {way}")
    return {}
