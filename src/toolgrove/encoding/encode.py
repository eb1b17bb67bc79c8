"""Conversations become token ids with weights, in the context that each turn is served in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from toolgrove.core.errors import ConfigError, DataError, TemplateError
from toolgrove.core.messages import Conversation, Role
from toolgrove.core.spans import WRITTEN_BY_MODEL, Kind, Span, cut, text_of
from toolgrove.encoding.encoded import Coded, Encoded
from toolgrove.encoding.loss import LossRule, Weighted, parse_loss_scale
from toolgrove.encoding.tokenizer import Tokenizer
from toolgrove.encoding.writer import Writer
from toolgrove.templates.dialect import JINJA, Dialect
from toolgrove.templates.writing import Turn


class History(StrEnum):
    """Which context a turn is trained in."""

    SERVED = "served"
    """the prompt that serving builds; rewritten history makes further sequences"""
    KEEP = "keep"
    """one sequence, with the thinking of every turn"""


class Truncation(StrEnum):
    """What happens to a conversation that is longer than ``max_length`` tokens."""

    RAISE = "raise"
    """an error that names the row"""
    DELETE = "delete"
    """the sequences that are too long are left out (and counted by the caller)"""
    LEFT = "left"
    """the oldest rounds are left out; the system prompt and the tools stay"""
    RIGHT = "right"
    """the last messages are left out, back to the end of an assistant turn"""


@dataclass(frozen=True, slots=True)
class EncodeSettings:
    """How to encode: loss scale, history, and what to do beyond ``max_length`` tokens.

    ``acted`` gathers the names of the loss scales that found something to weigh.
    """

    loss_scale: str | LossRule = "default"
    history: History = History.SERVED
    max_length: int | None = None
    truncation: Truncation = Truncation.RAISE
    acted: set[str] | None = None


class _Plan(NamedTuple):
    """What is the same for all sequences of a conversation."""

    rule: LossRule
    history: History
    acted: set[str] | None


class _Stretch(NamedTuple):
    """Spans that are tokenized together; no token crosses into the next stretch."""

    spans: list[Span]


def encode(  # noqa: PLR0913 -- the public signature
    conv: Conversation,
    dialect: Dialect,
    tok: Tokenizer,
    loss_scale: str | LossRule = "default",
    history: str = "served",
    *,
    max_length: int | None = None,
    truncation: str = "raise",
) -> list[Encoded]:
    """The training sequences of a conversation; at least one, unless ``truncation="delete"``.

    Laws: the tokens before a trained turn are ``prompt_ids`` of the same history; no turn is
    trained twice; ``history="keep"`` gives exactly one sequence.
    """
    settings = EncodeSettings(loss_scale, _history(history), max_length, _truncation(truncation))
    return encode_with(conv, dialect, tok, settings)


def encode_with(
    conv: Conversation, dialect: Dialect, tok: Tokenizer, settings: EncodeSettings
) -> list[Encoded]:
    """``encode`` with its settings in one value."""
    return [made.encoded() for made in _limited(conv, dialect, tok, settings)]


def _limited(
    conv: Conversation,
    dialect: Dialect,
    tok: Tokenizer,
    settings: EncodeSettings,
    turns: Sequence[Turn] | None = None,
) -> list[Coded]:
    """The sequences, none longer than the settings allow; ``turns``: where they are known."""
    given = settings.loss_scale
    rule = parse_loss_scale(given) if isinstance(given, str) else given
    plan = _Plan(rule, settings.history, settings.acted)
    encoded = _sequences(conv, dialect, tok, plan, turns)
    limit = settings.max_length
    if limit is None or all(len(sequence) <= limit for sequence in encoded):
        return encoded
    if settings.truncation is Truncation.DELETE:
        return [sequence for sequence in encoded if len(sequence) <= limit]
    longest = max(len(sequence) for sequence in encoded)
    if settings.truncation is not Truncation.RAISE:
        for shorter in _shortened(conv, settings.truncation):
            encoded = _sequences(shorter, dialect, tok, plan)
            if all(len(s) <= limit for s in encoded) and any(s.trains for s in encoded):
                return encoded
    raise DataError(
        f"{longest} tokens, more than max_length {limit}"
        + ("" if settings.truncation is Truncation.RAISE else ", also when cut at its turns"),
        hint='raise max_length, or choose truncation "delete" to leave such rows out',
    )


def prompt_ids(conv: Conversation, dialect: Dialect, tok: Tokenizer) -> list[int]:
    """What serving feeds the model: the conversation and the generation prompt, as token ids."""
    return tokens_of(prompt_stretches(conv, dialect), tok).ids


def prompt_stretches(conv: Conversation, dialect: Dialect) -> list[list[Span]]:
    """The spans of what serving feeds the model, cut where the model began or ended to write."""
    prompt = dialect.spans(conv, generate=True)
    chain = _Chain()
    for turn in dialect.turns(conv, stopped=True):
        if not chain.extend(turn):
            chain = _Chain()
            chain.extend(turn)
    if not chain.goes_on(prompt):
        chain = _Chain()
    chain.add(prompt)
    return [stretch.spans for stretch in chain.stretches]


def tokens_of(stretches: Iterable[list[Span]], tok: Tokenizer) -> Encoded:
    """The tokens of stretches one after the other, none of them trained."""
    writer = Writer(tok)
    for spans in stretches:
        writer.give(spans)
    return writer.coded().encoded()


def encode_whole(
    conv: Conversation, dialect: Dialect, tok: Tokenizer, settings: EncodeSettings
) -> list[Encoded]:
    """``encode_with``, after ``refuse_losses``, from one rendering of the conversation."""
    return [made.encoded() for made in coded_whole(conv, dialect, tok, settings)]


def coded_whole(
    conv: Conversation,
    dialect: Dialect,
    tok: Tokenizer,
    settings: EncodeSettings,
    turns: Sequence[Turn] | None = None,
) -> list[Coded]:
    """``encode_whole``, its sequences as columns of numbers.

    ``turns``: what ``served_turns`` gave, where the caller has them already.
    """
    turns = served_turns(conv, dialect, settings) if turns is None else turns
    refuse_losses(conv, dialect, turns=turns)
    return _limited(conv, dialect, tok, settings, turns)


def served_turns(
    conv: Conversation, dialect: Dialect, settings: EncodeSettings
) -> Sequence[Turn] | None:
    """The turns that are encoded; None where all are one sequence, or cannot be written."""
    if settings.history is History.KEEP:
        return None
    try:
        return dialect.turns(conv, stopped=True)
    except TemplateError:
        refuse_losses(conv, dialect)
        raise


def refuse_losses(
    conv: Conversation, dialect: Dialect, where: str = "", turns: Sequence[Turn] | None = None
) -> None:
    """TemplateError when the dialect cannot show all of the conversation; it names a way out."""
    lost = dialect.losses(conv, turns)
    if not lost:
        return
    shown = "; ".join(lost[:3]) + (f"; and {len(lost) - 3} more" if len(lost) > 3 else "")
    name = dialect.chat_name if dialect.native else f"{dialect.chat_name} with {dialect.agent_name}"
    hint = (
        f"choose an agent template that writes it: --agent_template {dialect.chat.suggested_agent}"
    )
    if dialect.chat_name == JINJA:
        hint = "name a known chat template and an agent template: --template, --agent_template"
    raise TemplateError(
        f"the template {name} loses a part of this conversation: {shown}",
        where=where or None,
        hint=hint,
    )


class _Chain:
    """A sequence that grows turn by turn while each prompt goes on from what stands already."""

    def __init__(self) -> None:
        self.stretches: list[_Stretch] = []
        self.messages: list[int] = []
        self._spans: list[Span] = []
        self._text: str | None = ""
        self._rest: list[Span] = []

    def goes_on(self, prompt: list[Span]) -> bool:
        """Whether the prompt begins with all that stands already."""
        return not self._spans or text_of(prompt).startswith(self._standing())

    def add(self, prompt: list[Span]) -> None:
        """Adds what the prompt says beyond what stands already."""
        gap = cut(prompt, len(self._standing()))[1] if self._spans else prompt
        if gap:
            self.stretches.append(_Stretch(gap))
        self._spans, self._text = prompt, None

    def extend(self, turn: Turn) -> bool:
        """Adds a turn; False when its prompt does not go on from what stands already."""
        if not self.goes_on(turn.prompt):
            return False
        self.add(turn.prompt)
        self.stretches.append(_Stretch(turn.completion))
        self.messages.append(turn.message)
        self._spans, self._text = [*turn.prompt, *turn.completion], None
        self._rest = turn.rest
        return True

    def _standing(self) -> str:
        """The text of all that stands already, put together once it is asked for."""
        if self._text is None:
            self._text = text_of(self._spans)
        return self._text

    def finished(self) -> list[_Stretch]:
        """The stretches, with what the template writes after the last turn."""
        return [*self.stretches, _Stretch(self._rest)] if self._rest else self.stretches


def _sequences(
    conv: Conversation,
    dialect: Dialect,
    tok: Tokenizer,
    plan: _Plan,
    turns: Sequence[Turn] | None = None,
) -> list[Coded]:
    if plan.history is History.KEEP:
        stretches = _kept(conv, dialect)
        trained = {i for i, m in enumerate(conv.messages) if m.role is Role.ASSISTANT}
        return [_encoded(stretches, trained, conv, tok, plan)]
    chains: list[_Chain] = []
    for turn in dialect.turns(conv, stopped=True) if turns is None else turns:
        if not chains or not chains[-1].extend(turn):
            chains.append(_Chain())
            chains[-1].extend(turn)
    if not chains:
        return [_encoded([_Stretch(dialect.spans(conv))], set(), conv, tok, plan)]
    encoded = [_encoded(c.finished(), set(c.messages), conv, tok, plan) for c in chains]
    return [sequence for sequence in encoded if sequence.trains] or encoded[-1:]


def _kept(conv: Conversation, dialect: Dialect) -> list[_Stretch]:
    """The whole conversation with all thinking, cut where the model begins and ends to write."""
    tail = dialect.spans(conv, keep=True, generate=True)[-3:]
    closed = any(span.kind is Kind.THINK_CLOSE and span.message is None for span in tail)
    spans = dialect.spans(conv, keep=True)
    stretches: list[_Stretch] = []
    owner: int | None = -1
    for index, span in enumerate(spans):
        written = span.kind in WRITTEN_BY_MODEL and not (closed and _in_empty_block(spans, index))
        if not written and span.kind in WRITTEN_BY_MODEL:
            span = span._replace(message=None)
        new_owner = span.message if written else None
        if new_owner != owner:
            stretches.append(_Stretch([]))
            owner = new_owner
        stretches[-1].spans.append(span)
    return stretches


def _in_empty_block(spans: list[Span], index: int) -> bool:
    kinds = [span.kind for span in spans[max(index - 1, 0) : index + 2]]
    here = spans[index].kind
    if here is Kind.THINK_OPEN:
        return kinds[-1] is Kind.THINK_CLOSE
    alone = index == 0 or kinds[0] is not Kind.THINKING
    return here is Kind.THINK_CLOSE and alone


def _encoded(
    stretches: list[_Stretch],
    trained: set[int],
    conv: Conversation,
    tok: Tokenizer,
    plan: _Plan,
) -> Coded:
    writer = Writer(tok)
    weigh = plan.rule.on(conv, plan.acted)
    everything = plan.rule.base == "all"
    for number, stretch in enumerate(stretches):
        if not everything and number == 0 and stretches[1:]:
            writer.give(stretch.spans)
            continue
        weighted = weigh(stretch.spans)
        if not everything:
            weighted = [
                item if not item[1] or item[0][2] in trained else Weighted(item[0], 0.0)
                for item in weighted
            ]
        writer.add(weighted)
    return writer.coded()


def _shortened(conv: Conversation, truncation: Truncation) -> list[Conversation]:
    """Ever shorter versions of a conversation, cut between messages only."""
    messages = conv.messages
    if truncation is Truncation.RIGHT:
        ends = [i + 1 for i, m in enumerate(messages) if m.role is Role.ASSISTANT]
        return [conv.until(end) for end in reversed(ends[:-1])]
    head = 1 if messages and messages[0].role is Role.SYSTEM else 0
    rounds = [i for i, m in enumerate(messages) if m.role is Role.USER]
    return [conv.without(head, start) for start in rounds[1:]]


def _history(value: str) -> History:
    return History(_known(value, "history", [str(v) for v in History]))


def _truncation(value: str) -> Truncation:
    return Truncation(_known(value, "truncation", [str(v) for v in Truncation]))


def _known(value: str, what: str, known: list[str]) -> str:
    if value not in known:
        raise ConfigError(f'unknown {what} "{value}"', hint=f"one of: {', '.join(known)}")
    return value
