"""``toolgrove show``: what each token is, how much it counts and why, row by row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from toolgrove.cli.check_inputs import inputs_of, verdicts_of
from toolgrove.cli.encode import EncodeSettings
from toolgrove.cli.inputs import dialect_of, text_model
from toolgrove.core.errors import ConfigError, DataError, TemplateError, ToolgroveError

if TYPE_CHECKING:
    from toolgrove.core.messages import Conversation
    from toolgrove.data.doctor.examine import Further, Verdict
    from toolgrove.encoding.encode import EncodeSettings as Encoding
    from toolgrove.encoding.encoded import Encoded
    from toolgrove.encoding.show_html import Shown, ShownRow
    from toolgrove.encoding.tokenizer import Tokenizer
    from toolgrove.templates.dialect import Dialect

BROWSED = 100
"""How many rows are browsed where --rows does not say."""


class ShowSettings(EncodeSettings):
    """What to show, and where."""

    rows: int = Field(default=1, ge=1)
    """How many rows to show, from the first that fits on."""

    search: str | None = None
    """Rows with this text in them only."""

    code: list[str] = []
    """Rows with one of these findings of the doctor only (see check --codes)."""

    tokens: bool = False
    """A line for each token: place, id, text, kind, weight and the rule that set it."""

    diff: bool = False
    """The text against the model's own template, too."""

    browse: bool = False
    """Wait after each row for what to do: next, back, /text, a code, t(okens), d(iff), q(uit)."""

    html: Path | None = None
    """Write a page to browse to this file instead of colours to the terminal."""

    as_json: bool = Field(default=False, alias="json")
    """Print the pieces as JSON: text, ids, weight, kind and rule of each."""


def run(settings: ShowSettings) -> int:
    """Shows the rows that fit."""
    with ExitStack() as stack:
        rows = _rows(settings, stack)
        if settings.browse:
            from toolgrove.cli.show_browse import browse

            browse(list(islice(rows, settings.rows if settings.rows > 1 else BROWSED)))
            return 0
        chosen = islice(rows, settings.rows)
        count = 0
        if settings.html is not None:
            from toolgrove.encoding.show_html import page

            shown = list(chosen)
            count = len(shown)
            settings.html.write_text(page(shown), encoding="utf-8")
            print(settings.html)
        else:
            for row in chosen:
                _print(row, settings)
                count += 1
        if not count:
            raise DataError("no row fits", hint="leave out --code and --search to see all")
    return 0


def _print(row: ShownRow, settings: ShowSettings) -> None:
    if settings.as_json:
        for number, sequence in enumerate(row.sequences, start=1):
            parts = [
                {"text": p.text, "ids": p.ids, "weight": p.weight, "kind": p.kind, "rule": p.rule}
                for p in sequence.pieces
            ]
            where = _title(row, number)
            print(json.dumps({"where": where, "pieces": parts}, ensure_ascii=False))
        return
    from toolgrove.cli.show_browse import show

    show(row, tokens=settings.tokens, diff=settings.diff)


def _title(row: ShownRow, number: int) -> str:
    several = len(row.sequences) > 1
    return f"{row.where}, sequence {number} of {len(row.sequences)}" if several else row.where


@dataclass(frozen=True, slots=True)
class _Shower:
    """Encodes rows to be shown. ``strict``: a row that cannot be is an error, not a remark."""

    dialect: Dialect
    tok: Tokenizer
    encoding: Encoding
    own: Dialect | None
    diff: bool
    strict: bool

    def row(self, verdict: Verdict) -> ShownRow:
        """The row of a verdict, with what was found in it."""
        from toolgrove.data.formats import conversation
        from toolgrove.encoding.encode import encode_with, refuse_losses
        from toolgrove.encoding.show_diff import difference
        from toolgrove.encoding.show_html import ShownRow

        where = f"{verdict.file}:{verdict.line}"
        findings = [finding.as_json() for finding in verdict.findings]
        try:
            if verdict.row is None:
                first = verdict.findings[0]
                raise DataError(first.message, hint=first.fix)
            conv = conversation(verdict.row)
            refuse_losses(conv, self.dialect)
            encoded = encode_with(conv, self.dialect, self.tok, self.encoding)
        except ToolgroveError as error:
            if self.strict:
                raise error.at(where) from error
            return ShownRow(where, (), findings, problem=str(error))
        told = difference(conv, self.dialect, self.own) if self.diff else None
        return ShownRow(where, self._shown(conv, encoded), findings, told)

    def _shown(self, conv: Conversation, encoded: list[Encoded]) -> list[Shown]:
        from toolgrove.encoding.show import pieces, totals
        from toolgrove.encoding.show_html import Shown
        from toolgrove.encoding.show_rules import Rules

        rules = Rules(self.dialect, self.tok, self.encoding).of(conv, encoded)
        return [
            Shown(pieces(sequence, self.tok, told), totals(sequence))
            for sequence, told in zip(encoded, rules, strict=True)
        ]


def _rows(settings: ShowSettings, stack: ExitStack) -> Iterator[ShownRow]:
    """The rows that fit what is looked for, encoded one by one."""
    from toolgrove.data.doctor.examine import Doctor

    shower = _shower(settings)
    doctor = Doctor(further=_further(settings, shower))
    wanted = set(settings.code)
    inputs = list(inputs_of(settings.dataset, stack))
    for verdict in verdicts_of(doctor, inputs):
        if wanted and not wanted & {finding.kind.code for finding in verdict.findings}:
            continue
        if settings.search is not None:
            text = verdict.text or json.dumps(verdict.row, ensure_ascii=False)
            if settings.search.casefold() not in text.casefold():
                continue
        yield shower.row(verdict)


def _further(settings: ShowSettings, shower: _Shower) -> tuple[Further, ...]:
    """A check-up with the tokenizer, where one of its findings is looked for."""
    from toolgrove.cli.check_told import check_codes
    from toolgrove.encoding.checkup import CODES, Checkup

    check_codes(settings.code)
    if not CODES & set(settings.code):
        return ()
    return (Checkup(shower.dialect, shower.tok, shower.encoding),)


def _shower(settings: ShowSettings) -> _Shower:
    from toolgrove.encoding import encode
    from toolgrove.encoding.loss import parse_loss_scale
    from toolgrove.encoding.tokenizer import load_tokenizer

    if settings.model is None:
        raise ConfigError("no tokenizer named", hint="give --model FOLDER")
    encoding = encode.EncodeSettings(
        parse_loss_scale(settings.loss_scale),
        encode.History(settings.history),
        settings.max_length,
        encode.Truncation(settings.truncation_strategy),
    )
    diff = settings.diff or settings.browse or settings.html is not None
    return _Shower(
        dialect_of(settings),
        load_tokenizer(text_model(settings.model)),
        encoding,
        _own(settings) if diff else None,
        diff,
        strict=not (settings.code or settings.browse or settings.html is not None),
    )


def _own(settings: ShowSettings) -> Dialect | None:
    """The model's own template, where its folder has one."""
    from toolgrove.templates.dialect import JINJA

    try:
        return dialect_of(settings.model_copy(update={"template": JINJA, "agent_template": None}))
    except TemplateError:
        return None
