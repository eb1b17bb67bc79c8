"""Rows held against a model: too long, nothing to train, or not to be written in its dialect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from toolgrove.core.errors import ToolgroveError
from toolgrove.core.messages import Role
from toolgrove.data.doctor.counts import Counts
from toolgrove.data.doctor.examined import Examined
from toolgrove.data.doctor.findings import At, Found, Spot, error
from toolgrove.encoding.encode import EncodeSettings, encode_with
from toolgrove.encoding.tokenizer import Tokenizer
from toolgrove.templates.dialect import Dialect

OVER_LENGTH = error(
    "over-length",
    "a row that is longer than the model takes",
    "raise --max_length, shorten the row, or train with --truncation_strategy delete",
)
NOTHING_TO_TRAIN = error(
    "nothing-to-train",
    "a row without a token that is learnt",
    "check the row's own loss, and --loss_scale",
)
LOST = error(
    "lost-in-template",
    "a row that the model's template cannot show whole",
    "choose an agent template that writes it: --agent_template",
)
NOT_WRITTEN = error(
    "not-written",
    "a row that the model's template refuses",
    "change the row, or choose another template",
)

CODES = frozenset({OVER_LENGTH.code, NOTHING_TO_TRAIN.code, LOST.code, NOT_WRITTEN.code})


@dataclass(frozen=True, slots=True)
class Checkup:
    """Encodes rows as training does. ``settings.max_length`` is the longest sequence allowed;
    None: any. What ``settings.truncation`` says plays no part."""

    dialect: Dialect
    tok: Tokenizer
    settings: EncodeSettings

    def examine(self, row: Examined, counts: Counts) -> Iterator[Found]:
        """What the model makes of the row; its sequences are counted."""
        conv = row.conversation
        if not any(message.role is Role.ASSISTANT for message in conv.messages):
            return
        conv = conv.without_given()
        lost = self.dialect.losses(conv)
        if lost:
            kind = LOST
            try:
                self.dialect.turns(conv)
            except ToolgroveError:
                kind = NOT_WRITTEN
            hint = ""
            if kind is LOST and self.dialect.chat.suggested_agent:
                hint = f"--agent_template {self.dialect.chat.suggested_agent}"
            for what in lost[:3]:
                yield Found(kind, Spot(At(), what, hint))
            if kind is NOT_WRITTEN:
                return
        try:
            sequences = encode_with(
                conv, self.dialect, self.tok, replace(self.settings, max_length=None)
            )
        except ToolgroveError as failure:
            yield Found(NOT_WRITTEN, Spot(At(), failure.what, failure.hint or ""))
            return
        for sequence in sequences:
            counts.add_sequence(len(sequence), sequence.trained)
        longest = max(len(sequence) for sequence in sequences)
        limit = self.settings.max_length
        if limit is not None and longest > limit:
            yield Found(OVER_LENGTH, Spot(At(), f"{longest} tokens, more than {limit}"))
        if not any(sequence.trained for sequence in sequences):
            yield Found(NOTHING_TO_TRAIN, Spot(At(), "no token weighs more than 0"))
