"""Conversations that are scored at their last token: what classifiers and reward models read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from toolgrove.core.errors import DataError, TemplateError
from toolgrove.core.messages import Conversation, Role
from toolgrove.core.samples import Labelled, Preference
from toolgrove.encoding.encode import EncodeSettings, encode_with, prompt_ids, refuse_losses
from toolgrove.encoding.encoded import Encoded
from toolgrove.encoding.forest import common
from toolgrove.encoding.job import with_system
from toolgrove.encoding.tokenizer import Tokenizer
from toolgrove.templates.dialect import Dialect

_AS_SERVED = EncodeSettings()


@dataclass(frozen=True, slots=True)
class Scored:
    """Sequences that are scored together, with their label: one, or a chosen and a rejected one.

    ``ids`` are the tokens that they are computed as: what they begin with in common stands once.
    """

    rows: tuple[Encoded, ...]
    label: tuple[float, ...] = ()
    where: str = ""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def ids(self) -> list[int]:
        """The first sequence, and what the others have beyond it."""
        first, *others = (row.ids for row in self.rows)
        return [*first, *(token for ids in others for token in ids[common(first, ids) :])]

    @property
    def weights(self) -> list[float]:
        """Which tokens are learnt: none is, the whole is scored."""
        return [0.0] * len(self)


@dataclass(frozen=True, slots=True)
class Scorer:
    """How conversations are read that are scored."""

    dialect: Dialect
    tok: Tokenizer
    system: str | None = None
    max_length: int | None = None
    leave_out: bool = False
    """Whether longer ones are left out; else they are an error."""

    def labelled(self, sample: Labelled) -> Scored | None:
        """A conversation with its label; None when it is left out."""
        return self._scored([sample.conversation], sample.label, sample.where)

    def preferred(self, sample: Preference) -> Scored | None:
        """A chosen and a rejected answer, with the row's margin if it has one."""
        context = sample.context
        both = [
            replace(context, messages=(*context.messages, *answer), extra={}).without_given()
            for answer in (sample.chosen, sample.rejected)
        ]
        return self._scored(both, (margin(sample),), sample.where)

    def _scored(
        self, talks: Sequence[Conversation], label: tuple[float, ...], where: str
    ) -> Scored | None:
        try:
            rows = tuple(self._row(conv, where) for conv in talks)
        except (DataError, TemplateError) as error:
            raise error.at(where) from error
        longest = max(map(len, rows))
        if self.max_length is None or longest <= self.max_length:
            return Scored(rows, label, where)
        if self.leave_out:
            return None
        raise DataError(
            f"{longest} tokens, more than max_length {self.max_length}",
            where=where,
            hint='raise max_length, or choose truncation "delete" to leave such rows out',
        )

    def _row(self, conv: Conversation, where: str) -> Encoded:
        """What is scored: an answered conversation as it stands behind the answer's stop token, one
        that awaits its answer as serving would hand it to the model."""
        conv = with_system(conv, self.system)
        refuse_losses(conv, self.dialect)
        if conv.messages[-1].role is Role.ASSISTANT:
            return replace(encode_with(conv, self.dialect, self.tok, _AS_SERVED)[-1], where=where)
        ids = prompt_ids(conv, self.dialect, self.tok)
        return Encoded(ids, [0.0] * len(ids), [], where)


def margin(sample: Preference) -> float:
    """By how much the chosen answer should at least be better; 0 where the row does not say."""
    value = sample.context.extra.get("margin", 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"margin: expected a number, found {value!r}", where=sample.where)
    return float(value)
