"""Which rule gave each token its weight, found by encoding the conversation under fewer rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from toolgrove.core.messages import Conversation, Message
from toolgrove.core.spans import WRITTEN_BY_MODEL, Kind
from toolgrove.encoding.encode import EncodeSettings, encode_with
from toolgrove.encoding.encoded import Encoded
from toolgrove.encoding.loss import LossRule, last_input, parse_loss_scale
from toolgrove.encoding.tokenizer import Tokenizer
from toolgrove.templates.dialect import Dialect

GIVEN = "given to the model"
FIRST = "the first token: nothing comes before it"
ELSEWHERE = "learnt in another sequence"
SCAFFOLD = "the template writes it"
OWN = "the row's own loss"


@dataclass(frozen=True, slots=True)
class Rules:
    """Tells the rule of each token. Law: a token weighs what its rule says, so tokens of one
    message, kind and rule weigh the same unless a table cut the text between them."""

    dialect: Dialect
    tok: Tokenizer
    settings: EncodeSettings

    def of(self, conv: Conversation, sequences: Sequence[Encoded]) -> list[list[str]]:
        """For each sequence the rule of each of its tokens, in words."""
        given = self.settings.loss_scale
        rule = parse_loss_scale(given) if isinstance(given, str) else given
        plain = _without_weights(conv)
        stages = [
            self._weights(plain, LossRule(rule.base, rule.scales[:count]))
            for count in range(len(rule.scales) + 1)
        ]
        first_trained = last_input(conv) + 1 if rule.base == "last_round" else 0
        told: list[list[str]] = []
        for sequence in sequences:
            zeros = [0.0] * len(sequence)
            weights = [stage.get(tuple(sequence.ids), zeros) for stage in stages]
            bases = _bases(sequence, weights[0], rule.base, first_trained)
            names = [scale.name for scale in rule.scales]
            told.append(_with_factors(bases, [*weights, sequence.weights], [*names, OWN]))
        return told

    def _weights(self, conv: Conversation, rule: LossRule) -> dict[tuple[int, ...], list[float]]:
        settings = replace(self.settings, loss_scale=rule, acted=None)
        encoded = encode_with(conv, self.dialect, self.tok, settings)
        return {tuple(sequence.ids): sequence.weights for sequence in encoded}


def _bases(sequence: Encoded, weights: Sequence[float], base: str, first_trained: int) -> list[str]:
    """What the base of the loss scale says of each token."""
    told = [SCAFFOLD] * len(sequence)
    for span in sequence.spans:
        for index in range(span.start, span.end):
            told[index] = _base(span.kind, span.message, weights[index], (base, first_trained))
    if told and not weights[0]:
        told[0] = FIRST
    return told


def _base(kind: Kind, message: int | None, weight: float, rule: tuple[str, int]) -> str:
    base, first_trained = rule
    if weight > 0:
        return f"{base}: the model writes it" if base != "all" else "all: everything is learnt"
    if kind not in WRITTEN_BY_MODEL:
        return SCAFFOLD if kind is Kind.SCAFFOLD else GIVEN
    if message is None:
        return SCAFFOLD
    if message < first_trained:
        return f"{base}: before the last input"
    return ELSEWHERE


def _with_factors(bases: list[str], stages: list[list[float]], names: list[str]) -> list[str]:
    """The bases with the tables, and at last the row, that changed a token's weight."""
    told = list(bases)
    for (before, after), name in zip(pairwise(stages), names, strict=True):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            if old == new:
                continue
            how = f"×{new / old:g}" if old else f"= {new:g}"
            told[index] += f" · {name} {how}"
    return told


def _without_weights(conv: Conversation) -> Conversation:
    return replace(conv, messages=tuple(map(_unweighted, conv.messages)))


def _unweighted(message: Message) -> Message:
    calls = tuple(replace(call, loss=None, loss_scale=None) for call in message.calls)
    return replace(message, calls=calls, loss=None, loss_scale=None)
